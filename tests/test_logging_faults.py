"""Failures of the disk under a logging handler, and what a power cut leaves of a log file."""

from __future__ import annotations

import errno
import logging
import os
import random
import shutil
import threading
import time
from pathlib import Path

import pytest
from _patience import wait_until
from _powercut import new_seed, scratch
from logging_support import (
    durable,
    lines,
)

from pydurable import FullError, PoisonedError, testing
from pydurable._recording import Recording
from pydurable._simulated_disk import Disk
from pydurable._simulated_replay import Replay
from pydurable.logging import DurableHandler


def one_line(capsys) -> str:
    """What was written to standard error, which is to be one line."""
    text = capsys.readouterr().err
    assert text.count("\n") == 1, text
    return text


@pytest.mark.parametrize("sync", ["interval", "group"])
@pytest.mark.parametrize("call", ["sync", "write"])
def test_a_failing_disk_does_not_reach_the_program(path, capsys, call, sync):
    """The call returns; the error is kept, told in one line, counted; later lines are written."""
    with durable(path, interval=0.3, sync=sync, method="fdatasync") as (handler, logger):
        logger.error("before")
        with testing.fail(call, errno.EIO):
            logger.error("during")
        assert isinstance(handler.error, PoisonedError)
        assert handler.error.errno == errno.EIO
        assert handler.stats().lost == 1
        assert handler.stats().errors >= 1
        text = one_line(capsys)
        assert text.startswith(f"pydurable: {path}: ")
        assert os.strerror(errno.EIO) in text
        assert "test_logging_faults.py" in text

        def is_written() -> bool:
            lost = handler.stats().lost
            logger.error("after")
            return handler.stats().lost == lost

        wait_until(is_written, "the file was opened anew")
        assert not capsys.readouterr().err
    assert lines(path)[0] == "before"
    assert lines(path)[-1] == "after"


def test_a_failure_in_the_background_is_noticed(path, capsys):
    """Also when nobody logs any more: the thread that looks after the file tells."""
    with durable(path, interval=0.02) as (handler, logger):
        with testing.fail("sync", errno.EIO):
            logger.info("the last one")
            wait_until(lambda: handler.error is not None, "the failure was noticed")
        assert isinstance(handler.error, PoisonedError)
        assert "pydurable: " in capsys.readouterr().err


def test_silence_if_asked(path, capsys, monkeypatch):
    """With logging.raiseExceptions off nothing is printed; the error is there all the same."""
    monkeypatch.setattr(logging, "raiseExceptions", False)
    with durable(path) as (handler, logger):
        with testing.fail("sync", errno.EIO):
            logger.error("lost")
        assert handler.error is not None
    assert not capsys.readouterr().err


def test_handle_error_can_be_replaced(path):
    """A subclass that alarms somebody gets each record that was not written."""
    seen = []

    class Alarming(DurableHandler):
        def handleError(self, record: logging.LogRecord) -> None:
            seen.append((record.getMessage(), self.error))

    handler = Alarming(path)
    logger = logging.Logger("test")
    logger.addHandler(handler)
    with testing.fail("sync", errno.EIO):
        logger.error("not written")
    handler.close()
    assert seen[0][0] == "not written"
    assert isinstance(seen[0][1], PoisonedError)


def test_sync_raises(path, capsys):
    """Who asks for the disk gets the error."""
    with durable(path, interval=60) as (handler, logger):
        logger.info("x")
        with testing.fail("sync", errno.EIO), pytest.raises(PoisonedError):
            handler.sync()
    capsys.readouterr()


def test_a_full_disk_blocks(path):
    """A line that has to wait for space is written when there is some, and no line is lost."""
    with durable(path, interval=0.02) as (_, logger):
        logger.error("before")
        with testing.full_disk():
            thread = threading.Thread(target=logger.error, args=("waits",))
            thread.start()
            thread.join(0.3)
            assert thread.is_alive()
        thread.join(60)
        assert not thread.is_alive()
        logger.error("after")
    assert lines(path) == ["before", "waits", "after"]


def test_a_full_disk_drops(path):
    """Lines that the ring has no room for are counted, and the file says how many."""
    with durable(path, interval=0.02, on_full="drop", max_pending_bytes=1 << 18) as (h, logger):
        logger.error("before")
        with testing.full_disk():
            for _ in range(3000):
                logger.info("x" * 99)
            dropped = h.stats().dropped
            assert dropped > 0
        wait_until(lambda: "after" in _logged(logger, path), "there was room again")
        all_dropped = h.stats().dropped
    found = lines(path)
    assert found.count("x" * 99) == 3000 - dropped
    told = [int(line.split()[1]) for line in found if line.startswith("pydurable: ")]
    assert sum(told) == all_dropped


def _logged(logger: logging.Logger, path: Path) -> list[str]:
    logger.info("after")
    logger.handlers[0].flush()
    return lines(path)


def test_a_full_disk_raises(path, capsys):
    """Neither a line nor a waiting line is kept waiting; each is an error of the handler."""
    with durable(path, interval=0.02, on_full="raise", max_pending_bytes=1 << 18) as (h, logger):
        logger.error("before")
        with testing.full_disk():
            for _ in range(3000):
                logger.info("x" * 99)
            assert isinstance(h.error, FullError)
            lost = h.stats().lost
            assert lost > 0
            logger.error("waits for nobody")
            assert h.error.errno in (errno.ENOSPC, errno.ENOBUFS)
        wait_until(lambda: "after" in _logged(logger, path), "there was room again")
        assert lines(path).count("x" * 99) == 3000 - lost
    assert "pydurable: " in capsys.readouterr().err


def test_closing_where_the_directory_is_gone(tmp_path, capsys):
    """A program that removed its directory of logs before it closes the handler hears nothing."""
    folder = tmp_path / "logs"
    folder.mkdir()
    handler = DurableHandler(folder / "app.log", max_bytes=50, backup_count=1)
    logger = logging.Logger("test")
    logger.addHandler(handler)
    logger.error("a line")
    shutil.rmtree(folder)
    handler.close()
    assert handler.error is None
    assert capsys.readouterr().err == ""


def test_closing_on_a_full_disk_ends(path, capsys):
    """What could not be written stays in the ring for the next opener; close() does not hang."""
    handler = DurableHandler(path, interval=0.02, on_full="drop", max_bytes=50)
    logger = logging.Logger("test")
    logger.addHandler(handler)
    logger.error("before")
    with testing.full_disk():
        for number in range(10):
            logger.info("line %d", number)
        time.sleep(0.1)  # the thread that rotates may be at it by now, or not
        handler.close()
    assert handler.error is not None
    capsys.readouterr()
    DurableHandler(path).close()
    assert sorted(lines(path)) == sorted(["before", *(f"line {n}" for n in range(10))])


# Power cuts


def cut_everywhere(root: Path, work, seed: int, check) -> int:
    """Record what work does below root, cut the power after each event, and check the rest.

    ``check(path, facts)`` gets the directory that a cut has left, and what was noted until then.
    """
    recording: Recording[str] = Recording()
    disk = Disk.holding(root)
    with recording.running():
        work(recording.note)
    replay, dice, facts = Replay(disk, root), random.Random(seed), []
    with scratch() as place:
        for event in recording.events:
            replay.apply(event)
            if (fact := recording.fact(event)) is not None:
                facts.append(fact)
            for _ in range(3):
                disk.write_after_cut(place / "state", dice)
                check(place / "state", facts)
                shutil.rmtree(place / "state")
    return len(recording.events)


def durable_lines_are_there(state: Path, facts: list[str]) -> None:
    """Each line whose call had returned is in one of the files."""
    lost = set(facts) - set(lines(state / "app.log"))
    assert not lost, f"durable and lost: {sorted(lost)}"


def log_and_rotate(path: Path, note) -> None:
    """Lines that wait, through rotations with retention and compression."""
    with durable(path, sync_level=logging.INFO, max_bytes=40, compress="gzip") as (handler, logger):
        for number in range(20):
            logger.info("line %04d", number)
            note(f"line {number:04}")
        assert handler.stats().rotations >= 4
        assert handler.error is None


@pytest.mark.guarantee("G16")
def test_durable_lines_survive_a_power_cut(tmp_path):
    """At any moment of logging, rotating and compressing, in one of the files."""
    events = cut_everywhere(
        tmp_path,
        lambda note: log_and_rotate(tmp_path / "app.log", note),
        new_seed(),
        durable_lines_are_there,
    )
    assert events > 50


def caught(root: Path) -> bool:
    """Whether the test above would fail now, in one of a few runs of the dice."""
    for attempt in range(5):
        place = root / str(attempt)
        place.mkdir()
        try:
            cut_everywhere(
                place,
                lambda note, place=place: log_and_rotate(place / "app.log", note),
                attempt,
                durable_lines_are_there,
            )
        except AssertionError as error:
            assert "durable and lost" in str(error)  # noqa: PT017
            return True
    return False


@pytest.mark.guarantee("G16")
def test_a_handler_that_does_not_wait_is_caught(tmp_path, monkeypatch):
    """A waiting line that is merely appended does not pass the test of power cuts."""
    from pydurable._log_file import LogFile

    monkeypatch.setattr(LogFile, "commit", LogFile.append)
    assert caught(tmp_path)


@pytest.mark.guarantee("G16")
def test_a_rotation_without_directory_sync_is_caught(tmp_path, monkeypatch):
    """When the directory is never forced out, a power cut takes files with durable lines."""
    from pydurable import _rotated

    def unsynced(source: str, goal: str, **options: bool) -> None:
        with testing.fail("fsync", 0, times=None):
            rename(source, goal, **options)

    rename = _rotated.rename
    monkeypatch.setattr(_rotated, "rename", unsynced)
    assert caught(tmp_path)
