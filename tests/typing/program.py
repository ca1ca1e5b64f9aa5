"""A user's program that uses all that is public: checked by mypy and pyright, and run.

Each ``assert_type`` says what a type checker must know of a result.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pydurable
from pydurable import (
    AlignedBuffer,
    AppendFile,
    AppendStats,
    Log,
    Record,
    RepairReport,
    Report,
    StaleFile,
    Stats,
    StorageReport,
    testing,
)
from pydurable.logging import DurableHandler, HandlerStats
from pydurable.reader import LogReader
from pydurable.storage import Layer

if TYPE_CHECKING:
    from typing_extensions import assert_type
else:
    Value = TypeVar("Value")

    def assert_type(value: Value, kind: object) -> Value:
        return value


def write(place: Path) -> None:
    with Log(
        place / "log",
        create=True,
        sync="group",
        method="auto",
        interval=0.5,
        segment_bytes=1 << 20,
        max_pending_bytes=1 << 20,
        commit_delay=0.0,
        lanes=2,
    ) as log:
        assert_type(log, Log)
        assert_type(log.commit(b"bytes"), int)
        assert_type(log.commit(bytearray(b"bytearray")), int)
        assert_type(log.commit(memoryview(b"view")), int)
        assert_type(log.commit_many([b"a", b"b"]), tuple[int, int])
        assert_type(log.append(b"c"), None)
        assert_type(log.sync(), int)
        assert_type(log.truncate_before(2), None)
        assert_type(log.path, str)
        assert_type(log.closed, bool)
        for lsn in (log.durable_lsn, log.next_lsn, log.oldest_lsn):
            assert_type(lsn, int)
        assert_type(log.sync_method, str)
        assert_type(log.max_record_bytes, int)
        assert_type(log.torn_bytes, int)
        assert_type(log.recovered_records, int)
        show(log.stats())
        try:
            Log(place / "log")
        except pydurable.LockedError as error:
            assert_type(error.pid, "int | None")
            assert_type(error.errno, "int | None")
    assert_type(log.close(), None)


def show(stats: Stats) -> None:
    counts: list[int] = [
        stats.commits,
        stats.batches,
        stats.flushes,
        stats.payload_bytes,
        stats.written_bytes,
        stats.segments_created,
        stats.segments_recycled,
        stats.buffer_bytes,
    ]
    times: list[float] = [stats.flush_p50_us, stats.flush_p99_us, stats.flush_p999_us]
    assert_type(stats.sync_method, str)
    print(sum(counts), max(times))


def read(place: Path) -> None:
    reader = pydurable.read_log(place / "log", 2, follow=False)
    assert_type(reader, LogReader)
    assert_type(next(reader), Record)
    assert_type(reader.close(), None)
    for record in pydurable.read_log(str(place / "log")):
        assert_type(record.lsn, int)
        assert_type(record.data, bytes)
    records: Iterator[Record] = iter(pydurable.read_log(place / "log"))
    lsn, data = next(records)
    print(lsn + 1, data.decode())


def check(place: Path) -> None:
    examine(pydurable.verify_log(place / "log"))
    repaired = pydurable.repair_log(place / "log")
    assert_type(repaired, RepairReport)
    if repaired.damage is not None:
        assert_type(repaired.damage, pydurable.CorruptionError)
        assert_type(repaired.damage.offset, int)
        assert_type(repaired.damage.first_lsn, "int | None")
        assert_type(repaired.damage.last_lsn, "int | None")
    assert_type(repaired.copy, "str | None")
    assert_type(repaired.report, Report)
    assert_type(repaired.kept, "tuple[int, int] | None")


def examine(report: Report) -> None:
    figures: list[int] = [
        report.oldest_lsn,
        report.next_lsn,
        report.segments,
        report.batches,
        report.records,
        report.bytes,
        report.torn_bytes,
        report.torn_segment,
        report.torn_offset,
        report.block_bytes,
    ]
    flags: list[bool] = [report.clean, report.writer_alive]
    texts: list[str] = [report.sync_method, report.uuid]
    print(figures, flags, texts)


def replace(place: Path) -> None:
    pydurable.replace(
        os.fsencode(place / "bytes"),
        memoryview(b"1"),
        durability="full",
        preserve="mode",
        permissions=0o600,
        overwrite=True,
        follow_symlinks=True,
        dir_fd=None,
    )
    pydurable.replace_many({place / "a": b"1", place / "b": b"2"}, workers=2)
    pydurable.replace_many([("one", b"1")][:0])
    pydurable.rename(place / "a", place / "c", overwrite=False)
    with pydurable.open_atomic(place / "text", encoding="utf-8", newline="\n") as text:
        assert_type(text.write("text"), int)
        assert_type(text.direct, bool)
        wrapper: io.TextIOWrapper = text
        print("more", file=wrapper)
    with pydurable.open_atomic(place / "binary", "wb", direct=False) as binary:
        assert_type(binary.write(b"binary"), int)
        buffered: io.BufferedWriter = binary
        assert_type(buffered.fileno(), int)
    raw = pydurable.open_atomic(place / "raw", "wb", buffering=0)
    assert_type(raw.write(b"raw"), int)
    assert_type(raw.commit(), None)
    dropped = pydurable.open_atomic(place / "dropped", "w")
    assert_type(dropped.discard(), None)
    with open(place / "plain", "wb") as plain:
        pydurable.sync_file(plain)
        pydurable.sync_data(plain.fileno())
    pydurable.sync_directory(place)
    buffer = AlignedBuffer(8192, alignment=4096)
    assert_type(buffer.alignment, int)
    with contextlib.suppress(ValueError):
        buffer.resize(1)
    view: memoryview = memoryview(buffer)
    print(len(view))


def append(place: Path) -> None:
    with AppendFile(
        place / "app.log",
        sync="interval",
        interval=0.5,
        method="auto",
        max_pending_bytes=1 << 20,
        on_full="block",
        ring=True,
        mode=0o640,
        trim=False,
        commit_delay=0.0,
    ) as file:
        assert_type(file, AppendFile)
        assert_type(file.append(b"1\n"), None)
        assert_type(file.commit(b"2\n"), None)
        assert_type(file.commit_many([b"3\n", b"4\n"]), None)
        assert_type(file.sync(), None)
        assert_type(file.reopen(), None)
        assert_type(file.write(b"5\n"), int)
        assert_type(file.writelines([b"6\n"]), None)
        assert_type(file.flush(), None)
        assert_type(file.fileno(), int)
        for flag in (file.isatty(), file.readable(), file.writable(), file.seekable()):
            assert_type(flag, bool)
        for text in (file.name, file.mode, file.sync_method):
            assert_type(text, str)
        count(file.stats())
    assert_type(file.closed, bool)
    assert_type(pydurable.trim_partial_line(place / "app.log"), int)


def log_records(place: Path) -> None:
    handler = DurableHandler(
        place / "handler.log",
        sync="interval",
        sync_level="ERROR",
        interval=0.5,
        max_bytes=1 << 20,
        backup_count=2,
        compress=None,
        on_full="block",
        encoding="utf-8",
        errors=None,
        delay=False,
    )
    record = logging.LogRecord("program", logging.INFO, "", 1, "text", None, None)
    assert_type(handler.terminator, str)
    assert_type(handler.handle(record), bool)
    assert_type(handler.emit(record), None)
    assert_type(handler.flush(), None)
    stats = handler.stats()
    assert_type(stats, HandlerStats)
    figures: list[int] = [
        stats.records,
        stats.waited,
        stats.errors,
        stats.dropped,
        stats.lost,
        stats.rotations,
        stats.reopened,
        stats.compressed,
    ]
    print(figures)
    handler.close()
    failing: Callable[[logging.LogRecord], None] = handler.handleError
    print(failing.__name__)


async def write_async(place: Path) -> None:
    with Log(place / "log") as log, AppendFile(place / "app.log") as file:
        assert_type(await log.commit_async(b"1"), int)
        assert_type(await log.commit_many_async([b"2", b"3"]), tuple[int, int])
        assert_type(await log.sync_async(), int)
        assert_type(await file.commit_async(b"7\n"), None)
        assert_type(await file.commit_many_async([b"8\n"]), None)
        assert_type(await file.sync_async(), None)
    async for record in pydurable.read_log(place / "log"):
        assert_type(record, Record)


def count(stats: AppendStats) -> None:
    counts: list[int] = [
        stats.records,
        stats.dropped,
        stats.batches,
        stats.flushes,
        stats.written_bytes,
        stats.buffer_bytes,
    ]
    times: list[float] = [stats.flush_p50_us, stats.flush_p99_us, stats.flush_p999_us]
    assert_type(stats.sync_method, str)
    print(sum(counts), max(times))


def ask(place: Path) -> None:
    report = pydurable.inspect_storage(place, root="/")
    assert_type(report, StorageReport)
    texts: list[str] = [report.path, report.verdict, report.reason]
    assert_type(report.mount, "str | None")
    assert_type(report.filesystem, "str | None")
    assert_type(report.layers, tuple[Layer, ...])
    for layer in report.layers:
        texts += [layer.kind, layer.name, layer.does, layer.verdict]
        assert_type(layer.depth, int)
        print(layer.facts)
    more: tuple[str, ...] = report.changes + report.needs_root
    print(texts, more, sorted(report.as_dict()))


def test(place: Path) -> None:
    with testing.count_syscalls() as calls:
        assert_type(calls, testing.Syscalls)
        assert_type(calls["fsync"], int)
    with testing.fail("fsync", 5, nth=1, times=1, afterwards=False) as fault:
        assert_type(fault, testing.Fault)
        assert_type(fault.hits, int)
    with testing.delay("sync", 0.01), testing.short_reads(nth=2), testing.short_writes(times=1):
        pydurable.replace(place / "slow", b"1")
    with testing.full_disk(after_bytes=1 << 20):
        pydurable.replace(place / "small", b"1")
    with testing.record_writes(place) as writes:
        assert_type(writes, testing.Writes)
        pydurable.replace(place / "cut", b"1")
        assert_type(writes.note("replaced"), None)
    for state in writes.crash_states(limit=2, seed=0):
        assert_type(state, testing.CrashState)
        assert_type(state.notes, tuple[Any, ...])
        with state as path:
            assert_type(path, Path)
    faults = testing.Faults()
    assert_type(faults.clear(), None)
    assert_type(testing.CALLS, tuple[str, ...])


def clean(place: Path) -> None:
    assert_type(pydurable.find_stale(place), list[StaleFile])
    for stale in pydurable.remove_stale(place, min_age=0.0):
        assert_type(stale.path, str)
        assert_type(stale.size, int)
        assert_type(stale.age, float)


def fail(error: Exception) -> str:
    """What a program does about errors."""
    if isinstance(error, (pydurable.NotDurableError, pydurable.PartlyReplacedError)):
        return f"{error.filename}: {error.replaced} {error.pending}"
    if isinstance(error, (pydurable.PoisonedError, pydurable.UnsafeStorageError)):
        number: int | None = error.errno
        return f"{number}"
    if isinstance(error, pydurable.FullError):
        return "the ring is full"
    if isinstance(error, (pydurable.VersionError, pydurable.TruncatedError)):
        return "old program"
    if isinstance(error, (pydurable.ClosedError, pydurable.ForkedError)):
        return "our own mistake"
    return "pydurable" if isinstance(error, pydurable.DurableError) else "another"


def main(place: Path) -> None:
    warnings.simplefilter("ignore", pydurable.DurabilityWarning)
    write(place)
    read(place)
    check(place)
    replace(place)
    append(place)
    log_records(place)
    asyncio.run(write_async(place))
    ask(place)
    test(place)
    clean(place)
    print(fail(ValueError()), pydurable.__version__)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
