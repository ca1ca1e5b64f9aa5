"""A full ring and a full disk: append waits, drops or raises as asked, and goes on after that."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from _append_file import open_file
from _faults import Faults
from _patience import PATIENCE_S, wait_until

from pydurable import AppendFile, FullError

PENDING = 256 << 10
LINE = 1000


def line(number: int) -> bytes:
    return b"%d " % number + b"x" * (LINE - 10) + b"\n"


def check_with_losses(content: bytes, kept: list[int], lost: int) -> None:
    """The kept lines in order, and lines between them that say how many are not there."""
    numbers, told = [], 0
    for each in content.splitlines():
        if each.startswith(b"pydurable: "):
            assert each.endswith(b" records were lost here")
            told += int(each.split()[1])
        else:
            numbers.append(int(each.split()[0]))
    assert numbers == kept
    assert told == lost


def drop_in_a_row(file: AppendFile, many: int, pause: float = 0.0) -> list[int]:
    """Append until so many in a row are dropped; the numbers of those that were not."""
    kept: list[int] = []
    row = 0
    for number in range(10_000):
        before = file.stats().dropped
        file.append(line(number))
        row = row + 1 if file.stats().dropped > before else 0
        if row == many:
            return kept
        if row == 0:
            kept.append(number)
        else:
            time.sleep(pause)  # if it is only slow, it comes to have room
    raise AssertionError("it never came to be full")


def fill_until_refused(file: AppendFile, accepted: int = 0) -> int:
    """Append until it raises; how many were accepted in all."""
    for number in range(accepted, 10_000):
        try:
            file.append(line(number))
        except FullError:
            return number
    raise AssertionError("it never came to be full")


def fill_the_disk(file: AppendFile) -> int:
    """Append until neither the disk nor the ring takes any more; how many were accepted."""
    accepted = 0
    for _ in range(1000):
        accepted = fill_until_refused(file, accepted)
        if is_refused(file.flush):
            return fill_until_refused(file, accepted)
    raise AssertionError("the disk never came to be full")


def is_refused(call: Callable[[], None]) -> bool:
    """Whether a call says that the disk is full."""
    try:
        call()
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return True
    return False


def sync_when_there_is_room(file: AppendFile) -> None:
    """What found the disk full is tried again ten times a second; till then calls are refused."""
    wait_until(lambda: not is_refused(file.sync), "the disk has room again")


def append_behind_the_gap(file: AppendFile, kept: list[int], many: int) -> None:
    """Append where there is room again; the first line comes with the one that tells of the gap."""
    for number in range(5000, 5000 + many):
        file.append(line(number))
        kept.append(number)
        file.flush()


def test_drop_counts_and_says_so(path: Path, faults: Faults) -> None:
    """While the disk is slow append returns at once and counts what it leaves out; the file says
    where how many were lost."""
    faults.fail("write", errno.ENOSPC, times=0)
    with open_file(path, max_pending_bytes=PENDING, on_full="drop") as file:
        kept = drop_in_a_row(file, 50)
        dropped = file.stats().dropped
        faults.clear()
        file.sync()
        append_behind_the_gap(file, kept, 200)
        assert file.stats().dropped == dropped >= 50
    check_with_losses(path.read_bytes(), kept, dropped)


def test_raise_accepts_nothing_it_refuses(path: Path, faults: Faults) -> None:
    """FullError comes while there is no room, and only then; what was accepted is there once."""
    faults.fail("write", errno.ENOSPC, times=0)
    with open_file(path, max_pending_bytes=PENDING, on_full="raise") as file:
        accepted = fill_until_refused(file)
        for _ in range(10):
            with pytest.raises(FullError):
                file.append(line(0))
        faults.clear()
        sync_when_there_is_room(file)
        file.append(line(accepted))
    check_with_losses(path.read_bytes(), list(range(accepted + 1)), 0)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of one MiB, which is mounted for the test."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting takes root on Linux")
    point = tmp_path / "small"
    point.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", point], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"mounting a tmpfs is not allowed here: {done.stderr.strip()}")
    try:
        yield point
    finally:
        subprocess.run(["umount", point], check=True)


def fill(point: Path) -> Path:
    """Take all space but a little; what to remove to have it again."""
    hog = point / "hog"
    with hog.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for _ in range(14):
            file.write(bytes(64 << 10))
    return hog


def test_a_full_disk_blocks(small: Path) -> None:
    """append waits while the disk is full, and everything is there once there is space."""
    hog = fill(small)
    path = small / "app.log"
    done: list[int] = []
    with open_file(path, max_pending_bytes=PENDING, interval=0.01) as file:

        def append() -> None:
            for number in range(600):
                file.append(line(number))
                done.append(number)

        thread = threading.Thread(target=append)
        thread.start()
        seen = -1
        while seen != len(done):
            seen = len(done)
            time.sleep(0.2)
        # On the disk, in batches and in the ring there is room for three quarters of it at most.
        assert len(done) < 600
        hog.unlink()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
        file.sync()
    check_with_losses(path.read_bytes(), list(range(600)), 0)


def test_a_full_disk_drops(small: Path) -> None:
    """append goes on, counts what is lost, and the file tells of it once there is space."""
    hog = fill(small)
    path = small / "app.log"
    with open_file(path, max_pending_bytes=PENDING, interval=0.01, on_full="drop") as file:
        kept = drop_in_a_row(file, 20, pause=0.01)
        dropped = file.stats().dropped
        hog.unlink()
        file.sync()
        append_behind_the_gap(file, kept, 100)
        assert file.stats().dropped == dropped
    check_with_losses(path.read_bytes(), kept, dropped)


def test_a_full_disk_raises(small: Path) -> None:
    """append raises FullError and commit ENOSPC; nothing accepted is lost when space returns."""
    hog = fill(small)
    path = small / "app.log"
    with open_file(path, max_pending_bytes=PENDING, interval=0.01, on_full="raise") as file:
        accepted = fill_the_disk(file)
        with pytest.raises(OSError, match="No space left") as refused:
            file.commit(line(7777))
        assert refused.value.errno == errno.ENOSPC
        hog.unlink()
        sync_when_there_is_room(file)
        file.commit(line(9999))
    numbers = [int(each.split()[0]) for each in path.read_bytes().splitlines()]
    # What commit was refused may be written once there is space.
    assert [n for n in numbers if n != 7777] == [*range(accepted), 9999]
    assert numbers.count(7777) <= 1
