"""A plain file to append to: what tail, grep and logrotate understand, durable when it matters."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from typing import Any, NamedTuple

from pydurable import _native, _options
from pydurable._async import AsyncFile
from pydurable._method_cache import choose
from pydurable._native import METHOD_NAMES, METHODS
from pydurable._ring import open_with_ring
from pydurable._storage import require_honoured_flushes, warn_unless_honoured

__all__ = ["AppendFile", "AppendStats"]

_ON_FULL = ("block", "drop", "raise")


class AppendStats(NamedTuple):
    """Counts since the file was opened by this process, and how long flushes took.

    Times are in microseconds, from the write of a batch to the end of its flush; 0 where nothing
    was flushed yet.
    """

    records: int
    """Calls of append, write and commit that were handed over."""
    dropped: int
    """Records that were lost because the ring was full, under ``on_full="drop"``."""
    batches: int
    """Writes to the file."""
    flushes: int
    """Syncs that were asked of the operating system."""
    written_bytes: int
    buffer_bytes: int
    """Memory held for batches and for the ring; what tasks of an event loop have handed over, at
    most three sixteenths of ``max_pending_bytes`` and one record for each loop, is not in it."""
    flush_p50_us: float
    flush_p99_us: float
    flush_p999_us: float
    sync_method: str


def _as_bytes(data: Any) -> bytes:
    if type(data) is bytes:
        return data
    if isinstance(data, str):
        raise TypeError("a bytes-like object is required, not 'str': wrap in io.TextIOWrapper")
    return memoryview(data).tobytes()


class AppendFile(AsyncFile, io.BufferedIOBase):
    """An append-only plain file that survives what it is asked to survive.

    ``append`` stores bytes in half a microsecond and survives a crash of this process; ``commit``
    returns when they, and all before them, have what ``sync`` promises.  Nothing is added to the
    bytes.  Several processes and threads may append to one file: what one call is given stays in
    one piece.  Not promised: that bytes whose ``commit`` raised, or never returned, are absent;
    that a power cut leaves no partial line (:func:`trim_partial_line` and ``trim`` cut it).

    >>> import io, pathlib, tempfile
    >>> import pydurable
    >>> path = pathlib.Path(tempfile.mkdtemp(), "app.log")
    >>> with pydurable.AppendFile(path) as file:
    ...     file.append(b"started\\n")
    ...     file.commit(b"paid 10 to Ann\\n")
    ...     print("also as text", file=io.TextIOWrapper(file, write_through=True))
    >>> print(path.read_text(), end="")
    started
    paid 10 to Ann
    also as text

    It is a writable binary file object as well: ``write`` appends, and print, csv, json.dump and
    logging libraries work on it or on an ``io.TextIOWrapper`` around it.

    :param path: made if it does not exist.
    :param sync: how much loss is acceptable.  ``"none"``: commit waits until the operating system
        has the bytes; ``"interval"``: the same, and a sync every ``interval`` seconds; ``"group"``:
        commit waits until they are durable, and commits share flushes; ``"each"``: every commit has
        a flush of its own; ``"paranoid"``: O_DSYNC and fsync for each batch, and no file at all
        where flushes are known not to be honoured.
    :param interval: seconds between syncs under ``"interval"``, and the longest that appended bytes
        stay out of the file.
    :param method: how bytes are forced out: ``"fdatasync"``, ``"fsync"``, ``"dsync"``, on macOS
        ``"fullfsync"`` and ``"barrier"``.  ``"auto"`` is ``"fdatasync"``, on macOS ``"fullfsync"``;
        under ``"group"`` and ``"each"`` it is measured once for each filesystem, for 0.3 s at most,
        and remembered in the user's cache directory.
        The direct methods of a log do not fit a file whose end is no block's end.
    :param max_pending_bytes: bound on the memory for bytes that wait, a quarter of it for the ring.
    :param on_full: what ``append`` does while the ring is full, because the disk is slower or has
        no space left.  ``"block"`` waits; ``"drop"`` counts the record in :meth:`stats` and leaves
        it out, and writes a line that says how many were lost once there is room; ``"raise"``
        raises
        :class:`FullError`, and lets ``commit`` raise ENOSPC where it would wait for space.
    :param ring: ``False`` hands each appended record over as :meth:`commit` does, instead of
        storing it into a ring that outlives this process.
    :param mode: permission bits of a file that is made, less the umask.
    :param trim: cut a partial last line, and zero bytes, before anything is appended.
    :param commit_delay: seconds, at most 0.1, that a batch waits for company before it is written;
        :class:`Log` says for whom it waits without it.

    :raises UnsafeStorageError: ``"paranoid"`` on storage that does not honour flushes.
    :raises OSError: as the operating system says, with errno and file name; EINVAL if the path is
        no regular file.
    """

    _noun = "file"

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        sync: str = "interval",
        interval: float = 1.0,
        method: str = "auto",
        max_pending_bytes: int = 8 << 20,
        on_full: str = "block",
        ring: bool = True,
        mode: int = 0o666,
        trim: bool = False,
        commit_delay: float = 0.0,
    ) -> None:
        self._path = os.fspath(path)
        if not isinstance(self._path, str):
            raise TypeError("path must be a str or an os.PathLike of str")
        if on_full not in _ON_FULL:
            raise ValueError(f"on_full must be one of {', '.join(map(repr, _ON_FULL))}")
        self._options = _options.file_options(
            sync=sync,
            method=method,
            interval=interval,
            max_pending_bytes=max_pending_bytes,
            commit_delay=commit_delay,
            mode=mode,
            trim=trim,
            refuses_full=on_full == "raise",
        )
        if sync == "paranoid":
            require_honoured_flushes(self._path)
        else:
            warn_unless_honoured(self._path)
        chosen = choose(self._path, sync, method)
        if chosen != method:
            self._options["method"] = METHODS[chosen]
        # A later chdir does not move the file: reopen() and a child open the same one.
        self._absolute = os.path.abspath(self._path)
        self._ring_wanted, self._interval, self._on_full = bool(ring), interval, on_full
        self._lot_bytes = 0 if sync == "each" else max_pending_bytes // 16
        self._open()
        self._begin()

    def _open(self) -> None:
        self._native, self._writer, self._ring, self._recovered = open_with_ring(
            self._absolute,
            self._options,
            ring=self._ring_wanted,
            interval=self._interval,
            plain=True,
            on_full=self._on_full,
        )
        info = self._native.info()
        self._max_record_bytes = int(info.max_record_bytes)
        self._method = METHOD_NAMES[info.method]
        self._pid = os.getpid()
        self._forget_loops()  # those of the parent process

    # -- writing ---------------------------------------------------------------------------

    def append(self, data: Any) -> None:
        """Accept bytes without waiting: no system call, no release of the GIL.

        They come after everything this file accepted before, survive SIGKILL, a segmentation fault
        and ``os._exit`` from now on, are handed to the operating system within ``interval`` seconds
        and are durable when the next :meth:`sync` returns.  More than a sixteenth of
        ``max_pending_bytes`` at once is handed over first, and takes as long as that does.

        :param data: bytes, or anything with the buffer protocol.
        :raises FullError: there is no room, and ``on_full="raise"``.
        :raises PoisonedError: a write or sync failed earlier.
        """
        if not self._writer.append(data):
            self._append_slowly(data)

    def commit(self, data: Any) -> None:
        """Write bytes and wait for what the target promises.

        With ``"group"``, ``"each"`` and ``"paranoid"`` they are durable on return, with all that
        this file accepted before them; otherwise the operating system has them.

        :raises PoisonedError: a write or sync failed, now or earlier.
        :raises OSError: with ENOSPC, under ``on_full="raise"``: there is no space left.  The bytes
            may be written once there is some.
        """
        record = data if type(data) is bytes else _as_bytes(data)
        native = self._usable()
        if record:
            self._check_size(len(record))
            self._writer.commit(record)
        else:
            native.flush(self._ring.tail)

    def commit_many(self, records: Iterable[Any]) -> None:
        """Write several pieces as one, in one write, and wait as :meth:`commit` does.

        Nothing of another thread or process comes between them.
        """
        self.commit(b"".join(map(_as_bytes, records)))

    def sync(self) -> None:
        """Make everything accepted before durable, whatever the target.

        :raises PoisonedError: a write or sync failed, now or earlier.
        """
        self._usable().sync(self._ring.tail)

    def reopen(self) -> None:
        """Go over to the file that the path names now, after logrotate has moved the old one.

        What was accepted before goes to the old file, and is durable under every target before the
        new one is opened (and made, if there is none).  If that fails the old file stays in use.
        """
        self._usable().reopen(self._ring.tail)

    # -- the file object -------------------------------------------------------------------

    def write(self, data: Any) -> int:
        """Append bytes; return their number."""
        record = data if type(data) is bytes else _as_bytes(data)
        self.append(record)
        return len(record)

    def writelines(self, lines: Iterable[Any]) -> None:
        """Append each of them."""
        for line in lines:
            self.append(line)

    def flush(self) -> None:
        """Hand what was appended to the operating system, and wait as :meth:`commit` does."""
        self._usable().flush(self._ring.tail)

    def fileno(self) -> int:
        """The descriptor of the file; it changes with :meth:`reopen`."""
        return self._usable().fileno()

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    @property
    def name(self) -> str:
        """The path, as it was given."""
        return self._path

    @property
    def mode(self) -> str:
        return "ab"

    @property
    def closed(self) -> bool:
        return self._closed

    # -- state -----------------------------------------------------------------------------

    @property
    def sync_method(self) -> str:
        """The method in use: the one asked for, or what ``"auto"`` chose."""
        return self._method

    @property
    def recovered_records(self) -> int:
        """Records that a dead process had appended, and that opening this file wrote into it."""
        return self._recovered

    def stats(self) -> AppendStats:
        """Counts and flush times since this process opened the file."""
        raw = self._native.stats()
        return AppendStats(
            records=raw.commits,
            dropped=self._ring.dropped,
            batches=raw.batches,
            flushes=raw.flushes,
            written_bytes=raw.written_bytes,
            buffer_bytes=raw.buffer_bytes,
            flush_p50_us=raw.flush_p50_ns / 1000,
            flush_p99_us=raw.flush_p99_ns / 1000,
            flush_p999_us=raw.flush_p999_ns / 1000,
            sync_method=self._method,
        )

    def __repr__(self) -> str:
        return f"<pydurable.AppendFile {self._path!r}{' closed' if self._closed else ''}>"

    # -- ending ----------------------------------------------------------------------------

    def close(self) -> None:
        """Hand over what was appended, and flush as the target says.

        Closing twice does nothing.  A file that is garbage collected without it is closed with a
        ``ResourceWarning``; one that is open when the interpreter exits is closed then.

        :raises PoisonedError: a write or sync failed, so that what was accepted last is unknown.
        :raises OSError: there is no space left.  What was appended stays in the ring, and the next
            opener of the file appends it.
        """
        super().close()

    # -- inside ----------------------------------------------------------------------------

    def _usable(self) -> _native.NativeLog:
        """The engine; in a child of the process that opened the file, one of its own."""
        if self._closed:
            raise self._closed_error()
        if os.getpid() != self._pid:
            self._open()
        return self._native

    def _use_loop(self) -> Any:
        self._usable()
        return super()._use_loop()

    def _append_slowly(self, data: Any) -> None:
        """What is no bytes, or found no room, or comes first."""
        record = _as_bytes(data)
        native = self._usable()
        if not record:
            return
        self._check_size(len(record))
        if not self._ring.takes(len(record)):
            self._writer.commit(record)
        elif not self._ring.store(record):
            raise self._closed_error() if self._closed else native.refusal()

    def _check_size(self, size: int) -> None:
        if size > self._max_record_bytes:
            self._refuse_size(size)

    def _refuse_size(self, size: int) -> None:
        raise ValueError(f"{size} bytes at once: the limit is {self._max_record_bytes}")
