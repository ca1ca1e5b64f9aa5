"""Threads that wait: a thousand of them, Ctrl-C, closing under them, and how a program ends."""

from __future__ import annotations

import gc
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from _faults import Faults
from _patience import wait_until
from _processes import check_python, run_python
from _scenario import open_log, record

import pydurable
from pydurable import ClosedError, Log


def test_a_thousand_threads(log_path: Path) -> None:
    """A thousand threads commit at once; each gets an LSN of its own, and its record is there."""
    threads = 1000
    start = threading.Barrier(threads)
    got: dict[int, bytes] = {}

    def commit(log: Log, number: int) -> None:
        data = b"thread %d" % number
        start.wait()
        got[log.commit(data)] = data

    with open_log(log_path) as log, ThreadPoolExecutor(threads) as pool:
        for future in [pool.submit(commit, log, number) for number in range(threads)]:
            future.result()
        assert log.durable_lsn == threads
    assert {entry.lsn: entry.data for entry in pydurable.read_log(log_path)} == got
    assert sorted(got) == list(range(1, threads + 1))


def test_closing_with_threads_inside_commit(log_path: Path) -> None:
    """close waits for those who are inside and turns away those who come later; what was
    acknowledged is there, and what was refused is not."""
    for round_ in range(10):
        path = log_path.with_name(f"log{round_}")
        log = open_log(path)
        acknowledged: list[tuple[int, bytes]] = []

        def commit(name: int, log: Log = log, done: list[tuple[int, bytes]] = acknowledged) -> None:
            serial = 0
            while True:
                data = b"%d %d" % (name, serial)
                try:
                    lsn = log.commit(data)
                except ClosedError:
                    return
                done.append((lsn, data))
                serial += 1

        threads = [threading.Thread(target=commit, args=(name,)) for name in range(8)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(acknowledged) >= 20 * round_, "commits")  # noqa: B023
        log.close()
        for thread in threads:
            thread.join()
        assert sorted(acknowledged) == [tuple(entry) for entry in pydurable.read_log(path)]
        assert pydurable.verify_log(path).clean


def test_a_closed_log_refuses(log_path: Path) -> None:
    """After close each call raises ClosedError, which is a ValueError; the properties answer."""
    log = open_log(log_path)
    log.commit(b"x")
    log.close()
    log.close()
    assert log.closed
    for call in (
        lambda: log.commit(b"x"),
        lambda: log.commit_many([b"x"]),
        lambda: log.append(b"x"),
        log.sync,
        lambda: log.truncate_before(1),
        log.__enter__,
    ):
        with pytest.raises(ClosedError):
            call()
    assert issubclass(ClosedError, ValueError)
    assert (log.durable_lsn, log.next_lsn, log.oldest_lsn) == (1, 2, 1)
    assert log.stats().commits == 1
    assert "closed" in repr(log)


def test_nothing_appended_is_lost_between_append_and_close(log_path: Path) -> None:
    """A record that append accepted while another thread was closing the log is in it."""
    for round_ in range(60):
        path = log_path.with_name(f"log{round_}")
        log = open_log(path)
        accepted = 0

        def append(log: Log = log) -> None:
            nonlocal accepted
            try:
                while True:
                    log.append(b"%d" % (accepted + 1))
                    accepted += 1
            except ClosedError:
                return

        thread = threading.Thread(target=append)
        thread.start()
        wait_until(lambda: accepted >= 10 * round_, "appends")  # noqa: B023
        log.close()
        thread.join()
        assert sum(1 for _ in pydurable.read_log(path)) == accepted


class _Interleaved:
    """The native log, with an append that gets in at the moment of closing."""

    def __init__(self, log: Log) -> None:
        self.native = log._native
        self.log = log
        self.accepted = False

    def __getattr__(self, name: str) -> object:
        return getattr(self.native, name)

    def close(self, tail: int) -> None:
        try:
            self.log.append(b"late")
            self.accepted = True
        except ClosedError:
            pass
        self.native.close(tail)


def test_an_append_while_closing_is_refused_or_kept(log_path: Path) -> None:
    """The same at the one moment that matters, after close has taken stock of what there is."""
    log = open_log(log_path)
    log.commit(b"before")
    between = _Interleaved(log)
    log._native = between  # type: ignore[assignment]
    log.close()
    held = [entry.data for entry in pydurable.read_log(log_path)]
    assert held == ([b"before", b"late"] if between.accepted else [b"before"])


def test_truncating_beside_a_truncation(log_path: Path, faults: Faults) -> None:
    """Who asks for what another thread is about to truncate returns when that is durable."""
    with open_log(log_path, sync="interval", interval=60.0) as log:
        log.commit_many([b"x"] * 10)
        flushes = log.stats().flushes
        faults.delay("any", 100, times=0)
        first = threading.Thread(target=log.truncate_before, args=(5,))
        first.start()
        wait_until(lambda: log.oldest_lsn > 1, "the first truncation is under way")
        log.truncate_before(4)
        assert log.stats().flushes > flushes
        first.join()
        faults.clear()


@pytest.mark.parametrize("what", ["commit", "sync"])
def test_ctrl_c_ends_a_wait(log_path: Path, faults: Faults, what: str) -> None:
    """A thread that waits for another one's flush is interrupted while that flush still goes on;
    the log stays usable, and the record is either there or not, once."""
    log = open_log(log_path, lanes=1)
    log.commit(record(1))
    with faults.hold("fdatasync"):
        leader = threading.Thread(target=log.commit, args=(record(2),))
        leader.start()
        wait_until(lambda: faults.calls("fdatasync"), "the leader flushes")
        # To this thread: it is the main one, and Python handles signals nowhere else.
        timer = threading.Timer(0.2, signal.pthread_kill, (threading.get_ident(), signal.SIGINT))

        def wait() -> None:
            timer.start()
            if what == "commit":
                log.commit(record(3))
            else:
                log.sync()

        with pytest.raises(KeyboardInterrupt):
            wait()
        assert log.durable_lsn == 1
    timer.join()
    leader.join()
    last = log.sync()
    assert log.commit(b"afterwards") == last + 1
    log.close()
    held = [entry.data for entry in pydurable.read_log(log_path)]
    assert held[:2] == [record(1), record(2)]
    assert held[-1] == b"afterwards"
    assert len(held) == last + 1
    assert held[2:-1] in ([], [record(3)])


def test_an_unclosed_log_warns_and_is_closed(log_path: Path) -> None:
    """A log that nobody holds any more is closed with a ResourceWarning; what was appended is
    in it, and the lock is free."""
    log = open_log(log_path)
    log.append(b"kept")
    holder = [log]
    del log
    with pytest.warns(ResourceWarning, match="unclosed"):
        holder.clear()
    gc.collect()
    assert [entry.data for entry in pydurable.read_log(log_path)] == [b"kept"]
    with open_log(log_path) as again:
        assert again.next_lsn == 2


def test_a_log_that_could_not_be_made_does_not_warn(tmp_path: Path) -> None:
    """An exception from the constructor leaves nothing to close and no noise behind."""
    code = "import sys, pydurable\ntry:\n    pydurable.Log(sys.argv[1])\n"
    code += "except FileNotFoundError:\n    pass\n"
    done = run_python(code, tmp_path / "no" / "log")
    assert (done.returncode, done.stderr) == (0, "")


EXIT = """
import sys
from _scenario import *
log = open_log(sys.argv[1])
log.commit(record(1))
for lsn in range(2, 1000):
    log.append(record(lsn))
{ending}
"""


@pytest.mark.parametrize("ending", ["", "sys.exit(0)", "raise SystemExit", "globals().clear()"])
def test_the_interpreter_ends_with_appended_records(log_path: Path, ending: str) -> None:
    """What was appended is in the log when the program ends, and the log is closed."""
    check_python(EXIT.format(ending=ending), log_path)
    assert [r.data for r in pydurable.read_log(log_path)] == [record(i) for i in range(1, 1000)]
    assert pydurable.verify_log(log_path).clean


def test_an_exception_ends_the_program(log_path: Path) -> None:
    """The same when the program dies of an exception."""
    done = run_python(EXIT.format(ending="raise RuntimeError('boom')"), log_path)
    assert "boom" in done.stderr
    assert sum(1 for _ in pydurable.read_log(log_path)) == 999


POISONED_AT_EXIT = """
import errno, sys
from _faults import Faults
from _scenario import *
folder = Path(sys.argv[1])
logs = [open_log(folder / f"log{i}") for i in range(8)]
for number, log in enumerate(logs):
    if number % 2:
        log.append(record(1))
    else:
        Faults().fail("fdatasync", errno.EIO)
        try:
            log.commit(record(1))
        except pydurable.PoisonedError:
            pass
Faults().clear()
"""


def test_one_log_that_fails_at_exit_does_not_harm_another(tmp_path: Path) -> None:
    """At exit every log is closed, also behind one that cannot be."""
    run_python(POISONED_AT_EXIT, tmp_path)
    for number in range(1, 8, 2):
        assert [r.data for r in pydurable.read_log(tmp_path / f"log{number}")] == [record(1)]


def test_many_logs_in_one_process(tmp_path: Path) -> None:
    """Logs do not know of each other: a hundred at once, each with its own records."""
    logs = [open_log(tmp_path / f"log{number}") for number in range(100)]
    for round_ in range(3):
        for number, log in enumerate(logs):
            assert log.commit(b"%d %d" % (number, round_)) == round_ + 1
    for log in logs:
        log.close()
    for number in range(100):
        held = [entry.data for entry in pydurable.read_log(tmp_path / f"log{number}")]
        assert held == [b"%d %d" % (number, round_) for round_ in range(3)]


def test_records_reach_the_system_within_the_interval(log_path: Path) -> None:
    """An appended record goes to the file on its own, without another call."""
    with open_log(log_path, interval=0.01) as log:
        log.append(record(1))
        wait_until(lambda: log.durable_lsn, "the record is durable")
        assert list(pydurable.read_log(log_path)) == [(1, record(1))]
