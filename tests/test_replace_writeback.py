"""The disk begins before the sync does, and what it says then is heard."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from replace_support import NEW, OLD, counted, descriptors, fault, leftovers, write_ten_old_files

from pydurable import open_atomic, replace, replace_many
from pydurable._storage import mount_table, mounted

WINDOW = 8 << 20  # as csrc/replace_stage.c has it
PIECE = bytes(range(256)) * 4096  # a MiB


def stream(target: Path, windows: int, **options) -> None:
    """Write that many windows in pieces that do not end where a window does."""
    with open_atomic(target, "wb", **options) as f:
        f.write(b"head")
        for _ in range(windows * WINDOW // len(PIECE)):
            f.write(PIECE)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A file with old content, on a filesystem that is known to sync directories."""
    replace(tmp_path / "target", OLD)
    return tmp_path / "target"


@pytest.mark.parametrize("windows", [0, 1, 3])
def test_a_stream_is_written_out_window_by_window(target: Path, windows: int) -> None:
    """One call for each window, none for a small file, and the content is what was written."""
    made = counted(lambda: stream(target, windows))
    assert made.get("WRITEBACK", 0) == windows
    assert made["FSYNC"] == 2
    assert target.read_bytes() == b"head" + PIECE * (windows * WINDOW // len(PIECE))


def test_bytes_are_written_out_window_by_window_too(target: Path) -> None:
    """replace() of one large object does not leave all of it to the sync."""
    data = PIECE * (2 * WINDOW // len(PIECE)) + b"tail"
    made = counted(lambda: replace(target, data))
    assert (made["WRITEBACK"], made["WRITE"]) == (2, 3)
    assert target.read_bytes() == data


@pytest.mark.parametrize("options", [{"durability": "none"}, {"direct": True}], ids=str)
def test_nothing_to_write_out(target: Path, options) -> None:
    """Who promises nothing leaves the time to the system; direct writes are out already."""
    with open_atomic(target.with_name("asked"), "wb", direct=True) as f:
        direct = f.direct
    if "direct" in options and not direct:
        pytest.skip("no direct I/O on this filesystem")
    assert "WRITEBACK" not in counted(lambda: stream(target, 2, **options))


@pytest.mark.guarantee("G8")
@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_what_cannot_be_written_out_is_an_error(target: Path, code: int, nth: int) -> None:
    """The kernel may tell a loss to this call alone, so that the sync would not hear of it."""
    before = descriptors()
    with (
        fault("WRITEBACK", code, nth=nth),
        pytest.raises(OSError, match="writing a temporary file") as caught,
    ):
        stream(target, 3)
    assert caught.value.errno == code
    assert caught.value.filename == str(target)
    assert target.read_bytes() == OLD
    assert not leftovers(target.parent)
    assert descriptors() == before


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP])
def test_a_system_that_cannot_be_asked_to_begin(target: Path, code: int) -> None:
    """Where there is no such call everything is left to the sync."""
    with fault("WRITEBACK", code, times=0):
        stream(target, 2)
        replace_many({target.with_name("other"): NEW})
    assert target.stat().st_size == 4 + 2 * WINDOW
    assert target.with_name("other").read_bytes() == NEW


def test_old_files_are_held_while_others_are_renamed(tmp_path: Path) -> None:
    """On ext4 each file that loses its name is held once and let go, and a new one is not.  Where
    that fails nothing else does."""
    mount = mounted(str(tmp_path), mount_table())
    if mount is None or mount.kind not in ("ext2", "ext3", "ext4"):
        pytest.skip("only ext4 gains from it")
    write_ten_old_files(tmp_path)
    items = [(tmp_path / str(number), NEW) for number in range(15)]
    before = descriptors()
    made = counted(lambda: replace_many(items))
    assert (made["HOLD"], made["MOVE"]) == (10, 15)
    assert descriptors() == before
    with fault("HOLD", errno.EMFILE, times=0):
        replace_many([(path, OLD) for path, _ in items])
    assert all(path.read_bytes() == OLD for path, _ in items)
    assert descriptors() == before
