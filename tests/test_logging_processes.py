"""Several processes on one log file, forks, and processes that are killed."""

from __future__ import annotations

import fcntl
import logging
import multiprocessing
import os
import random
import signal
import struct
import threading
import time
from pathlib import Path

import pytest
from _patience import PATIENCE_S, wait_until
from _processes import check_python, start_python
from logging_support import (
    assert_each_once,
    durable,
    family,
    lines,
)

from pydurable.logging import DurableHandler

WRITER = """
import logging, sys
from pydurable.logging import DurableHandler

path, name, count, options = sys.argv[1], sys.argv[2], int(sys.argv[3]), eval(sys.argv[4])
handler = DurableHandler(path, **options)
logger = logging.Logger(name)
logger.addHandler(handler)
print("ready", flush=True)
sys.stdin.readline()
for number in range(count):
    logger.log(logging.ERROR if number % 500 == 250 else logging.INFO, "%s line %d", name, number)
logging.shutdown()
stats = handler.stats()
assert handler.error is None, handler.error
assert stats.lost == 0, stats
print(stats.rotations, flush=True)
"""


def run_writers(path: Path, count: int, options: dict, processes: int = 4, meanwhile=None) -> int:
    """Let processes log to one file at the same time; how often they rotated it."""
    writers = [start_python(WRITER, path, f"p{name}", count, options) for name in range(processes)]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    if meanwhile:
        meanwhile(lambda: any(writer.poll() is None for writer in writers))
    answers = [writer.communicate(timeout=PATIENCE_S * 2)[0] for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * processes
    return sum(map(int, answers))


def all_lines(count: int, processes: int = 4) -> list[str]:
    return [f"p{name} line {number}" for name in range(processes) for number in range(count)]


@pytest.mark.guarantee("G16")
@pytest.mark.parametrize("compress", [None, "gzip"])
def test_processes_rotate_one_file(path, compress):
    """Four processes, many rotations: the union of the files holds every line once, whole."""
    options = {"max_bytes": 5000, "interval": 0.02, "compress": compress, "backup_count": 1000}
    rotations = run_writers(path, 2500, options)
    assert rotations >= 2
    assert_each_once(path, all_lines(2500))
    # The last one out packs what the others could not, because it was still being written.
    DurableHandler(path, **options).close()
    assert_each_once(path, all_lines(2500))
    if compress:
        assert all(file.suffix == ".gz" for file in family(path)[:-1])


def move_now_and_then(path: Path, create: bool):
    """What logrotate does, with create and without."""

    def moving(going) -> None:
        moves = 0
        while going():
            if path.exists() and path.stat().st_size:
                os.rename(path, path.with_name(f"app.log.moved-{moves:04}"))
                moves += 1
                if create:
                    path.touch(mode=0o644, exist_ok=True)
            time.sleep(0.02)
        assert moves

    return moving


@pytest.mark.guarantee("G16")
@pytest.mark.parametrize("create", [False, True])
@pytest.mark.parametrize("max_bytes", [0, 30_000])
def test_logrotate_moves_the_file(path, create, max_bytes):
    """Moves from outside, beside rotation of our own: every line once in one of the files."""
    options = {"max_bytes": max_bytes, "interval": 0.01}
    run_writers(path, 2500, options, meanwhile=move_now_and_then(path, create))
    assert_each_once(path, all_lines(2500))


@pytest.mark.long
def test_processes_rotate_one_file_for_long(path):
    """The same with more of everything at once."""
    options = {"max_bytes": 100_000, "interval": 0.02, "compress": "gzip"}
    run_writers(path, 40_000, options, meanwhile=move_now_and_then(path, False))
    assert_each_once(path, all_lines(40_000))


def test_a_moved_file_is_left_within_the_interval(path):
    """Lines until the next look go to the moved file; a waiting line looks first."""
    moved = path.with_name("app.log.1")
    with durable(path, interval=3600) as (handler, logger):
        logger.info("before")
        handler.flush()
        path.rename(moved)
        logger.info("still there")
        logger.error("followed")
        assert lines(path)[-1] == "followed"
        assert moved.read_text() == "before\nstill there\n"
        assert handler.stats().reopened == 1
    with durable(path, interval=0.01) as (handler, logger):
        path.rename(path.with_name("app.log.2"))
        wait_until(path.exists, "a look at the path")
        logger.info("new")
    assert path.read_text() == "new\n"


FORKS = """
import logging, os, sys, threading, time
from pydurable.logging import DurableHandler

handler = DurableHandler(sys.argv[1], max_bytes=50_000, interval=0.01)
logger = logging.Logger("test")
logger.addHandler(handler)
over = threading.Event()
counts = [0, 0]

def log_on(which):
    while not over.is_set():
        logger.log(logging.ERROR if counts[which] % 100 == 7 else logging.INFO,
                   "thread %d %d", which, counts[which])
        counts[which] += 1

threads = [threading.Thread(target=log_on, args=(which,)) for which in (0, 1)]
for thread in threads:
    thread.start()
children = []
for child in range(8):
    pid = os.fork()
    if pid == 0:
        for number in range(20):
            level = logging.ERROR if number == 10 else logging.INFO
            logger.log(level, "child %d %d", child, number)
        if child % 2:
            logging.shutdown()
        os._exit(0 if handler.error is None else 1)
    children.append(pid)
    time.sleep(0.005)
statuses = [os.waitpid(pid, 0)[1] for pid in children]
over.set()
for thread in threads:
    thread.join()
logging.shutdown()
assert not any(statuses), statuses
assert handler.error is None, handler.error
print(*counts)
"""


def test_fork_with_threads_logging(path):
    """Children of a process whose threads log go on logging; nobody hangs and no line is lost.

    Half of the children end by os._exit, without closing anything.
    """
    counts = check_python(FORKS, path).split()
    DurableHandler(path).close()  # takes over what children left in their rings
    expected = [f"thread {i} {n}" for i, count in enumerate(counts) for n in range(int(count))]
    expected += [f"child {child} {n}" for child in range(8) for n in range(20)]
    assert_each_once(path, expected)


MULTIPROCESSING = """
import logging, logging.config, multiprocessing, sys

def work(path, name):
    logger = logging.getLogger("test")
    if not logger.handlers:
        configure(path)
    for number in range(50):
        logger.log(logging.ERROR if number == 25 else logging.INFO, "%s %d", name, number)

def configure(path):
    from pydurable.logging import DurableHandler
    logger = logging.getLogger("test")
    logger.setLevel(logging.INFO)
    logger.addHandler(DurableHandler(path, interval=0.05))

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[2])
    configure(sys.argv[1])
    logging.getLogger("test").info("parent")
    workers = [context.Process(target=work, args=(sys.argv[1], f"w{i}")) for i in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0, worker.exitcode
"""


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_multiprocessing(path, tmp_path, method):
    """Workers log, whether they inherit the handler or make their own."""
    script = tmp_path / "program.py"
    script.write_text(MULTIPROCESSING)
    check_python(
        "import runpy, sys; sys.argv = sys.argv[1:]; import subprocess; "
        "sys.exit(subprocess.call([sys.executable, *sys.argv]))",
        script,
        path,
        method,
    )
    DurableHandler(path).close()
    assert_each_once(path, ["parent", *(f"w{i} {n}" for i in range(3) for n in range(50))])


KILLED = """
import logging, os, sys
from pydurable.logging import DurableHandler

handler = DurableHandler(sys.argv[1], interval=float(sys.argv[2]), max_bytes=5000)
logger = logging.Logger("test")
logger.addHandler(handler)
number = int(sys.argv[3])
while True:
    logger.log(logging.ERROR if number % 300 == 299 else logging.INFO, "line %d", number)
    # One write for each line, which the parent sees even after a kill.
    os.write(1, b"%d\\n" % number)
    number += 1
"""


@pytest.mark.guarantee("G16")
def test_kill_9_takes_no_accepted_line(path):
    """Whatever a process logged before SIGKILL is in the files once after the next open."""
    dice = random.Random()
    accepted: list[int] = []
    for generation in range(8):
        begin = generation * 1_000_000
        process = start_python(KILLED, path, dice.choice([60.0, 0.01]), begin)
        for _ in range(dice.choice([1, 50, 1000])):
            accepted.append(int(process.stdout.readline()))
        process.send_signal(signal.SIGKILL)
        accepted += map(int, process.stdout)  # to its end; the pipe outlives the process
        process.wait(timeout=PATIENCE_S)
        process.stdin.close()
        process.stdout.close()
    DurableHandler(path).close()
    found = [int(line.removeprefix("line ")) for line in lines(path)]
    assert len(found) == len(set(found))
    assert set(accepted) <= set(found)
    # At most the line that was under way may be there without having been told of.
    assert len(found) <= len(accepted) + 8
    for generation in range(8):
        mine = [n for n in found if n // 1_000_000 == generation]
        assert mine == list(range(generation * 1_000_000, generation * 1_000_000 + len(mine)))


def test_threads_log_to_one_handler(path):
    """Each thread's lines are there once and in its order, with rotation going on."""
    with durable(path, max_bytes=20_000) as (handler, logger):

        def work(name: int) -> None:
            for number in range(500):
                level = logging.ERROR if number % 100 == 50 else logging.INFO
                logger.log(level, "t%d %d", name, number)

        threads = [threading.Thread(target=work, args=(name,)) for name in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert handler.error is None
    found = lines(path)
    assert_each_once(path, [f"t{name} {number}" for name in range(6) for number in range(500)])
    for name in range(6):
        mine = [int(line.split()[1]) for line in found if line.startswith(f"t{name} ")]
        assert mine == sorted(mine)


@pytest.mark.skipif(not hasattr(fcntl, "F_OFD_SETLK"), reason="no locks of open files here")
def test_who_writes_a_file_leaves_others_their_turn_to_sync_it(path):
    """The handler's lock spares the byte behind all files, which those who sync a file lock."""
    handler = DurableHandler(path)
    handler.handle(logging.LogRecord("x", logging.ERROR, __file__, 0, "line", (), None))
    with path.open("ab") as file:

        def lock(start: int) -> None:
            one = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, start, 1, 0)
            fcntl.fcntl(file, fcntl.F_OFD_SETLK, one)

        with pytest.raises(BlockingIOError):
            lock(0)
        lock(1 << 62)
    handler.close()
