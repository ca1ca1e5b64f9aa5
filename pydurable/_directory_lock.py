"""Locks between processes that share a log file: on its directory, and on the files themselves.

They end with their process, leave no file behind, and are in nobody's way who knows nothing of
them.  The directory is locked with flock(2).  Files cannot be, for AppendFile takes that lock for
each write; they have locks of open file descriptions (F_OFD_SETLK in fcntl(2)), which are apart.
Where a filesystem has no such locks, everybody holds them.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import time
from collections.abc import Callable, Iterator

__all__ = ["DirectoryLock", "alone_with", "is_at", "share"]

_UNLOCKABLE = {
    errno.ENOLCK,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.ENOSYS,
    errno.EINVAL,
    errno.EBADF,
}
_PAUSE_S = 0.002
_FLOCK = "hhqqi"  # struct flock: type, whence, start, length, pid
# All that a file can hold.  The byte behind it is for those who sync (csrc/sys_posix_btrfs.c).
_FILE_BYTES = 1 << 62
_SET_LOCK: int | None = getattr(fcntl, "F_OFD_SETLK", None)
# Where there are no such locks, a file that has been left alone for so long is given up by all.
_QUIET_S = 120.0


def _granted(lock: Callable[[], object]) -> bool:
    """Whether a lock was taken that was asked for without waiting."""
    try:
        lock()
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        if error.errno not in _UNLOCKABLE:
            raise
    return True


def _lock_file(fd: int, kind: int) -> bool:
    if _SET_LOCK is None:
        return kind == fcntl.F_RDLCK or time.time() - os.fstat(fd).st_mtime > _QUIET_S
    command = _SET_LOCK
    return _granted(
        lambda: fcntl.fcntl(fd, command, struct.pack(_FLOCK, kind, 0, 0, _FILE_BYTES, 0))
    )


def share(fd: int) -> None:
    """Say that this open file is being written, until it is closed.

    Nobody holds such a file alone for longer than it takes to see that it is not wanted any more.
    """
    _lock_file(fd, fcntl.F_RDLCK)


@contextlib.contextmanager
def alone_with(path: str) -> Iterator[int | None]:
    """A descriptor for reading a file that nobody writes; None if it is gone or being written."""
    try:
        # Writing is what it takes to get the lock.
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    try:
        yield fd if _lock_file(fd, fcntl.F_WRLCK) and is_at(path, fd) else None
    finally:
        # A child process may have inherited the descriptor, and so the lock.
        _lock_file(fd, fcntl.F_UNLCK)
        os.close(fd)


def is_at(path: str, fd: int) -> bool:
    """Whether the path still means the open file."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(fd))
    except FileNotFoundError:
        return False


class DirectoryLock:
    """Who holds it may rotate the files of a directory, or open one to write."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._fd: int | None = None

    @contextlib.contextmanager
    def held(self, wait: float) -> Iterator[bool]:
        """Try for so many seconds, 0 for once; whether the lock is held in the block."""
        try:
            fd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except PermissionError:
            yield True  # nobody who has no more rights than this process can lock it
            return
        self._fd = fd
        end = time.monotonic() + wait
        try:
            while not (held := _granted(self._try)) and time.monotonic() < end:
                time.sleep(_PAUSE_S)
            yield held
        finally:
            self._fd = None
            # Closing alone would leave the lock to a child process that was forked meanwhile.
            with contextlib.suppress(OSError):
                fcntl.flock(fd, fcntl.LOCK_UN)
            os.close(fd)

    def _try(self) -> None:
        assert self._fd is not None
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def forget(self) -> None:
        """In a child process: let go of what another thread of the parent held."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)
