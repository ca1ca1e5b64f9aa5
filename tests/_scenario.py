"""A life of a log that takes every path of the engine, and what must hold however it ends."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from _patience import wait_until

import pydurable

SEGMENT_BYTES = 64 << 10
LARGE = 9000
"""Bytes of a large record: seven fill a segment."""


def record(lsn: int, size: int = 0) -> bytes:
    """What the record of this LSN holds; the size is its own if none is given."""
    stem = b"record %d;" % lsn
    return (stem * (1 + size // len(stem)))[: max(size, len(stem))]


def open_log(path: Path, **options: object) -> pydurable.Log:
    """A log with small segments and nothing that time alone sets off."""
    settings: dict[str, object] = {
        "method": "fdatasync",
        "segment_bytes": SEGMENT_BYTES,
        "interval": 3600.0,
        **options,
    }
    return pydurable.Log(path, **settings)  # type: ignore[arg-type]


@dataclass
class Life:
    """What the calls on a log were asked for and what they promised."""

    path: Path
    attempted: int = 0
    """The LSN up to which records may be in the log."""
    promised: int = 0
    """The LSN up to which they must be."""
    oldest: int = 1
    """The LSN that truncation asked for; those below it may be gone."""

    def commit(self, log: pydurable.Log, size: int = 0) -> None:
        self.attempted += 1
        lsn = log.commit(record(self.attempted, size))
        assert lsn == self.attempted
        self.promised = lsn

    def commit_many(self, log: pydurable.Log, count: int) -> None:
        first = self.attempted + 1
        self.attempted += count
        records = [record(lsn) for lsn in range(first, first + count)]
        assert log.commit_many(records) == (first, self.attempted)
        self.promised = self.attempted

    def append(self, log: pydurable.Log) -> None:
        self.attempted += 1
        log.append(record(self.attempted))

    def sync(self, log: pydurable.Log) -> None:
        assert log.sync() == self.attempted
        self.promised = self.attempted

    def truncate(self, log: pydurable.Log, lsn: int) -> None:
        self.oldest = lsn
        log.truncate_before(lsn)
        assert log.oldest_lsn == lsn

    def check_records(self, records: list[pydurable.Record]) -> None:
        """Dense, as they were written, from a beginning that was asked for to what was promised."""
        if not records:
            assert self.promised < self.oldest
            return
        first, last = records[0].lsn, records[-1].lsn
        assert first in (1, self.oldest)
        assert self.promised <= last <= self.attempted
        assert [r.lsn for r in records] == list(range(first, last + 1))
        for entry in records:
            assert entry.data == record(entry.lsn, len(entry.data))


def live(life: Life, **options: object) -> None:
    """Open, commit, append, rotate, truncate, recycle, close, read, verify, open again."""
    with open_log(life.path, **options) as log:
        for _ in range(3):
            life.commit(log)
        life.commit_many(log, 3)
        life.append(log)
        life.append(log)
        life.sync(log)
        for _ in range(9):
            life.commit(log, LARGE)
        life.truncate(log, 15)
        for _ in range(8):
            life.commit(log, LARGE)
        life.append(log)
        life.promised = life.attempted - 1
    life.promised = life.attempted
    life.check_records(list(pydurable.read_log(life.path)))
    report = pydurable.verify_log(life.path)
    assert report.clean
    assert report.next_lsn == life.attempted + 1
    with open_log(life.path, **options) as log:
        life.commit(log)


def check_aftermath(life: Life) -> None:
    """The log opens, holds what was promised, takes a record more and is sound."""
    if not (life.path / "0000000000000001.seg").exists() and not life.promised:
        # Making the log failed, or was cut short before there was one.
        with open_log(life.path) as log:
            assert log.commit(b"from the start") == 1
        return
    with open_log(life.path) as log:
        life.check_records(list(pydurable.read_log(life.path)))
        life.attempted = log.next_lsn - 1
        life.commit(log)
    life.check_records(list(pydurable.read_log(life.path)))
    assert pydurable.verify_log(life.path).clean


def fast_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder in memory where there is one: for many logs that no power cut concerns."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    return tempfile.TemporaryDirectory(prefix="pydurable-", dir=memory)


def resources() -> tuple[int, int]:
    """How many descriptors and threads this process has."""
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))


def check_resources(before: tuple[int, int]) -> None:
    """Nothing is left behind.

    A thread that was joined may take a moment to leave the process's list: it may still be there
    now, and it may have been there before.
    """
    descriptors, threads = before
    wait_until(lambda: resources()[1] <= threads, "no more threads than before")
    assert resources()[0] == descriptors, "descriptors are left behind"
