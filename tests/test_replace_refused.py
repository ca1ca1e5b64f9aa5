"""replace(): what it refuses, and what a full or an odd disk does to it."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest
from replace_support import (
    NEW,
    OLD,
    checked_child,
    fault,
    leftovers,
    open_to_all,
    require_mounts,
)

from pydurable import replace, sync_data, sync_file

AS_NOBODY = """
import os, sys
os.chdir(sys.argv[1])
from pydurable import replace
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
"""


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A file with old content."""
    path = tmp_path / "target"
    path.write_bytes(OLD)
    return path


@pytest.mark.parametrize("path", [".", "..", "folder", "folder/", "missing/", "/", "folder/."])
def test_a_directory_is_refused(tmp_path: Path, monkeypatch, path) -> None:
    """A directory, and what can only be one, is IsADirectoryError."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        replace(path, NEW)
    assert os.listdir(tmp_path) == ["folder"]


def test_what_is_not_a_regular_file_is_refused(tmp_path: Path) -> None:
    """A FIFO, a socket and a device are EINVAL, and stay what they are."""
    fifo, sock = tmp_path / "fifo", tmp_path / "socket"
    os.mkfifo(fifo)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(sock))
    for path in (fifo, sock, Path("/dev/null")):
        before = path.stat().st_mode
        with pytest.raises(OSError, match="FIFO, device or socket") as caught:
            replace(path, NEW)
        assert caught.value.errno == errno.EINVAL
        assert path.stat().st_mode == before
    assert not leftovers(tmp_path)


def test_a_missing_parent(tmp_path: Path) -> None:
    """A parent that is not there is FileNotFoundError, one that is a file NotADirectoryError."""
    with pytest.raises(FileNotFoundError) as caught:
        replace(tmp_path / "no" / "where", NEW)
    assert caught.value.filename == str(tmp_path / "no" / "where")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        replace(tmp_path / "file" / "below", NEW)


def test_the_empty_path(monkeypatch, tmp_path: Path) -> None:
    """An empty path is FileNotFoundError, as for open()."""
    with pytest.raises(FileNotFoundError):
        replace("", NEW)


def test_a_read_only_target_is_refused(tmp_path: Path) -> None:
    """Whom open(path, "w") refuses, replace() refuses too, though the rename would be permitted."""
    target = tmp_path / "target"
    target.write_bytes(OLD)
    target.chmod(0o444)
    script = (
        AS_NOBODY
        + """
for attempt in (lambda: open("target", "wb"), lambda: replace("target", b"new")):
    try:
        attempt()
    except PermissionError as error:
        print(error.errno, os.listdir("."))
"""
    )
    open_to_all(tmp_path)
    out = checked_child(script, tmp_path).splitlines()
    assert out == [f"{errno.EACCES} ['target']"] * 2
    assert target.read_bytes() == OLD


def test_a_directory_that_cannot_be_read(tmp_path: Path) -> None:
    """Without the read permission "full" says what does without it, and "data" works."""
    open_to_all(tmp_path)
    folder = tmp_path / "blind"
    folder.mkdir()
    folder.chmod(0o333)
    script = (
        AS_NOBODY
        + """
if os.geteuid() == os.stat("blind").st_uid:
    os.chmod("blind", 0o333)
try:
    replace("blind/file", b"new")
except PermissionError as error:
    print(error)
replace("blind/file", b"new", durability="data")
"""
    )
    out = checked_child(script, tmp_path)
    folder.chmod(0o777)
    assert 'durability="data"' in out
    assert [(each.name, each.read_bytes()) for each in folder.iterdir()] == [("file", b"new")]


def test_str_data_is_refused(target: Path) -> None:
    """Text is a TypeError that names open_atomic()."""
    with pytest.raises(TypeError, match="open_atomic"):
        replace(target, "text")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        replace(target, 5)
    assert target.read_bytes() == OLD


@pytest.mark.parametrize("path", ["a\0b", b"a\0b"])
def test_nul_in_the_path_is_refused(path) -> None:
    """NUL is a ValueError: C would read a shorter path."""
    with pytest.raises(ValueError, match="null byte"):
        replace(path, NEW)


@pytest.mark.parametrize(
    "options",
    [
        {"durability": "fast"},
        {"preserve": "some"},
        {"permissions": 0o10000},
        {"permissions": -1},
        {"dir_fd": -1},
    ],
)
def test_options_that_make_no_sense(target: Path, options) -> None:
    """Unknown names and impossible numbers are ValueErrors."""
    with pytest.raises(ValueError, match=next(iter(options))):
        replace(target, NEW, **options)
    assert target.read_bytes() == OLD


def test_a_bind_mounted_target(tmp_path: Path) -> None:
    """A file that is a mount point is EBUSY with a note, and never overwritten in place."""
    require_mounts()
    (tmp_path / "target").write_bytes(OLD)
    (tmp_path / "source").write_bytes(OLD)
    script = """
import os, subprocess, sys
from pydurable import replace
os.chdir(sys.argv[1])
subprocess.run(["mount", "--bind", "source", "target"], check=True)
try:
    replace("target", b"new")
except OSError as error:
    print(error.errno, error)
print(sorted(os.listdir(".")))
"""
    out = checked_child(script, tmp_path, prefix=("unshare", "-rm"))
    assert out.startswith(f"{errno.EBUSY} ")
    assert "mount point" in out
    assert out.endswith("['source', 'target']\n")
    assert (tmp_path / "source").read_bytes() == OLD


def test_a_full_disk(tmp_path: Path) -> None:
    """ENOSPC leaves the old content and no temporary file, in each of the calls."""
    require_mounts()
    script = """
import os, subprocess, sys
from pydurable import open_atomic, replace, replace_many
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", sys.argv[1]], check=True)
os.chdir(sys.argv[1])
replace("target", b"old")
big = bytes(1 << 20)
def stream(**options):
    with open_atomic("target", "wb", **options) as f:
        f.write(big)
attempts = [
    lambda: replace("target", big),
    lambda: replace_many([("other", b"x"), ("target", big)]),
    stream,
    lambda: stream(direct=True),
    lambda: stream(buffering=4 << 20),
]
for attempt in attempts:
    try:
        attempt()
    except OSError as error:
        print(error.errno, open("target").read(), os.listdir("."))
"""
    out = checked_child(script, tmp_path, prefix=("unshare", "-rm"))
    assert out.splitlines() == [f"{errno.ENOSPC} old ['target']"] * 5


def test_a_file_size_limit(target: Path) -> None:
    """A limit that ends a write in the middle publishes nothing."""
    script = """
import resource, signal, sys
from pydurable import open_atomic, replace
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
def stream(**options):
    with open_atomic(sys.argv[1], "wb", **options) as f:
        f.write(bytes(1 << 20))
for attempt in (lambda: replace(sys.argv[1], bytes(1 << 20)), stream,
                lambda: stream(buffering=0)):
    try:
        attempt()
    except OSError as error:
        print(error.errno)
"""
    assert checked_child(script, target).split() == [str(errno.EFBIG)] * 3
    assert target.read_bytes() == OLD
    assert not leftovers(target.parent)


def test_a_failed_sync_says_of_which_file(tmp_path: Path) -> None:
    """sync_file() and sync_data() name what they were given: the path or the descriptor."""
    with (tmp_path / "file").open("wb") as file:
        for sync in (sync_file, sync_data):
            for given, name in ((file, str(tmp_path / "file")), (file.fileno(), file.fileno())):
                with fault("ANY", errno.EIO), pytest.raises(OSError, match="syncing") as caught:
                    sync(given)
                assert caught.value.filename == name
                assert caught.value.errno == errno.EIO
