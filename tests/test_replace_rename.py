"""rename(), and the syncs by themselves."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path

import pytest
from replace_support import NEW, OLD, counted, fault, write_ten_old_files

from pydurable import (
    NotDurableError,
    open_atomic,
    rename,
    sync_data,
    sync_directory,
    sync_file,
)
from pydurable._core import lib


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with ten old files, on a filesystem that is known to sync directories."""
    write_ten_old_files(tmp_path)
    return tmp_path


def test_rename(folder: Path) -> None:
    """A file moves over another, or not with overwrite=False."""
    (folder / "sub").mkdir()
    (folder / "draft").write_bytes(NEW)
    rename(folder / "draft", folder / "sub" / "final")
    assert (folder / "sub" / "final").read_bytes() == NEW
    rename(os.fsencode(folder / "sub" / "final"), os.fsencode(folder / "0"))
    assert (folder / "0").read_bytes() == NEW
    assert os.listdir(folder / "sub") == []
    with pytest.raises(FileExistsError) as caught:
        rename(folder / "0", folder / "1", overwrite=False)
    assert (caught.value.filename, caught.value.filename2) == (str(folder / "0"), str(folder / "1"))
    rename(folder / "0", folder / "moved", overwrite=False)
    assert (folder / "moved").read_bytes() == NEW
    assert (folder / "1").read_bytes() == OLD


def test_rename_of_other_things(folder: Path) -> None:
    """Directories, with a slash or without, symlinks themselves, and FIFOs."""
    (folder / "old").mkdir()
    rename(f"{folder}/old/", f"{folder}/new/")
    assert (folder / "new").is_dir()
    (folder / "link").symlink_to("nowhere")
    rename(folder / "link", folder / "new" / "link")
    assert os.readlink(folder / "new" / "link") == "nowhere"
    os.mkfifo(folder / "fifo")
    rename(folder / "fifo", folder / "pipe")
    assert (folder / "pipe").is_fifo()


def test_rename_that_fails(folder: Path) -> None:
    """What os.rename() refuses is refused alike, and both names stay."""
    with pytest.raises(FileNotFoundError):
        rename(folder / "missing", folder / "0")
    (folder / "sub").mkdir()
    (folder / "sub" / "file").write_bytes(b"")
    with pytest.raises(IsADirectoryError):
        rename(folder / "0", folder / "sub")
    with pytest.raises(OSError, match="renaming") as caught:
        rename(folder / "sub", folder / "sub" / "inner")
    assert caught.value.errno == errno.EINVAL
    assert [path.read_bytes() for path in sorted(folder.glob("?"))] == [OLD] * 10


def test_rename_syncs_the_file_and_both_directories(folder: Path) -> None:
    """Three syncs between two directories, two within one."""
    (folder / "sub").mkdir()
    assert counted(lambda: rename(folder / "0", folder / "sub" / "0"))["FSYNC"] == 3
    assert counted(lambda: rename(folder / "1", folder / "one"))["FSYNC"] == 2


def test_rename_not_durable(folder: Path) -> None:
    """A failed sync of a directory comes after the fact, and says so."""
    with fault("FSYNC", errno.EIO, nth=2), pytest.raises(NotDurableError) as caught:
        rename(folder / "0", folder / "moved")
    assert caught.value.filename2 == str(folder / "moved")
    assert (folder / "moved").exists()


def test_rename_without_the_kernels_help(folder: Path) -> None:
    """No clobber by link and unlink, and what is said when the old name cannot be removed."""
    with fault("MOVE_NEW", errno.EINVAL):
        rename(folder / "0", folder / "moved", overwrite=False)
    assert not (folder / "0").exists()
    with fault("MOVE_NEW", errno.EINVAL):
        lib.pd_fault_set(lib.PD_CALL_UNLINK, lib.PD_FAULT_ERROR, errno.EIO, 1, 1)
        with pytest.raises(NotDurableError, match="old one"):
            rename(folder / "1", folder / "one", overwrite=False)
    assert (folder / "1").samefile(folder / "one")


# The syncs


def test_syncs(tmp_path: Path) -> None:
    """Files and descriptors do; Python's buffer is flushed before."""
    path = tmp_path / "file"
    with open(path, "wb") as f:
        for sync in (sync_file, sync_data):
            f.write(b"x")
            made = counted(lambda sync=sync: sync(f))
            assert sum(made.values()) == 1
            assert path.stat().st_size == f.tell()
            sync(f.fileno())
    with open(path) as reader:
        sync_file(reader)
    assert counted(lambda: sync_directory(tmp_path))["FSYNC"] == 1
    sync_directory(os.fsencode(tmp_path))


def test_syncs_that_fail(tmp_path: Path) -> None:
    """The system's error comes out."""
    (tmp_path / "file").write_bytes(b"")
    for sync in (sync_file, sync_data):
        with pytest.raises(OSError, match="Bad file descriptor"):
            sync(9999)
        with pytest.raises(io.UnsupportedOperation):
            sync(io.BytesIO())
        with pytest.raises(TypeError, match="descriptor"):
            sync("name")
    with pytest.raises(NotADirectoryError):
        sync_directory(tmp_path / "file")
    with pytest.raises(FileNotFoundError):
        sync_directory(tmp_path / "missing")
    with fault("FSYNC", errno.EIO), pytest.raises(OSError, match="Input/output") as caught:
        sync_directory(tmp_path)
    assert caught.value.filename == str(tmp_path)


def test_a_committed_file_needs_no_sync(tmp_path: Path) -> None:
    """open_atomic() makes two syncs: of the file and of its directory."""

    def write() -> None:
        with open_atomic(tmp_path / "file") as f:
            f.write("x")

    write()
    assert counted(write)["FSYNC"] == 2
