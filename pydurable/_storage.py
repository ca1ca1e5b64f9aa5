"""Where a flush is known to reach no medium: what the mount table says about a path."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from pydurable.errors import UnsafeStorageError

_MEMORY = ("tmpfs", "ramfs", "devtmpfs")
_NO_BARRIER = ("nobarrier", "barrier=0")
_MOUNTS = Path("/proc/self/mountinfo")


def _unescape(field: str) -> str:
    """Undo the octal escapes of the mount table (proc_pid_mountinfo(5))."""
    return field.encode("latin-1", "replace").decode("unicode_escape") if "\\" in field else field


def _mount_of(path: str, table: str) -> tuple[str, str, set[str]] | None:
    """The mount point, filesystem type and options that hold path, which is absolute."""
    found = None
    longest = -1
    for line in table.splitlines():
        left, separator, right = line.partition(" - ")
        fields, tail = left.split(), right.split()
        if not separator or len(fields) < 6 or len(tail) < 3:
            continue
        point = _unescape(fields[4])
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        # Of several mounts on one point the last is on top.
        if inside and len(point) >= longest:
            longest = len(point)
            found = point, tail[0], set(fields[5].split(",")) | set(tail[2].split(","))
    return found


def _existing(path: str) -> str:
    """The path itself, or the nearest parent that exists."""
    real = os.path.realpath(path)
    while not os.path.lexists(real) and real != os.path.dirname(real):
        real = os.path.dirname(real)
    return real


def unsafe_reason(path: str, table: str) -> str | None:
    """Why a flush on path reaches no medium, or None if nothing speaks against it."""
    mount = _mount_of(path, table)
    if mount is None:
        return None
    point, kind, options = mount
    if kind in _MEMORY:
        return f"{point} is {kind}, which lives in memory"
    refused = sorted(options.intersection(_NO_BARRIER))
    if refused:
        return f"{point} is mounted with {refused[0]}, so that flushes do not reach the disk"
    return None


def require_honoured_flushes(path: str) -> None:
    """Raise :class:`UnsafeStorageError` where flushes are known not to be honoured.

    What cannot be known (a disk that lies about its cache, a server behind a network filesystem)
    passes: this refuses what is certain, and proves nothing.
    """
    try:
        table = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return  # no such table on this platform
    reason = unsafe_reason(_existing(path), table)
    if reason:
        raise UnsafeStorageError(errno.ENOTSUP, f'sync="paranoid" refused: {reason}', path)
