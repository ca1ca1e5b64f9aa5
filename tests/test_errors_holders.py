"""One writer for each log: locks, processes that fork, versions of the format."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import struct
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from _faults import Faults
from _patience import wait_until
from _processes import check_python, start_python
from _scenario import open_log, record

import pydurable
from pydurable import ForkedError, LockedError, Log, VersionError
from pydurable._core import lib

HOLDER = """
import sys
import pydurable
log = pydurable.Log(sys.argv[1], method="fdatasync")
log.commit(b"theirs")
print("open", flush=True)
sys.stdin.read()
log.close()
"""


@pytest.mark.guarantee("G12")
def test_a_log_open_in_another_process(log_path: Path) -> None:
    """LockedError names the holder's pid; readers are let in; once it is closed the log opens."""
    with start_python(HOLDER, log_path) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        for use in (Log, pydurable.repair_log):
            with pytest.raises(LockedError) as caught:
                use(log_path)
            assert caught.value.pid == holder.pid
            assert str(holder.pid) in str(caught.value)
            assert caught.value.errno == errno.EWOULDBLOCK
            assert caught.value.filename == str(log_path / "LOCK")
        assert [r.data for r in pydurable.read_log(log_path)] == [b"theirs"]
        assert pydurable.verify_log(log_path).writer_alive
        holder.communicate()
    with Log(log_path) as log:
        assert log.commit(b"mine") == 2


@pytest.mark.guarantee("G12")
def test_a_log_open_in_this_process(log_path: Path) -> None:
    """A second Log on the same folder is refused too, and does not harm the first."""
    with Log(log_path) as log:
        with pytest.raises(LockedError) as caught:
            Log(log_path)
        assert caught.value.pid == os.getpid()
        assert log.commit(b"still mine") == 1
        with pytest.raises(LockedError):
            Log(log_path)


@pytest.mark.guarantee("G3")
def test_a_killed_holder_leaves_no_lock(log_path: Path) -> None:
    """The lock ends with the process, however it ends."""
    with start_python(HOLDER, log_path) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        holder.kill()
    with Log(log_path) as log:
        assert log.next_lsn == 2


def test_readers_do_not_turn_a_writer_away(log_path: Path) -> None:
    """However often readers ask whether a writer is alive, a writer can open the log."""
    Log(log_path).close()
    reader = """
import sys
import pydurable
print("reading", flush=True)
for _ in range(3000):
    list(pydurable.read_log(sys.argv[1]))
"""
    with start_python(reader, log_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "reading\n"
        for _ in range(20):
            with Log(log_path) as log:
                log.commit(b"x")
        process.kill()


def test_a_reader_that_is_held_up_does_not_turn_a_writer_away(
    log_path: Path, faults: Faults
) -> None:
    """A reader may lose the processor while it asks: whoever opens the log waits for it."""
    Log(log_path).close()
    with open(log_path / "LOCK", "rb") as reader, ThreadPoolExecutor(1) as pool:
        fcntl.flock(reader, fcntl.LOCK_SH)
        faults.count()
        opening = pool.submit(Log, log_path)
        wait_until(lambda: opening.done() or faults.calls("lock") > 200, "many tries")
        assert not opening.done()
        fcntl.flock(reader, fcntl.LOCK_UN)
        opening.result().close()


def _in_child(body: Callable[[], None]) -> int:
    """Run body in a forked child; its exit status, 0 if it came back without an exception."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            body()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


@pytest.mark.guarantee("G12")
def test_a_child_is_refused_and_the_parent_goes_on(log_path: Path) -> None:
    """In a forked child each call raises ForkedError, the properties answer, closing does
    nothing, and the parent's log is unharmed."""
    log = open_log(log_path)
    log.commit(record(1))
    log.append(record(2))

    def child() -> None:
        calls: list[Callable[[], object]] = [
            lambda: log.commit(b"x"),
            lambda: log.commit_many([b"x"]),
            lambda: log.append(b"x"),
            log.sync,
            lambda: log.truncate_before(1),
        ]
        for call in calls:
            with pytest.raises(ForkedError):
                call()
        assert log.durable_lsn == 1
        assert log.next_lsn == 2
        assert not log.closed
        assert log.stats().commits == 1
        log.close()
        with pytest.raises(LockedError):
            open_log(log_path)

    assert _in_child(child) == 0
    assert log.commit(record(3)) == 3
    log.close()
    assert [r.data for r in pydurable.read_log(log_path)] == [record(i) for i in (1, 2, 3)]


def test_a_child_made_while_threads_commit(log_path: Path) -> None:
    """Forking in the middle of other threads' commits hangs neither side."""
    log = open_log(log_path)
    stop = threading.Event()

    def commit() -> None:
        while not stop.is_set():
            log.commit(b"x" * 100)

    threads = [threading.Thread(target=commit) for _ in range(4)]
    for thread in threads:
        thread.start()

    def child() -> None:
        signal.alarm(60)  # a hang becomes a death
        with pytest.raises(ForkedError):
            log.commit(b"x")
        log.close()

    try:
        for _ in range(10):
            assert _in_child(child) == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    last = log.next_lsn - 1
    log.close()
    assert sum(1 for _ in pydurable.read_log(log_path)) == last


ENDS_AS_PROGRAMS_DO = """
import os, sys
import pydurable
log = pydurable.Log(sys.argv[1], method="fdatasync")
log.commit(b"1")
log.append(b"2")
child = os.fork()
if child == 0:
    sys.exit(0)  # with atexit hooks and garbage collection
assert os.waitpid(child, 0)[1] == 0
log.commit(b"3")
"""


def test_a_child_that_exits_does_not_close_the_parents_log(log_path: Path) -> None:
    """The atexit hook in a child writes nothing: each record is there once, in order."""
    check_python(ENDS_AS_PROGRAMS_DO, log_path)
    assert [r.data for r in pydurable.read_log(log_path)] == [b"1", b"2", b"3"]
    assert pydurable.verify_log(log_path).clean


OUTLIVED = """
import os, sys, time
import pydurable
log = pydurable.Log(sys.argv[1], method="fdatasync")
log.commit(b"1")
if os.fork() == 0:
    print(os.getpid(), flush=True)
    time.sleep(600)
sys.stdin.readline()
os.kill(os.getpid(), 9)
"""


def test_a_child_does_not_keep_the_lock_of_a_dead_parent(log_path: Path) -> None:
    """A child shares the descriptors and so the lock: it must have let go of both."""
    with start_python(OUTLIVED, log_path) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        try:
            parent.stdin.close()
            parent.wait()
            with open_log(log_path) as log:
                assert log.commit(b"2") == 2
        finally:
            os.kill(child, signal.SIGKILL)


def _rewrite_headers(segment: Path, change: Callable[[bytearray], None]) -> None:
    """Change both copies of a segment's header and make their checksums right again."""
    data = bytearray(segment.read_bytes())
    for place in (0, 4096):
        header = data[place : place + 128]
        change(header)
        header[12:16] = bytes(4)
        header[12:16] = struct.pack("<I", lib.pd_crc32c(0, bytes(header), 128))
        data[place : place + 128] = header
    segment.write_bytes(data)


def test_a_log_of_a_newer_version(log_path: Path) -> None:
    """VersionError from everything that reads it, not damage; nothing is changed, not even by
    repair."""
    with open_log(log_path) as log:
        log.commit(b"from the future")
    segment = log_path / "0000000000000001.seg"

    def newer(header: bytearray) -> None:
        header[8:12] = struct.pack("<I", 2)

    _rewrite_headers(segment, newer)
    before = segment.read_bytes()
    uses: list[Callable[[], object]] = [
        lambda: open_log(log_path),
        lambda: list(pydurable.read_log(log_path)),
        lambda: pydurable.verify_log(log_path),
        lambda: pydurable.repair_log(log_path),
    ]
    for use in uses:
        with pytest.raises(VersionError, match="newer") as caught:
            use()
        assert caught.value.filename == str(segment)
    assert segment.read_bytes() == before
    assert not list(log_path.parent.glob("*damaged*"))
