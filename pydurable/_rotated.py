"""The files that rotation has set aside: their names, how many are kept, and their compression."""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import stat
from collections.abc import Callable
from typing import NamedTuple

from pydurable._atomic_file import open_atomic
from pydurable._directory_lock import alone_with
from pydurable._replace import rename

__all__ = ["RotatedFiles"]

_CHUNK_BYTES = 256 << 10
_LEVEL = 6
_PACKED = ".gz"
_NAME = re.compile(
    r"\.(?P<stamp>\d{4}-\d\d-\d\d(?:_\d\d(?:-\d\d){0,2})?)(?:\.(?P<number>\d+))?(?P<packed>\.gz)?"
)


class _SetAside(NamedTuple):
    """One file, in the order of age."""

    stamp: str
    number: int
    path: str  # without the suffix of a packed one


class RotatedFiles:
    """What was set aside of one log file: ``path.STAMP``, and a number if the stamp is taken.

    A file keeps its name for good, so that rotating is one rename, and nobody who reads,
    compresses or ships a file has it moved under their hands.

    backup_count: how many are kept; 0 for all.
    """

    def __init__(self, path: str, backup_count: int, compress: bool) -> None:
        self._path = path
        self._directory, self._base = os.path.split(path)
        self._backup_count = backup_count
        self._compress = compress

    @property
    def needs_care(self) -> bool:
        """Whether anything is ever to be done about files that were set aside."""
        return self._compress or self._backup_count > 0

    def set_aside(self, stamp: str) -> None:
        """Rename the log file, durably; the caller holds the lock on the directory.

        The new name is later than those that are there, also after a clock was put back: the
        oldest are the first to go.

        Raises OSError, with the file where it was; NotDurableError if it has moved.
        """
        number = 0
        listed = self._listed()
        if listed and listed[-1].stamp >= stamp:
            stamp, number = listed[-1].stamp, listed[-1].number + 1
        while True:
            name = f"{self._path}.{stamp}.{number}" if number else f"{self._path}.{stamp}"
            with contextlib.suppress(FileExistsError):
                rename(self._path, name, overwrite=False)
                return
            number += 1

    def remove_surplus(self) -> None:
        """Remove the oldest beyond the number to keep, but none that a process still writes."""
        if not self._backup_count:
            return
        for path in (each.path for each in self._listed()[: -self._backup_count]):
            with alone_with(path) as fd:
                if fd is not None or not os.path.lexists(path):
                    for name in (path, path + _PACKED):
                        with contextlib.suppress(FileNotFoundError):
                            os.unlink(name)

    def pack(self, between: Callable[[], None]) -> int:
        """Compress what is not compressed yet and return how many files that were.

        between: called every now and then.
        """
        if not self._compress:
            return 0
        paths = [each.path for each in self._listed()]
        return sum(self._pack(path, between) for path in paths if os.path.exists(path))

    def _pack(self, path: str, between: Callable[[], None]) -> bool:
        """Compress one file, unless it is being written; the packed one appears whole, durably.

        After a crash there may be both.  The plain one is whole, so it is packed again.
        """
        with alone_with(path) as fd:
            if fd is None:
                return False
            facts = os.fstat(fd)
            mode = stat.S_IMODE(facts.st_mode) & 0o777
            name = os.path.basename(path)
            with (
                open_atomic(path + _PACKED, "wb", permissions=mode) as target,
                gzip.GzipFile(name, "wb", _LEVEL, target, mtime=facts.st_mtime) as packed,
            ):
                while chunk := os.read(fd, _CHUNK_BYTES):
                    packed.write(chunk)
                    between()
            with contextlib.suppress(OSError):
                os.utime(path + _PACKED, ns=(facts.st_atime_ns, facts.st_mtime_ns))
            os.unlink(path)
            return True

    def _listed(self) -> list[_SetAside]:
        """What was set aside, the oldest first."""
        found: set[_SetAside] = set()
        try:
            names = os.listdir(self._directory)
        except FileNotFoundError:
            names = []  # the directory was removed, and with it what was set aside
        for name in names:
            match = name.startswith(self._base) and _NAME.fullmatch(name, len(self._base))
            if match:
                plain = os.path.join(self._directory, name.removesuffix(match["packed"] or ""))
                found.add(_SetAside(match["stamp"], int(match["number"] or 0), plain))
        return sorted(found)
