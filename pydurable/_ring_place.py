"""Where rings lie: in memory that outlives a process, and that nobody else can reach.

A ring in a memory filesystem costs no writeback, and its pages are reserved when it is made, so
that a store can never find the disk full.  Beside the file it would be written back again and
again, and a store can wait for that.  So a folder of this user's own in /dev/shm comes first;
beside the file is where it goes when there is none.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

__all__ = ["RING_SUFFIX", "private_folders", "ring_paths"]

RING_SUFFIX = ".ring"
_SHARED_MEMORY = "/dev/shm"


def _is_private(folder: str, user: int) -> bool:
    """A folder that this user made and nobody else can enter; a symlink is none."""
    try:
        found = os.lstat(folder)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == user and not found.st_mode & 0o077


def _names() -> Iterator[str]:
    user = os.geteuid()
    if os.path.isdir(_SHARED_MEMORY):
        yield os.path.join(_SHARED_MEMORY, f"pydurable-{user}")
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.path.isabs(runtime):
        yield os.path.join(runtime, "pydurable")


def private_folders() -> list[str]:
    """The folders for rings that exist and are this user's own."""
    return [folder for folder in _names() if _is_private(folder, os.geteuid())]


def _private_folder() -> str | None:
    """A folder for rings, made if need be; None where there can be none."""
    for folder in _names():
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            pass
        except OSError:
            continue
        # In a directory that everybody may write to somebody else may have been there first.
        if _is_private(folder, os.geteuid()):
            return folder
    return None


def beside(target: str, *, inside: bool) -> tuple[str, str]:
    """Folder and beginning of the name of a ring that lies beside its file, or inside its log."""
    if inside:
        return target, "append-"
    folder, name = os.path.split(target)
    return folder, f".{name}.append-"


def ring_paths(target: str, *, inside: bool) -> list[str]:
    """Where to make the ring of an absolute path, best first; the names cannot be guessed."""
    token = f"{os.getpid()}-{os.urandom(12).hex()}{RING_SUFFIX}"
    folder, begin = beside(target, inside=inside)
    paths = [os.path.join(folder, begin + token)]
    shared = _private_folder()
    if shared is not None:
        paths.insert(0, os.path.join(shared, token))
    return paths
