"""Finding the rings of dead processes, and bringing what is in them into their file."""

from __future__ import annotations

import contextlib
import errno
import os
import time

from pydurable._native import NativeLog, identity_at
from pydurable._ring_content import Page, read_page, remove_if_spent, remove_if_unused
from pydurable._ring_place import Target, all_intents, intent_places, rings_for

__all__ = ["salvage", "share"]

SWEPT = 4
"""How many rings of other targets are looked at, so that opening does not take longer where there
are many; each opener leaves one behind at most."""

_LOOKS = 5
_LOOK_S = 0.001


# Nothing of ours can be made where the file lies.
_NO_PLACE = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EOPNOTSUPP,
}


def _moved_to(page: Page) -> str | None:
    """Where in its directory a file lies that was renamed, as logrotate does."""
    with contextlib.suppress(OSError), os.scandir(os.path.dirname(page.target)) as entries:
        for entry in entries:
            if (
                entry.inode() == page.inode
                and entry.is_file(follow_symlinks=False)
                and identity_at(entry.path) == page.identity
            ):
                return entry.path
    return None


def _salvage_elsewhere(ring: str, path: str, options: dict[str, int]) -> int:
    """Empty a ring into the file that its owner had open, under the name that it has now."""
    native = NativeLog(path, options, plain=True)
    try:
        share(native, path, needed=False)
        return _empty(native, ring)
    finally:
        native.close(0)


def share(native: NativeLog, target: str, *, needed: bool) -> None:
    """Let the processes that append to a file know of each other's writes.

    :raises OSError: there is no place for that, and it is needed.
    """
    try:
        native.share(*intent_places(target))
    except OSError as error:
        if needed or error.errno not in _NO_PLACE:
            raise


def _has_died(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return False


def _empty(native: NativeLog, ring: str) -> int:
    """Empty a ring; one that is locked though its owner is dead may only be looked at just now."""
    records = native.salvage(ring)
    for _ in range(_LOOKS):
        page = read_page(ring) if not records else None
        if page is None or not _has_died(page.pid):
            break
        time.sleep(_LOOK_S)
        records = native.salvage(ring)
    return records


def salvage(native: NativeLog, target: Target, options: dict[str, int]) -> int:
    """Append what dead processes had stored for this target; return how many records that were.

    What was stored for a file that was renamed since goes to that file, if it is still in the same
    directory, and to the one that has its name now if not.  On the way some rings of other targets
    are removed that dead processes have left empty.
    """
    records = 0
    candidates, others = rings_for(target)
    for ring in candidates:
        page = read_page(ring)
        if page is None or (target.identity != page.identity and target.path != page.target):
            others.append(ring)
            continue
        renamed = not target.is_log and target.identity != page.identity
        moved = _moved_to(page) if renamed else None
        if moved is None:
            records += _empty(native, ring)
        else:
            records += _salvage_elsewhere(ring, moved, options)
    _sweep(others)
    return records


def _some(paths: list[str]) -> list[str]:
    """Others each time."""
    start = int.from_bytes(os.urandom(4), "little") % len(paths) if paths else 0
    return (paths[start:] + paths[:start])[:SWEPT]


def _sweep(rings: list[str]) -> None:
    """Look at some rings and pages of other targets."""
    for ring in _some(rings):
        remove_if_spent(ring)
    for intent in _some(all_intents()):
        remove_if_unused(intent)
