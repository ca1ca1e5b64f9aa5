"""The durable log: records that survive a power cut once ``commit`` has returned."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, NamedTuple

from pydurable import _options
from pydurable._async import AsyncLog, as_bytes
from pydurable._native import METHOD_NAMES
from pydurable._ring import open_with_ring
from pydurable._storage import require_honoured_flushes, warn_unless_honoured

__all__ = ["Log", "Stats"]


class Stats(NamedTuple):
    """Counts since the log was opened, and how long flushes took.

    Times are in microseconds, from the write of a batch to the end of its flush, with a
    resolution of 6 %; 0 where nothing was flushed yet.
    """

    commits: int
    """Records accepted, appended ones included once they left the ring."""
    batches: int
    """Batches written, watermarks included."""
    flushes: int
    """Syncs of file data that were asked of the operating system."""
    payload_bytes: int
    """Bytes of records."""
    written_bytes: int
    """Bytes handed to the file: records, framing and padding."""
    segments_created: int
    segments_recycled: int
    buffer_bytes: int
    """Memory held for batches and for the ring; what tasks of an event loop have handed over, at
    most three sixteenths of ``max_pending_bytes`` and one record for each loop, is not in it."""
    flush_p50_us: float
    flush_p99_us: float
    flush_p999_us: float
    sync_method: str


class Log(AsyncLog):
    """A durable, append-only log of records in a directory of its own.

    When :meth:`commit` returns, the record survives a power cut, provided that the disk honours
    flushes; after any crash the log holds a prefix of what was written, never an invented or
    damaged record.  Not promised: that a record whose ``commit`` raised, or never returned, is
    absent.  One process writes at a time; any number may read (:func:`pydurable.read_log`).

    >>> import pydurable, tempfile, os
    >>> path = os.path.join(tempfile.mkdtemp(), "events")
    >>> with pydurable.Log(path) as log:
    ...     log.commit(b"paid 10 to Ann")
    ...     log.commit_many([b"debit Bob", b"credit Ann"])
    1
    (2, 3)
    >>> [record.data for record in pydurable.read_log(path, start=2)]
    [b'debit Bob', b'credit Ann']

    :param path: the log's directory; made if it does not exist (its parent must).
    :param create: ``False`` raises ``FileNotFoundError`` where there is no log yet.
    :param sync: how much loss is acceptable.  ``"none"``: commit waits until the operating system
        has the record; ``"interval"``: the same, and a sync every ``interval`` seconds;
        ``"group"``: commit waits until the record is durable, and commits share flushes;
        ``"each"``: every commit has a flush of its own; ``"paranoid"``: O_DIRECT, O_DSYNC and
        fsync for each batch, and no log at all where flushes are known not to be honoured.
    :param method: how bytes are forced out: ``"fdatasync"``, ``"fsync"``, ``"dsync"``,
        ``"direct"``, ``"direct+dsync"``, on macOS ``"fullfsync"`` and ``"barrier"`` (the last
        orders writes and does not make them durable, so it goes with ``"none"`` and
        ``"interval"`` alone).  ``"auto"`` measures when the log is made, for under half a
        second, and remembers its choice in the log; under ``"none"`` and ``"interval"``, where
        nobody waits for the disk, it is ``"fdatasync"``.
    :param interval: seconds; how long appended records may stay in this process, the time between
        syncs under ``"interval"``, and how long the log must be idle before it notes on disk
        that everything was durable.
    :param segment_bytes: size of each file of the log, 64 KiB to 1 GiB, a multiple of 4096.
    :param max_pending_bytes: bound on the memory for records that wait; who exceeds it waits.
        A single record larger than a quarter of it is still taken, alone.
    :param commit_delay: seconds, at most 0.1, that a batch waits for further records before it is
        written.  Without it, a batch waits for threads that commit again and again, while they keep
        coming back within the time of a flush, and for 20 ms at the most.
    :param lanes: batches in flight at once, 1 or 2.
    :param ring: ``False`` hands each appended record over as :meth:`commit` does, instead of
        storing it into a ring that outlives this process.

    :raises LockedError: another writer has the log open.
    :raises CorruptionError: acknowledged records are missing or damaged; nothing was changed.
    :raises VersionError: a newer version of the format.
    :raises UnsafeStorageError: ``"paranoid"`` on storage that does not honour flushes; the other
        targets warn there with :class:`pydurable.DurabilityWarning`, once for each filesystem.
    :raises OSError: as the operating system says, with errno and file name.
    """

    _noun = "log"

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        create: bool = True,
        sync: str = "group",
        method: str = "auto",
        interval: float = 1.0,
        segment_bytes: int = 64 << 20,
        max_pending_bytes: int = 8 << 20,
        commit_delay: float = 0.0,
        lanes: int = 2,
        ring: bool = True,
    ) -> None:
        self._path = os.fspath(path)
        options = _options.native_options(
            create=create,
            sync=sync,
            method=method,
            interval=interval,
            segment_bytes=segment_bytes,
            max_pending_bytes=max_pending_bytes,
            commit_delay=commit_delay,
            lanes=lanes,
        )
        if not isinstance(self._path, str):
            raise TypeError("path must be a str or an os.PathLike of str")
        if sync == "paranoid":
            require_honoured_flushes(self._path)
        else:
            warn_unless_honoured(self._path)
        opened = open_with_ring(self._path, options, ring=ring, interval=interval)
        self._native, self._writer, self._ring, self._recovered = opened
        info = self._native.info()
        self._max_record_bytes = int(info.max_record_bytes)
        self._method = METHOD_NAMES[info.method]
        self._torn_bytes = int(info.torn_bytes)
        self._lot_bytes = 0 if sync == "each" else max_pending_bytes // 16
        self._pid = os.getpid()
        self._begin()

    # -- writing ---------------------------------------------------------------------------

    def commit(self, data: Any) -> int:
        """Write one record and wait for what the target promises; return its LSN.

        With ``"group"``, ``"each"`` and ``"paranoid"`` the record is durable on return, with all
        that this log accepted before it.  ``KeyboardInterrupt`` ends the wait within 0.2 s unless
        this thread is itself inside the system call that flushes; what became of the record is
        then unknown.

        :param data: bytes, or anything with the buffer protocol; may be empty.
        :raises ValueError: the record is larger than :attr:`max_record_bytes`.
        :raises PoisonedError: a write or sync failed, now or earlier.
        :raises OSError: there is no room for the next segment; nothing was accepted and the log
            is as healthy as before.
        """
        record = data if type(data) is bytes else as_bytes(data)
        if len(record) > self._max_record_bytes:
            self._refuse_size(len(record))
        return self._writer.commit(record)

    def commit_many(self, records: Iterable[Any]) -> tuple[int, int]:
        """Write records as one batch and return the first and the last LSN.

        All or nothing: after a crash either every one of them is there or none.

        >>> import tempfile
        >>> with Log(tempfile.mkdtemp() + "/log") as log:
        ...     log.commit_many([b"a", b"b", b"c"])
        (1, 3)

        :raises ValueError: there are no records, or together they are larger than a segment can
            hold: :attr:`max_record_bytes`, less four for each record after the first.
        """
        parts = []
        batch = self._batch(records)
        for record in batch:
            parts.append(len(record).to_bytes(4, "little"))
            parts.append(record)
        frames, count = b"".join(parts), len(batch)
        last = self._native.commit(frames, len(frames), count, self._ring.tail)
        return last - count + 1, last

    def append(self, data: Any) -> None:
        """Accept a record without waiting: no system call, no release of the GIL.

        It comes after everything this log accepted before, reaches the operating system within
        ``interval`` seconds (with the next :meth:`commit` or :meth:`sync` at the latest) and is
        durable when either of those returns.  It survives SIGKILL, a segmentation fault and
        ``os._exit`` of this process: the next opener of the log writes it.  A crash of the machine
        before the next flush loses it.  A record larger than a sixteenth of ``max_pending_bytes``,
        or one that finds the ring full, is handed to the file first and takes as long as that does.

        >>> import tempfile
        >>> with Log(tempfile.mkdtemp() + "/log") as log:
        ...     log.append(b"cheap")
        ...     log.sync()
        1

        :raises ValueError: the record is larger than :attr:`max_record_bytes`.
        :raises PoisonedError: a write or sync failed earlier.
        """
        if not self._writer.append(data):
            self._append_slowly(data)

    def sync(self) -> int:
        """Make everything accepted before durable, whatever the target; return the durable LSN.

        :raises PoisonedError: a write or sync failed, now or earlier.
        """
        self._native.sync(self._ring.tail)
        return self.durable_lsn

    def truncate_before(self, lsn: int) -> None:
        """Forget the records below ``lsn``, which becomes the oldest.

        The new beginning is durable before anything is removed.  Space is given back by whole
        segments, and one of them is kept to be used again.  An ``lsn`` at or below the oldest one
        does nothing.

        :raises ValueError: ``lsn`` is above :attr:`next_lsn`.
        """
        if not isinstance(lsn, int):
            raise TypeError("lsn must be an int")
        self._native.flush(self._ring.tail)
        if not 0 <= lsn <= self.next_lsn:
            raise ValueError(f"lsn must be between 0 and {self.next_lsn}, the next one")
        self._native.truncate_before(lsn)

    # -- state -----------------------------------------------------------------------------

    @property
    def path(self) -> str:
        """The log's directory, as it was given."""
        return self._path

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def durable_lsn(self) -> int:
        """The LSN up to which every record is known to be durable; 0 if there is none."""
        return int(self._native.info().durable_lsn)

    @property
    def next_lsn(self) -> int:
        """The LSN of the next record, those still on their way from :meth:`append` not counted."""
        return int(self._native.info().next_lsn)

    @property
    def oldest_lsn(self) -> int:
        """The LSN of the oldest record that is kept, or of the next one if there is none."""
        return int(self._native.info().oldest_lsn)

    @property
    def sync_method(self) -> str:
        """The method in use: the one asked for, or what ``"auto"`` chose."""
        return self._method

    @property
    def max_record_bytes(self) -> int:
        """The size in bytes of the largest record that a segment can hold."""
        return self._max_record_bytes

    @property
    def torn_bytes(self) -> int:
        """Bytes of unfinished batches, promised to nobody, that recovery left behind at open."""
        return self._torn_bytes

    @property
    def recovered_records(self) -> int:
        """Records that a dead process had appended, and that opening this log wrote into it."""
        return self._recovered

    def stats(self) -> Stats:
        """Counts and flush times since the log was opened."""
        raw = self._native.stats()
        return Stats(
            commits=raw.commits,
            batches=raw.batches,
            flushes=raw.flushes,
            payload_bytes=raw.payload_bytes,
            written_bytes=raw.written_bytes,
            segments_created=raw.segments_created,
            segments_recycled=raw.segments_recycled,
            buffer_bytes=raw.buffer_bytes,
            flush_p50_us=raw.flush_p50_ns / 1000,
            flush_p99_us=raw.flush_p99_ns / 1000,
            flush_p999_us=raw.flush_p999_ns / 1000,
            sync_method=self._method,
        )

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"next_lsn={self.next_lsn}"
        return f"<pydurable.Log {self._path!r} {state}>"

    # -- ending ----------------------------------------------------------------------------

    def close(self) -> None:
        """Hand over what was appended, flush as the target says, and give the lock back.

        Closing twice does nothing.  A log that is garbage collected without it is closed with a
        ``ResourceWarning``; one that is open when the interpreter exits is closed then.

        :raises PoisonedError: a write or sync failed, so that what was accepted last is unknown.
        """
        super().close()

    # -- inside ----------------------------------------------------------------------------

    def _append_slowly(self, data: Any) -> None:
        """What is no bytes, or found no room, or comes first."""
        record = as_bytes(data)
        if len(record) > self._max_record_bytes:
            self._refuse_size(len(record))
        if not self._ring.takes(len(record)):
            self.commit(record)
        elif not self._ring.store(record):
            raise self._closed_error() if self._closed else self._native.refusal()

    def _batch(self, records: Iterable[Any]) -> list[bytes]:
        """The records of one batch, which have to fit into a segment together."""
        batch = [as_bytes(record) for record in records]
        if not batch:
            raise ValueError("commit_many needs at least one record")
        size = sum(map(len, batch)) + 4 * (len(batch) - 1)
        if size > self._max_record_bytes:
            self._refuse_size(size)
        return batch

    def _refuse_size(self, size: int) -> None:
        raise ValueError(
            f"{size} bytes are more than a segment can hold: the limit is "
            f"{self._max_record_bytes} with segment_bytes of this log"
        )
