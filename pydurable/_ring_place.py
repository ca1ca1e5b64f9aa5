"""Where rings lie: in memory that outlives a process, and that nobody else can reach.

A ring in a memory filesystem costs no writeback, and its pages are reserved when it is made, so
that a store can never find the disk full.  Beside the file it would be written back again and
again, and a store can wait for that.  So a folder of this user's own in /dev/shm comes first;
beside the file is where it goes when there is none.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from pydurable._native import FileIdentity

__all__ = [
    "RING_DIR_VARIABLE",
    "Target",
    "all_intents",
    "all_rings",
    "intent_places",
    "private_folders",
    "ring_paths",
    "rings_for",
]

RING_DIR_VARIABLE = "PYDURABLE_RING_DIR"
_SHARED_MEMORY = "/dev/shm"

# The keys, the process that made it, and what cannot be guessed; before that, beside a file, what
# tells people whose it is.
_NAME = re.compile(r"([0-9a-f]{8})-([0-9a-f]{8})-([0-9a-f]{8})-(\d+)-[0-9a-f]{24}\.ring$")


def _is_private(folder: str, user: int) -> bool:
    """A folder that this user made and nobody else can enter; a symlink is none."""
    try:
        found = os.lstat(folder)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == user and not found.st_mode & 0o077


def _names() -> Iterator[str]:
    user = os.geteuid()
    chosen = os.environ.get(RING_DIR_VARIABLE)
    if chosen and os.path.isabs(chosen):
        yield chosen
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


class Target(NamedTuple):
    """A file or log that is open, and that rings may belong to."""

    path: str
    """Absolute."""
    identity: FileIdentity
    """Of the file, or of the log's directory."""
    is_log: bool

    def keys(self) -> tuple[str, str, str]:
        """What the name of a ring says of its target, so that the rings of others need not be
        opened; one that is equal makes a candidate, and the ring's page decides.

        The first stays true when the target is moved, the second when a file is reopened or
        renamed in its directory.
        """
        own = _key(b"%d:%d:%d" % self.identity)
        place = own
        if not self.is_log:
            folder = os.stat(os.path.dirname(self.path))
            place = _key(b"%d:%d" % (folder.st_dev, folder.st_ino))
        return own, place, _key(os.fsencode(self.path))


def _key(what: bytes) -> str:
    return f"{zlib.crc32(what):08x}"


def _beside(target: Target) -> tuple[str, str]:
    """Folder and beginning of the name of a ring that lies beside its file, or inside its log."""
    if target.is_log:
        return target.path, "append-"
    folder, name = os.path.split(target.path)
    return folder, f".{name}.append-"


def ring_paths(target: Target) -> list[str]:
    """Where to make a ring, best first; the names cannot be guessed."""
    name = f"{'-'.join(target.keys())}-{os.getpid()}-{os.urandom(12).hex()}.ring"
    folder, begin = _beside(target)
    paths = [os.path.join(folder, begin + name)]
    shared = _private_folder()
    if shared is not None:
        paths.insert(0, os.path.join(shared, name))
    return paths


def _listed(folder: str) -> list[str]:
    """What is in a folder; nothing if it is gone by now."""
    with contextlib.suppress(OSError):
        return [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
    return []


def _rings_in(folder: str) -> list[str]:
    return [path for path in _listed(folder) if _NAME.search(path)]


def all_rings() -> list[str]:
    """All rings of this user in the folders for rings; those beside files are not among them."""
    return [ring for folder in private_folders() for ring in _rings_in(folder)]


def all_intents() -> list[str]:
    """The pages on which processes of this user say what they write, those in folders for rings."""
    return [
        path for folder in private_folders() for path in _listed(folder) if path.endswith(".intent")
    ]


def rings_for(target: Target) -> tuple[list[str], list[str]]:
    """The rings that may be those of a target, and the others."""
    keys = target.keys()
    candidates: list[str] = []
    others: list[str] = []
    for ring in [*all_rings(), *_rings_in(_beside(target)[0])]:
        found = _NAME.search(ring)
        assert found is not None
        fits = any(map(str.__eq__, keys, found.groups()))
        (candidates if fits else others).append(ring)
    return candidates, others


def intent_places(target: str) -> tuple[str, str]:
    """What the path of the page begins with on which processes say what they write to a file: in
    the folder for rings, or "" if there is none, and beside the file."""
    shared = _private_folder()
    folder = os.path.dirname(os.path.realpath(target))
    # Each user has one, so that nobody has to believe what another wrote.
    own = os.path.join(folder, f".pydurable-{os.geteuid()}-")
    return "" if shared is None else os.path.join(shared, ""), own
