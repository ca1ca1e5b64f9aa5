"""Reading while a writer is at work: all that is durable, in order, and nothing else."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from _faults import Faults
from _patience import wait_until
from _processes import start_python
from _scenario import LARGE, open_log, record

import pydurable
from pydurable import CorruptionError, TruncatedError

WRITER = """
import sys
import pydurable
from _scenario import open_log, record
path, target, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
log = open_log(path, sync=target, interval=0.02)
print("open", flush=True)
for lsn in range(1, count + 1):
    assert log.commit(record(lsn, lsn % 700)) == lsn
    if lsn % 50 == 0:
        log.sync()
print(log.sync(), flush=True)
sys.stdin.read()
log.close()
"""


@pytest.mark.guarantee("G11")
@pytest.mark.parametrize("target", ["group", "none", "interval"])
def test_following_a_writer_in_another_process(log_path: Path, target: str) -> None:
    """follow=True yields each record once, in order and intact, as it becomes durable, over
    many segments, until the reader has had enough."""
    count = 3000
    with start_python(WRITER, log_path, target, count) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "open\n"
        for lsn, entry in enumerate(pydurable.read_log(log_path, follow=True), 1):
            assert entry.lsn == lsn
            assert entry.data == record(lsn, lsn % 700)
            if lsn == count:
                break
        assert writer.stdout.readline() == f"{count}\n"
        writer.communicate()
    assert len(list(log_path.glob("*.seg"))) > 5


@pytest.mark.guarantee("G11")
@pytest.mark.parametrize("target", ["none", "interval"])
def test_what_is_not_durable_is_not_yielded(log_path: Path, target: str) -> None:
    """While the writer lives, a record that the operating system has but no sync covered stays
    unread, by this process and by others; sync() releases it."""
    with open_log(log_path, sync=target) as log:
        log.commit(record(1))
        log.commit(record(2))
        assert log.durable_lsn == 0
        assert list(pydurable.read_log(log_path)) == []
        assert log.sync() == 2
        log.commit(record(3))
        assert [r.lsn for r in pydurable.read_log(log_path)] == [1, 2]
    assert [r.lsn for r in pydurable.read_log(log_path)] == [1, 2, 3]


@pytest.mark.guarantee("G11")
def test_never_beyond_the_durable_lsn(log_path: Path) -> None:
    """However a reader's calls fall between the writer's, its last record was durable when it
    was yielded."""
    with open_log(log_path, sync="none") as log:
        stop = threading.Event()

        def write() -> None:
            for lsn in range(1, 4000):
                log.commit(record(lsn))
                if lsn % 7 == 0:
                    log.sync()
            stop.set()

        thread = threading.Thread(target=write)
        thread.start()
        while not stop.is_set():
            for entry in pydurable.read_log(log_path, start=max(1, log.durable_lsn)):
                assert entry.lsn <= log.durable_lsn
                assert entry.data == record(entry.lsn)
        thread.join()


def test_a_record_is_not_yielded_before_its_flush(log_path: Path, faults: Faults) -> None:
    """Written and not yet synced, a record is in the file, and the reader does not yield it."""
    with open_log(log_path) as log:
        log.commit(record(1))
        with faults.hold("fdatasync"):
            thread = threading.Thread(target=log.commit, args=(record(2),))
            thread.start()
            wait_until(lambda: faults.calls("fdatasync"), "the second is written")
            assert [r.lsn for r in pydurable.read_log(log_path)] == [1]
        thread.join()
        assert [r.lsn for r in pydurable.read_log(log_path)] == [1, 2]


def test_following_over_a_change_of_writers(log_path: Path) -> None:
    """A reader that follows goes on when the log is closed and opened again, also by a writer
    that recovers after a kill."""
    with open_log(log_path) as log:
        log.commit(record(1))
    reader = pydurable.read_log(log_path, follow=True)
    assert next(reader).lsn == 1
    with open_log(log_path) as log:
        log.commit(record(2))
        assert next(reader).data == record(2)
    killed = "import os, sys; from _scenario import *; log = open_log(sys.argv[1]);"
    killed += "log.commit(record(3)); os.kill(os.getpid(), 9)"
    with start_python(killed, log_path) as writer:
        writer.wait()
    assert next(reader).data == record(3)
    with open_log(log_path) as log:
        log.commit(record(4))
        assert next(reader).data == record(4)
    reader.close()


def test_overtaken_by_truncation(log_path: Path) -> None:
    """A reader whose next records were truncated away gets TruncatedError, also where the
    segment's file is used again; a new one begins with the oldest record kept."""
    with open_log(log_path) as log:
        for lsn in range(1, 40):
            log.commit(record(lsn, LARGE))
        slow = pydurable.read_log(log_path)
        assert next(slow).lsn == 1
        log.truncate_before(30)
        for lsn in range(40, 60):
            log.commit(record(lsn, LARGE))
        with pytest.raises(TruncatedError):
            _drain(slow)
        assert next(pydurable.read_log(log_path)).lsn == 30
        assert next(pydurable.read_log(log_path, start=35)).lsn == 35


def test_opening_while_a_writer_truncates(log_path: Path) -> None:
    """However a reader's beginning falls between a writer's rotations and truncations, it finds
    the log and reads on from a record that is kept, or is told that it was overtaken."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def read() -> None:
        while not stop.is_set():
            try:
                _drain(pydurable.read_log(log_path))
            except TruncatedError:
                continue
            except BaseException as error:
                failures.append(error)
                return

    def verify() -> None:
        while not stop.is_set():
            try:
                pydurable.verify_log(log_path)
            except BaseException as error:
                failures.append(error)
                return

    with open_log(log_path) as log:
        log.commit(record(1, LARGE))
        threads = [threading.Thread(target=target) for target in (read, read, verify)]
        for thread in threads:
            thread.start()
        for lsn in range(2, 1200):
            log.commit(record(lsn, LARGE))
            if lsn % 9 == 0:
                log.truncate_before(lsn - 3)
            if failures:
                break
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures


def test_damage_on_the_way(log_path: Path) -> None:
    """A reader yields what is before the damage and then raises CorruptionError, which says where
    it is and which records are concerned; starting behind it works."""
    with open_log(log_path) as log:
        for lsn in range(1, 40):
            log.commit(record(lsn, LARGE))
    segment = log_path / "0000000000000003.seg"
    with segment.open("r+b") as file:
        file.seek(8192 + 2 * 9072 + 100)
        file.write(b"\xff")
    seen: list[int] = []
    with pytest.raises(CorruptionError) as caught:
        seen.extend(entry.lsn for entry in pydurable.read_log(log_path))
    assert seen == list(range(1, 15))
    assert caught.value.filename == str(segment)
    assert caught.value.offset == 8192 + 2 * 9072
    assert caught.value.first_lsn == 15
    assert [r.lsn for r in pydurable.read_log(log_path, start=20)] == list(range(20, 40))


def _drain(records: Iterator[pydurable.Record]) -> int:
    """Read to the end and check what comes; how many records there were."""
    count = 0
    for entry in records:
        assert entry.data == record(entry.lsn, LARGE)
        count += 1
    return count


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def _take(iterator: Iterator[pydurable.Record], count: int) -> list[int]:
    return [next(iterator).lsn for _ in range(count)]


@pytest.mark.parametrize("follow", [True, False])
def test_a_reader_that_is_dropped_closes_its_files(log_path: Path, follow: bool) -> None:
    """Descriptors go with the iterator: closed early, exhausted, or never begun."""
    with open_log(log_path) as log:
        for lsn in range(1, 20):
            log.commit(record(lsn))
    before = _descriptors()
    for _ in range(50):
        reader = pydurable.read_log(log_path, follow=follow)
        assert _take(reader, 3) == [1, 2, 3]
        reader.close()
        with pytest.raises(StopIteration):
            next(reader)
    for _ in range(50):
        _take(pydurable.read_log(log_path, follow=follow), 1)
        pydurable.read_log(log_path, follow=follow)
    if not follow:
        assert sum(1 for _ in pydurable.read_log(log_path)) == 19
    assert _descriptors() == before
