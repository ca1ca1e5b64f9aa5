"""Plain files that are appended to, moved away by logrotate, and opened again."""

from __future__ import annotations

import contextlib
import os
import random
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydurable import AppendFile, DurableError, sync_directory

from .workloads import MissedFault, Stage, Workload

STEPS = 120
"""Of all threads together."""

ROTATIONS = 3

LAST = 99
"""The thread of a line that is written after the cut."""

LINE = re.compile(rb"(\d+) (\d+) [a-z]*")


@dataclass(frozen=True)
class Accepted:
    """A thread's lines up to this serial were handed over; those ``durable`` survive."""

    thread: int
    serial: int
    durable: bool


def line(thread: int, serial: int) -> bytes:
    """A line that says what it is, of a length of its own."""
    size = random.Random(f"{thread} {serial}").choice([0, 30, 700])
    return b"%d %d %s\n" % (thread, serial, b"x" * size)


def parse_line(data: bytes) -> tuple[int, int] | None:
    """The thread and the serial of a line without its end; None if nobody wrote it so."""
    match = LINE.fullmatch(data)
    origin = (int(match[1]), int(match[2])) if match else None
    return origin if origin and line(*origin) == data + b"\n" else None


def append_workload(
    sync: str, threads: int, method: str = "auto", rotates: bool = False
) -> Workload:
    """Threads that append and commit lines; between rounds the file is moved away."""
    waits = sync in ("group", "each", "paranoid")

    def run(stage: Stage, file: AppendFile, thread: int, first: int, steps: int) -> None:
        for serial in range(first, first + steps):
            data = line(thread, serial)
            # Whatever is handed over may be there from now on.
            stage.note(Accepted(thread, serial, durable=False))
            way = stage.dice.random()
            if way < 0.3:
                file.append(data)
                continue
            file.commit(data)
            if waits:
                stage.note(Accepted(thread, serial, durable=True))
            elif way > 0.9:
                file.sync()
                stage.note(Accepted(thread, serial, durable=True))

    def write(stage: Stage) -> None:
        rounds = ROTATIONS if rotates else 1
        steps = STEPS // threads // rounds
        path = stage.root / "app.log"
        with AppendFile(path, sync=sync, method=method, interval=0.005) as file:
            for number in range(rounds):
                running = [
                    threading.Thread(target=run, args=(stage, file, n, number * steps, steps))
                    for n in range(threads)
                ]
                for thread in running:
                    thread.start()
                for thread in running:
                    thread.join()
                if number + 1 < rounds:
                    os.rename(path, f"{path}.{number + 1}")
                    sync_directory(stage.root)
                    file.reopen()

    return Workload(write, check_appended)


def check_appended(root: Path, facts: Sequence[Accepted], dice: random.Random) -> None:
    """The lines are right; opened again, with what its ring kept, the file is right as well."""
    whole = check_lines(root, facts)
    if dice.random() < 0.25 and (root / "app.log").exists():
        last = line(LAST, 0)
        with AppendFile(root / "app.log", sync="group", trim=True) as file:
            file.commit(last)
        assert (root / "app.log").read_bytes().endswith(last)
        again = check_lines(root, [*facts, Accepted(LAST, 0, durable=whole)])
        assert again or not whole, "lines that were whole are so no more"


def check_lines(root: Path, facts: Sequence[Accepted]) -> bool:
    """Each thread's lines are there in order, up to the last one that was acknowledged at least.

    Of the file that was open then, only the end may be torn; what lies behind the last whole line
    is nobody's promise.  Returns whether every line is whole.
    """
    accepted: dict[int, int] = {}
    durable: dict[int, int] = {}
    for fact in facts:
        known = durable if fact.durable else accepted
        known[fact.thread] = max(known.get(fact.thread, -1), fact.serial)
    if any(fact.thread == LAST for fact in facts):
        accepted[LAST] = 0
    found: dict[int, int] = {}
    whole = True
    for data in whole_lines(root):
        origin = parse_line(data)
        whole = origin is not None
        if origin is None:
            break  # torn from here on
        thread, serial = origin
        expected = found.get(thread, -1) + 1
        assert serial == expected, f"thread {thread}: line {serial} where {expected} belongs"
        assert serial <= accepted.get(thread, -1), f"thread {thread}: line {serial} is invented"
        found[thread] = serial
    for thread, serial in durable.items():
        last = found.get(thread, -1)
        assert last >= serial, f"thread {thread}: acknowledged line {serial} is lost after {last}"
    return whole


def write_struck(order: bytes) -> Callable[[Stage], None]:
    """The write or the flush of one line fails; the file is opened again and appended to."""

    def write(stage: Stage) -> None:
        path = stage.root / "app.log"
        struck = b"struck %s\n" % (b"y" * 3000)
        file = AppendFile(path, sync="group", interval=60)
        try:
            _commit_lines(stage, file, 0)
            stage.order(order + b" " + struck[:40])
            file.commit(struck)
        except DurableError:
            pass
        else:
            raise MissedFault
        finally:
            with contextlib.suppress(DurableError, OSError):
                file.close()
        with contextlib.suppress(OSError), AppendFile(path, sync="group", interval=60) as file:
            _commit_lines(stage, file, 1)

    return write


def _commit_lines(stage: Stage, file: AppendFile, thread: int) -> None:
    for serial in range(10):
        file.commit(line(thread, serial))
        stage.note(Accepted(thread, serial, durable=True))


def check_struck(root: Path, facts: Sequence[Accepted], dice: random.Random) -> None:
    """The acknowledged lines are there, whatever has become of the one between them."""
    if facts:
        data = (root / "app.log").read_bytes()
        lost = [f"{f.thread} {f.serial}" for f in facts if line(f.thread, f.serial) not in data]
        assert not lost, f"acknowledged lines are lost: {lost}"


def whole_lines(root: Path) -> list[bytes]:
    """The lines of the files, the oldest file first, without what follows the last line end."""
    files = [root / f"app.log.{number}" for number in range(1, ROTATIONS)] + [root / "app.log"]
    lines: list[bytes] = []
    for path in files:
        if path.exists():
            lines += path.read_bytes().split(b"\n")[:-1]
    return lines


APPEND_WORKLOADS = {
    "append-group-1": append_workload("group", 1),
    "append-group-8": append_workload("group", 8),
    "append-each-4": append_workload("each", 4),
    "append-dsync-4": append_workload("group", 4, "dsync"),
    "append-paranoid-1": append_workload("paranoid", 1),
    "append-interval-4": append_workload("interval", 4),
    "append-rotated-1": append_workload("group", 1, rotates=True),
    "append-rotated-4": append_workload("group", 4, rotates=True),
    "eio-append-write": Workload(write_struck(b"fail-writes 1"), check_struck),
    "eio-append-flush": Workload(write_struck(b"fail-flushes 1"), check_struck),
}
