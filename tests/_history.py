"""Records that say themselves what they must be, and what a log has promised about them."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache

from pydurable import Record

_HEADER = struct.Struct("<IIIII")


@cache
def make_record(writer: int, serial: int, first: int, count: int, size: int) -> bytes:
    """Record ``serial`` of a writer, one of ``count`` committed together from ``first`` on.

    Its ``size`` bytes of filler follow from the rest, so that not one byte of it can be wrong
    without being seen.
    """
    header = _HEADER.pack(writer, serial, first, count, size)
    return header + random.Random(header).randbytes(size)


def make_group(writer: int, first: int, sizes: list[int]) -> list[bytes]:
    """Records that are committed together, with these sizes of filler."""
    return [make_record(writer, first + i, first, len(sizes), n) for i, n in enumerate(sizes)]


def read_record(data: bytes) -> tuple[int, int, int, int, int]:
    """What :func:`make_record` made it of; AssertionError if nobody wrote it."""
    assert len(data) >= _HEADER.size, f"an invented record: {data[:40]!r}"
    writer, serial, first, count, size = _HEADER.unpack_from(data)
    assert len(data) == _HEADER.size + size, "a record of the wrong length"
    assert data == make_record(writer, serial, first, count, size), "a damaged record"
    return writer, serial, first, count, size


@dataclass(frozen=True)
class Durable:
    """These records stand in the log from LSN ``first`` on, and survive."""

    first: int
    records: tuple[bytes, ...]


@dataclass(frozen=True)
class TruncationBegun:
    """Records below ``lsn`` may be gone."""

    lsn: int


@dataclass(frozen=True)
class TruncationDone:
    """Records below ``lsn`` are gone."""

    lsn: int


Fact = Durable | TruncationBegun | TruncationDone


@dataclass
class Promises:
    """What a log has promised so far."""

    durable: dict[int, bytes] = field(default_factory=dict)
    may_begin: int = 1
    must_begin: int = 1

    def add(self, fact: Fact) -> None:
        if isinstance(fact, Durable):
            self.durable.update(enumerate(fact.records, fact.first))
        elif isinstance(fact, TruncationBegun):
            self.may_begin = max(self.may_begin, fact.lsn)
        else:
            self.must_begin = max(self.must_begin, fact.lsn)

    def check(self, oldest: int, records: Iterable[Record]) -> None:
        """What came back keeps every promise and holds nothing that nobody wrote."""
        found = list(records)
        lsns = [record.lsn for record in found]
        assert lsns == list(range(oldest, oldest + len(found))), "LSNs with gaps"
        assert self.must_begin <= oldest <= self.may_begin, (
            f"oldest LSN {oldest}, which must be from {self.must_begin} to {self.may_begin}"
        )
        held = dict(found)
        for lsn, data in self.durable.items():
            if lsn >= oldest:
                assert lsn in held, (
                    f"acknowledged record {lsn} is lost: next is {oldest + len(found)}"
                )
                assert held[lsn] == data, f"acknowledged record {lsn} is another one"
        _check_order(found)


def _check_order(records: list[Record]) -> None:
    """Each writer's records come in its order, none left out, and groups are whole at the end."""
    last: dict[int, tuple[int, int]] = {}
    for lsn, data in records:
        writer, serial, first, count, _ = read_record(data)
        # Where records below the oldest one are gone, a writer's first may be any.
        start = serial if records[0].lsn > 1 else 0
        expected = last[writer][0] + 1 if writer in last else start
        assert serial == expected, f"record {lsn}: writer {writer} skips {expected} for {serial}"
        last[writer] = serial, first + count - 1
    for writer, (serial, end) in last.items():
        assert serial == end, f"writer {writer}: {serial} came back without {end} of its group"
