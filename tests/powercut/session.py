"""Recording a session: a writer at work on a real filesystem on the disk that remembers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydurable import _core

from . import HERE, kernel
from .filesystems import Filesystem
from .recording import Image, Recording, parse_log
from .workloads import MISSED, MissedFault

WRITER_TIMEOUT_S = 1800

CALM = "calm"
"""The order that ends a session, and whatever was wrong with the disk in it."""


def compile_disk(target: Path) -> None:
    """Build disk.c; subprocess.CalledProcessError if that fails."""
    flags = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "fuse3"], check=True, capture_output=True, text=True
    ).stdout.split()
    strict = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror"]
    command = ["cc", *strict, os.fspath(HERE / "disk.c"), "-o", os.fspath(target), *flags]
    subprocess.run(command, check=True, timeout=120)


class Disk:
    """A running disk.c: its three files, and its log once it has stopped."""

    def __init__(self, program: Path, place: Path, base: Image) -> None:
        self.image = place / "image"
        self.log = place / "log"
        self._point = place / "disk"
        self._point.mkdir(exist_ok=True)
        with self.image.open("wb") as file:
            base.write_to(file.fileno())
        self._process = subprocess.Popen(
            [program, self._point, self.image, self.log], stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"mounted\n":
            self._process.wait()
            raise OSError("the FUSE disk did not come up")
        self.device = self._point / "disk"
        self.ack = self._point / "ack"
        self.control = self._point / "control"

    def order(self, *orders: str) -> None:
        """Have the disk fail in some way from now on; disk.c says how."""
        for order in orders:
            self.control.write_bytes(order.encode())

    def stop(self) -> None:
        """End it; AssertionError if it has not done all it was asked for."""
        assert self._process.stdout is not None
        kernel.unmount(self._point)
        status = self._process.wait(timeout=kernel.PATIENCE_S)
        self._process.stdout.close()
        assert status == 0, f"the FUSE disk ended with {status}"


@contextmanager
def running_disk(program: Path, place: Path, base: Image) -> Iterator[Disk]:
    disk = Disk(program, place, base)
    try:
        yield disk
    finally:
        disk.stop()


@dataclass(frozen=True)
class Setting:
    """What a session runs under, beside the filesystem."""

    mount_options: str = ""
    orders: tuple[str, ...] = ()
    """Given to the disk once the filesystem is mounted."""
    core: str | None = None
    """A tree that holds another build of pydurable, for the writer alone."""


def _writer_environment(core: str | None, rings: Path) -> Mapping[str, str]:
    """One in which the writer finds this package, and the pydurable that it is to use.

    The power cut takes what lies in memory, so no check may find the writer's rings.
    """
    tests = os.fspath(HERE.parent)
    path = [core, tests] if core else [tests]
    inherited = os.environ.get("PYTHONPATH")
    path += [inherited] if inherited else []
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path),
        "PYDURABLE_RING_DIR": os.fspath(rings),
    }


def run_writer(
    disk: Disk, root: Path, workload: str, seed: int, core: str | None, rings: Path
) -> None:
    """Let a workload write in a process of its own; RuntimeError or MissedFault if it fails."""
    command = [sys.executable, "-m", f"{__package__.rpartition('.')[2]}.writer"]
    home = core or os.fspath(Path(_core.__file__).parents[1])
    arguments = [workload, root, disk.ack, disk.control, seed, home]
    done = subprocess.run(
        [*command, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=_writer_environment(core, rings),
        timeout=WRITER_TIMEOUT_S,
        # Python looks for modules in the working directory first.
        cwd=home,
    )
    if done.returncode == MISSED:
        raise MissedFault
    if done.returncode:
        raise RuntimeError(f"the writer {workload} failed:\n{done.stdout}")


def record(
    program: Path,
    place: Path,
    filesystem: Filesystem,
    base: Image,
    workload: str,
    seed: int,
    setting: Setting,
    inherited: Sequence[Any] = (),
) -> Recording:
    """Record one workload, from before the mount to the writer's end."""
    folder = place / "session"
    folder.mkdir()
    try:
        with running_disk(program, folder, base) as disk:
            mounted = filesystem.mounted(
                disk.device, folder / "root", options=setting.mount_options, direct=True
            )
            with mounted as root:
                disk.order(*setting.orders)
                run_writer(disk, root, workload, seed, setting.core, folder / "rings")
                disk.order(CALM)
        whole = Recording(base, list(parse_log(disk.log.read_bytes())), list(inherited))
        whole.check_against(disk.image.read_bytes())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    # Unmounting is no power cut; what it wrote only had to be right.
    calm = next(i for i, entry in enumerate(whole.entries) if entry.data == CALM.encode())
    return Recording(base, whole.entries[:calm], list(inherited))
