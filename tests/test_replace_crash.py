"""Power cuts, killed processes, readers and rivals: old or new, and whole."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from replace_support import CALLS, NEW, OLD, leftovers

from pydurable import (
    _native_record,
    find_stale,
    open_atomic,
    remove_stale,
    rename,
    replace,
    replace_many,
    stale,
)
from pydurable._core import lib
from pydurable._native_record import Event

# A simulated power cut: what the medium may hold after each of the recorded calls


def recorded(operation: Callable[[], object]) -> list[Event]:
    """Return what the operation changed, in order."""
    with _native_record.recording():
        operation()
        return _native_record.recorded()


@dataclass
class Inode:
    """A file: its bytes, and whether all of them are on the medium."""

    content: bytearray = field(default_factory=bytearray)
    safe: bool = False


class Disk:
    """The files of one directory, as the medium and as the kernel has them.

    Pessimistic, but for the order in one directory: names change on the medium in any number of
    the steps that no sync has covered, each file that is not synced may be empty.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        durable = {name: Inode(bytearray(data), True) for name, data in files.items()}
        self.histories = [durable]  # namespaces that the medium may have; the last is the kernel's
        self.open: dict[int, Inode] = {}

    def play(self, event: Event) -> None:
        names = [os.fsdecode(name) for name in event.data.split(b"\0")] if event.data else []
        now = dict(self.histories[-1])
        if event.call == CALLS["OPEN"]:
            self.open.pop(event.a, None)
            if event.c & os.O_CREAT:
                now[names[0]] = self.open[event.a] = Inode()
                self.histories.append(now)
        elif event.call == CALLS["WRITE"] and event.c:
            pass  # its end: the bytes came with its beginning
        elif event.call == CALLS["WRITE"]:
            inode = self.open[event.a]
            inode.safe = False
            inode.content[event.b : event.b + len(event.data)] = event.data
        elif event.call == CALLS["TRUNCATE"]:
            self.open[event.a].safe = False
            del self.open[event.a].content[event.b :]
        elif event.call == CALLS["FSYNC"] and event.b == 1:
            if event.a in self.open:
                self.open[event.a].safe = True
            else:
                del self.histories[:-1]
        elif event.call in (CALLS["MOVE"], CALLS["MOVE_NEW"]):
            now[names[1]] = now.pop(names[0])
            self.histories.append(now)
        elif event.call == CALLS["LINK"]:
            now[names[1]] = now[names[0]]
            self.histories.append(now)
        elif event.call == CALLS["UNLINK"]:
            del now[names[0]]
            self.histories.append(now)

    def possible(self, name: str) -> set[bytes | None]:
        """Return what the file may be after a power cut now."""
        found: set[bytes | None] = set()
        for namespace in self.histories:
            inode = namespace.get(name)
            if inode is None:
                found.add(None)
                continue
            found.add(bytes(inode.content))
            if not inode.safe:
                found.add(b"")
        return found


def streamed(path: Path, **options) -> None:
    with open_atomic(path, "wb", **options) as f:
        f.write(NEW)


def drafted(path: Path) -> None:
    """Rename a file that was written without a sync."""
    rename(path.with_name("draft"), path)


OPERATIONS: dict[str, Callable[..., object]] = {
    "replace": lambda path, **options: replace(path, NEW, **options),
    "open_atomic": streamed,
    "direct": lambda path, **options: streamed(path, direct=True, **options),
    "replace_many": lambda path, **options: replace_many({path: NEW}, **options),
}


@pytest.mark.guarantee("G10")
@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("old", [OLD, None])
@pytest.mark.parametrize("durability", ["full", "data", "none"])
def test_a_power_cut_after_any_call(tmp_path: Path, name: str, old, durability: str) -> None:
    """Old or new at each moment; new at the end with "full"; torn can happen with "none" only."""
    target = tmp_path / "target"
    if old is not None:
        target.write_bytes(old)
    replace(tmp_path / "known", b"")
    events = recorded(lambda: OPERATIONS[name](target, durability=durability))
    disk = Disk({} if old is None else {"target": old})
    seen: set[bytes | None] = set()
    for event in events:
        disk.play(event)
        seen |= disk.possible("target")
    end = disk.possible("target")
    if durability == "full":
        assert seen == {old, NEW}
        assert end == {NEW}
    elif durability == "data":
        assert seen == end == {old, NEW}
    else:
        assert seen == end == {old, NEW, b""}


@pytest.mark.guarantee("G10")
def test_a_power_cut_during_a_batch(tmp_path: Path) -> None:
    """Each file of a batch is old or new at each moment, and all are new at the end."""
    names = [str(number) for number in range(5)]
    for name in names:
        (tmp_path / name).write_bytes(OLD)
    replace(tmp_path / "known", b"")
    events = recorded(lambda: replace_many([(tmp_path / name, NEW) for name in names], workers=2))
    disk = Disk(dict.fromkeys(names, OLD))
    for event in events:
        disk.play(event)
        for name in names:
            assert disk.possible(name) <= {OLD, NEW}
    assert all(disk.possible(name) == {NEW} for name in names)


def test_a_power_cut_during_no_clobber_by_link(tmp_path: Path) -> None:
    """The detour over link and unlink keeps the promise as well."""
    replace(tmp_path / "known", b"")
    lib.pd_fault_set(CALLS["MOVE_NEW"], lib.PD_FAULT_ERROR, errno.ENOSYS, 1, 1)
    try:
        events = recorded(lambda: replace(tmp_path / "target", NEW, overwrite=False))
    finally:
        lib.pd_fault_clear()
    disk = Disk({})
    for event in events:
        disk.play(event)
        assert disk.possible("target") <= {None, NEW}
    assert disk.possible("target") == {NEW}


def test_a_rename_syncs_what_it_renames(tmp_path: Path) -> None:
    """The syncs stand around the rename: the file before it, the directory after it."""
    (tmp_path / "draft").write_bytes(NEW)
    replace(tmp_path / "known", b"")
    events = recorded(lambda: drafted(tmp_path / "target"))
    order = [
        {CALLS["FSYNC"]: "sync", CALLS["MOVE"]: "move"}[event.call]
        for event in events
        if (event.call == CALLS["FSYNC"] and event.b == 1) or event.call == CALLS["MOVE"]
    ]
    assert order == ["sync", "move", "sync"]


# Real processes that die

WRITER = """
import os, sys
import pydurable
target, many = sys.argv[1], [sys.argv[1] + str(n) for n in range(20)]
for turn in range(1_000_000):
    if turn == 3:
        print("ready", flush=True)  # each of the three has been at work
    data = b"%010d" % turn * 500
    if turn % 3 == 0:
        pydurable.replace(target, data, durability="none")
    elif turn % 3 == 1:
        with pydurable.open_atomic(target, "wb", durability="none", buffering=512) as f:
            for at in range(0, len(data), 100):
                f.write(data[at : at + 100])
    else:
        pydurable.replace_many([(path, data) for path in many], durability="none")
"""


def is_whole(data: bytes) -> bool:
    return len(data) == 5000 and data == data[:10] * 500


def killed_writer(folder: Path, after: float) -> None:
    """Start a writer, let it work for so many seconds, and kill it."""
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder / "target")], stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    child.stdout.readline()
    time.sleep(after)
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()


@pytest.mark.guarantee("G10")
def test_sigkill_at_random_moments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever a writer is killed, files are whole, and what it left is found and removed."""
    monkeypatch.setattr(stale, "_MAKING_S", 0.0)
    chance = random.Random(7)
    left = rounds = 0
    until = time.monotonic() + 60
    # On a busy machine a writer may not come to write before it is killed.
    while rounds < 25 or (not left and time.monotonic() < until):
        rounds += 1
        killed_writer(tmp_path, chance.uniform(0, 0.05))
        for path in tmp_path.glob("target*"):
            assert is_whole(path.read_bytes())
        found = find_stale(tmp_path)
        assert sorted(os.path.basename(each.path) for each in found) == sorted(leftovers(tmp_path))
        left += len(found)
        assert len(remove_stale(tmp_path, min_age=0)) == len(found)
        assert not leftovers(tmp_path)
    assert left > 0, "no writer was killed in the middle: the test has shown nothing"


# Readers and rivals

READER = """
import sys
path, stop = sys.argv[1:]
import os
print("ready", flush=True)
reads = 0
while not os.path.exists(stop) or reads == 0:
    with open(path, "rb") as f:
        data = f.read()
    assert len(data) == 5000 and data == data[:10] * 500, data[:50]
    reads += 1
print(reads)
"""


def watched(folder: Path, write: Callable[[Path], None], readers: int = 2) -> list[int]:
    """Let readers look at a file while it is replaced; return how often each of them did."""
    target, stop = folder / "target", folder / "stop"
    target.write_bytes(b"%010d" % 0 * 500)
    watching = [
        subprocess.Popen(
            [sys.executable, "-c", READER, target, stop],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(readers)
    ]
    for reader in watching:
        assert reader.stdout is not None
        reader.stdout.readline()
    try:
        write(target)
    finally:
        stop.touch()
    results = [reader.communicate() for reader in watching]
    for reader, (_, complaint) in zip(watching, results, strict=True):
        assert reader.returncode == 0, complaint
    return [int(out) for out, _ in results]


def replaced_often(count: int, durability: str) -> Callable[[Path], None]:
    def write(target: Path) -> None:
        for turn in range(count):
            replace(target, b"%010d" % turn * 500, durability=durability)

    return write


@pytest.mark.guarantee("G10")
def test_readers_see_whole_contents(tmp_path: Path) -> None:
    """During thousands of replacements nobody reads a mixture, a part or nothing."""
    assert min(watched(tmp_path, replaced_often(3000, "none"))) > 0
    assert (tmp_path / "target").read_bytes() == b"%010d" % 2999 * 500


@pytest.mark.long
def test_readers_see_whole_contents_of_durable_replacements(tmp_path: Path) -> None:
    """The same for 10,000 replacements with all their syncs."""
    assert min(watched(tmp_path, replaced_often(10_000, "full"))) > 0
    assert (tmp_path / "target").read_bytes() == b"%010d" % 9999 * 500


def test_rivals_replace_one_path(tmp_path: Path) -> None:
    """Threads that replace the same file do not disturb each other: one of them is the last."""
    target = tmp_path / "target"
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(30):
                data = b"%010d" % (number * 1000 + turn) * 500
                if turn % 2:
                    replace(target, data, preserve="all")
                else:
                    with open_atomic(target, "wb") as f:
                        f.write(data)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert is_whole(target.read_bytes())
    assert int(target.read_bytes()[:10]) % 1000 == 29
    assert os.listdir(tmp_path) == ["target"]


def test_only_one_rival_wins_without_overwrite(tmp_path: Path) -> None:
    """Of many who make the same new file one succeeds, and its content stands."""
    for round_number in range(20):
        target = tmp_path / str(round_number)
        outcomes: list[int | None] = []

        def work(number: int, target: Path = target, outcomes: list = outcomes) -> None:
            try:
                replace(target, b"%d" % number, overwrite=False, durability="data")
                outcomes.append(number)
            except FileExistsError:
                outcomes.append(None)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (winner,) = [each for each in outcomes if each is not None]
        assert len(outcomes) == 4
        assert target.read_bytes() == b"%d" % winner
    assert not leftovers(tmp_path)
