"""The doctor on filesystems that are mounted for the test: it takes root and loop devices."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from bench.places import Unavailable, loop_mounted
from pydurable import inspect_storage

IF_HONOURED = "durable if the drive honours flushes"


@contextmanager
def _mounted(kind: str, folder: Path, options: str) -> Iterator[Path]:
    """A filesystem mounted with options; skips where that cannot be done."""
    with ExitStack() as stack:
        try:
            if kind in ("tmpfs", "overlay"):
                yield stack.enter_context(_plainly_mounted(kind, folder, options))
            else:
                yield stack.enter_context(loop_mounted(kind, folder, options))
        except Unavailable as missing:
            pytest.skip(str(missing))


@contextmanager
def _plainly_mounted(kind: str, folder: Path, options: str) -> Iterator[Path]:
    point = folder / "mounted"
    point.mkdir()
    command = ["mount", "-t", kind, "-o", options, kind, point]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Unavailable(f"mounting a {kind} is not allowed here: {done.stderr.strip()}")
    try:
        yield point
    finally:
        subprocess.run(["umount", point], check=True)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A folder whose own storage is not in the way of what a test is about."""
    if inspect_storage(tmp_path).verdict == "not durable":
        pytest.skip(f"{tmp_path} is itself not durable")
    return tmp_path


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_a_loop_mount(kind: str, base: Path) -> None:
    """Filesystem, loop device, its file's filesystem: as durable as what lies below."""
    with _mounted(kind, base, "defaults") as point:
        report = inspect_storage(point / "new")
        assert (report.filesystem, report.mount) == (kind, str(point))
        assert report.verdict == inspect_storage(base).verdict
        assert report.layers[1].name.startswith("loop")
        assert report.layers[1].facts["backing_file"] == str(base / f"{kind}.image")
        assert report.layers[2].kind in ("filesystem", "server")
        with_limits = inspect_storage(point).layers[0].facts
        # btrfs takes O_DIRECT and leaves the question of its alignment open.
        assert with_limits.get("dio_offset_align") in ((None,) if kind == "btrfs" else (512, 4096))


@pytest.mark.parametrize(
    ("kind", "option"), [("ext4", "barrier=0"), ("ext4", "nobarrier"), ("btrfs", "nobarrier")]
)
def test_a_mount_without_barriers(kind: str, option: str, base: Path) -> None:
    """barrier=0 and nobarrier are found on real mounts; XFS has no such option."""
    with _mounted(kind, base, option) as point:
        report = inspect_storage(point)
        assert report.verdict == "not durable"
        assert str(point) in report.reason
        assert "barrier" in report.reason


@pytest.mark.parametrize("mode", ["journal", "ordered", "writeback"])
def test_the_data_mode_of_ext4(mode: str, base: Path) -> None:
    """data= is read from the kernel's list, also where it is the default."""
    with _mounted("ext4", base, f"data={mode}") as point:
        facts = inspect_storage(point).layers[0].facts
        assert facts["data"] == f"data={mode}"
        assert facts["journal"] is True


def test_nodatacow_of_a_directory(base: Path) -> None:
    """chattr +C on a directory of btrfs is seen without root's help."""
    with _mounted("btrfs", base, "defaults") as point:
        (point / "plain").mkdir()
        (point / "nocow").mkdir()
        done = subprocess.run(["chattr", "+C", point / "nocow"], capture_output=True)
        if done.returncode:
            pytest.skip("chattr cannot set +C here")
        assert inspect_storage(point / "plain").layers[0].facts["nodatacow"] is False
        assert inspect_storage(point / "nocow").layers[0].facts["nodatacow"] is True


def test_memory(tmp_path: Path) -> None:
    """A tmpfs, also when it is below an overlay."""
    with _mounted("tmpfs", tmp_path, "size=4m") as point:
        assert inspect_storage(point).verdict == "not durable"
        for name in ("lower", "upper", "work"):
            (point / name).mkdir()
        (tmp_path / "over").mkdir()
        options = f"lowerdir={point}/lower,upperdir={point}/upper,workdir={point}/work"
        with _mounted("overlay", tmp_path / "over", options) as over:
            report = inspect_storage(over)
            assert report.filesystem == "overlay"
            assert report.verdict == "not durable"
            assert report.reason == f"{point} is tmpfs, which lives in memory"


@pytest.mark.parametrize("volatile", [False, True])
def test_an_overlay(volatile: bool, base: Path) -> None:
    """An overlay is as durable as its upper directory, unless it is volatile."""
    for name in ("lower", "upper", "work"):
        (base / name).mkdir()
    options = f"lowerdir={base}/lower,upperdir={base}/upper,workdir={base}/work"
    with _mounted("overlay", base, options + (",volatile" if volatile else "")) as point:
        report = inspect_storage(point)
        below = inspect_storage(base)
        assert report.layers[1].name == below.layers[0].name
        assert report.verdict == ("not durable" if volatile else below.verdict)
