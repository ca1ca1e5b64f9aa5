"""Where the benchmark of replacing runs: a folder, loop-mounted filesystems, the C floor."""

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


MAKE = {
    "ext4": ("mkfs.ext4", "-q", "-F"),
    "xfs": ("mkfs.xfs", "-q"),
    "btrfs": ("mkfs.btrfs", "-q"),
}


@contextlib.contextmanager
def loop_mounted(kind: str, folder: Path, options: str = "defaults") -> Iterator[Path]:
    """Make a filesystem in a file, mount it, and take all of it away again."""
    if os.geteuid() != 0 or not shutil.which(MAKE[kind][0]):
        raise Unavailable(f"a loop-mounted {kind} needs root and {MAKE[kind][0]}")
    image, point = folder / f"{kind}.image", folder / kind
    with contextlib.ExitStack() as undo:
        point.mkdir()
        undo.callback(point.rmdir)
        with open(image, "wb") as f:
            f.truncate(IMAGE_BYTES)
        undo.callback(image.unlink)
        _run(*MAKE[kind], image)
        # Direct, so that the image does not fill the page cache that is to be measured.
        device = _run("losetup", "--find", "--show", "--direct-io=on", image).strip()
        undo.callback(_run, "losetup", "--detach", device)
        _run("mount", "-o", options, device, point)
        undo.callback(_run, "umount", point)
        yield point


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


def note(folder: Path) -> str:
    """Return what one has to know about the filesystem to read its figures, or ""."""
    number = folder.stat().st_dev
    device = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve().name
    task = Path("/sys/fs/ext4", device, "journal_task")
    # Without a journal ext4 does not give out an inode again for some time after it was freed,
    # and goes over all of those that were: a loop that replaces files slows down as it runs.
    if task.exists() and not task.read_text().strip().isdigit():
        return "without a journal"
    return ""


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
