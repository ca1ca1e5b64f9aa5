"""Many threads on one log and one file, with the interpreter's lock and without it.

Where there is such a lock the threads change places as often as it lets them, and the way for
interpreters without one is taken as well, over a ring whose stores are several steps.
"""

from __future__ import annotations

import contextlib
import mmap
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from _append_file import open_file
from _patience import PATIENCE_S
from _processes import check_python
from _scenario import open_log

import pydurable
from pydurable import AppendFile, Log, _native_writer

WORKERS = 6
ROUNDS = 60
SMALL_RING = {"max_pending_bytes": 256 << 10}
PADDING = b"." * 150  # so that the ring turns now and then

Target = Log | AppendFile
Acknowledged = dict[int, list[bytes]]


class SteppedChunk(mmap.mmap):
    """A chunk of the ring whose ``write`` is not one step for other threads."""

    between: Callable[[], object] = staticmethod(lambda: None)
    position_first = False
    """Whether others see the new position before the bytes, as a processor may let them."""

    def write(self, data: Any) -> int:
        at = self.tell()
        end = at + len(data)
        if end > len(self):
            raise ValueError("data out of range")
        if self.position_first:
            self.seek(end)
        type(self).between()
        self[at:end] = data
        self.seek(end)
        return len(data)


@pytest.fixture(autouse=True)
def restless() -> Iterator[None]:
    """Threads take the interpreter's lock from each other all the time, if there is one."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def stepped(monkeypatch: pytest.MonkeyPatch) -> type[SteppedChunk]:
    """Rings are made as on an interpreter without a lock, of chunks that need one."""
    chunk = type("Chunk", (SteppedChunk,), {})
    monkeypatch.setattr(_native_writer, "_CompiledWriter", None)
    monkeypatch.setattr(_native_writer, "mmap", SimpleNamespace(**{**vars(mmap), "mmap": chunk}))
    return chunk


@pytest.fixture(params=["as it is", "stepped"])
def way(request: pytest.FixtureRequest) -> str:
    """How records are stored: as this interpreter does, and as one without a lock would."""
    if request.param == "stepped":
        request.getfixturevalue("stepped")
    return str(request.param)


def line(name: int, serial: int) -> bytes:
    return b"%d %d %s\n" % (name, serial, PADDING)


def work(target: Target, name: int, acknowledged: list[bytes], rounds: Iterable[int]) -> None:
    """Every way to write, in turn; ends early, with what was acknowledged, when it is closed."""
    serial = 0

    def take(call: Callable[[Any], object], count: int = 0) -> None:
        nonlocal serial
        lines = [line(name, serial + i) for i in range(count or 1)]
        call(lines if count else lines[0])
        acknowledged.extend(lines)
        serial += len(lines)

    try:
        for number in rounds:
            for _ in range(15):
                take(target.append)
            take(target.commit)
            take(target.commit_many, 3)
            if number % 7 == name:
                target.sync()
            assert target.stats().flushes >= 0
    except pydurable.ClosedError:
        pass


def run_all(jobs: list[Callable[[], None]]) -> None:
    """Run each in a thread of its own, and raise what the first of them raised."""
    failures: list[BaseException] = []

    def guarded(job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(job,), daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "a thread waits for ever"
    if failures:
        raise failures[0]


def work_all(target: Target, rounds: Callable[[], Iterable[int]], *others: Any) -> Acknowledged:
    acknowledged: Acknowledged = {name: [] for name in range(WORKERS)}

    def job(name: int) -> Callable[[], None]:
        return lambda: work(target, name, acknowledged[name], rounds())

    run_all([*map(job, acknowledged), *others])
    return acknowledged


def by_thread(records: Iterable[bytes]) -> Acknowledged:
    held: Acknowledged = defaultdict(list)
    for data in records:
        held[int(data.split()[0])].append(data)
    return held


def until_closed() -> Iterable[int]:
    return iter(int, 1)


def close_soon(target: Target) -> Callable[[], None]:
    """Close the target from two threads' worth of calls once there is much in it."""

    def close() -> None:
        records = "commits" if isinstance(target, Log) else "records"
        while getattr(target.stats(), records) < 500:
            pass
        target.close()

    return close


def check_ended(held: Acknowledged, acknowledged: Acknowledged) -> None:
    """What was acknowledged is there, once and in order; behind it, what close() overtook."""
    for name, lines in acknowledged.items():
        assert held[name][: len(lines)] == lines
        more = held[name][len(lines) :]
        assert more == [line(name, len(lines) + i) for i in range(len(more))]
        assert len(more) <= 3


@pytest.mark.parametrize("sync", ["none", "group"])
def test_a_file_holds_each_line_once(path: Path, way: str, sync: str) -> None:
    """Whatever call wrote it, a line is there once, and the lines of a thread are in order."""
    with open_file(path, sync=sync, method="fdatasync", **SMALL_RING) as file:
        acknowledged = work_all(file, lambda: range(ROUNDS))
    assert by_thread(path.read_bytes().splitlines(keepends=True)) == acknowledged


@pytest.mark.parametrize("sync", ["none", "group"])
def test_a_log_holds_each_record_once(log_path: Path, way: str, sync: str) -> None:
    """The same for a log that is truncated meanwhile: what it keeps is the end of each thread's."""
    with open_log(log_path, sync=sync, **SMALL_RING) as log:

        def truncate() -> None:
            for _ in range(ROUNDS):
                log.truncate_before(max(0, log.durable_lsn - 1000))

        acknowledged = work_all(log, lambda: range(ROUNDS), truncate)
        oldest, last = log.oldest_lsn, log.sync()
    assert last == sum(map(len, acknowledged.values()))
    records = list(pydurable.read_log(log_path))
    assert [record.lsn for record in records] == list(range(oldest, last + 1))
    for name, lines in by_thread(record.data for record in records).items():
        assert lines == acknowledged[name][-len(lines) :]


def test_a_file_is_closed_under_its_threads(path: Path, way: str) -> None:
    """Every line whose call returned is there, although two threads close the file meanwhile."""
    file = open_file(path, sync="none", **SMALL_RING)
    acknowledged = work_all(file, until_closed, close_soon(file), close_soon(file))
    check_ended(by_thread(path.read_bytes().splitlines(keepends=True)), acknowledged)


def test_a_log_is_closed_under_its_threads(log_path: Path, way: str) -> None:
    """Every record whose call returned is there, although two threads close the log meanwhile."""
    log = open_log(log_path, sync="none", **SMALL_RING)
    acknowledged = work_all(log, until_closed, close_soon(log), close_soon(log))
    check_ended(by_thread(record.data for record in pydurable.read_log(log_path)), acknowledged)


def unlocked(writer: Any, record: bytes) -> bool:
    return bool(writer._chunks) and writer._store(writer._frame(record))


def two_at_once(
    path: Path, chunk: type[SteppedChunk], patience: float, kind: Callable[[bytes], Any] = bytes
) -> list[bytes]:
    """Two threads append, and meet inside of the store if nothing keeps them apart."""
    with open_file(path) as file:
        file.append(b"first\n")
        meeting = threading.Barrier(2)

        def meet() -> None:
            # It breaks where the other one waits for its turn, as it should.
            with contextlib.suppress(threading.BrokenBarrierError):
                meeting.wait(patience)

        chunk.between = staticmethod(meet)
        run_all([lambda: file.append(kind(b"one\n")), lambda: file.append(kind(b"two\n"))])
        chunk.between = staticmethod(lambda: None)
    return sorted(path.read_bytes().splitlines())


def test_stores_keep_apart(path: Path, stepped: type[SteppedChunk]) -> None:
    """Without the interpreter's lock no store comes into the middle of another."""
    assert two_at_once(path, stepped, 0.2) == [b"first", b"one", b"two"]


def test_stores_keep_apart_also_on_the_slow_way(path: Path, stepped: type[SteppedChunk]) -> None:
    """The way of records that are no bytes, or that found the ring full, takes the same lock."""
    assert two_at_once(path, stepped, 0.2, bytearray) == [b"first", b"one", b"two"]


def test_a_commit_does_not_read_a_store_half_done(path: Path, stepped: type[SteppedChunk]) -> None:
    """A commit comes before or behind a record that another thread stores, and loses nothing."""
    with open_file(path, sync="none") as file:
        file.append(b"first\n")
        storing, committed = threading.Event(), threading.Event()

        def pause() -> None:
            storing.set()
            committed.wait(0.2)

        def commit() -> None:
            assert storing.wait(PATIENCE_S)
            file.commit(b"committed\n")
            committed.set()

        stepped.position_first = True
        stepped.between = staticmethod(pause)
        run_all([lambda: file.append(b"appended\n"), commit])
    assert path.read_bytes() == b"first\nappended\ncommitted\n"


CHILD_OF_A_HOLDER = """
import os, sys, threading
import pydurable
from pydurable import _native_writer
_native_writer._CompiledWriter = None
log = pydurable.Log(sys.argv[1])
log.append(b"x")
held, done = threading.Event(), threading.Event()
def hold():
    with log._ring._lock, log._writer._lock:
        held.set()
        done.wait()
holder = threading.Thread(target=hold)
holder.start()
held.wait()
child = os.fork()
if child == 0:
    try:
        log.commit(b"y")
    except pydurable.ForkedError:
        os._exit(0)
    os._exit(1)
done.set()
holder.join()
assert os.waitpid(child, 0)[1] == 0
log.close()
"""


def test_a_child_waits_for_no_thread_of_its_parent(log_path: Path) -> None:
    """A lock that another thread held at the fork is no hindrance: the child is refused at once."""
    check_python(CHILD_OF_A_HOLDER, log_path)


def test_a_store_without_its_lock_is_seen(
    path: Path, stepped: type[SteppedChunk], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checks of this file can fail: without the lock one of two lines is lost."""
    monkeypatch.setattr(_native_writer.LockedWriter, "append", unlocked)
    assert two_at_once(path, stepped, PATIENCE_S) in ([b"first", b"one"], [b"first", b"two"])
