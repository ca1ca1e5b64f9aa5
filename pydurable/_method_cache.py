"""Which method is the fastest for a file that is appended to: measured once for each filesystem.

A log remembers in its own header; a plain file has none, so the choice is kept in the user's cache
directory, keyed by device and mount.  The cache is only ever a hint: where it is damaged, from
another version or cannot be written, methods are measured again.
"""

from __future__ import annotations

import contextlib
import os
import sys

from pydurable import _native_replace
from pydurable._native_replace import Options
from pydurable._native_storage import probe
from pydurable._storage import mount_table, mounted

_FIRST_LINE = "pydurable methods 1"
_LINES_MAX = 64
_BYTES_MAX = 64 << 10
_CHOICES = ("fdatasync", "dsync")
_WAITING = ("group", "each")

_known: dict[str, str] = {}


def cache_path() -> str | None:
    """Where the choices are kept, None where the user has no place for such things."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    # The specification says to ignore a path that is not absolute.
    return os.path.join(base, "pydurable", "methods") if os.path.isabs(base) else None


def choose(path: str, sync: str, method: str) -> str:
    """The method for a file under a target: the one asked for, or what is the fastest there.

    Whatever goes wrong here, the answer is "auto", and opening the file tells what is the matter.
    """
    if method != "auto" or sync not in _WAITING or sys.platform != "linux":
        return method
    folder = os.path.dirname(os.path.realpath(path))
    try:
        key = _key(folder)
        if key not in _known:
            _known[key] = _remembered().get(key) or _measured(folder, key)
        return _known[key]
    except (OSError, ValueError):
        return method


def _key(folder: str) -> str:
    """The device and the mount of a folder, on one line."""
    number = os.stat(folder).st_dev
    mount = mounted(folder, mount_table())
    what = [] if mount is None else [mount.kind, mount.source, mount.point, *sorted(mount.options)]
    return ascii([os.major(number), os.minor(number), *what])


def _remembered() -> dict[str, str]:
    """What the cache holds: nothing where it is missing, damaged or of another version."""
    path = cache_path()
    try:
        if path is None:
            return {}
        with open(path, encoding="utf-8", errors="replace") as file:
            first, *lines = file.read(_BYTES_MAX).split("\n")
    except OSError:
        return {}
    pairs = (line.partition("\t") for line in lines if first == _FIRST_LINE)
    # The last line may be cut: a line counts with its end mark only.
    return {
        key.removesuffix("\t."): method
        for method, _, key in pairs
        if method in _CHOICES and key.endswith("\t.")
    }


def _measured(folder: str, key: str) -> str:
    """Measure, and remember as well as that is possible."""
    method = probe(folder, appending=True).method
    if method not in _CHOICES:
        return "auto"
    path = cache_path()
    if path is not None:
        with contextlib.suppress(OSError):
            _store(path, key, method)
    return method


def _store(path: str, key: str, method: str) -> None:
    known = _remembered()
    known.pop(key, None)
    newest = [*known.items(), (key, method)][-_LINES_MAX:]
    lines = [_FIRST_LINE, *(f"{method}\t{key}\t." for key, method in newest)]
    data = "".join(f"{line}\n" for line in lines).encode()
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    # Whole or not at all to readers; that it survives a power cut is not worth a flush.
    _native_replace.replace(path, memoryview(data), Options(durability="none"))
