"""The log's side of the C core: calls, waits in slices, and errors as exceptions.

Together with _native_replace.py the only code that touches the core.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from typing import Any, NamedTuple, NoReturn

from pydurable._core import ffi, lib
from pydurable.errors import (
    ClosedError,
    CorruptionError,
    ForkedError,
    LockedError,
    PoisonedError,
    TruncatedError,
    VersionError,
)

TARGETS: dict[str, int] = {
    "none": lib.PD_TARGET_NONE,
    "interval": lib.PD_TARGET_INTERVAL,
    "group": lib.PD_TARGET_GROUP,
    "each": lib.PD_TARGET_EACH,
    "paranoid": lib.PD_TARGET_PARANOID,
}

METHODS: dict[str, int] = {
    "auto": lib.PD_METHOD_AUTO,
    "fdatasync": lib.PD_METHOD_FDATASYNC,
    "fsync": lib.PD_METHOD_FSYNC,
    "dsync": lib.PD_METHOD_DSYNC,
    "direct": lib.PD_METHOD_DIRECT,
    "direct+dsync": lib.PD_METHOD_DIRECT_DSYNC,
    "fullfsync": lib.PD_METHOD_FULLFSYNC,
    "barrier": lib.PD_METHOD_BARRIER,
}

METHOD_NAMES = {number: name for name, number in METHODS.items()}

# Looked up once: commits of many threads queue for the GIL, which each holds for these lines.
_commit = lib.pd_log_commit
_wait = lib.pd_log_wait
_new = ffi.new
_TICKET = ffi.typeof("struct pd_ticket *")

_DONE = lib.PD_DONE
_WAITING = lib.PD_WAITING
_FULL = lib.PD_FULL

# Threads that a flush sends home need the GIL next, where there is one.  Measured on Linux alone.
lib.pd_turns_use(sys.platform == "linux" and getattr(sys, "_is_gil_enabled", lambda: True)())


def _text(array: Any) -> str:
    return os.fsdecode(ffi.string(array))


def _message(error: Any) -> str:
    """What was being done, and why it could not be."""
    why = _text(error.why) or os.strerror(error.code)
    return f"{_text(error.op)}: {why}"


def _corruption(error: Any, filename: str) -> CorruptionError:
    where = f"{_message(error)}, at offset {error.offset}"
    if error.first_lsn:
        last = f" to {error.last_lsn}" if error.last_lsn else " on"
        where += f" (records from LSN {error.first_lsn}{last})"
    exception = CorruptionError(error.code, where, filename)
    exception.offset = error.offset
    exception.first_lsn = error.first_lsn or None
    exception.last_lsn = error.last_lsn or None
    return exception


def _exception(error: Any, path: str) -> Exception:
    """The exception that a filled-in ``struct pd_error`` stands for."""
    name = _text(error.name)
    filename = os.path.join(path, name) if name else path
    message = _message(error)
    if error.kind == lib.PD_ERROR_CORRUPT:
        return _corruption(error, filename)
    if error.kind == lib.PD_ERROR_LOCKED:
        holder = f" (process {error.pid})" if error.pid else ""
        locked = LockedError(error.code, message + holder, filename)
        locked.pid = error.pid or None
        return locked
    if error.kind == lib.PD_ERROR_POISONED:
        return PoisonedError(error.code, message, filename)
    if error.kind == lib.PD_ERROR_VERSION:
        return VersionError(error.code, message, filename)
    if error.kind == lib.PD_ERROR_CLOSED:
        return ClosedError("it is closed")
    if error.kind == lib.PD_ERROR_FORKED:
        return ForkedError("it was opened by the parent of this process; open it anew")
    if error.kind == lib.PD_ERROR_GONE:
        return TruncatedError(f"{message} (next was LSN {error.first_lsn})")
    return OSError(error.code, message, filename)


def _c_path(path: str) -> bytes:
    """The path as C takes it; C would take what stands before a null character for the whole."""
    raw = os.fsencode(path)
    if b"\0" in raw:
        raise ValueError("embedded null character in path")
    return raw


def _destroy(log: Any) -> None:
    """Free a log that nobody can reach any more, after ending its thread if nobody closed it."""
    lib.pd_log_close(log, 0)
    lib.pd_log_free(log)


class RingView(NamedTuple):
    """Where the ring of a log lies; the words are [stop, cleared]."""

    fd: int
    chunks: int
    chunk_bytes: int
    salt: int
    words: memoryview


class RingPage(NamedTuple):
    """The last page of a ring's file."""

    size: int
    magic: int
    path_offset: int


def _ring_page() -> RingPage:
    numbers = ffi.new("uint64_t[3]")
    lib.pd_ring_layout(numbers, numbers + 1, numbers + 2)
    return RingPage(*numbers)


RING_PAGE = _ring_page()


@functools.cache
def boot_id() -> bytes:
    """Which run of the machine this is; empty if that cannot be known."""
    out = ffi.new("uint8_t[16]")
    return bytes(out) if lib.pd_boot_id(out) >= 0 else b""


class FileIdentity(NamedTuple):
    """What tells a file from all others; an inode alone is used again once its file is gone."""

    device: int
    inode: int
    born: int
    """When it was made; 0 where the filesystem does not say."""


def identity(fd: int) -> FileIdentity:
    status = os.fstat(fd)
    return FileIdentity(status.st_dev, status.st_ino, int(lib.pd_file_born(fd)))


def identity_at(path: str) -> FileIdentity:
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return identity(fd)
    finally:
        os.close(fd)


class NativeLog:
    """A ``struct pd_log``.  Each method raises what the C call reports."""

    __slots__ = ("__weakref__", "_log", "_path")

    def __init__(self, path: str, options: dict[str, int], *, plain: bool = False) -> None:
        """Open a log, or with ``plain`` a file to append to."""
        self._path = path
        out = ffi.new("struct pd_log **")
        error = ffi.new("struct pd_error *")
        kind = "struct pd_file_options *" if plain else "struct pd_log_options *"
        settings = ffi.new(kind, options)
        call = lib.pd_file_open if plain else lib.pd_log_open
        if call(_c_path(path), settings, out, error) < 0:
            raise _exception(error, path)
        self._log = ffi.gc(out[0], _destroy)

    def _refuse(self) -> NoReturn:
        error = ffi.new("struct pd_error *")
        lib.pd_log_error(self._log, error)
        raise _exception(error, self._path)

    def commit(self, data: bytes, size: int, count: int, tail: int) -> int:
        """Commit one record (count 0) or that many frames; return the last LSN."""
        ticket = _new(_TICKET)
        log = self._log
        progress = _commit(log, data, size, count, tail, ticket)
        # C waits a tenth of a second at most, so that Python sees to its signals in between.
        while progress == _FULL:
            progress = _commit(log, data, size, count, tail, ticket)
        while progress == _WAITING:
            progress = _wait(log, ticket)
        if progress != _DONE:
            self._refuse()
        lsn: int = ticket.lsn
        return lsn

    def flush(self, tail: int) -> None:
        """Hand what the ring holds to the file and wait as the target says."""
        ticket = _new(_TICKET)
        progress = lib.pd_log_flush(self._log, tail, ticket)
        while progress == _FULL:
            progress = lib.pd_log_flush(self._log, tail, ticket)
        while progress == _WAITING:
            progress = _wait(self._log, ticket)
        if progress != _DONE:
            self._refuse()

    def try_flush(self, tail: int) -> None:
        """Hand over what the ring holds, and wait for that for one slice at the most."""
        if lib.pd_log_flush(self._log, tail, _new(_TICKET)) < 0:
            self._refuse()

    def sync(self, tail: int) -> None:
        """Make everything accepted before durable."""
        ticket = _new(_TICKET)
        progress = lib.pd_log_sync(self._log, tail, ticket)
        while progress in (_FULL, _WAITING):
            progress = lib.pd_log_sync(self._log, tail, ticket)
        if progress != _DONE:
            self._refuse()

    def truncate_before(self, lsn: int) -> None:
        if lib.pd_log_truncate_before(self._log, lsn) < 0:
            self._refuse()

    def close(self, tail: int) -> None:
        if lib.pd_log_close(self._log, tail) < 0:
            self._refuse()

    def info(self) -> Any:
        info = ffi.new("struct pd_log_info *")
        lib.pd_log_info(self._log, info)
        return info

    def stats(self) -> Any:
        stats = ffi.new("struct pd_stats *")
        lib.pd_log_stats(self._log, stats)
        return stats

    def reopen(self, tail: int) -> None:
        """Finish with the file that is open and go over to what the path names."""
        ticket = _new(_TICKET)
        progress = lib.pd_file_reopen(self._log, tail, ticket)
        while progress in (_FULL, _WAITING):
            progress = lib.pd_file_reopen(self._log, tail, ticket)
        if progress != _DONE:
            self._refuse()

    def fileno(self) -> int:
        """The descriptor of a plain file."""
        return int(lib.pd_file_fd(self._log))

    def share(self, shared: str, beside: str) -> None:
        """Let other processes know what is being written to a plain file."""
        error = _new("struct pd_error *")
        if lib.pd_file_share(self._log, _c_path(shared), _c_path(beside), error) < 0:
            raise _exception(error, self._path)

    def salvage(self, ring: str) -> int:
        """Append what a dead process left in a ring: how many records."""
        error = _new("struct pd_error *")
        records = int(lib.pd_log_salvage(self._log, _c_path(ring), error))
        if records < 0:
            raise _exception(error, ring)
        return records

    def make_ring(self, ring: str, size: int, target: str) -> None:
        error = _new("struct pd_error *")
        if lib.pd_log_make_ring(self._log, _c_path(ring), _c_path(target), size, error) < 0:
            raise _exception(error, ring)

    def ring(self) -> RingView:
        view = ffi.new("struct pd_ring_view *")
        lib.pd_log_ring(self._log, view)
        words = memoryview(ffi.buffer(view.words, 16)).cast("Q")
        return RingView(view.fd, view.chunks, view.chunk_bytes, view.salt, words)

    def refusal(self) -> Exception:
        """Why the log takes no records."""
        error = ffi.new("struct pd_error *")
        lib.pd_log_error(self._log, error)
        return _exception(error, self._path)


class NativeReader:
    """A ``struct pd_reader``.  Who reads in one thread and closes in another holds ``lock``."""

    __slots__ = ("_chunk", "_error", "_path", "_reader", "lock")

    def __init__(self, path: str, start: int) -> None:
        self._path = path
        self.lock = threading.Lock()
        self._chunk = ffi.new("struct pd_chunk *")
        self._error = ffi.new("struct pd_error *")
        out = ffi.new("struct pd_reader **")
        if lib.pd_reader_open(_c_path(path), start, out, self._error) < 0:
            raise _exception(self._error, path)
        self._reader = ffi.gc(out[0], lib.pd_reader_close)

    def next(self) -> tuple[int, Any, list[int], list[int]] | None:
        """The next records: first LSN, a buffer, and where each begins and ends in it."""
        chunk = self._chunk
        if self._reader is None:
            return None
        count = lib.pd_reader_next(self._reader, chunk, self._error)
        if count < 0:
            raise _exception(self._error, self._path)
        if count == 0:
            return None
        ends = ffi.unpack(chunk.ends, count)
        return (
            int(chunk.first_lsn),
            ffi.buffer(chunk.bytes, ends[-1]),
            ffi.unpack(chunk.begins, count),
            ends,
        )

    def close(self) -> None:
        with self.lock:
            if self._reader is not None:
                ffi.release(self._reader)
                self._reader = None


def verify(path: str) -> Any:
    """The ``struct pd_report`` of a log."""
    report = ffi.new("struct pd_report *")
    error = ffi.new("struct pd_error *")
    if lib.pd_log_verify(_c_path(path), report, error) < 0:
        raise _exception(error, path)
    return report


def trim(path: str) -> int:
    """Cut what follows the last newline: how many bytes."""
    error = ffi.new("struct pd_error *")
    cut = int(lib.pd_file_trim(_c_path(path), error))
    if cut < 0:
        raise _exception(error, path)
    return cut


def uuid_bytes(report: Any) -> bytes:
    return bytes(ffi.buffer(report.uuid))


def repair(path: str) -> None:
    error = ffi.new("struct pd_error *")
    if lib.pd_log_repair(_c_path(path), error) < 0:
        raise _exception(error, path)
