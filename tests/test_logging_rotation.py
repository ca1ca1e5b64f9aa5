"""Rotation by size and time, retention, compression, and crashes in the middle of them."""

from __future__ import annotations

import errno
import gzip
import json
import logging
import os
import stat
import time
from pathlib import Path

import pytest
from _patience import wait_until
from _powercut import scratch
from _processes import check_python
from logging_support import (
    assert_each_once,
    content,
    durable,
    family,
    lines,
    record,
)
from replace_support import fault, leftovers, run_child

from pydurable import _rotated
from pydurable._schedule import Schedule
from pydurable.logging import DurableHandler


def at(text: str) -> float:
    """A moment of local time in seconds since the epoch."""
    return time.mktime(time.strptime(text, "%Y-%m-%d %H:%M:%S"))


def test_a_full_file_is_set_aside(path):
    """No file of a single thread exceeds max_bytes, and each but the last is as full as it gets."""
    with durable(path, max_bytes=1000) as (handler, logger):
        for number in range(300):
            logger.info("line %03d", number)
        assert handler.stats().rotations == 2
    assert [len(content(f)) for f in family(path)] == [999, 999, 702]
    assert lines(path) == [f"line {number:03}" for number in range(300)]


def test_a_line_longer_than_max_bytes_has_a_file_of_its_own(path):
    """It is written whole, and no empty file comes of it."""
    with durable(path, max_bytes=10) as (_, logger):
        for text in ("x" * 50, "short", "y" * 50):
            logger.info(text)
    assert [content(f) for f in family(path)] == [b"x" * 50 + b"\n", b"short\n", b"y" * 50 + b"\n"]


def test_what_a_file_held_before_counts(path):
    """A file that is full when it is opened is set aside by the first line."""
    path.write_bytes(b"o" * 99 + b"\n")
    with durable(path, max_bytes=100) as (_, logger):
        logger.info("new")
    assert [len(content(f)) for f in family(path)] == [100, 4]


def test_the_oldest_are_removed(path):
    """backup_count files are kept beside the present one: the newest."""
    with durable(path, max_bytes=10, backup_count=3) as (_, logger):
        for number in range(30):
            logger.info("line %04d", number)
    assert lines(path) == [f"line {number:04}" for number in range(26, 30)]


def test_other_files_are_left_alone(path):
    """Only what has a name that rotation gives is counted or removed."""
    others = [
        path.with_name(name)
        for name in (
            "app.log.1",
            "app.log.bak",
            "app.log.2026-11-28.txt",
            "app.log.2026-11-28.1.gz.part",
            "app.log2.2026-11-28",
            "my.app.log.2026-11-28",
        )
    ]
    for other in others:
        other.write_text("mine")
    with durable(path, max_bytes=10, backup_count=1, compress="gzip") as (_, logger):
        for number in range(10):
            logger.info("line %04d", number)
    assert all(other.read_text() == "mine" for other in others)


def test_the_clock_put_back_does_not_make_new_files_old(path, monkeypatch):
    """Names go on from the newest one, so that the oldest lines are the first to go."""
    path.with_name("app.log.2999-01-01_00-00-00").write_text("old\n")
    with durable(path, max_bytes=10, backup_count=2) as (_, logger):
        for number in range(5):
            logger.info("line %04d", number)
    assert [f.name for f in family(path)] == [
        "app.log.2999-01-01_00-00-00.3",
        "app.log.2999-01-01_00-00-00.4",
        "app.log",
    ]
    assert lines(path) == ["line 0002", "line 0003", "line 0004"]


@pytest.mark.parametrize(
    ("when", "first", "second", "name"),
    [
        ("midnight", "2026-11-28 23:59:59", "2026-11-29 00:00:00", "2026-11-28"),
        ("W6", "2026-11-28 12:00:00", "2026-11-30 12:00:00", "2026-11-22"),
        ("H", "2026-11-28 12:59:59", "2026-11-28 13:00:00", "2026-11-28_12"),
        ("15m", "2026-11-28 12:14:59", "2026-11-28 12:15:00", "2026-11-28_12-00"),
        ("S", "2026-11-28 12:14:58", "2026-11-28 12:14:59", "2026-11-28_12-14-58"),
    ],
)
def test_a_file_whose_time_is_over_is_set_aside(path, when, first, second, name):
    """What was written in a period that is over is called after it, also after a restart."""
    path.write_text("of the first period\n")
    os.utime(path, (at(first), at(first)))
    with durable(path, when=when, delay=True) as (handler, _):
        handler.handle(record("of the second", created=at(second)))
    assert [f.name for f in family(path)] == [f"app.log.{name}", "app.log"]
    assert lines(path) == ["of the first period", "of the second"]


def test_a_restart_within_the_period_goes_on(path):
    """A record of the same period as what is there is appended."""
    path.write_text("early\n")
    os.utime(path, (at("2026-11-28 00:00:00"),) * 2)
    with durable(path, when="midnight", delay=True) as (handler, _):
        handler.handle(record("late", created=at("2026-11-28 23:59:59")))
    assert family(path) == [path]


def test_a_clock_that_is_ahead_rotates_once(path):
    """Records with a time to come, as from another machine, do not rotate each time."""
    with durable(path, when="H") as (handler, _):
        ahead = time.time() + 5 * 3600
        for message in ("now", "ahead", "ahead again"):
            handler.handle(record(message, created=ahead if "ahead" in message else time.time()))
        assert handler.stats().rotations == 1


def test_a_quiet_file_is_set_aside_too(path):
    """When its time is over nobody has to log first; an empty file stays."""
    with durable(path, when="S", interval=0.02) as (handler, logger):
        logger.info("the only one")
        wait_until(lambda: len(family(path)) == 2, "the file was set aside")
        handler.flush()
        time.sleep(1.1)  # more than a period, in which nothing is to happen
        assert handler.stats().rotations == 1


def test_size_and_time_together(path):
    """Files of one period that are full are numbered."""
    with durable(path, when="midnight", max_bytes=10) as (_, logger):
        for number in range(3):
            logger.info("line %04d", number)
    day = Schedule.parse("midnight", None, False)
    name = day.name(day.after(time.time()))
    assert [f.name for f in family(path)] == [
        f"app.log.{name}",
        f"app.log.{name}.1",
        "app.log",
    ]


def test_compression(path):
    """What was set aside becomes a whole .gz, with the mode and the time of the plain file."""
    with durable(path, max_bytes=2000, compress="gzip", mode=0o640) as (handler, logger):
        for number in range(1000):
            logger.info("line %04d", number)
    names = [f.name for f in family(path)]
    assert [name.endswith(".gz") for name in names] == [True] * (len(names) - 1) + [False]
    assert handler.stats().compressed == len(names) - 1
    assert lines(path) == [f"line {number:04}" for number in range(1000)]
    first = family(path)[0]
    assert stat.S_IMODE(first.stat().st_mode) == stat.S_IMODE(path.stat().st_mode)
    with gzip.open(first) as file:
        file.read(1)
        assert abs(file.mtime - first.stat().st_mtime) <= 1
    assert not leftovers(path.parent)


def test_compression_goes_on_after_a_crash(path):
    """What a dead process left plain, or both plain and packed, is packed by the next one."""
    path.with_name("app.log.2026-11-27").write_text("plain\n")
    path.with_name("app.log.2026-11-28").write_text("both\n")
    path.with_name("app.log.2026-11-28.gz").write_bytes(gzip.compress(b"both\n"))
    with durable(path, compress="gzip") as (_, logger):
        wait_until(lambda: len(family(path)) == 3, "packed")
        wait_until(lambda: not path.with_name("app.log.2026-11-28").exists(), "packed")
        logger.info("new")
    assert lines(path) == ["plain", "both", "new"]


def test_a_file_that_is_still_written_is_neither_packed_nor_removed(path):
    """Another process may need a moment to notice that the file has moved."""
    with (
        durable(path, interval=3600) as (_, slow),
        durable(path, interval=0.05, max_bytes=10, backup_count=1, compress="gzip") as (_, fast),
    ):
        slow.info("held open")
        slow.handlers[0].flush()
        for number in range(4):
            fast.info("line %04d", number)
        held = family(path)[0]
        wait_until(lambda: len(family(path)) == 3, "the others were packed or removed")
        assert held.suffix != ".gz"
        slow.info("late")
        slow.handlers[0].flush()
        assert content(held).startswith(b"held open\n")
        assert content(held).endswith(b"late\n")


@pytest.mark.parametrize("call", ["MOVE_NEW", "OPEN", "FSYNC"])
def test_a_rotation_that_fails_loses_nothing(path, call, capsys):
    """The lines go on in one file or the other; the error is kept, counted and told once."""
    with durable(path, max_bytes=50, interval=0.01) as (handler, logger):
        for number in range(5):
            logger.info("line %04d", number)
        with fault(call, errno.EIO, times=1):
            logger.info("line %04d", 5)
        assert isinstance(handler.error, OSError)
        assert handler.stats().errors >= 1
        assert handler.stats().lost == 0
        time.sleep(0.02)  # so that some of the next lines come after the pause
        for number in range(6, 20):
            logger.info("line %04d", number)
    assert_each_once(path, [f"line {number:04}" for number in range(20)])
    assert capsys.readouterr().err.count("pydurable: ") == 1


def test_a_directory_that_cannot_be_written(path):
    """Without permission to rename the file grows on, and the error says why."""
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    with durable(path, max_bytes=10) as (handler, logger):
        path.parent.chmod(0o555)
        try:
            for number in range(3):
                logger.info("line %04d", number)
        finally:
            path.parent.chmod(0o755)
        assert isinstance(handler.error, PermissionError)
    assert lines(path) == [f"line {number:04}" for number in range(3)]


KILLS = """
import json, logging, os, signal, sys, threading
import pydurable.logging
from pydurable import _directory_lock, _log_file, _rotated, append_file

root, limit, step = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
files = {module.__file__ for module in (_directory_lock, _log_file, _rotated, append_file)}
count = 0

def trace(frame, event, argument):
    # Only what has to do with rotating: each of its lines is a moment to die at.
    return lines if frame.f_code.co_filename in files else None

def lines(frame, event, argument):
    global count
    count += 1
    if count == limit:
        os.kill(os.getpid(), signal.SIGKILL)
    return lines

def run(folder, told):
    threading.settrace(trace)
    handler = pydurable.logging.DurableHandler(
        os.path.join(folder, "app.log"), interval=60, max_bytes=40, backup_count=10,
        compress="gzip", sync_level=None,
    )
    for number in range(9):
        # The first lines are no rotation: from here on every line counts.
        if number == 3:
            sys.settrace(trace)
        handler.handle(logging.LogRecord("x", 20, "", 0, f"line {number:06}", (), None))
        os.write(told, b"%d\\n" % number)
    handler.close()
    sys.settrace(None)
    os._exit(0)

killed = []
while True:
    folder = os.path.join(root, str(len(killed)))
    os.mkdir(folder)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        run(folder, writing)
    os.close(writing)
    with open(reading) as told:
        accepted = [int(line) for line in told]
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
        assert os.waitstatus_to_exitcode(status) == 0, status
        break
    killed.append(accepted)
    limit += step
print(json.dumps(killed))
"""


def kill_in_rotation(place: Path, begin: int, step: int) -> int:
    """Kill a process at one line of rotation after the other; check what the files hold."""
    killed = json.loads(check_python(KILLS, place, begin, step, timeout=300))
    for generation, accepted in enumerate(killed):
        path = place / str(generation) / "app.log"
        DurableHandler(path, compress="gzip").close()  # takes over what the dead one left
        found = [int(line.removeprefix("line ")) for line in lines(path)]
        assert len(found) == len(set(found)), f"a line twice, killed at {begin + generation * step}"
        lost = set(accepted) - set(found)
        assert not lost, f"accepted and lost: {sorted(lost)}, at {begin + generation * step}"
        assert len(found) <= len(accepted) + 1
        for packed in path.parent.glob("*.gz"):
            gzip.decompress(packed.read_bytes())
    return len(killed)


@pytest.mark.guarantee("G16")
def test_a_kill_in_any_step_of_rotation(tmp_path):
    """Whatever line the process dies at, each accepted line is there once, and every .gz whole."""
    with scratch() as place:
        assert kill_in_rotation(place, 1 + os.getpid() % 29, 29) > 10


@pytest.mark.long
def test_a_kill_in_every_step_of_rotation(tmp_path):
    """The same at each line."""
    with scratch() as place:
        assert kill_in_rotation(place, 1, 1) > 200


def test_a_killed_compression_is_not_taken_for_whole(path):
    """What was half written has another name and is no part of the log."""
    script = """
import os, signal, sys
from pydurable import _rotated
from pydurable._log_file import RotatedFiles
chunks = iter(range(3))
def between():
    if next(chunks) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
RotatedFiles(sys.argv[1], 0, True).pack(between)
"""
    old = path.with_name("app.log.2026-11-28")
    old.write_bytes(os.urandom(_rotated._CHUNK_BYTES * 4))
    assert run_child(script, path).returncode == -9
    assert [f.name for f in family(path)] == ["app.log.2026-11-28"]
    assert leftovers(path.parent)


def test_logging_to_a_directory_that_vanished_is_told(path, capsys):
    """Lines go to the file that nobody sees any more, until there is a directory again."""
    inner = path.parent / "inner"
    inner.mkdir()
    with durable(inner / "app.log", interval=0.01) as (handler, logger):
        logger.info("one")
        (inner / "app.log").unlink()
        inner.rmdir()
        wait_until(lambda: handler.error is not None, "the error was noticed")
        logger.info("two")
        inner.mkdir()
        wait_until(lambda: (inner / "app.log").exists(), "the file was made again")
        logger.log(logging.ERROR, "three")
    assert lines(inner / "app.log")[-1] == "three"
    assert "pydurable: " in capsys.readouterr().err
