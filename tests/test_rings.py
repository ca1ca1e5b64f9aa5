"""Rings that dead processes left: which are removed, which are kept, and what others cost."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from _append_file import open_file
from _processes import TESTS, check_python, run_python, start_python

import pydurable
from pydurable._ring_content import contents
from pydurable._ring_place import RING_DIR_VARIABLE, all_rings, private_folders
from pydurable._salvage import SWEPT

DIES = """
import os, sys
import pydurable
kind, path, *lines = sys.argv[1:]
options = dict(interval=3600.0, max_pending_bytes=256 << 10)
out = pydurable.AppendFile(path, **options) if kind == "file" else pydurable.Log(path, **options)
out.commit(b"committed\\n")
for line in lines:
    if line == "reopen":
        moved = os.rename(path, path + ".1")
        out.reopen()
    else:
        out.append(line.encode() + b"\\n")
os._exit(0)
"""


def die(path: Path, *lines: str, kind: str = "file") -> None:
    """A process that commits one line, appends these and dies; "reopen" moves the file away."""
    done = run_python(DIES, kind, path, *lines)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def rings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the rings of this test alone."""
    folder = tmp_path / "rings"
    folder.mkdir(0o700)
    monkeypatch.setenv(RING_DIR_VARIABLE, str(folder))
    # Those of other tests would be looked at, too.
    monkeypatch.setattr("pydurable._ring_place._SHARED_MEMORY", "/nowhere")
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    return folder


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A file that has nothing to do with the one under test, in a directory of its own."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder / "other.log"


def test_an_empty_ring_of_a_dead_process_is_removed(path: Path, rings: Path, other: Path) -> None:
    """Whoever opens any file removes it, though its own target is never opened again."""
    die(path)
    assert len(all_rings()) == 1
    open_file(other).close()
    assert all_rings() == []


def test_records_are_kept_until_their_file_is_opened(path: Path, rings: Path, other: Path) -> None:
    """However often other files are opened, and although the target was removed."""
    die(path, "kept")
    path.unlink()
    for _ in range(5):
        open_file(other).close()
    assert len(all_rings()) == 1
    with open_file(path) as file:
        assert file.recovered_records == 1
    assert path.read_bytes() == b"kept\n"
    assert all_rings() == []


def test_rings_of_the_living_are_left_alone(path: Path, rings: Path, other: Path) -> None:
    """Empty or not, they stay where they are, and what is appended later survives."""
    with open_file(path) as file:
        open_file(other).close()
        file.append(b"one\n")
        open_file(other).close()
        assert len(list(rings.glob("*.ring"))) == 1
    assert path.read_bytes() == b"one\n"


def test_rings_of_another_boot_are_removed(path: Path, rings: Path, other: Path) -> None:
    """With what they hold, whatever file is opened."""
    die(path, "of yesterday")
    (ring,) = map(Path, all_rings())
    content = bytearray(ring.read_bytes())
    boot_at = len(content) - 4096 + 32
    content[boot_at] ^= 1
    ring.write_bytes(content)
    open_file(other).close()
    assert all_rings() == []
    assert path.read_bytes() == b"committed\n"


@pytest.mark.parametrize(("age", "left"), [(0, 1), (7200, 0)])
def test_rings_that_were_never_finished(rings: Path, other: Path, age: int, left: int) -> None:
    """They are removed an hour after their process died; one that is just made is not."""
    unfinished = rings / f"{'0' * 8}-{'0' * 8}-{'0' * 8}-1-{'0' * 24}.ring"
    unfinished.write_bytes(bytes(100))
    then = unfinished.stat().st_mtime - age
    os.utime(unfinished, (then, then))
    open_file(other).close()
    assert len(all_rings()) == left


def test_a_file_that_is_no_ring_is_left_alone(rings: Path, other: Path) -> None:
    """Only what is named as a ring is opened at all; a FIFO of that name hangs nobody."""
    (rings / "notes.ring").write_bytes(b"")
    os.utime(rings / "notes.ring", (0, 0))
    fifo = rings / f"{'0' * 8}-{'0' * 8}-{'0' * 8}-1-{'0' * 24}.ring"
    os.mkfifo(fifo)
    open_file(other).close()
    assert sorted(rings.iterdir()) == sorted([fifo, rings / "notes.ring"])


COUNTED = """
import sys
import pydurable
from _faults import Faults
opened = []
sys.addaudithook(lambda event, args: event == "open" and opened.append(args[0]))
pydurable.AppendFile(sys.argv[1]).close()  # what only the first one does
opened.clear()
faults = Faults()
faults.clear()
pydurable.AppendFile(sys.argv[1]).close()
calls = faults.calls()
faults.clear()
print(len(opened), calls)
"""


def test_opening_does_not_open_the_rings_of_others(
    path: Path, rings: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside two hundred rings of other targets it takes no more calls than beside a few."""
    die(path, "kept")
    (ring,) = map(Path, all_rings())

    def calls_beside(count: int) -> tuple[int, int]:
        for number in range(1, count):
            keys, rest = ring.name[:27], ring.name[27:-5]
            copy = ring.with_name(f"{keys}-{rest[:-8]}{number:08x}.ring".replace("--", "-"))
            if not copy.exists():
                shutil.copy(ring, copy)
        assert len(all_rings()) == count
        opens, calls = map(int, check_python(COUNTED, other).split())
        return opens, calls

    few = calls_beside(2 * SWEPT)
    assert few[0] >= SWEPT
    assert calls_beside(200) == few


def test_many_empty_rings_are_gone_after_a_few_opens(path: Path, rings: Path, other: Path) -> None:
    """Each opener removes several, so that they cannot pile up."""
    for _ in range(3 * SWEPT):
        die(path)
        # Its own target is where the next one would find it.
        path = path.with_name(path.name + "x")
    assert len(all_rings()) <= SWEPT
    for _ in range(2):
        open_file(other).close()
    assert all_rings() == []


def test_an_inode_that_is_used_again(path: Path, rings: Path) -> None:
    """What was meant for a file that was removed never goes to another that got its inode."""
    for number in range(50):
        die(path, "for the one that is gone")
        inode = path.stat().st_ino
        path.unlink()
        another = path.with_name(f"another-{number}")
        with open_file(another) as file:
            assert file.recovered_records == 0
        assert another.read_bytes() == b""
        # Filesystems differ in which inode they take next.
        if another.stat().st_ino == inode:
            break
        another.rename(path)
    else:
        pytest.skip("this filesystem does not use inodes again")
    assert len(all_rings()) > 0


@pytest.mark.parametrize("reopened", [False, True])
def test_a_directory_that_was_renamed(tmp_path: Path, rings: Path, reopened: bool) -> None:
    """The ring is found under the file's new path, also if the file was reopened before."""
    folder = tmp_path / "logs"
    folder.mkdir()
    die(folder / "app.log", *(["reopen"] if reopened else []), "accepted")
    folder = folder.rename(tmp_path / "moved")
    with open_file(folder / "app.log") as file:
        assert file.recovered_records == 1
    assert (folder / "app.log").read_bytes().endswith(b"accepted\n")
    assert all_rings() == []


def test_a_file_that_was_moved_to_another_directory(path: Path, rings: Path, other: Path) -> None:
    """Its ring is found when it is opened there."""
    die(path, "accepted")
    path.rename(other)
    with open_file(other) as file:
        assert file.recovered_records == 1


def test_a_log_that_was_moved(tmp_path: Path, rings: Path) -> None:
    """A log's directory keeps its ring wherever it is renamed to."""
    die(tmp_path / "log", "accepted", kind="log")
    (tmp_path / "log").rename(tmp_path / "moved")
    with pydurable.Log(tmp_path / "moved") as log:
        assert log.recovered_records == 1
    assert all_rings() == []


def test_the_folder_can_be_chosen(path: Path, rings: Path) -> None:
    """Rings lie in PYDURABLE_RING_DIR, which is made if need be, for this user alone."""
    rings.rmdir()
    with open_file(path):
        assert rings.stat().st_mode & 0o777 == 0o700
        assert len(list(rings.glob("*.ring"))) == 1
    assert list(rings.iterdir()) == []


def test_a_folder_that_others_can_enter_is_not_used(path: Path, rings: Path) -> None:
    """Rings go beside the file then, and are found there."""
    rings.chmod(0o755)
    assert private_folders() == []
    with open_file(path) as file:
        assert list(rings.iterdir()) == []
        (beside,) = path.parent.glob(".app.log.append-*.ring")
        file.append(b"accepted\n")
        left = Path(shutil.copy(beside, beside.with_name("." + beside.name)))
    with open_file(path) as file:
        assert file.recovered_records == 1
    assert not left.exists()
    assert sorted(path.parent.iterdir()) == sorted([path, rings])


def test_what_a_ring_holds_can_be_told(path: Path, rings: Path) -> None:
    """Records, bytes, owner and target, without changing anything; not of the living."""
    die(path, "one", "three")
    for _ in range(2):
        (held,) = contents(all_rings())
        assert (held.page.target, held.records, held.bytes) == (str(path), 2, 10)
        assert held.page.pid != os.getpid()
    with open_file(path.with_name("mine")) as file:
        file.append(b"mine")
        assert len(list(contents(all_rings()))) == 1


def test_these_tests_keep_their_rings_to_themselves(path: Path) -> None:
    """The rings of this run, and of its children, lie in a folder that goes away with it."""
    folder = Path(os.environ[RING_DIR_VARIABLE])
    die(path, "left behind")
    assert [c.ring for c in contents(all_rings()) if c.page.target == str(path)]
    for content in contents([str(ring) for ring in folder.iterdir()]):
        if content.page.target == str(path):
            Path(content.ring).unlink()
            return
    raise AssertionError("the ring lies elsewhere")


SESSION = """
import os, runpy, sys
os.environ.pop("PYTEST_XDIST_WORKER", None)
runpy.run_path(sys.argv[1])
print(os.environ["PYDURABLE_RING_DIR"], os.environ["XDG_CACHE_HOME"], flush=True)
sys.stdin.read()
"""


def test_a_run_removes_what_killed_ones_left() -> None:
    """Its own folders go away with it, those of the dead before; those of the living stay."""
    conftest = TESTS.parent / "conftest.py"
    with start_python(SESSION, conftest) as killed:
        assert killed.stdout is not None
        left = [Path(name) for name in killed.stdout.readline().split()]
        killed.kill()
    assert len(left) == 2
    with start_python(SESSION, conftest) as other:
        assert other.stdout is not None
        own = [Path(name) for name in other.stdout.readline().split()]
        assert all(folder.is_dir() for folder in own)
        assert not any(folder.exists() for folder in left)
        other.communicate()
    assert not any(folder.exists() for folder in own)
    assert Path(os.environ[RING_DIR_VARIABLE]).is_dir()
