"""What a writer asks of its storage before it begins: a short look, and a long one where needed.

The short look reads the mount table.  Where that alone cannot tell (a loop device, ZFS), and for
``sync="paranoid"``, the doctor goes down to the drives.
"""

from __future__ import annotations

import errno
import os
import sys
import warnings

from pydurable._doctor.mounts import TABLE, Mount, holding, parse
from pydurable._native_storage import path_facts
from pydurable.errors import DurabilityWarning, UnsafeStorageError

MEMORY = ("tmpfs", "ramfs", "devtmpfs", "rootfs", "hugetlbfs")
NO_BARRIER = ("nobarrier", "barrier=0", "barrier=none", "fsync_mode=nobarrier")
VOLATILE = ("volatile", "fsync=volatile")
_OVERLAYS = ("overlay", "overlayfs")
_OVERLAYS_MAX = 8

# Filesystems by the number of their device, as stat(2) gives it, that were warned about or have
# nothing to warn of: asked once in the life of a process.
_settled: set[int] = set()


def memory_reason(mount: Mount) -> str:
    """Why a filesystem in memory is not durable."""
    return f"{mount.point} is {mount.kind}, which lives in memory"


def no_barrier_reason(mount: Mount, option: str) -> str:
    """Why a mount without barriers is not durable."""
    return f"{mount.point} is mounted with {option}, so that flushes do not reach the disk"


def no_flush_reason(mount: Mount) -> str:
    """Why an SMB mount that leaves flushes out is not durable."""
    return f"{mount.point} is mounted with nostrictsync, so that fsync does not flush the server"


def volatile_reason(mount: Mount, option: str) -> str:
    """Why an overlay that leaves out syncs is not durable."""
    return f"{mount.point} is an overlay mounted with {option}, which leaves out every sync"


def _existing(path: str) -> str:
    """The path itself, or the nearest parent that exists."""
    real = os.path.realpath(path)
    while not os.path.lexists(real) and real != os.path.dirname(real):
        real = os.path.dirname(real)
    return real


def mount_table() -> str:
    """The text of the mount table, empty where there is none."""
    try:
        with open(TABLE, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""  # no such table on this platform


def mounted(path: str, table: str) -> Mount | None:
    """The mount that holds an existing path."""
    number = path_facts(path).mount
    at = -1 if not number else 0 if table.startswith(f"{number} ") else table.find(f"\n{number} ")
    if at < 0:
        return holding(path, parse(table))
    # One line of perhaps thousands: a container's host has a mount for everything.
    begin = at if at == 0 else at + 1
    return next(iter(parse(table[begin : table.find("\n", begin)])), None)


def unsafe_reason(path: str, table: str) -> str | None:
    """Why a flush on path reaches no medium, as far as the mount table tells."""
    mount = mounted(path, table)
    for _ in range(_OVERLAYS_MAX):
        if mount is None:
            return None
        if mount.kind in MEMORY:
            return memory_reason(mount)
        option = mount.first(*NO_BARRIER)
        if option:
            return no_barrier_reason(mount, option)
        if "nostrictsync" in mount.options:
            return no_flush_reason(mount)
        if mount.kind not in _OVERLAYS:
            return _looked_into(path) if _is_deep(mount) else None
        option = mount.first(*VOLATILE)
        if option:
            return volatile_reason(mount, option)
        upper = mount.value("upperdir")
        # In a container the upper directory is the host's, and nothing here knows about it.
        mount = mounted(upper, table) if upper and os.path.lexists(upper) else None
    return None


def _is_deep(mount: Mount) -> bool:
    """Whether what makes this mount unsafe would not stand in the mount table."""
    name = os.path.basename(mount.source)
    return mount.kind == "zfs" or name.startswith(("loop", "zram", "ram"))


def _looked_into(path: str) -> str | None:
    """What the doctor finds below a path."""
    try:
        from pydurable._doctor.inspect import inspect
        from pydurable._doctor.report import NOT_DURABLE
    except ImportError:
        return None  # the program has left the place that modules come from, as with chroot(2)
    report = inspect(path)
    return report.reason if report.verdict == NOT_DURABLE else None


def require_honoured_flushes(path: str) -> None:
    """Raise :class:`UnsafeStorageError` where flushes are known not to be honoured.

    What cannot be known (a disk that lies about its cache, a server behind a network filesystem)
    passes: this refuses what is certain, and proves nothing.
    """
    existing = _existing(path)
    reason = unsafe_reason(existing, mount_table()) or _looked_into(existing)
    if reason:
        raise UnsafeStorageError(errno.ENOTSUP, f'sync="paranoid" refused: {reason}', path)


def warn_unless_honoured(
    path: str | bytes, *, dir_fd: int | None = None, stacklevel: int = 3
) -> None:
    """Warn with :class:`DurabilityWarning`, once for each filesystem, where flushes do nothing.

    Only looks: what is wrong with the path itself is told by the call that uses it.  A warning
    that a filter turns into an error is raised each time.
    """
    device = _device(path, dir_fd)
    if device is None or device in _settled:
        return
    name = os.fsdecode(path)
    if dir_fd is not None and not os.path.isabs(name):
        name = os.path.join(f"/proc/self/fd/{dir_fd}", name)
    existing = _existing(name)
    if sys.platform == "linux":
        reason = unsafe_reason(existing, mount_table())
        if reason:
            text = f"not durable: {reason} (see: pydurable doctor {existing})"
            warnings.warn(text, DurabilityWarning, stacklevel=stacklevel)
    _settled.add(device)


def _device(path: str | bytes, dir_fd: int | None) -> int | None:
    """The number of the filesystem that a path is on, or will be on."""
    try:
        try:
            return os.stat(path, dir_fd=dir_fd).st_dev
        except FileNotFoundError:
            parent = os.path.dirname(path) or (b"." if isinstance(path, bytes) else ".")
            return os.stat(parent, dir_fd=dir_fd).st_dev
    except (OSError, ValueError, TypeError):
        return None
