"""What the benchmark of replacing needs from the machine: the C floor, memory, the page cache."""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import fcntl
import mmap
import os
import shutil
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from .places import Unavailable, run

# As in linux/fs.h; the second takes a pointer to an int, whatever its number says.
_GETFLAGS, _SETFLAGS, _TOPDIR = 0x80086601, 0x40086602, 0x00020000
WARM_CHUNK = bytes(4 << 20)


def built_floor(folder: Path) -> Path:
    """Compile the C loop and return the program."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not compiler:
        raise Unavailable("the floor needs a C compiler")
    program = folder / "replace_floor"
    run(compiler, "-O2", "-o", program, Path(__file__).with_name("replace_floor.c"))
    return program


def spread_out(folder: Path) -> None:
    """Have ext4 put each new directory in here into another part of the disk, where it can.

    Without a journal ext4 does not give out an inode again for some minutes after it was freed, and
    looks at all of those before it finds another one.  Directories beside each other share the
    inodes around them, so that each turn would pay for what the turns before it replaced.
    """
    if sys.platform != "linux":
        return
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):  # a filesystem that has no such flag needs none
            (flags,) = struct.unpack("I", fcntl.ioctl(fd, _GETFLAGS, bytes(8))[:4])
            fcntl.ioctl(fd, _SETFLAGS, struct.pack("Q", flags | _TOPDIR))
    finally:
        os.close(fd)


def settled_memory(folder: Path, size: int, seconds: float) -> None:
    """Return when size bytes of memory are free that the machine really has.

    A virtual machine gives memory that it has not used for two seconds back to its host (free page
    reporting), and to get a GiB of it again can take longer than to write that GiB.  Whether a turn
    had to was a matter of chance.  So the page cache holds as much until everything else has been
    given back, and drops it just before the turn; nothing of it is written to the disk.
    """
    held = folder / "held"
    with open(held, "wb") as f:
        for _ in range(0, size, len(WARM_CHUNK)):
            f.write(WARM_CHUNK)
        f.flush()
        time.sleep(seconds)
        f.truncate(0)
    held.unlink()


@contextlib.contextmanager
def fresh_folder(parent: Path) -> Iterator[Path]:
    """Make a folder of a name that was never there, and take it away again."""
    folder = parent / os.urandom(8).hex()
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


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
