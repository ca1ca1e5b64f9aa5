"""The errors of pydurable: one tree below :class:`DurableError`.

Those that come from a system call are also :class:`OSError` and carry ``errno``, ``strerror`` and
``filename``.  A system call that fails without harm to the log raises the plain ``OSError``
subclass that Python has for its errno (``FileNotFoundError``, ``PermissionError``, ...).
"""

from __future__ import annotations

__all__ = [
    "ClosedError",
    "CorruptionError",
    "DurabilityWarning",
    "DurableError",
    "ForkedError",
    "FullError",
    "LockedError",
    "NotDurableError",
    "PartlyReplacedError",
    "PoisonedError",
    "TruncatedError",
    "UnsafeStorageError",
    "VersionError",
]


class DurableError(Exception):
    """The base of every error that is pydurable's own."""


class PoisonedError(DurableError, OSError):
    """A write or a sync of the log or file failed; it accepts nothing more.

    ``errno`` is that of the first failure.  Records above ``durable_lsn`` are *unknown*: they may
    or may not survive.  A failed sync is never tried again, because the kernel may have dropped
    what it could not write and report success the next time (fsync(2)).  The way on is to close
    the log and open it again, which recovers what is there into a new segment.
    """


class FullError(DurableError, OSError):
    """The ring of appended records is full, and ``on_full="raise"`` was asked for.

    Nothing of the record was kept.  ``errno`` is ENOBUFS.
    """


class LockedError(DurableError, OSError):
    """Another writer has the log open.

    ``pid`` is the process that holds it, as far as the lock file tells; it may be this one.
    """

    pid: int | None = None


class CorruptionError(DurableError, OSError):
    """Data that had been acknowledged is missing or damaged.

    ``filename`` and ``offset`` (bytes) say where; ``first_lsn`` and ``last_lsn`` say which records
    are concerned, ``None`` where that cannot be known.  Nothing has been changed.
    :func:`pydurable.repair_log` keeps what can be kept.
    """

    offset: int = 0
    first_lsn: int | None = None
    last_lsn: int | None = None


class VersionError(DurableError, OSError):
    """The log was written by a newer version of the format than this library reads."""


class UnsafeStorageError(DurableError, OSError):
    """``sync="paranoid"`` was asked for where a flush cannot reach a medium."""


class DurabilityWarning(UserWarning):
    """A writer was opened where a flush is known to reach no medium: in memory, without barriers.

    Given once for each filesystem in the life of a process; its text begins with "not durable: ".
    ``warnings.filterwarnings("ignore", category=DurabilityWarning)`` turns it off, and "error"
    in place of "ignore" refuses to write there.
    """


class ClosedError(DurableError, ValueError):
    """The log or the file is closed."""


class ForkedError(DurableError, RuntimeError):
    """The log was opened by the parent of this process, and only the parent may use it."""


class TruncatedError(DurableError, LookupError):
    """``truncate_before`` removed records that a reader had not reached yet."""


class NotDurableError(DurableError, OSError):
    """A file was replaced or renamed, but what must follow that failed.

    The new content is in place, and readers see it; a crash of the machine may still undo it.
    ``replaced`` is True, or for replace_many() the paths that were replaced, and ``pending`` the
    paths that were not.
    """

    replaced: bool | tuple[str | bytes, ...] = True
    pending: tuple[str | bytes, ...] = ()


class PartlyReplacedError(DurableError, OSError):
    """replace_many() could not rename one of its files, and stopped there.

    ``replaced`` are the paths that show their new content (durably so, unless syncing their
    directories failed as well), ``pending`` those that show the old one, both in the order given.
    """

    replaced: tuple[str | bytes, ...] = ()
    pending: tuple[str | bytes, ...] = ()
