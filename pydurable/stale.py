"""Temporary files that a process left behind when it died in the middle of a replacement.

Nothing is ever removed behind anybody's back: find_stale() tells, remove_stale() removes.  A
temporary file is locked (flock) for as long as its writer lives, so that what nobody holds is
what nobody will finish: but for the moment between its creation and its lock, in which it is empty.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import time
from typing import NamedTuple

from pydurable._native_replace import AnyPath

# As csrc/replace.h has it: the second number is that of a member of a batch, whose leader is 0.
_NAME = re.compile(r"\.pydurable-([0-9a-f]{32})(-[0-9a-f]{8})?\.tmp")
_MAKING_S = 60.0
"""For how long an empty file may be one whose writer has just made it and is about to lock it."""

_UNLOCKABLE = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


class StaleFile(NamedTuple):
    """A temporary file without a living writer."""

    path: str
    size: int  #: bytes
    age: float  #: seconds since it was changed last, by the clock of this machine


def find_stale(directory: AnyPath) -> list[StaleFile]:
    """Return the temporary files in a directory whose writer is gone, the oldest first.

    directory: str, bytes or path-like.  Its subdirectories are not looked at.

    A file that cannot be opened is left out, because nobody can tell; so is one that is empty and
    less than a minute old, which its writer may be about to lock.  On a filesystem without
    locks each temporary file is listed: there the age is all there is to go by.

    Raises OSError if the directory cannot be read.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     find_stale(folder)
    []
    """
    folder = os.fsdecode(directory)
    found = [_examined(folder, name, None) for name in os.listdir(folder)]
    return sorted((each for each in found if each), key=lambda each: -each.age)


def remove_stale(directory: AnyPath, *, min_age: float) -> list[StaleFile]:
    """Remove the temporary files that find_stale() finds and return them.

    min_age: how many seconds ago such a file must have been changed last.  It is the second
        guard besides the lock, and the only one on a filesystem without locks (or where other
        machines write, and locks are not shared): choose more than a write can take.

    Raises ValueError if min_age is negative, OSError if the directory cannot be read or a file
    cannot be removed.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     remove_stale(folder, min_age=3600)
    []
    """
    if not min_age >= 0:
        raise ValueError(f"min_age must be 0 seconds or more, not {min_age}")
    folder = os.fsdecode(directory)
    removed = [_examined(folder, name, min_age) for name in os.listdir(folder)]
    return [each for each in removed if each]


def _examined(folder: str, name: str, min_age: float | None) -> StaleFile | None:
    """Return what stands there if it is stale; remove it if it has the age for that."""
    match = _NAME.fullmatch(name)
    if not match:
        return None
    token, member = match.groups()
    if member and _is_alive(os.path.join(folder, f".pydurable-{token}-00000000.tmp")):
        return None
    path = os.path.join(folder, name)
    fd = _opened(path)
    if fd is None:
        return None
    try:
        facts = os.fstat(fd)
        # A change of the mode or the owner counts as well: it is among a writer's last steps.
        age = time.time() - max(facts.st_mtime, facts.st_ctime)
        if not stat.S_ISREG(facts.st_mode) or not _lock(fd):
            return None
        if not facts.st_size and age < _MAKING_S:
            return None
        if min_age is not None:
            if age < min_age:
                return None
            # Still under the lock, and only if the name means this file.
            if not os.path.samestat(os.lstat(path), facts):
                return None
            os.unlink(path)
        return StaleFile(path, facts.st_size, age)
    except FileNotFoundError:
        return None
    finally:
        os.close(fd)


def _opened(path: str) -> int | None:
    """Open for a look; None if the file is gone or not ours to open."""
    try:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:  # a symlink, which is none of ours
            return None
        raise


def _lock(fd: int) -> bool:
    """Whether no writer holds the file.  Shared, so that two who look do not see each other."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _UNLOCKABLE:
            raise
    return True


def _is_alive(path: str) -> bool:
    fd = _opened(path)
    if fd is None:
        return False
    try:
        return not _lock(fd)
    finally:
        os.close(fd)
