"""AppendFile on a disk that fails or has no space left."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from _append_file import open_file
from _faults import Faults

import pydurable


@pytest.mark.guarantee("G13")
@pytest.mark.parametrize("call", ["write", "fdatasync"])
def test_a_failed_call_poisons(path: Path, faults: Faults, call: str) -> None:
    """After EIO nothing more is accepted, and every call says so."""
    file = open_file(path, sync="group", method="fdatasync")
    file.commit(b"good\n")
    faults.fail(call, errno.EIO)
    with pytest.raises(pydurable.PoisonedError) as caught:
        file.commit(b"bad\n")
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(path))
    with pytest.raises(pydurable.PoisonedError):
        file.append(b"worse\n")
    with pytest.raises(pydurable.PoisonedError):
        file.close()
    assert path.read_bytes().startswith(b"good\n")


def test_short_and_interrupted_writes_are_completed(path: Path, faults: Faults) -> None:
    """A write that moves half, or is interrupted, is gone on with."""
    faults.short("write", times=3)
    faults.fail("write", errno.EINTR, nth=2)
    with open_file(path) as file:
        file.commit(b"0123456789" * 10)
    assert path.read_bytes() == b"0123456789" * 10


FULL_DISK = [errno.ENOSPC, errno.EDQUOT]


@pytest.mark.parametrize("number", FULL_DISK)
def test_a_full_disk_is_waited_for(path: Path, faults: Faults, number: int) -> None:
    """commit waits until there is room again; the batch is then written once."""
    faults.fail("write", number, times=3)
    with open_file(path) as file:
        file.commit(b"late\n")
        assert path.read_bytes() == b"late\n"
        assert faults.calls("write") == 4


@pytest.mark.guarantee("G13")
def test_what_a_full_disk_took_of_a_batch_is_cut_off(path: Path, faults: Faults) -> None:
    """A batch that was written in part is taken back, and written whole later."""
    path.write_bytes(b"before\n")
    faults.short("write")
    faults.fail("write", errno.ENOSPC, nth=2)
    with open_file(path) as file:
        file.commit(b"0123456789\n")
    assert faults.calls("truncate") == 1
    assert path.read_bytes() == b"before\n0123456789\n"


def test_a_full_disk_can_be_refused(path: Path, faults: Faults) -> None:
    """With on_full="raise" commit raises ENOSPC, and works again once there is room."""
    faults.fail("write", errno.ENOSPC)
    with open_file(path, on_full="raise") as file:
        with pytest.raises(OSError, match="writing to the file") as caught:
            file.commit(b"late\n")
        assert caught.value.errno == errno.ENOSPC
        file.commit(b"later\n")
    assert path.read_bytes() == b"late\nlater\n"
