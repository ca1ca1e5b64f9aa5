"""Mounts, loop devices and namespaces, straight through the system calls: no program is started."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import signal
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLONE_NEWNS = 0x20000
MS_REC, MS_PRIVATE = 0x4000, 1 << 18
PR_SET_PDEATHSIG = 1

LOOP_CTL_GET_FREE = 0x4C82
LOOP_CONFIGURE = 0x4C0A
LO_FLAGS_AUTOCLEAR = 4
LO_FLAGS_DIRECT_IO = 16
LOOP_CONFIG = struct.Struct("=II" + "QQQQQIIII64s64s32sQQ" + "64x")
"""struct loop_config: fd, block_size, struct loop_info64, reserved."""

BTRFS_IOC_FORGET_DEV = 0x50009405
BTRFS_ARGUMENTS = struct.Struct("=q4088s")

PATIENCE_S = 900
"""How long the kernel may take for anything, also where a run is stopped for a while."""

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def own_mounts() -> None:
    """Give this process mounts of its own, which the kernel takes away with its last process."""
    _check(_libc.unshare(CLONE_NEWNS), "unshare")
    _check(_libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "mount")


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends."""
    _check(_libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL), "prctl")


def mount(device: str, point: Path, kind: str, options: str = "") -> None:
    _check(
        _libc.mount(os.fsencode(device), os.fsencode(point), kind.encode(), 0, options.encode()),
        f"mounting {kind}",
    )


def unmount(point: Path) -> None:
    """Unmount, once whatever still uses the place for a moment has let go of it."""
    until = time.monotonic() + PATIENCE_S
    while _libc.umount2(os.fsencode(point), 0) < 0:
        code = ctypes.get_errno()
        if code != errno.EBUSY or time.monotonic() > until:
            raise OSError(code, f"unmounting: {os.strerror(code)}", str(point))
        time.sleep(0.01)


def _try_loop(number: int, backing: int, flags: int) -> int | None:
    """Tie loop device ``number`` to a file; None if somebody else was faster."""
    device = os.open(f"/dev/loop{number}", os.O_RDWR | os.O_CLOEXEC)
    try:
        info = (0, 0, 0, 0, 0, number, 0, 0, flags, b"", b"", b"", 0, 0)
        fcntl.ioctl(device, LOOP_CONFIGURE, LOOP_CONFIG.pack(backing, 0, *info))
    except OSError as error:
        os.close(device)
        if error.errno != errno.EBUSY:
            raise
        return None
    return device


@contextmanager
def loop_device(path: Path, direct: bool = False) -> Iterator[str]:
    """A loop device on a file.  It is gone when the block has ended and nobody uses it."""
    backing = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        flags = LO_FLAGS_AUTOCLEAR | (LO_FLAGS_DIRECT_IO if direct else 0)
        until = time.monotonic() + PATIENCE_S
        device = None
        while device is None:
            if time.monotonic() > until:
                raise TimeoutError("no loop device is free")
            control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
            try:
                number = fcntl.ioctl(control, LOOP_CTL_GET_FREE)
            finally:
                os.close(control)
            device = _try_loop(number, backing, flags)
    finally:
        os.close(backing)
    try:
        yield f"/dev/loop{number}"
    finally:
        os.close(device)


def forget_btrfs(device: str) -> None:
    """Have btrfs forget a device that is unmounted; it would refuse the next one with its UUID."""
    until = time.monotonic() + PATIENCE_S
    while not _try_forget(device):
        # Under load the kernel lets go of the device a moment after the unmount.
        if time.monotonic() > until:
            raise TimeoutError(f"btrfs does not let go of {device}")
        time.sleep(0.01)


def _try_forget(device: str) -> bool:
    control = os.open("/dev/btrfs-control", os.O_RDWR | os.O_CLOEXEC)
    # Arguments of more than 1024 bytes have to be mutable.
    arguments = bytearray(BTRFS_ARGUMENTS.pack(0, os.fsencode(device)))
    try:
        fcntl.ioctl(control, BTRFS_IOC_FORGET_DEV, arguments)
    except OSError as error:
        if error.errno == errno.EBUSY:
            return False
        if error.errno != errno.ENOENT:
            raise
    finally:
        os.close(control)
    return True
