"""Where the demo works: on a real disk if one can be had, with a word on which filesystem."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

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


def filesystem_of(path: str, mounts: str = "/proc/self/mountinfo") -> str | None:
    """The type of the filesystem that holds ``path``, or None where the system does not tell."""
    try:
        lines = Path(mounts).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    real = os.path.join(os.path.realpath(path), "")
    best, kind = "", None
    for line in lines:
        mount, _, source = line.partition(" - ")
        # Spaces and their like are written as \040; see proc_pid_mountinfo(5).
        point = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), mount.split()[4])
        point = os.path.join(point, "")
        # A later mount on the same point hides the earlier one.
        if real.startswith(point) and len(point) >= len(best):
            best, kind = point, source.split()[0]
    return kind
