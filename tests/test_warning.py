"""Writing where a flush reaches nothing: refused under paranoid, warned of once otherwise."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from _processes import check_python
from cli_command import ENVIRONMENT, run

import pydurable
from bench.places import Unavailable, loop_mounted
from pydurable import DurabilityWarning, Log, UnsafeStorageError, _storage

SHM = Path("/dev/shm")

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not os.path.ismount(SHM), reason="there is no tmpfs on /dev/shm"
)


@pytest.fixture(autouse=True)
def _nothing_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_storage, "_settled", set())


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder on a tmpfs."""
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(dir=SHM))
    yield folder
    shutil.rmtree(folder)


def _with_log(folder: Path) -> None:
    Log(folder / "log", segment_bytes=1 << 20).close()


def _with_open_atomic(folder: Path) -> None:
    with pydurable.open_atomic(folder / "a", "wb") as file:
        file.write(b"x")


def _with_dir_fd(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        pydurable.replace("a", b"x", dir_fd=fd)
    finally:
        os.close(fd)


def _with_rename(folder: Path) -> None:
    (folder / "old").write_bytes(b"x")
    pydurable.rename(folder / "old", folder / "new")


WRITERS: list[Callable[[Path], None]] = [
    _with_log,
    _with_open_atomic,
    _with_dir_fd,
    _with_rename,
    lambda folder: pydurable.replace(folder / "a", b"x"),
    lambda folder: pydurable.replace(os.fsencode(folder / "a"), b"x"),
    lambda folder: pydurable.replace_many({folder / "a": b"x"}),
]


@pytest.mark.parametrize("write", WRITERS)
def test_a_writer_warns_once_for_a_mount(memory: Path, write: Callable[[Path], None]) -> None:
    """The warning names the mount and points at the caller; the second time there is none."""
    with pytest.warns(DurabilityWarning, match="^not durable: /dev/shm is tmpfs") as caught:
        write(memory)
    assert [warning.filename for warning in caught] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write(memory)
        _with_log(memory)


@pytest.mark.parametrize("write", WRITERS)
def test_as_an_error_nothing_is_made(memory: Path, write: Callable[[Path], None]) -> None:
    """A filter that makes it an error refuses each time, before anything is touched."""
    before = sorted(memory.iterdir())
    with warnings.catch_warnings():
        warnings.simplefilter("error", DurabilityWarning)
        for _ in range(2):
            with pytest.raises(DurabilityWarning):
                write(memory)
    assert [name for name in sorted(memory.iterdir()) if name.name != "old"] == before


def test_it_can_be_turned_off(memory: Path) -> None:
    """By its category, as any warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=DurabilityWarning)
        _with_log(memory)


def test_replacing_without_a_promise_does_not_warn(memory: Path) -> None:
    """durability="none" promises nothing that the mount could break."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pydurable.replace(memory / "a", b"x", durability="none")


def test_a_symlink_is_judged_by_where_it_leads(memory: Path, tmp_path: Path) -> None:
    """The file that is replaced counts, not the place of the link."""
    (memory / "a").write_bytes(b"old")
    (tmp_path / "link").symlink_to(memory / "a")
    with pytest.warns(DurabilityWarning, match="/dev/shm"):
        pydurable.replace(tmp_path / "link", b"new")


def test_paranoid_refuses_what_the_doctor_refuses(memory: Path, tmp_path: Path) -> None:
    """A loop device over a file in memory looks like a disk: the doctor knows better."""
    with pytest.raises(UnsafeStorageError, match="tmpfs"):
        Log(memory / "log", sync="paranoid")
    try:
        with loop_mounted("ext4", memory) as point:
            with pytest.raises(UnsafeStorageError, match="/dev/shm is tmpfs"):
                Log(point / "log", sync="paranoid")
            assert not (point / "log").exists()
            with pytest.warns(DurabilityWarning, match="/dev/shm is tmpfs"):
                Log(point / "log", segment_bytes=1 << 20).close()
    except Unavailable as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize(("kind", "option"), [("ext4", "barrier=0"), ("btrfs", "nobarrier")])
def test_a_mount_without_barriers(kind: str, option: str, tmp_path: Path) -> None:
    """Warned of with the name of the mount, and refused under paranoid."""
    try:
        with loop_mounted(kind, tmp_path, option) as point:
            with pytest.warns(DurabilityWarning, match=f"{point} is mounted with nobarrier"):
                Log(point / "log", segment_bytes=1 << 20).close()
            with pytest.raises(UnsafeStorageError, match="nobarrier"):
                Log(point / "paranoid", sync="paranoid")
    except Unavailable as missing:
        pytest.skip(str(missing))


def test_a_plain_disk_costs_no_look_into_sysfs(tmp_path: Path) -> None:
    """Where nothing can be wrong, opening a log reads no file of /sys and loads no doctor."""
    table = Path("/proc/self/mountinfo").read_text()
    mount = _storage.mounted(str(tmp_path), table)
    if mount is None or not mount.source.startswith(("/dev/vd", "/dev/sd", "/dev/nvme")):
        pytest.skip(f"{tmp_path} is not on a plain disk")
    program = """
import sys
opened = []
sys.addaudithook(lambda event, args: event == "open" and opened.append(str(args[0])))
import pydurable
pydurable.Log(sys.argv[1], segment_bytes=1 << 20).close()
assert not [name for name in opened if name.startswith("/sys")], opened
assert opened.count("/proc/self/mountinfo") == 1, opened
assert "pydurable._doctor.inspect" not in sys.modules
"""
    check_python(program, tmp_path / "log")


def test_without_the_doctor_the_mount_table_still_counts(memory: Path) -> None:
    """A program that cannot import any more (chroot) is still refused what is plainly wrong."""
    program = """
import sys
from pydurable import Log, UnsafeStorageError
sys.path[:] = []
sys.path_importer_cache.clear()
sys.meta_path[:] = []
try:
    Log(sys.argv[1], sync="paranoid")
except UnsafeStorageError:
    pass
else:
    raise AssertionError("paranoid on tmpfs")
"""
    check_python(program, memory / "log")


def test_the_command_warns_in_one_line(memory: Path) -> None:
    """``pydurable tee`` says it on standard error, as it says errors, and goes on."""
    environment = {key: value for key, value in ENVIRONMENT.items() if key != "PYTHONWARNINGS"}
    done = run("tee", memory / "log", input=b"x\n", env=environment)
    assert (done.returncode, done.stdout) == (0, b"x\n")
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("pydurable: not durable: /dev/shm is tmpfs")
