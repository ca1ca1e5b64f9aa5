"""Leftovers of processes that died: found, and removed when asked for."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import pytest
from _patience import wait_until
from replace_support import HOLD, NEW, OLD, checked_child, fault, leftovers, open_to_all

from pydurable import find_stale, open_atomic, remove_stale, replace
from pydurable._core import lib

TOKEN = "0123456789abcdef" * 2
SINGLE = f".pydurable-{TOKEN}.tmp"
LEADER = f".pydurable-{TOKEN}-00000000.tmp"
MEMBER = f".pydurable-{TOKEN}-0000002a.tmp"


def make(path: Path, age: float = 0) -> Path:
    path.write_bytes(OLD)
    os.utime(path, (time.time() - age,) * 2)
    return path


def names(found) -> list[str]:
    return [os.path.basename(each.path) for each in found]


def test_the_dead_are_found(tmp_path: Path) -> None:
    """A temporary file without a writer is listed, under each kind of path."""
    make(tmp_path / SINGLE)
    for directory in (tmp_path, str(tmp_path), os.fsencode(tmp_path)):
        (found,) = find_stale(directory)
        assert found.path == str(tmp_path / SINGLE)
        assert found.size == len(OLD)
        assert 0 <= found.age < 60
    assert (tmp_path / SINGLE).exists()


def test_the_living_are_not(tmp_path: Path) -> None:
    """While a file is being written it is not stale, whatever its age; afterwards neither."""
    with open_atomic(tmp_path / "target", "wb") as f:
        f.write(NEW)
        assert find_stale(tmp_path) == []
        assert remove_stale(tmp_path, min_age=0) == []
    assert find_stale(tmp_path) == []
    assert (tmp_path / "target").read_bytes() == NEW


def test_one_that_is_being_made_is_not_stale(tmp_path: Path) -> None:
    """Between its creation and its lock a file is empty, and left alone for a minute."""
    with ThreadPoolExecutor(1) as pool, fault("LOCK", HOLD, mode="DELAY"):
        replacing = pool.submit(replace, tmp_path / "target", NEW)
        wait_until(lambda: lib.pd_fault_calls(lib.PD_CALL_LOCK), "the file is made")
        (name,) = leftovers(tmp_path)
        assert find_stale(tmp_path) == []
        assert remove_stale(tmp_path, min_age=0) == []
        lib.pd_fault_clear()
        replacing.result()
    assert (tmp_path / "target").read_bytes() == NEW
    (tmp_path / name).touch()
    assert find_stale(tmp_path) == []
    later = time.time() + 61
    with mock.patch.object(time, "time", return_value=later):
        assert names(find_stale(tmp_path)) == [name]
        assert names(remove_stale(tmp_path, min_age=0)) == [name]


def test_the_lock_is_held_until_after_the_rename(tmp_path: Path) -> None:
    """Between the close of the file and its rename nobody takes it for dead."""
    replace(tmp_path / "target", OLD)
    script = """
import sys, threading
sys.path.insert(0, sys.argv[2])
import pydurable
from pydurable._core import lib
from replace_support import HOLD, fault
with fault("MOVE", HOLD, mode="DELAY"):
    thread = threading.Thread(target=pydurable.replace, args=(sys.argv[1] + "/target", b"new"))
    thread.start()
    while not lib.pd_fault_calls(lib.PD_CALL_MOVE):
        pass
    print("renaming", flush=True)
    sys.stdin.readline()
thread.join()
"""
    child = subprocess.Popen(
        [sys.executable, "-c", script, tmp_path, Path(__file__).parent],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "renaming\n"
    assert len(leftovers(tmp_path)) == 1
    assert find_stale(tmp_path) == []
    child.communicate("\n")
    assert child.returncode == 0
    assert (tmp_path / "target").read_bytes() == b"new"


def test_a_look_does_not_disturb_a_writer(tmp_path: Path) -> None:
    """A writer that finds its new file locked by a looker waits for it, and is then locked."""
    with fault("LOCK", errno.EWOULDBLOCK, times=3), open_atomic(tmp_path / "target", "wb") as f:
        f.write(NEW)
        assert find_stale(tmp_path) == []
    with fault("LOCK", errno.EWOULDBLOCK, times=0):
        replace(tmp_path / "target", OLD)
    assert (tmp_path / "target").read_bytes() == OLD


def test_a_member_of_a_batch_lives_with_its_leader(tmp_path: Path) -> None:
    """A file that is closed already is alive as long as the leader of its batch is locked."""
    make(tmp_path / LEADER)
    make(tmp_path / MEMBER)
    with open(tmp_path / LEADER, "rb") as leader:
        fcntl.flock(leader, fcntl.LOCK_EX)
        assert find_stale(tmp_path) == []
    assert sorted(names(find_stale(tmp_path))) == sorted([LEADER, MEMBER])
    (tmp_path / LEADER).unlink()
    assert names(find_stale(tmp_path)) == [MEMBER]


def test_only_what_is_old_enough_is_removed(tmp_path: Path) -> None:
    """min_age counts from the last change of content or attributes, in seconds."""
    make(tmp_path / SINGLE, age=1000)
    # The change of the times is itself a change of now.
    assert remove_stale(tmp_path, min_age=100) == []
    assert names(remove_stale(tmp_path, min_age=0)) == [SINGLE]
    assert os.listdir(tmp_path) == []


def test_the_oldest_come_first(tmp_path: Path) -> None:
    """find_stale() is ordered by age."""
    make(tmp_path / SINGLE)
    time.sleep(0.02)
    make(tmp_path / MEMBER)
    assert names(find_stale(tmp_path)) == [SINGLE, MEMBER]


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    """Only regular files of exactly this form of name are looked at."""
    other = [
        ".pydurable-.tmp",
        f".pydurable-{TOKEN}.tmp.bak",
        f".pydurable-{TOKEN.upper()}.tmp",
        f"x{SINGLE}",
        "file.tmp",
    ]
    for name in other:
        make(tmp_path / name)
    (tmp_path / SINGLE).symlink_to("file.tmp")
    os.mkfifo(tmp_path / LEADER)
    (tmp_path / MEMBER).mkdir()
    assert find_stale(tmp_path) == []
    assert remove_stale(tmp_path, min_age=0) == []
    assert len(os.listdir(tmp_path)) == len(other) + 3


def test_what_cannot_be_opened_is_left_alone(tmp_path: Path) -> None:
    """Another user's file may be alive, for all that anybody can tell."""
    make(tmp_path / SINGLE).chmod(0)
    open_to_all(tmp_path)
    script = """
import os, sys
from pydurable import remove_stale
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
print(remove_stale(sys.argv[1], min_age=0))
"""
    assert checked_child(script, tmp_path) == "[]\n"


def test_a_filesystem_without_locks(tmp_path: Path, monkeypatch) -> None:
    """There the age alone decides, and a real failure of the lock is not hidden."""
    make(tmp_path / SINGLE)

    def refuse(code: int):
        def flock(fd: int, operation: int) -> None:
            raise OSError(code, os.strerror(code))

        return flock

    monkeypatch.setattr(fcntl, "flock", refuse(errno.ENOLCK))
    assert names(find_stale(tmp_path)) == [SINGLE]
    monkeypatch.setattr(fcntl, "flock", refuse(errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        find_stale(tmp_path)


def test_bad_arguments(tmp_path: Path) -> None:
    """A directory that is not there, a negative age, an age that is no number."""
    with pytest.raises(FileNotFoundError):
        find_stale(tmp_path / "missing")
    for age in (-1, float("nan")):
        with pytest.raises(ValueError, match="min_age"):
            remove_stale(tmp_path, min_age=age)
