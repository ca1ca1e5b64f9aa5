"""Reading a log: records in order, without a lock, also while a writer is at work."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Generator, Iterator
from functools import partial
from typing import Any, NamedTuple

from pydurable._native import NativeReader

__all__ = ["LogReader", "Record", "read_log"]

_POLL_FIRST = 0.001
_POLL_MOST = 0.05


class Record(NamedTuple):
    """One record and its log sequence number, which counts from 1 without gaps."""

    lsn: int
    data: bytes


_make_record = partial(tuple.__new__, Record)


def _records(first: int, buffer: Any, begins: list[int], ends: list[int]) -> Iterator[Record]:
    """The records of a chunk, made one by one without a line of Python in between."""
    data = map(buffer.__getitem__, map(slice, begins, ends))
    return map(_make_record, zip(range(first, first + len(ends)), data, strict=True))


def _iterate(reader: NativeReader, follow: bool) -> Generator[Record, None, None]:
    pause = _POLL_FIRST
    try:
        while True:
            chunk = reader.next()
            if chunk is not None:
                pause = _POLL_FIRST
                yield from _records(*chunk)
            elif follow:
                time.sleep(pause)
                pause = min(2 * pause, _POLL_MOST)
            else:
                return
    finally:
        reader.close()


def _next_records(reader: NativeReader) -> list[Record]:
    """The records of the next chunk, copied: the reader may be closed while they are used."""
    with reader.lock:
        chunk = reader.next()
        return [] if chunk is None else list(_records(*chunk))


async def _iterate_async(reader: NativeReader, follow: bool) -> AsyncIterator[Record]:
    import asyncio

    pause = _POLL_FIRST
    loop = asyncio.get_running_loop()
    while True:
        records = await loop.run_in_executor(None, _next_records, reader)
        for record in records:
            yield record
        if records:
            pause = _POLL_FIRST
        elif follow:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _POLL_MOST)
        else:
            break
    reader.close()


class LogReader:
    """The records of a log, for one ``for`` or one ``async for``; see :func:`read_log`.

    ``next(reader)`` works too.  :meth:`close` gives the files back before the end; so does the
    garbage collector.
    """

    def __init__(self, path: str, start: int, follow: bool) -> None:
        self._reader = NativeReader(path, start)
        self._follow = follow
        self._records = _iterate(self._reader, follow)

    def __iter__(self) -> Iterator[Record]:
        return self._records

    def __next__(self) -> Record:
        return next(self._records)

    def __aiter__(self) -> AsyncIterator[Record]:
        return _iterate_async(self._reader, self._follow)

    def close(self) -> None:
        """End the iteration."""
        self._records.close()
        self._reader.close()


def read_log(path: str | os.PathLike[str], start: int = 1, *, follow: bool = False) -> LogReader:
    """Iterate over the records of a log from LSN ``start`` on, with ``for`` or ``async for``.

    Lazily, with bounded memory, and without a lock: also while a writer is at work, in this
    process or another.  While the writer is alive no record is yielded that is not durable yet.
    Records below the oldest one that is kept are passed over in silence.

    >>> import tempfile
    >>> from pydurable import Log
    >>> path = tempfile.mkdtemp() + "/log"
    >>> with Log(path) as log:
    ...     _ = log.commit_many([b"one", b"two"])
    >>> list(read_log(path))
    [Record(lsn=1, data=b'one'), Record(lsn=2, data=b'two')]

    In a coroutine ``async for`` reads in a thread of the loop's executor, many records at a time,
    and never holds up the loop.

    :param start: the LSN of the first record wanted.
    :param follow: at the end, wait for new durable records instead of stopping (``tail -f``);
        looks for them at most 50 ms apart.
    :raises FileNotFoundError: there is no log at ``path``.
    :raises CorruptionError: on the way, where acknowledged records are missing or damaged.
    :raises TruncatedError: ``truncate_before`` overtook this reader.
    """
    if not isinstance(start, int) or isinstance(start, bool):
        raise TypeError("start must be an int")
    if start < 0:
        raise ValueError("start must not be negative")
    return LogReader(os.fspath(path), start, bool(follow))
