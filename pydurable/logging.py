"""A logging handler that does not stall its callers, and waits for the disk where it matters.

Not imported by ``import pydurable``: the standard library's logging takes its time.
"""

from __future__ import annotations

import codecs
import contextlib
import datetime
import logging
import math
import os
import sys
import time
from dataclasses import dataclass
from typing import Any

from pydurable import _options
from pydurable._log_file import LogFile
from pydurable._rotated import RotatedFiles
from pydurable._schedule import Rotation, Schedule
from pydurable.append_file import AppendFile
from pydurable.errors import DurableError

__all__ = ["DurableHandler", "HandlerStats"]

_WAITING_TARGETS = ("group", "each", "paranoid")
_ON_FULL = ("block", "drop", "raise")
_REPEAT_S = 60.0
_STDLIB_FORMATTING = ("format", "formatTime", "formatException", "formatMessage", "formatStack")


@dataclass(frozen=True)
class HandlerStats:
    """Counts since the handler was made; in a child process, since its parent made it."""

    records: int
    """Records that were accepted."""
    waited: int
    """Those among them that waited for the disk."""
    errors: int
    """Failures of the disk path, a line that could not be accepted among them."""
    lost: int
    """Records that were not accepted, or whose fate is unknown because a sync failed."""
    dropped: int
    """Records left out because the ring was full, under ``on_full="drop"``."""
    rotations: int
    """Files that this handler has set aside."""
    reopened: int
    """How often it found its file moved, by itself or by others, and opened the path anew."""
    compressed: int
    """Files that this handler has compressed."""


def _level_number(level: int | str | None) -> float:
    """The number of a level; infinity for None, which no record reaches."""
    if level is None:
        return math.inf
    if isinstance(level, str):
        number = logging.getLevelName(level)
        if not isinstance(number, int):
            raise ValueError(f"sync_level={level!r} is no level that logging knows")
        return number
    if not isinstance(level, int) or isinstance(level, bool):
        raise TypeError(f"sync_level must be a level or None, not {type(level).__name__}")
    return level


def _keeps_nothing(formatter: logging.Formatter | None) -> bool:
    """Whether a formatter keeps nothing of its own while it formats: the standard library's."""
    return formatter is None or all(
        getattr(type(formatter), name, None) is getattr(logging.Formatter, name)
        for name in _STDLIB_FORMATTING
    )


class DurableHandler(logging.Handler):
    """Write log records to a plain file: the ones that matter are durable, none stalls the rest.

    When a logging call of ``sync_level`` or above returns, its line survives a power cut, with all
    lines that this handler accepted before it, provided that the disk honours flushes.  Other
    lines are accepted without a system call, survive the death of the process at once, and a power
    cut after ``interval`` seconds at the latest.

    >>> import logging, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "app.log")
    >>> logger = logging.getLogger("doctest.durable")
    >>> handler = DurableHandler(path, max_bytes=10_000_000, backup_count=5, compress="gzip")
    >>> logger.addHandler(handler)
    >>> logger.warning("disk is filling")   # on its way
    >>> logger.error("disk is full")        # durable, and the warning too
    >>> print(path.read_text(), end="")
    disk is filling
    disk is full
    >>> logger.removeHandler(handler); handler.close()

    Threads do not wait for each other's disk: no lock is held while one does.  A formatter whose
    class changes how the standard library's formats is called by one thread at a time.

    Several processes may write to one file, rotation included, each with a handler of its own and
    the same settings; lines are never mixed and none is lost.  A file that somebody else moved,
    as logrotate does, is left within ``interval`` seconds, before any line of ``sync_level``;
    lines until then go to the file that was moved.

    Not promised: that a line whose call reported an error is absent; the order of lines of
    different processes; that a file of several processes or threads ends at exactly ``max_bytes``.

    :param filename: path of the file; its directory must exist.
    :param sync: the target, as of :class:`pydurable.AppendFile`.  It says how lines below
        ``sync_level`` reach the disk: ``"none"`` never forces them.
    :param sync_level: level, by number or name, from which on a logging call waits until its line
        is durable; ``None`` never waits.
    :param interval: seconds between syncs, and between looks at the path.
    :param max_bytes: size at which a file is set aside; 0 for never.  A line that alone is longer
        has a file of its own.
    :param backup_count: how many of the files that were set aside are kept; 0 for all.
    :param when: time at which a file is set aside: ``"midnight"``, ``"W0"`` (Monday) to ``"W6"``,
        or a period such as ``"30m"``, ``"6h"``, ``"1d"``, counted from midnight.
    :param at_time: for days and weeks another time than midnight: ``datetime.time`` or ``"03:30"``.
    :param utc: whether ``when`` and the names of files go by UTC instead of local time.
    :param compress: ``"gzip"`` compresses files that were set aside, in the background.
    :param on_full: when lines are accepted faster than the disk takes them: ``"block"``,
        ``"drop"`` or ``"raise"``, as of :class:`pydurable.AppendFile`.
    :param encoding: of the file.
    :param errors: what is done about characters that ``encoding`` does not have, as of ``open()``;
        ``None`` is ``"backslashreplace"``, so that no line is lost.
    :param delay: open the file with the first record instead of now.
    :param mode: permission bits of a new file, less the umask.
    :param method: how bytes are forced out, as of :class:`pydurable.AppendFile`.
    :param max_pending_bytes: bound on the memory for lines that wait.
    :param ring: as of :class:`pydurable.AppendFile`; False hands each line to the system at once.
    :param trim: cut a partial last line, which a power cut can leave, when the file is opened.

    :raises OSError: the file cannot be opened.
    :raises TypeError, ValueError: an option makes no sense; nothing was touched.
    """

    terminator = "\n"

    def __init__(
        self,
        filename: str | os.PathLike[str],
        *,
        sync: str = "interval",
        sync_level: int | str | None = logging.ERROR,
        interval: float = 1.0,
        max_bytes: int = 0,
        backup_count: int = 0,
        when: str | None = None,
        at_time: datetime.time | str | None = None,
        utc: bool = False,
        compress: str | None = None,
        on_full: str = "block",
        encoding: str = "utf-8",
        errors: str | None = None,
        delay: bool = False,
        mode: int = 0o666,
        method: str = "auto",
        max_pending_bytes: int = 8 << 20,
        ring: bool = True,
        trim: bool = False,
    ) -> None:
        self._sync_level = _level_number(sync_level)
        if compress not in (None, "gzip"):
            raise ValueError(f'compress must be None or "gzip", not {compress!r}')
        if at_time is not None and when is None:
            raise ValueError("at_time goes with when")
        schedule = None if when is None else Schedule.parse(when, at_time, utc)
        size = _options._integer("max_bytes", max_bytes, 0, 1 << 62)
        kept = _options._integer("backup_count", backup_count, 0, 1 << 30)
        codecs.lookup(encoding)
        self._encoding = encoding
        self._errors = "backslashreplace" if errors is None else errors
        codecs.lookup_error(self._errors)
        self.baseFilename = os.path.abspath(os.fsdecode(filename))
        self.error: Exception | None = None
        """The last failure of the disk path; None if there was none."""
        self._accepted = self._waited = self._failures = self._lost = 0
        self._told: tuple[str, float] = ("", 0.0)
        self._known: logging.Formatter | None = None  # one that need not be called in turn
        if on_full not in _ON_FULL:
            raise ValueError(f"on_full must be one of {', '.join(map(repr, _ON_FULL))}")
        common: dict[str, Any] = {
            "sync": sync,
            "method": method,
            "interval": interval,
            "max_pending_bytes": max_pending_bytes,
            "mode": mode,
        }
        _options.file_options(**common, commit_delay=0.0, trim=False, refuses_full=False)
        options: dict[str, Any] = {**common, "on_full": on_full, "ring": ring, "trim": trim}
        self._file = LogFile(
            self.baseFilename,
            lambda: AppendFile(self.baseFilename, **options),
            Rotation(size or math.inf, schedule, bool(utc)),
            RotatedFiles(self.baseFilename, kept, compress == "gzip"),
            self._report,
            interval=interval,
            mode=mode,
            waits=sync in _WAITING_TARGETS,
            blocks=on_full == "block",
        )
        if not delay:
            self._file.open()
        super().__init__()

    # -- what logging calls ----------------------------------------------------------------

    def handle(self, record: logging.LogRecord) -> bool:
        """Emit a record that passes the filters, without a lock around it."""
        passed = self.filter(record) if self.filters else True
        if isinstance(passed, logging.LogRecord):
            record = passed  # Python 3.12 lets a filter replace it
        if passed:
            self.emit(record)
        return bool(passed)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, and wait for the disk if its level says so.

        Whatever goes wrong goes to :meth:`handleError`, not to the caller.
        """
        try:
            if self.formatter is self._known:
                text = self.format(record)
            else:
                text = self._format_in_turn(record)
            line = (text + self.terminator).encode(self._encoding, self._errors)
            if record.levelno < self._sync_level:
                self._file.append(line, record.created)
            else:
                self._file.commit(line, record.created)
                self._waited += 1
            self._accepted += 1
        except RecursionError:
            raise
        except Exception as error:
            self._lost += 1
            if isinstance(error, (OSError, DurableError)):
                self._note(error)
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Say on standard error what went wrong, if ``logging.raiseExceptions`` is true.

        One line for a failure of the disk path, and no more than one a minute while it stays the
        same; for others, which are errors in the program, what the standard library prints.
        """
        error = sys.exc_info()[1]
        if not isinstance(error, (OSError, DurableError)):
            super().handleError(record)
        elif logging.raiseExceptions and sys.stderr:
            line = f"pydurable: {self.baseFilename}: {error}"
            now = time.monotonic()
            if self._told[0] != line or now - self._told[1] >= _REPEAT_S:
                self._told = (line, now)
                with contextlib.suppress(OSError):  # there is nobody left to tell
                    sys.stderr.write(f"{line} (logged from {record.pathname}:{record.lineno})\n")

    def flush(self) -> None:
        """Hand what was accepted to the operating system; for the disk there is :meth:`sync`."""
        try:
            self._file.flush()
        except Exception as error:
            self._report(error, "flushing")

    def close(self) -> None:
        """Hand over what was accepted, finish compressing, close.

        A record that comes later, as from other threads while the interpreter exits, is written
        and its file closed again: it is slow, but not lost.
        """
        try:
            self._file.close()
        except Exception as error:
            self._report(error, "closing")
        finally:
            super().close()

    # -- what users call -------------------------------------------------------------------

    def sync(self) -> None:
        """Make everything that was accepted durable, whatever the target and the levels.

        :raises OSError: a write or sync failed, now or earlier.
        """
        self._file.sync()

    def stats(self) -> HandlerStats:
        """Counts since the handler was made."""
        file = self._file
        return HandlerStats(
            records=self._accepted,
            waited=self._waited,
            errors=self._failures,
            lost=self._lost,
            dropped=file.dropped,
            rotations=file.rotations,
            reopened=file.reopened,
            compressed=file.packed,
        )

    def __repr__(self) -> str:
        level = logging.getLevelName(self.level)
        return f"<{type(self).__name__} {self.baseFilename} ({level})>"

    # -- inside ----------------------------------------------------------------------------

    def _format_in_turn(self, record: logging.LogRecord) -> str:
        """Format with a formatter that may keep something between two of its lines."""
        formatter = self.formatter
        if _keeps_nothing(formatter):
            self._known = formatter
            return self.format(record)
        self.acquire()
        try:
            return self.format(record)
        finally:
            self.release()

    def _note(self, error: Exception) -> None:
        self.error = error
        self._failures += 1

    def _report(self, error: Exception, doing: str) -> None:
        """Take note of what failed without a record to blame, and say so."""
        self._note(error)
        record = logging.LogRecord(
            __name__, logging.ERROR, __file__, 0, "%s failed", (doing,), sys.exc_info()
        )
        self.handleError(record)
