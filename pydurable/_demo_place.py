"""Where the demo works: on a real disk if one can be had, with a word on which filesystem."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pydurable._doctor import mounts

# A sync costs nothing there, and nothing outlives the kernel.
MEMORY_FILESYSTEMS = frozenset({"tmpfs", "ramfs"})

_PREFIX = "pydurable-demo-"


@contextlib.contextmanager
def workplace(directory: str | None) -> Iterator[str]:
    """A new empty folder: in ``directory``, and then it is kept, or a temporary one.

    Raises OSError where no folder can be made.
    """
    if directory is not None:
        os.makedirs(directory, exist_ok=True)
        # Python before 3.12 would leave a relative path relative.
        yield tempfile.mkdtemp(prefix=_PREFIX, dir=os.path.abspath(directory))
        return
    path = _temporary_folder()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _temporary_folder() -> str:
    """A temporary folder, away from filesystems that live in memory if there is another place."""
    usual = tempfile.gettempdir()
    for place in (usual, "/var/tmp", os.curdir):
        if filesystem_of(place) not in MEMORY_FILESYSTEMS:
            with contextlib.suppress(OSError):
                return tempfile.mkdtemp(prefix=_PREFIX, dir=os.path.abspath(place))
    return tempfile.mkdtemp(prefix=_PREFIX, dir=usual)


def filesystem_of(path: str, table: str = mounts.TABLE) -> str | None:
    """The type of the filesystem that holds ``path``, or None where the system does not tell."""
    try:
        text = Path(table).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None
    mount = mounts.holding(os.path.realpath(path), mounts.parse(text))
    return None if mount is None else mount.kind
