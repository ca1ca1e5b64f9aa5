"""Where the benchmark of replacing runs: a folder, a loop-mounted xfs, and the C floor."""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import mmap
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

IMAGE_BYTES = 4 << 30  # sparse; two files of a GiB must fit beside the log


class Unavailable(Exception):
    """Something that the benchmark would like is not there; the message says what."""


def filesystem(path: Path) -> str:
    """Return the type of the filesystem that holds a path, as the kernel names it."""
    best, kind = "", "unknown"
    if sys.platform != "linux":
        return kind
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, point, name, *_ = line.split()
        inside = path == Path(point) or Path(point) in path.parents
        if inside and len(point) >= len(best):
            best, kind = point, name
    return kind


@contextlib.contextmanager
def loop_mounted_xfs(folder: Path) -> Iterator[Path]:
    """Make an xfs in a file, mount it, and take all of it away again."""
    if os.geteuid() != 0 or not shutil.which("mkfs.xfs"):
        raise Unavailable("a loop-mounted xfs needs root and mkfs.xfs")
    image, point = folder / "xfs.image", folder / "xfs"
    point.mkdir()
    with open(image, "wb") as f:
        f.truncate(IMAGE_BYTES)
    try:
        _run("mkfs.xfs", "-q", image)
        # Direct, so that the image does not fill the page cache that is to be measured.
        device = _run("losetup", "--find", "--show", "--direct-io=on", image).strip()
        try:
            _run("mount", device, point)
            try:
                yield point
            finally:
                _run("umount", point)
        finally:
            _run("losetup", "--detach", device)
    finally:
        image.unlink()
        point.rmdir()


def _run(*command: object) -> str:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"{command[0]}: {done.stderr.strip()}")
    return done.stdout


def built_floor(folder: Path) -> Path:
    """Compile the C loop and return the program."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not compiler:
        raise Unavailable("the floor needs a C compiler")
    program = folder / "replace_floor"
    _run(compiler, "-O2", "-o", program, Path(__file__).with_name("replace_floor.c"))
    return program


def cached_bytes(path: Path) -> int:
    """Return how much of a file is in the page cache, as mincore(2) has it."""
    libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)
    size = path.stat().st_size
    with open(path, "rb") as f, mmap.mmap(f.fileno(), size, flags=mmap.MAP_PRIVATE) as mapped:
        pages = (size + mmap.PAGESIZE - 1) // mmap.PAGESIZE
        resident = (ctypes.c_ubyte * pages)()
        first = ctypes.c_char.from_buffer(mapped)
        try:
            where = ctypes.c_void_p(ctypes.addressof(first))
            if libc.mincore(where, ctypes.c_size_t(size), resident):
                raise OSError(ctypes.get_errno(), "mincore")
        finally:
            del first
        return sum(page & 1 for page in resident) * mmap.PAGESIZE
