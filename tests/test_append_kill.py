"""SIGKILL while records are appended: the next opener writes every accepted one, once, in order."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from _append_file import open_file
from _patience import PATIENCE_S
from _powercut import new_seed
from _processes import check_python, run_python, start_python

import pydurable
from pydurable._ring_place import private_folders

# Appends lines of its own, now and then commits or syncs, and counts in a shared page.
WRITER = """
import mmap, os, random, struct, sys
import pydurable
path, counts, name, seed, kind, large = sys.argv[1:]
name, dice = int(name), random.Random(int(seed))
page = mmap.mmap(os.open(counts, os.O_RDWR), 4096)
count = memoryview(page).cast("Q")
options = dict(interval=dice.choice([0.001, 3600.0]), sync="none")
options["max_pending_bytes"] = dice.choice([256 << 10, 16 << 20])
if kind == "file":
    out = pydurable.AppendFile(path, **options)
else:
    out = pydurable.Log(path, segment_bytes=1 << 20, **options)
sys.stdout.write("ready\\n")
sys.stdout.flush()
number = 0
while True:
    data = b"%d %d %s\\n" % (name, number, b"x" * dice.randrange(int(large)))
    chance = dice.random()
    if chance < 0.998:
        out.append(data)
    elif chance < 0.999:
        out.commit(data)
    else:
        out.append(data)
        out.sync()
    number += 1
    count[name] = number
"""


def _counts(path: Path, processes: int) -> list[int]:
    return list(struct.unpack_from(f"{processes}Q", path.read_bytes()))


def _kill_after_a_while(processes: list, counts: Path, dice: random.Random) -> None:
    """Kill each once it has appended a number of records, and whatever it does at that moment."""
    goals = {n: dice.randrange(1, 20_000) for n in range(len(processes))}
    end = time.monotonic() + PATIENCE_S
    while goals and time.monotonic() < end:
        done = _counts(counts, len(processes))
        for n in [n for n, goal in goals.items() if done[n] >= goal]:
            processes[n].kill()
            del goals[n]
        time.sleep(dice.random() / 500)
    assert not goals


def _run_and_kill(path: Path, dice: random.Random, processes: int, kind: str) -> list[int]:
    counts = path.with_name("counts")
    counts.write_bytes(bytes(4096))
    large = dice.choice([50, 300, 6000])
    started = [
        start_python(WRITER, path, counts, n, dice.randrange(1 << 30), kind, large)
        for n in range(processes)
    ]
    for writer in started:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    _kill_after_a_while(started, counts, dice)
    for writer in started:
        writer.communicate(timeout=PATIENCE_S)
        assert writer.returncode == -signal.SIGKILL
    return _counts(counts, processes)


def _check(lines: list[bytes], accepted: list[int]) -> None:
    """Each process's lines: all that it counted, at most one more, dense and in order."""
    for name, count in enumerate(accepted):
        mine = [int(line.split(b" ")[1]) for line in lines if line.startswith(b"%d " % name)]
        assert mine == list(range(len(mine))), "a record is missing, doubled or out of order"
        assert count <= len(mine) <= count + 1


def _contents(path: Path, kind: str, recover: Callable[[], None]) -> list[bytes]:
    recover()
    if kind == "log":
        return [record.data for record in pydurable.read_log(path)]
    return path.read_bytes().splitlines()


@pytest.mark.guarantee("G15")
@pytest.mark.parametrize("kind", ["file", "log"])
@pytest.mark.parametrize("round_", range(2))
def test_every_accepted_record_survives_once(tmp_path: Path, kind: str, round_: int) -> None:
    """One process is killed at a random moment; the next opener finds what it had accepted."""
    seed = new_seed()
    dice = random.Random(seed)
    path = tmp_path / "target"
    accepted = _run_and_kill(path, dice, 1, kind)

    def recover() -> None:
        opened = open_file(path) if kind == "file" else pydurable.Log(path)
        opened.close()

    print("seed", seed)
    _check(_contents(path, kind, recover), accepted)


def test_four_processes_on_one_file(tmp_path: Path) -> None:
    """The same with four processes that append to one file and are killed one after the other."""
    seed = new_seed()
    print("seed", seed)
    path = tmp_path / "target"
    accepted = _run_and_kill(path, random.Random(seed), 4, "file")
    _check(_contents(path, "file", lambda: open_file(path).close()), accepted)


@pytest.mark.guarantee("G15")
@pytest.mark.long
@pytest.mark.parametrize(("kind", "processes"), [("file", 1), ("file", 4), ("log", 1)])
def test_many_kills(tmp_path: Path, kind: str, processes: int) -> None:
    """Twenty lives, one after the other."""
    for life in range(20):
        seed = new_seed()
        print("seed", seed)
        path = tmp_path / f"target-{life}"
        accepted = _run_and_kill(path, random.Random(seed), processes, kind)

        def recover(path: Path = path) -> None:
            opened = open_file(path) if kind == "file" else pydurable.Log(path)
            opened.close()

        _check(_contents(path, kind, recover), accepted)


DIES = """
import ctypes, os, signal, sys
import pydurable
file = pydurable.AppendFile(sys.argv[1], interval=3600.0)
for number in range(1000):
    file.append(b"%d\\n" % number)
    if number == 300:
        file.flush()
if sys.argv[2] == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
elif sys.argv[2] == "segfault":
    ctypes.string_at(0)
os._exit(3)
"""


def _lines(count: int) -> bytes:
    return b"".join(b"%d\n" % number for number in range(count))


@pytest.mark.guarantee("G15")
@pytest.mark.parametrize("death", ["kill", "segfault", "exit"])
def test_every_way_to_die(path: Path, death: str) -> None:
    """SIGKILL, a segmentation fault and os._exit: what was appended is written by the next opener,
    which says how much that was; a second one finds nothing."""
    run_python(DIES, path, death)
    assert path.read_bytes() == _lines(301)
    for recovered in (699, 0):
        with open_file(path) as file:
            assert file.recovered_records == recovered
        assert path.read_bytes() == _lines(1000)


def test_a_file_that_was_moved_away_gets_its_own(path: Path) -> None:
    """What a dead process had for a file that was renamed since goes there, not to the new one."""
    run_python(DIES, path, "kill")
    moved = path.with_name("app.log.1")
    path.rename(moved)
    with open_file(path) as file:
        file.append(b"new\n")
        assert file.recovered_records == 699
    assert moved.read_bytes() == _lines(1000)
    assert path.read_bytes() == b"new\n"


def test_a_file_that_is_gone_leaves_its_records_to_the_next(path: Path) -> None:
    """If the old file cannot be found, its last records are the first of the new one."""
    run_python(DIES, path, "kill")
    path.unlink()
    open_file(path).close()
    assert path.read_bytes() == _lines(1000)[len(_lines(301)) :]


def _rewrite(ring: Path, content: bytes) -> None:
    """Change it in place: whoever looks at it meanwhile is to find a ring."""
    with ring.open("r+b") as file:
        file.write(content)
        file.truncate()


def _ring_of(path: Path) -> Path:
    """The one ring that names this target."""
    found = []
    for folder in private_folders():
        for name in os.listdir(folder):
            # Those of other tests come and go meanwhile.
            with contextlib.suppress(FileNotFoundError):
                if os.fsencode(path) + b"\0" in Path(folder, name).read_bytes()[-4096:]:
                    found.append(Path(folder, name))
    (ring,) = found
    return ring


needs_folder = pytest.mark.skipif(not private_folders(), reason="rings lie beside their files here")


@needs_folder
def test_another_boot_is_not_recovered(path: Path) -> None:
    """A ring of a machine that has started anew since is removed, and nothing of it is written."""
    run_python(DIES, path, "kill")
    ring = _ring_of(path)
    page = bytearray(ring.read_bytes())
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")
    at = page.rindex(bytes.fromhex(boot))
    page[at] ^= 1
    _rewrite(ring, page)
    with open_file(path) as file:
        assert file.recovered_records == 0
    assert path.read_bytes() == _lines(301)


@needs_folder
def test_a_living_process_keeps_its_ring(path: Path) -> None:
    """Opening a file that another process has open takes nothing from it."""
    with open_file(path) as first:
        first.append(b"mine\n")
        check_python("import sys, pydurable; pydurable.AppendFile(sys.argv[1]).close()", path)
        assert path.read_bytes() == b""
    assert path.read_bytes() == b"mine\n"


@needs_folder
@pytest.mark.parametrize("seed", range(4))
def test_damaged_rings_do_no_harm(path: Path, seed: int) -> None:
    """Whatever bytes a ring holds, opening its file works and adds whole records only."""
    run_python(DIES, path, "kill")
    ring = _ring_of(path)
    content = bytearray(ring.read_bytes())
    dice = random.Random(seed)
    for _ in range(200):
        content[dice.randrange(len(content) - 4096, len(content) - 2300)] = dice.randrange(256)
    for _ in range(200):
        content[dice.randrange(0, 20_000)] = dice.randrange(256)
    _rewrite(ring, content)
    open_file(path).close()
    assert path.read_bytes().startswith(_lines(301))
    assert set(path.read_bytes().split(b"\n")) <= set(_lines(1000).split(b"\n"))
    ring.unlink(missing_ok=True)


@needs_folder
@pytest.mark.parametrize("half", [b"71", b"\0\0\0\0", b"7000"])
def test_a_record_that_was_half_stored(path: Path, half: bytes) -> None:
    """A kill in the middle of a store leaves a record that does not match its checksum: it, and
    what would be behind it, is left out, and all before it is written."""
    run_python(DIES, path, "kill")
    ring = _ring_of(path)
    content = bytearray(ring.read_bytes())
    at = content.index(b"700\n")
    content[at : at + len(half)] = half
    _rewrite(ring, content)
    with open_file(path) as file:
        assert file.recovered_records == 399
    assert path.read_bytes() == _lines(700)
