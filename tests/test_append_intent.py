"""Death in the middle of a write to a plain file: the batch is there whole and once, or not."""

from __future__ import annotations

import contextlib
import os
import signal
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from _append_file import open_file
from _patience import PATIENCE_S
from _processes import check_python, start_python

import pydurable
from pydurable import _ring_place

BEFORE = b"before\n"
LINES = b"y" * 99 + b"\n"

# Says "there" once its second batch has come as far as it was asked to, and stays there.
DIES = """
import sys, threading, time
import pydurable
from pydurable._core import lib
path, ring, where, count = sys.argv[1:]
batch = (b"y" * 99 + b"\\n") * int(count)
file = pydurable.AppendFile(
    path, interval=3600.0, sync="none", ring=ring == "ring", max_pending_bytes=64 << 20
)
file.commit(b"before\\n")
stays = lambda call, nth: lib.pd_fault_add(1 << call, lib.PD_FAULT_DELAY, 10**6, nth, 1)
if where == "in the write":
    lib.pd_fault_set(lib.PD_CALL_WRITE, lib.PD_FAULT_SHORT, 0, 1, 1)
    rule = stays(lib.PD_CALL_WRITE, 2)
elif where == "before the write":
    rule = stays(lib.PD_CALL_WRITE, 1)
else:
    rule = stays(lib.PD_CALL_LOCK, 2)
if ring == "ring":
    file.append(batch)
    threading.Thread(target=file.flush, daemon=True).start()
else:
    threading.Thread(target=file.commit, args=(batch,), daemon=True).start()
while not lib.pd_fault_hits(rule):
    time.sleep(0.001)
sys.stdout.write("there\\n")
sys.stdout.flush()
time.sleep(3600)
"""


def die(path: Path, where: str, *, ring: bool = True, count: int = 3) -> bytes:
    """Kill a process that writes that many lines to the file; return them."""
    with start_python(DIES, path, "ring" if ring else "no ring", where, count) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        process.kill()
        assert process.wait(PATIENCE_S) == -signal.SIGKILL
    return LINES * count


def pages(path: Path) -> list[Path]:
    """The pages that there are of this file, wherever they lie."""
    status = path.stat()
    name = f"{status.st_dev:x}-{status.st_ino:x}.intent"
    folders = [*map(Path, _ring_place.private_folders()), path.parent]
    return [found for folder in folders for found in folder.iterdir() if found.name.endswith(name)]


def check_recovery(path: Path, expected: bytes, *, records: int) -> None:
    """Opening the file appends that many records, and a second time none; no page stays."""
    for recovered in (records, 0):
        with open_file(path) as file:
            assert file.recovered_records == recovered
        assert path.read_bytes() == expected
    assert pages(path) == []


def without_folder(patch: pytest.MonkeyPatch) -> None:
    """Let this process find no folder for rings."""
    patch.setattr(_ring_place, "_SHARED_MEMORY", "/there is none")
    for variable in ("XDG_RUNTIME_DIR", _ring_place.RING_DIR_VARIABLE):
        patch.delenv(variable, raising=False)


@pytest.fixture(params=["in the folder", "beside the file"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where pages and rings of this process lie."""
    if request.param == "beside the file":
        without_folder(monkeypatch)
    elif not _ring_place.private_folders():
        pytest.skip("rings lie beside their files here")
    return str(request.param)


@pytest.mark.parametrize("count", [3, 30_003])
@pytest.mark.parametrize("ring", [True, False], ids=["ring", "no-ring"])
def test_a_part_is_cut_before_a_living_process_appends(path: Path, ring: bool, count: int) -> None:
    """What a killed process wrote of a batch is gone before another one writes; its whole batch
    follows when the file is opened next, if it was appended."""
    with open_file(path) as living:
        batch = die(path, "in the write", ring=ring, count=count)
        assert BEFORE < path.read_bytes() < BEFORE + batch
        living.commit(b"mine\n")
        assert path.read_bytes() == BEFORE + b"mine\n"
    check_recovery(path, BEFORE + b"mine\n" + (batch if ring else b""), records=int(ring))


def test_a_part_is_cut_when_the_file_is_opened(path: Path) -> None:
    """The first opener cuts it, also where nothing is to be recovered."""
    die(path, "in the write", ring=False)
    check_recovery(path, BEFORE, records=0)


@pytest.mark.parametrize("lives", [True, False], ids=["beside-a-living-process", "alone"])
def test_a_complete_write_is_not_repeated(path: Path, lives: bool) -> None:
    """A process that is killed when its batch is in the file, and has not noted so, has it there
    once."""
    with open_file(path) if lives else contextlib.nullcontext() as living:
        batch = die(path, "behind the write")
        if living:
            living.commit(b"mine\n")
    check_recovery(path, BEFORE + batch + (b"mine\n" if lives else b""), records=0)


@pytest.mark.parametrize("lives", [True, False], ids=["beside-a-living-process", "alone"])
@pytest.mark.parametrize("written", [0, 1, 63, 65, 299, 300])
def test_every_length_of_a_part(path: Path, written: int, lives: bool) -> None:
    """However much of the batch is in the file at the moment of death, it is there once."""
    with open_file(path) if lives else contextlib.nullcontext() as living:
        batch = die(path, "before the write")
        with path.open("ab") as file:
            file.write(batch[:written])
        if living:
            living.commit(b"mine\n")
    mine = b"mine\n" if lives else b""
    if written == len(batch):
        check_recovery(path, BEFORE + batch + mine, records=0)
    else:
        check_recovery(path, BEFORE + mine + batch, records=1)


def test_the_same_bytes_of_another_process_are_not_taken_for_it(path: Path) -> None:
    """Two processes write the same batch, one to the very place where the other died before it
    wrote: both are there in the end."""
    with open_file(path) as living:
        batch = die(path, "before the write")
        living.commit(batch)
        assert path.read_bytes() == BEFORE + batch
    check_recovery(path, BEFORE + batch + batch, records=1)


def test_a_part_is_cut_from_the_old_file_too(path: Path) -> None:
    """A file that was renamed after a process died in a write to it gets its whole batch."""
    batch = die(path, "in the write")
    moved = path.rename(path.with_name("app.log.1"))
    with open_file(path) as file:
        file.commit(b"new\n")
    assert moved.read_bytes() == BEFORE + batch
    assert path.read_bytes() == b"new\n"
    assert pages(moved) == pages(path) == []


def test_a_partial_line_of_a_part_may_be_trimmed(path: Path) -> None:
    """Trimming and recovery do not get into each other's way."""
    batch = die(path, "in the write")
    assert pydurable.trim_partial_line(path) == 50
    assert path.read_bytes() == BEFORE + LINES
    check_recovery(path, BEFORE + batch, records=1)


def _change_page(path: Path, offset: int, data: bytes) -> None:
    (page,) = pages(path)
    with page.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def test_what_does_not_begin_as_the_batch_is_left_alone(path: Path) -> None:
    """A page that speaks of a file which had the same number before cuts nothing."""
    die(path, "in the write", ring=False)
    other = b"z" * path.stat().st_size
    path.write_bytes(other)
    check_recovery(path, other, records=0)


def test_a_page_of_another_boot_is_not_believed(path: Path) -> None:
    """After a restart of the machine nobody knows what became of the file: nothing is cut."""
    die(path, "in the write", ring=False)
    found = path.read_bytes()
    _change_page(path, 8, os.urandom(16))
    check_recovery(path, found, records=0)


@pytest.mark.parametrize("offset", [32, 40, 48, 56, 120])
def test_a_damaged_page_cuts_nothing_else(path: Path, offset: int) -> None:
    """Whatever a page says, what other processes have written stays."""
    die(path, "in the write")
    _change_page(path, offset, b"\xff" * 8)
    open_file(path).close()
    assert path.read_bytes().startswith(BEFORE)
    assert pages(path) == []


def test_the_last_user_removes_the_page(path: Path, place: str) -> None:
    """One page for all who have a file open, gone with the last of them; reopen changes it."""
    with open_file(path) as first:
        (page,) = pages(path)
        assert (page.parent == path.parent) == (place == "beside the file")
        assert page.stat().st_mode & 0o777 == 0o600
        second = open_file(path, ring=False)
        second.commit(b"1\n")
        second.close()
        assert pages(path) == [page]
        moved = path.rename(path.with_name("app.log.1"))
        first.commit(b"2\n")
        first.reopen()
        assert pages(moved) == []
        assert len(pages(path)) == 1
    assert pages(path) == []
    assert sorted(os.listdir(path.parent)) == [path.name, moved.name]


def test_one_page_for_all_wherever_it_lies(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page in use beside the file is used, also where a better place is at hand by now."""
    with monkeypatch.context() as patch:
        without_folder(patch)
        first = open_file(path)
    with first, open_file(path):
        (page,) = pages(path)
        assert page.parent == path.parent


def test_a_child_leaves_the_page_of_its_parent_alone(path: Path) -> None:
    """After fork parent and child share the page, and whoever ends last removes it."""
    code = """
import os, sys, pydurable
file = pydurable.AppendFile(sys.argv[1], interval=3600.0)
file.append(b"parent\\n")
child = os.fork()
if child == 0:
    file.commit(b"child\\n")
    file.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
file.commit(b"parent again\\n")
file.close()
"""
    check_python(code, path)
    assert path.read_bytes() == b"child\nparent\nparent again\n"
    assert pages(path) == []


@contextlib.contextmanager
def _in_the_way(path: Path, kind: str, victim: Path) -> Iterator[None]:
    """Something else has the name of the page."""
    with open_file(path):
        (page,) = pages(path)
    if kind == "symlink":
        page.symlink_to(victim)
    else:
        page.write_bytes(bytes(4096))
        page.chmod(0o666)
    yield
    page.unlink()


@pytest.mark.parametrize("kind", ["symlink", "open to all"])
def test_a_page_that_somebody_planted_is_not_used(
    path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A symbolic link, or a page that others may write to, is neither followed nor believed."""
    without_folder(monkeypatch)
    victim = path.with_name("victim")
    victim.write_bytes(b"precious")
    with _in_the_way(path, kind, victim), pytest.raises(FileExistsError):
        open_file(path)
    assert victim.read_bytes() == b"precious"


def test_a_size_beyond_all_bounds_cuts_nothing(path: Path) -> None:
    """A page whose numbers overflow is no reason to cut a file that is longer than it says."""
    die(path, "in the write", ring=False)
    with path.open("ab") as file:
        file.write(b"z" * 1000)
    found = path.read_bytes()
    _change_page(path, 32, struct.pack("=QQ", 2**64 - 1, 2**64 - 1))
    check_recovery(path, found, records=0)


@pytest.mark.parametrize("where", ["behind the write", "in the write"])
def test_pages_of_the_dead_are_swept_up(
    path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever opens another file removes a page that nobody uses, unless it still has to say what
    is to be cut; the page of a living process stays."""
    monkeypatch.setenv(_ring_place.RING_DIR_VARIABLE, str(path.with_name("rings")))
    die(path, where, ring=False)
    lives = path.with_name("lives.log")
    with open_file(lives):
        open_file(path.with_name("other.log")).close()
        assert len(pages(lives)) == 1
    assert len(pages(path)) == (where == "in the write")
