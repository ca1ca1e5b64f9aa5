"""Asking what the storage under a path really promises."""

from __future__ import annotations

import os

from pydurable._doctor.inspect import inspect
from pydurable._doctor.report import Layer, StorageReport

__all__ = ["Layer", "StorageReport", "inspect_storage"]


def inspect_storage(
    path: str | os.PathLike[str] = ".", *, root: str | os.PathLike[str] = "/"
) -> StorageReport:
    """Find out what becomes of a flush under ``path``, from the filesystem down to the drives.

    :param path: a file or directory; of one that does not exist yet the nearest parent is taken.
    :param root: where ``/proc`` and ``/sys`` are.  Another one than ``/`` holds those of another
        machine, or of the host of a container; then nothing is asked of ``path`` itself.
    :returns: the layers, a verdict, and what to change.  The verdict is ``"durable"``,
        ``"durable if the drive honours flushes"``, ``"not durable"`` or ``"unknown"``.

    Not promised: that a drive or a server keeps its word.  Nothing is written; to learn the limits
    of direct I/O a file without a name is opened in ``path`` where that is a writable directory.
    No right beyond that of reading ``/proc`` and ``/sys`` is needed; what would take root is named
    in ``needs_root``.  Whatever the files say, it raises nothing but TypeError and ValueError.

    >>> report = inspect_storage("/dev/shm")
    >>> report.verdict, report.filesystem  # doctest: +SKIP
    ('not durable', 'tmpfs')
    >>> sorted(report.as_dict())[:3]
    ['changes', 'filesystem', 'format']
    """
    name, base = os.fspath(path), os.fspath(root)
    for value, what in ((name, "path"), (base, "root")):
        if not isinstance(value, str):
            raise TypeError(f"{what} must be a str or an os.PathLike of str")
        if "\0" in value:
            raise ValueError(f"embedded null character in {what}")
    return inspect(name, base)
