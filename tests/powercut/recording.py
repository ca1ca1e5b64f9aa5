"""What the disk has logged (disk.c), and whether it is all that happened."""

from __future__ import annotations

import enum
import os
import pickle
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SECTOR = 512
PAGE = 4096

_ENTRY = struct.Struct("=IIQQq")


class Kind(enum.IntEnum):
    """The kinds of entries, as disk.c numbers them."""

    WRITE_BEGIN = 0
    WRITE_END = 1
    FLUSH_BEGIN = 2
    FLUSH_END = 3
    MARK = 4
    ORDER = 5


@dataclass(frozen=True)
class Entry:
    """One entry of the disk's log; ``request`` is the same at the begin and the end of one."""

    kind: Kind
    request: int
    offset: int
    result: int
    data: bytes

    def fact(self) -> Any:
        """What a mark promises: a pickle, or the bytes of a program that knows of no rig."""
        return pickle.loads(self.data) if self.data[:1] == pickle.PROTO else self.data


def parse_log(raw: bytes) -> Iterator[Entry]:
    """The entries of a log; ValueError if it ends within one."""
    at = 0
    while at < len(raw):
        if at + _ENTRY.size > len(raw):
            raise ValueError("the disk's log ends within an entry")
        kind, size, request, offset, result = _ENTRY.unpack_from(raw, at)
        at += _ENTRY.size
        if at + size > len(raw):
            raise ValueError("the disk's log ends within an entry's bytes")
        yield Entry(Kind(kind), request, offset, result, raw[at : at + size])
        at += size


@dataclass(frozen=True)
class Image:
    """A disk image, as those of its pages that hold anything but zeros."""

    size: int
    extents: tuple[tuple[int, bytes], ...]

    @classmethod
    def read(cls, path: Path) -> Image:
        raw = path.read_bytes()
        return cls(len(raw), tuple(_extents(raw)))

    def write_to(self, file: int) -> None:
        """Make an open file this image, whatever it was."""
        os.ftruncate(file, 0)
        os.ftruncate(file, self.size)
        for offset, data in self.extents:
            os.pwrite(file, data, offset)

    def whole(self) -> bytearray:
        raw = bytearray(self.size)
        for offset, data in self.extents:
            raw[offset : offset + len(data)] = data
        return raw


def _extents(raw: bytes) -> Iterator[tuple[int, bytes]]:
    begin = None
    zeros = bytes(PAGE)
    for offset in range(0, len(raw), PAGE):
        if raw[offset : offset + PAGE] != zeros:
            begin = offset if begin is None else begin
        elif begin is not None:
            yield begin, raw[begin:offset]
            begin = None
    if begin is not None:
        yield begin, raw[begin:]


@dataclass
class Recording:
    """A base image and everything that the disk under it was told until the writer's end.

    ``inherited`` are facts that held before: of a run that an earlier power cut has ended.
    """

    base: Image
    entries: Sequence[Entry]
    inherited: list[Any] = field(default_factory=list)

    def check_against(self, live: bytes) -> None:
        """AssertionError unless base and log together are the disk as it is now."""
        failed = {e.request for e in self.entries if e.kind == Kind.WRITE_END and e.result < 0}
        expected = self.base.whole()
        for entry in self.entries:
            if entry.kind == Kind.WRITE_BEGIN and entry.request not in failed:
                expected[entry.offset : entry.offset + len(entry.data)] = entry.data
        assert expected == live, "the recording lacks something: base and log are not the disk"

    def flushes(self) -> int:
        return sum(e.kind == Kind.FLUSH_END and e.result == 0 for e in self.entries)

    def writes(self) -> int:
        return sum(e.kind == Kind.WRITE_BEGIN for e in self.entries)

    def facts(self) -> list[Any]:
        return [e.fact() for e in self.entries if e.kind == Kind.MARK]
