"""Where a log cannot be: full disks, folders that refuse, paths that are no folders."""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from _processes import check_python

import pydurable
from pydurable import Log

Mount = Callable[..., Path]


def _run(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True)


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mount something for the length of a test; skips where that is not allowed."""
    mounted: list[Path] = []

    def mount_at(name: str, *arguments: object) -> Path:
        point = tmp_path / name
        point.mkdir()
        try:
            done = _run("mount", *arguments, point)
        except FileNotFoundError:
            pytest.skip("there is no mount command")
        if done.returncode:
            pytest.skip(f"mounting is not allowed here (it takes root): {done.stderr.strip()}")
        mounted.append(point)
        return point

    yield mount_at
    for point in reversed(mounted):
        _run("umount", "-l", point)


@pytest.fixture(params=["tmpfs", "ext4"])
def small_disk(request: pytest.FixtureRequest, tmp_path: Path, mount: Mount) -> Path:
    """A filesystem of 32 MiB."""
    if request.param == "tmpfs":
        return mount("disk", "-t", "tmpfs", "-o", "size=32m", "tmpfs")
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(32 << 20)
    try:
        made = _run("mkfs.ext4", "-q", "-F", "-m", "0", image)
    except FileNotFoundError:
        pytest.skip("there is no mkfs.ext4")
    assert made.returncode == 0, made.stderr
    return mount("disk", "-t", "ext4", "-o", "loop", image)


def _fill_disk(folder: Path) -> Path:
    """Take all the space there is, to the last byte."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        size = 1 << 20
        while size:
            try:
                os.write(file.fileno(), b"x" * size)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                size //= 2
        os.fsync(file.fileno())
    return filler


FULL_DISK = """
import errno, sys
import pydurable
log = pydurable.Log(sys.argv[1], segment_bytes=1 << 20)
refused = None
while refused is None:
    try:
        log.commit(b"x" * 50000)
    except OSError as error:
        refused = error
assert not isinstance(refused, pydurable.PoisonedError), refused
assert refused.errno == errno.ENOSPC, refused
last = log.durable_lsn
assert last == log.next_lsn - 1 > 50
log.commit(b"there is room for this in the segment")
log.truncate_before(last - 5)
for _ in range(60):
    log.truncate_before(log.commit(b"y" * 50000) - 5)
log.close()
records = list(pydurable.read_log(sys.argv[1]))
assert records[-1].data == b"y" * 50000
assert pydurable.verify_log(sys.argv[1]).clean
"""


@pytest.mark.guarantee("G9")
def test_a_disk_that_fills_up(small_disk: Path) -> None:
    """On a full disk commit raises ENOSPC and the log stays healthy; what truncate_before gives
    up is room to go on in."""
    check_python(FULL_DISK, small_disk / "log")


NO_ROOM = """
import errno, sys
import pydurable
try:
    pydurable.Log(sys.argv[1], segment_bytes=1 << 20)
except OSError as error:
    assert error.errno == errno.ENOSPC, error
    assert error.filename.startswith(sys.argv[1]), error.filename
else:
    raise AssertionError("a log was made without room")
"""


def test_no_room_for_a_log_at_all(small_disk: Path) -> None:
    """Making a log on a full disk is ENOSPC, not a crash, and works once there is room."""
    filler = _fill_disk(small_disk)
    check_python(NO_ROOM, small_disk / "log")
    filler.unlink()
    with Log(small_disk / "log", segment_bytes=1 << 20) as log:
        assert log.commit(b"x") == 1


REOPEN = """
import sys
import pydurable
try:
    with pydurable.Log(sys.argv[1], segment_bytes=1 << 20) as log:
        assert log.next_lsn == 2
        log.commit(b"there is room in the segment")
except OSError as error:
    raise SystemExit(f"refused: {error}")
assert [r.data for r in pydurable.read_log(sys.argv[1])][0] == b"first"
"""


@pytest.mark.parametrize("with_lock_file", [True, False])
def test_a_closed_log_opens_on_a_full_disk(small_disk: Path, with_lock_file: bool) -> None:
    """A log whose last segment has room is opened, or refused with an error; never a crash."""
    path = small_disk / "log"
    with Log(path, segment_bytes=1 << 20) as log:
        log.commit(b"first")
    if not with_lock_file:
        (path / "LOCK").unlink()
    _fill_disk(small_disk)
    if with_lock_file:
        check_python(REOPEN, path)
    else:
        check_python(REOPEN.replace('raise SystemExit(f"refused: {error}")', "pass"), path)
    assert next(pydurable.read_log(path)).data == b"first"


@pytest.fixture
def read_only(tmp_path: Path, mount: Mount) -> Path:
    """A read-only view of a folder in which there is a log."""
    folder = tmp_path / "folder"
    with Log(folder.parent / "made") as log:
        log.commit(b"kept")
    folder.mkdir()
    (folder.parent / "made").rename(folder / "log")
    point = mount("view", "--bind", folder)
    done = _run("mount", "-o", "remount,bind,ro", point)
    if done.returncode:
        pytest.skip(f"read-only bind mounts are not allowed here: {done.stderr.strip()}")
    return point


def test_a_read_only_filesystem(read_only: Path) -> None:
    """Writing is refused with EROFS; reading and verifying need no right to write."""
    for path in (read_only / "log", read_only / "new"):
        with pytest.raises(OSError, match="Read-only file system") as caught:
            Log(path)
        assert caught.value.errno == errno.EROFS
    assert [r.data for r in pydurable.read_log(read_only / "log")] == [b"kept"]
    report = pydurable.verify_log(read_only / "log")
    assert report.clean
    assert not report.writer_alive


DROP_ROOT = """
import os, sys
from pydurable import Log
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
for path in sys.argv[1:]:
    try:
        Log(path)
    except PermissionError as error:
        assert error.filename.startswith(path), error.filename
    else:
        raise AssertionError(f"{path} was opened without the right to")
"""


def test_a_folder_without_the_right_to_write() -> None:
    """PermissionError, for a log that is there and for one that would be new."""
    # Not below pytest's own folder, which is closed to the user that root turns into.
    with tempfile.TemporaryDirectory(prefix="pydurable-") as name:
        folder = Path(name)
        with Log(folder / "log") as log:
            log.commit(b"kept")
        (folder / "log" / "LOCK").chmod(0o444)
        (folder / "log").chmod(0o555)
        folder.chmod(0o555)
        try:
            check_python(DROP_ROOT, folder / "log", folder / "new")
        finally:
            folder.chmod(0o755)
            (folder / "log").chmod(0o755)


def test_a_path_that_is_a_file(tmp_path: Path) -> None:
    """NotADirectoryError with the path, and the file is not touched."""
    path = tmp_path / "file"
    path.write_bytes(b"mine")
    for use in (Log, pydurable.verify_log, lambda p: next(pydurable.read_log(p))):
        with pytest.raises(NotADirectoryError) as caught:
            use(path)
        assert caught.value.filename == str(path)
    assert path.read_bytes() == b"mine"


def test_a_missing_parent(tmp_path: Path) -> None:
    """Only the last folder is made; a missing parent is FileNotFoundError."""
    path = tmp_path / "no" / "log"
    for use in (Log, pydurable.verify_log, pydurable.read_log, pydurable.repair_log):
        with pytest.raises(FileNotFoundError) as caught:
            use(path)
        assert caught.value.filename == str(path)
    assert not path.parent.exists()


def test_no_log_and_create_is_false(tmp_path: Path) -> None:
    """FileNotFoundError for a missing folder and for one without a log, and nothing is made."""
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "missing", tmp_path / "empty"):
        for use in (lambda p: Log(p, create=False), pydurable.verify_log, pydurable.read_log):
            with pytest.raises(FileNotFoundError):
                use(path)
    assert [p.name for p in tmp_path.iterdir()] == ["empty"]
    assert not list((tmp_path / "empty").iterdir())


def test_a_segment_that_may_not_be_read(tmp_path: Path) -> None:
    """A folder in a segment's place is an OSError, not damage that could be repaired away."""
    with Log(tmp_path / "log") as log:
        log.commit(b"x")
    segment = tmp_path / "log" / "0000000000000001.seg"
    segment.rename(tmp_path / "aside")
    segment.mkdir()
    for use in (Log, pydurable.verify_log):
        with pytest.raises(IsADirectoryError):
            use(tmp_path / "log")


def test_paths_of_all_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths, trailing slashes, links and names beyond ASCII lead to the log."""
    monkeypatch.chdir(tmp_path)
    os.symlink("log", "link")
    with Log("log/") as log:
        log.commit(b"1")
    with Log("link") as log:
        log.commit(b"2")
    with Log("./log//") as log:
        log.commit(b"3")
    os.rename("log", "Straße \udcff 日本")
    assert [r.lsn for r in pydurable.read_log("Straße \udcff 日本")] == [1, 2, 3]
    with pytest.raises(FileNotFoundError) as caught:
        Log("Straße \udcff 日本 2/log")
    assert caught.value.filename == "Straße \udcff 日本 2/log"


def test_a_path_with_a_null_character(tmp_path: Path) -> None:
    """ValueError as from open(), and not the folder that the part before it names."""
    path = str(tmp_path / "log") + "\0rest"
    for use in (Log, pydurable.verify_log, pydurable.read_log, pydurable.repair_log):
        with pytest.raises(ValueError, match="null"):
            use(path)
    assert not list(tmp_path.iterdir())


def test_paranoid_refuses_memory(mount: Mount) -> None:
    """sync="paranoid" on a filesystem that lives in memory is refused before anything is made."""
    disk = mount("disk", "-t", "tmpfs", "-o", "size=8m", "tmpfs")
    with pytest.raises(pydurable.UnsafeStorageError) as caught:
        Log(disk / "log", sync="paranoid")
    assert caught.value.errno == errno.ENOTSUP
    assert "tmpfs" in str(caught.value)
    assert not list(disk.iterdir())
