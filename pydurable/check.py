"""Verifying and repairing a log."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import sys
import time
import uuid
from dataclasses import dataclass

from pydurable import _native
from pydurable._replace import sync_directory, sync_file
from pydurable.errors import CorruptionError, LockedError

_PID_OFFSET = 8
"""Where the lock file's page names its holder (docs/format.md)."""

__all__ = ["RepairReport", "Report", "repair_log", "verify_log"]


@dataclass(frozen=True)
class Report:
    """What a healthy log holds."""

    oldest_lsn: int
    next_lsn: int
    segments: int
    batches: int
    records: int
    """Records in the segments, including those below ``oldest_lsn`` that share one with others."""
    bytes: int
    """Bytes of those records."""
    torn_bytes: int
    """Length in bytes of a torn tail: batches under way at a crash, promised to nobody."""
    torn_segment: int
    """Number of the last segment, in which a torn tail would be."""
    torn_offset: int
    """Where the last good batch ends in it, in bytes."""
    clean: bool
    """Whether the writer closed the log."""
    writer_alive: bool
    sync_method: str
    block_bytes: int
    """Batches begin and end on multiples of this."""
    uuid: str


@dataclass(frozen=True)
class RepairReport:
    """What a repair did."""

    damage: CorruptionError | None
    """What was wrong; None if nothing was, and then nothing was done."""
    copy: str | None
    """The directory that holds the log as it was before."""
    report: Report
    """The log as it is now."""

    @property
    def kept(self) -> tuple[int, int] | None:
        """First and last LSN of what the log holds now, or None if it is empty."""
        if self.report.next_lsn <= self.report.oldest_lsn:
            return None
        return self.report.oldest_lsn, self.report.next_lsn - 1


def verify_log(path: str | os.PathLike[str]) -> Report:
    """Read the whole log and say what it holds; change nothing.

    Works without a lock, also while a writer is at work.

    >>> import tempfile
    >>> from pydurable import Log
    >>> path = tempfile.mkdtemp() + "/log"
    >>> with Log(path) as log:
    ...     _ = log.commit(b"x")
    >>> report = verify_log(path)
    >>> report.next_lsn, report.clean
    (2, True)

    :raises CorruptionError: acknowledged records are missing or damaged.
    :raises FileNotFoundError: there is no log at ``path``.
    """
    raw = _native.verify(os.fspath(path))
    return Report(
        oldest_lsn=raw.oldest_lsn,
        next_lsn=raw.next_lsn,
        segments=raw.segments,
        batches=raw.batches,
        records=raw.records,
        bytes=raw.bytes,
        torn_bytes=raw.torn_bytes,
        torn_segment=raw.torn_segment,
        torn_offset=raw.torn_offset,
        clean=raw.clean,
        writer_alive=raw.writer_alive,
        sync_method=_native.METHOD_NAMES[raw.method],
        block_bytes=raw.block_bytes,
        uuid=str(uuid.UUID(bytes=_native.uuid_bytes(raw))),
    )


def _refuse_if_locked(path: str) -> None:
    """Before anything is copied; the repair itself takes the lock again."""
    name = os.path.join(path, "LOCK")
    try:
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = int.from_bytes(os.pread(fd, 8, _PID_OFFSET), sys.byteorder)
        locked = LockedError(errno.EWOULDBLOCK, f"a writer has the log open (process {pid})", name)
        locked.pid = pid or None
        raise locked from None
    finally:
        os.close(fd)


def _sync(path: str) -> None:
    """By the platform's right call: on macOS os.fsync does not reach the medium."""
    if os.path.isdir(path):
        sync_directory(path)
    else:
        with open(path, "rb") as file:
            sync_file(file)


def _copy_aside(path: str) -> str:
    """Copy the log's directory beside it, durably, and return the copy's path."""
    base = f"{path.rstrip('/')}.damaged-{time.strftime('%Y%m%dT%H%M%S')}"
    aside, serial = base, 1
    while os.path.lexists(aside):
        serial += 1
        aside = f"{base}-{serial}"
    shutil.copytree(path, aside)
    for name in os.listdir(aside):
        _sync(os.path.join(aside, name))
    _sync(aside)
    _sync(os.path.dirname(os.path.abspath(aside)))
    return aside


def repair_log(path: str | os.PathLike[str]) -> RepairReport:
    """End a damaged log at its last good record before the damage, so that it opens again.

    The log as it was is first copied aside, durably, into a directory next to it.  What lies
    behind the damage is no longer part of the log, even where it is intact: a log with a hole is
    not a prefix of what was written.  Where the first segments are what is damaged, the log begins
    with the first readable one, as if ``truncate_before`` had been there.  LSNs behind the kept
    records are given out again.  A healthy log is left alone.

    >>> import tempfile
    >>> from pydurable import Log
    >>> path = tempfile.mkdtemp() + "/log"
    >>> with Log(path) as log:
    ...     _ = log.commit(b"x")
    >>> repair_log(path).damage is None
    True

    :raises LockedError: a writer has the log open.
    :raises CorruptionError: not one segment has a readable header, so there is nothing to keep.
    """
    name = os.fspath(path)
    _refuse_if_locked(name)
    try:
        return RepairReport(damage=None, copy=None, report=verify_log(name))
    except CorruptionError as error:
        damage = error
    copy = _copy_aside(name)
    _native.repair(name)
    return RepairReport(damage=damage, copy=copy, report=verify_log(name))
