"""A logging handler whose files are set aside, compressed, removed and moved away meanwhile."""

from __future__ import annotations

import contextlib
import gzip
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from pydurable import sync_directory
from pydurable.logging import DurableHandler

from .workloads import MissedFault, Stage, Workload, leftovers
from .workloads_append import LAST, line, parse_line

STEPS = 200
"""Of all threads together."""

THREADS_MOST = 10
"""Of one process: its threads are numbered from a multiple of this."""

MOVES = 3

FILE_BYTES = 6000

NAME = re.compile(r"app\.log(?:\.(?P<stamp>[-\d_]+?))?(?:\.(?P<number>\d+))?(?P<packed>\.gz)?")


Lines = dict[int, int]
"""A line's serial for each thread."""


@dataclass(frozen=True)
class Said:
    """A line was handed over (``begun``), or its call has returned; ``durable``: as an error."""

    thread: int
    serial: int
    begun: bool
    durable: bool = False


@dataclass(frozen=True)
class Settings:
    """How the handler is set up, before the cut and after it."""

    sync: str = "interval"
    max_bytes: int = FILE_BYTES
    backup_count: int = 0
    compress: str | None = None

    def open(self, root: Path, *, trim: bool = False) -> DurableHandler:
        return DurableHandler(
            root / "app.log",
            sync=self.sync,
            interval=0.02,
            max_bytes=self.max_bytes,
            backup_count=self.backup_count,
            compress=self.compress,
            trim=trim,
        )


def emit(handler: DurableHandler, thread: int, serial: int, level: int) -> None:
    text = line(thread, serial)[:-1].decode()
    handler.handle(logging.LogRecord("rig", level, __file__, 0, text, (), None))


def say(stage: Stage, handler: DurableHandler, thread: int, first: int, steps: int) -> None:
    """Log lines, every third one on the average an error."""
    for serial in range(first, first + steps):
        durable = stage.dice.random() < 0.3
        stage.note(Said(thread, serial, begun=True))
        emit(handler, thread, serial, logging.ERROR if durable else logging.INFO)
        stage.note(Said(thread, serial, begun=False, durable=durable))


def write_session(stage: Stage, settings: Settings, threads: int, first_thread: int = 0) -> None:
    """Threads that log to one handler; without rotation by size the file is moved away."""
    handler = settings.open(stage.root)
    with contextlib.closing(handler):
        running = [
            threading.Thread(
                target=say, args=(stage, handler, first_thread + n, 0, STEPS // threads)
            )
            for n in range(threads)
        ]
        for thread in running:
            thread.start()
        if not settings.max_bytes:
            move_away(stage, running)
        for thread in running:
            thread.join()
    if handler.stats().errors:
        raise RuntimeError(f"the handler has failed: {handler.error}")


def move_away(stage: Stage, running: Sequence[threading.Thread]) -> None:
    """Do as logrotate does, while the threads log: rename, and tell nobody."""
    path = stage.root / "app.log"
    for number in range(1, MOVES + 1):
        size = stage.dice.randrange(1, FILE_BYTES)
        while any(thread.is_alive() for thread in running):
            if path.exists() and path.stat().st_size >= size:
                os.rename(path, f"{path}.{number}")
                sync_directory(stage.root)
                break
            time.sleep(0.001)


def handler_workload(settings: Settings, threads: int, processes: int = 1) -> Workload:
    """One process or several, each with a handler of its own for the same file."""

    def write(stage: Stage) -> None:
        children = []
        for number in range(1, processes):
            child = os.fork()
            if child == 0:
                with _leaving():
                    write_session(stage, settings, threads, THREADS_MOST * number)
            children.append(child)
        write_session(stage, settings, threads)
        for child in children:
            if os.waitpid(child, 0)[1]:
                raise RuntimeError("a child has failed")

    def check(root: Path, facts: Sequence[Said], dice: Random) -> None:
        check_handler(root, facts, dice, settings)

    return Workload(write, check)


@contextlib.contextmanager
def _leaving() -> Iterator[None]:
    """End this process with the block, with 1 if it raises."""
    status = 1
    try:
        yield
        status = 0
    finally:
        os._exit(status)


def write_struck(order: bytes) -> Callable[[Stage], None]:
    """The disk fails once, between lines; a line that the handler says is lost is no promise."""

    def write(stage: Stage) -> None:
        logging.raiseExceptions = False
        handler = Settings(compress="gzip").open(stage.root)
        with contextlib.closing(handler):
            for serial in range(STEPS // 2):
                if serial == STEPS // 4:
                    stage.order(order)
                stage.note(Said(0, serial, begun=True))
                before = handler.stats()
                emit(handler, 0, serial, logging.ERROR)
                after = handler.stats()
                if after.waited > before.waited:
                    stage.note(Said(0, serial, begun=False, durable=True))
                elif after.lost > before.lost:
                    time.sleep(0.02)  # until then the handler does not try again
        if not handler.stats().errors:
            raise MissedFault

    return write


def check_handler(root: Path, facts: Sequence[Said], dice: Random, settings: Settings) -> None:
    """The lines are right; also when a handler has opened the file and done what was left to do."""
    begun, durable = promises(facts)
    check_lines(root, begun, durable, settings)
    if dice.random() < 0.25:
        handler = settings.open(root, trim=True)
        emit(handler, LAST, 0, logging.ERROR)
        handler.close()
        assert handler.stats().errors == 0, f"the handler has failed: {handler.error}"
        # What is torn may be within the file, as long as nobody was promised what is behind it.
        assert (root / "app.log").read_bytes().endswith(line(LAST, 0)), "the last line is lost"
        check_lines(root, {**begun, LAST: 0}, durable, settings)
        assert not settings.compress or not list(root.glob("app.log.*[0-9]")), "left unpacked"


def check_lines(root: Path, begun: Lines, durable: Lines, settings: Settings) -> None:
    """Each thread's lines are there in order, once, and no other; what was promised is among them.

    The oldest may be missing once so many files were set aside as are kept.
    """
    files = list(files_of(root))
    surplus = 0 < settings.backup_count < len(files)
    found: Lines = {}
    for data in files:
        for thread, serial in lines_of(data):
            assert serial <= begun.get(thread, -1), f"thread {thread}: line {serial} is invented"
            last = found.get(thread, -1)
            first = surplus and thread not in found
            assert serial == last + 1 or first, f"thread {thread}: line {serial} after {last}"
            found[thread] = serial
    for thread, serial in durable.items():
        last = found.get(thread, -1)
        # All that this thread has ever said may be in files that were removed since.
        gone = surplus and thread not in found and serial == begun[thread]
        assert last >= serial or gone, f"thread {thread}: line {serial} is lost after {last}"


def check_struck(root: Path, facts: Sequence[Said], dice: Random) -> None:
    """Each acknowledged line is there once, whatever is left of those between and before it."""
    data = b"\n".join(files_of(root))
    wrong = [f.serial for f in facts if f.durable and data.count(line(0, f.serial)) != 1]
    assert not wrong, f"acknowledged lines are lost, or there twice: {wrong}"


def promises(facts: Sequence[Said]) -> tuple[Lines, Lines]:
    """By thread: the last line that was handed over, and the last one that has to be there.

    An error takes everything with it that its handler had accepted when it was handed over.
    """
    begun: Lines = {}
    accepted: Lines = {}
    durable: Lines = {}
    before: dict[int, Lines] = {}
    for fact in facts:
        if fact.begun:
            begun[fact.thread] = fact.serial
            before[fact.thread] = dict(accepted)
            continue
        accepted[fact.thread] = fact.serial
        if fact.durable:
            for thread, serial in {**before[fact.thread], fact.thread: fact.serial}.items():
                if thread // THREADS_MOST == fact.thread // THREADS_MOST:
                    durable[thread] = max(durable.get(thread, -1), serial)
    return begun, durable


def files_of(root: Path) -> Iterator[bytes]:
    """What is in each of the files, the oldest first; no other file is there."""
    stale = {Path(each.path).name for each in leftovers(root)}
    stems: dict[tuple[bool, str, int], dict[bool, bytes]] = {}
    for name in set(os.listdir(root)) - stale - {"lost+found"}:
        match = NAME.fullmatch(name)
        assert match, f"{name} is no file of this log"
        key = name == "app.log", match["stamp"] or "", int(match["number"] or 0)
        data = (root / name).read_bytes()
        packed = match["packed"] is not None
        stems.setdefault(key, {})[packed] = gzip.decompress(data) if packed else data
    for _, both in sorted(stems.items()):
        if len(both) == 2:
            assert both[False] == both[True], "a file and its packed copy differ"
        yield both[max(both)]


def lines_of(data: bytes) -> Iterator[tuple[int, int]]:
    """The lines of a file, up to where it is torn."""
    for each in data.split(b"\n")[:-1]:
        origin = parse_line(each)
        if origin is None:
            return
        yield origin


_KEPT = Settings()
_PACKED = Settings(compress="gzip")
_FEW = Settings(compress="gzip", backup_count=2)
_MOVED = Settings(max_bytes=0)
_UNFORCED = Settings(sync="none", compress="gzip")
_WAITING = Settings(sync="group", backup_count=2)


LOGGING_WORKLOADS = {
    "handler-kept-1": handler_workload(_KEPT, 1),
    "handler-packed-1": handler_workload(_PACKED, 1),
    "handler-packed-4": handler_workload(_PACKED, 4),
    "handler-few-4": handler_workload(_FEW, 4),
    "handler-group-4": handler_workload(_WAITING, 4),
    "handler-none-4": handler_workload(_UNFORCED, 4),
    "handler-moved-4": handler_workload(_MOVED, 4),
    "handler-processes": handler_workload(_PACKED, 2, processes=2),
    "eio-handler-write": Workload(write_struck(b"fail-writes 1"), check_struck),
    "eio-handler-flush": Workload(write_struck(b"fail-flushes 1"), check_struck),
}
