"""Finding the rings of dead processes, and bringing what is in them into their file."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator
from typing import NamedTuple

from pydurable._native import RING_PAGE, NativeLog
from pydurable._ring_place import RING_SUFFIX, beside, private_folders

__all__ = ["salvage"]

# The beginning of struct pd_ring_page (csrc/ring.h), and where its path stands.
_PAGE = struct.Struct("=QII QII 16s QQQ 16s")


class _Found(NamedTuple):
    """A ring file, and the target that its page names."""

    ring: str
    target: str
    device: int
    inode: int


def _read(ring: str) -> _Found | None:
    """What a ring says of its target; None for what is no ring, or is gone by now."""
    try:
        with open(ring, "rb", opener=lambda p, f: os.open(p, f | os.O_NOFOLLOW)) as file:
            file.seek(-RING_PAGE.size, os.SEEK_END)
            page = file.read(RING_PAGE.size)
    except OSError:
        return None
    magic, *_, device, inode, _uuid = _PAGE.unpack_from(page)
    if magic != RING_PAGE.magic:
        return None
    path = page[RING_PAGE.path_offset :].split(b"\0", 1)[0]
    return _Found(ring, os.fsdecode(path), device, inode)


def _ring_files(target: str, *, inside: bool) -> Iterator[str]:
    folder, begin = beside(target, inside=inside)
    for place, start in [*((private, "") for private in private_folders()), (folder, begin)]:
        with contextlib.suppress(OSError):
            for name in sorted(os.listdir(place)):
                if name.startswith(start) and name.endswith(RING_SUFFIX):
                    yield os.path.join(place, name)


def _moved_to(found: _Found) -> str | None:
    """Where in its directory a file lies that was renamed, as logrotate does."""
    with contextlib.suppress(OSError), os.scandir(os.path.dirname(found.target)) as entries:
        for entry in entries:
            status = entry.stat(follow_symlinks=False)
            if (status.st_dev, status.st_ino) == (found.device, found.inode):
                return entry.path
    return None


def _salvage_elsewhere(found: _Found, path: str, options: dict[str, int]) -> int:
    """Empty a ring into the file that its owner had open, under the name that it has now."""
    native = NativeLog(path, options, plain=True)
    try:
        return native.salvage(found.ring)
    finally:
        native.close(0)


def salvage(native: NativeLog, target: str, options: dict[str, int], *, plain: bool) -> int:
    """Append what dead processes had stored for this target; return how many records that were.

    What was stored for a file that was renamed since goes to that file, if it is still in the same
    directory, and to the one that has its name now if not.
    """
    here = os.fstat(native.fileno()) if plain else os.stat(target)
    records = 0
    for ring in _ring_files(target, inside=not plain):
        found = _read(ring)
        if found is None:
            continue
        same = (found.device, found.inode) == (here.st_dev, here.st_ino)
        if not same and found.target != target:
            continue
        moved = _moved_to(found) if plain and not same else None
        if moved is None:
            records += native.salvage(ring)
        else:
            records += _salvage_elsewhere(found, moved, options)
    return records
