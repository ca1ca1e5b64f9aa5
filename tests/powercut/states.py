"""What a power cut can leave on a disk.

At any moment the disk holds for certain what a completed flush covers: the writes that had ended
when it began.  Of the others each may be there, not be there, or be there in part, by sectors of
512 bytes.  Writes to the same sector keep their order.  A write that failed has changed nothing,
and a flush that failed covers nothing.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from .recording import PAGE, SECTOR, Entry, Image, Kind, Recording


@dataclass
class Write:
    """One write of the recording; ``number`` is its place there."""

    number: int
    offset: int
    data: bytes
    ended: bool = False


@dataclass(frozen=True)
class Piece:
    """Bytes at an offset of the disk, in the order ``number`` of the writes that they are from."""

    number: int
    offset: int
    data: bytes


class Cut:
    """The disk at one moment of a recording, which ``advance`` moves on."""

    def __init__(self, recording: Recording, whole: Iterable[int] = ()) -> None:
        self.position = 0
        self.facts = list(recording.inherited)
        self.durable: list[Write] = []
        self.pending: dict[int, Write] = {}
        self._entries = recording.entries
        self._covers: dict[int, list[int]] = {}
        self._whole = frozenset(whole)

    def advance(self, position: int) -> None:
        """Go on to just after entry ``position`` - 1."""
        assert position >= self.position, "a recording is replayed forwards"
        for index in range(self.position, position):
            self._apply(index, self._entries[index])
        self.position = position

    def _apply(self, index: int, entry: Entry) -> None:
        if entry.kind == Kind.WRITE_BEGIN:
            self.pending[entry.request] = Write(index, entry.offset, entry.data)
        elif entry.kind == Kind.WRITE_END and entry.result < 0:
            del self.pending[entry.request]
        elif entry.kind == Kind.WRITE_END:
            self.pending[entry.request].ended = True
        elif entry.kind == Kind.FLUSH_BEGIN:
            self._covers[entry.request] = [n for n, write in self.pending.items() if write.ended]
        elif entry.kind == Kind.FLUSH_END:
            covered = self._covers.pop(entry.request)
            if entry.result >= 0:
                # Another flush may have made some of them certain in the meantime.
                self.durable += [self.pending.pop(n) for n in covered if n in self.pending]
        elif entry.kind == Kind.MARK:
            self.facts.append(entry.fact())

    def choose(self, dice: random.Random) -> list[Piece]:
        """What a power cut now leaves of this recording's writes, in order."""
        pending = sorted(self.pending.values(), key=lambda write: write.number)
        pieces = [piece_of(write) for write in self.durable]
        pieces += dice.choice(WAYS)(pending, dice, self._whole)
        return sorted(pieces, key=lambda piece: piece.number)


def piece_of(write: Write) -> Piece:
    return Piece(write.number, write.offset, write.data)


def _none(pending: Sequence[Write], dice: random.Random, whole: frozenset[int]) -> list[Piece]:
    return []


def _all(pending: Sequence[Write], dice: random.Random, whole: frozenset[int]) -> list[Piece]:
    return [piece_of(write) for write in pending]


def _some(pending: Sequence[Write], dice: random.Random, whole: frozenset[int]) -> list[Piece]:
    return [piece_of(write) for write in pending if dice.random() < 0.5]


def _one(pending: Sequence[Write], dice: random.Random, whole: frozenset[int]) -> list[Piece]:
    return [piece_of(dice.choice(pending))] if pending else []


def _all_but_one(
    pending: Sequence[Write], dice: random.Random, whole: frozenset[int]
) -> list[Piece]:
    left_out = dice.choice(pending) if pending else None
    return [piece_of(write) for write in pending if write is not left_out]


def _torn(pending: Sequence[Write], dice: random.Random, whole: frozenset[int]) -> list[Piece]:
    """Each write is there in part: up to some sector, from some sector, or here and there."""
    return [piece for write in pending for piece in tear(write, dice, whole)]


def tear(write: Write, dice: random.Random, whole: frozenset[int]) -> list[Piece]:
    """Some of the sectors of a write, those that lie in a ``whole`` page together."""
    count = len(write.data) // SECTOR
    way, at = dice.randrange(4), dice.randrange(count + 1)
    kept = [
        (way == 0 and i < at) or (way == 1 and i >= at) or (way == 2 and dice.random() < 0.5)
        for i in range(count)
    ]
    for i in range(1, count):
        page = (write.offset + i * SECTOR) // PAGE
        if page in whole and page == (write.offset + (i - 1) * SECTOR) // PAGE:
            kept[i] = kept[i - 1]
    return [
        Piece(write.number, write.offset + i * SECTOR, write.data[i * SECTOR : (i + 1) * SECTOR])
        for i in range(count)
        if kept[i]
    ]


WAYS: tuple[Callable[[Sequence[Write], random.Random, frozenset[int]], list[Piece]], ...] = (
    _none,
    _all,
    _some,
    _one,
    _all_but_one,
    _torn,
    _torn,
)
"""How the writes fare that no flush covers."""


def write_state(file: int, base: Image, pieces: Iterable[Piece]) -> None:
    """Make an open file the disk that holds these pieces over its base image."""
    base.write_to(file)
    for piece in pieces:
        os.pwrite(file, piece.data, piece.offset)


@dataclass
class Fingerprints:
    """Tells states of one recording apart by what they change of the base image.

    The fingerprint is the sum of hashes of the changed sectors with their places; each sector's is
    computed once, for most states share most of them.
    """

    base: Image
    _raw: bytearray = field(init=False)
    _known: dict[tuple[int, int, int], dict[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._raw = self.base.whole()

    def of(self, pieces: Iterable[Piece]) -> bytes:
        sectors: dict[int, int] = {}
        for piece in pieces:
            key = piece.number, piece.offset, len(piece.data)
            hashes = self._known.get(key)
            if hashes is None:
                hashes = self._known[key] = self._hash(piece)
            sectors.update(hashes)
        return (sum(sectors.values()) % (1 << 128)).to_bytes(16, "little")

    def _hash(self, piece: Piece) -> dict[int, int]:
        hashes = {}
        for at in range(0, len(piece.data), SECTOR):
            place = piece.offset + at
            data = piece.data[at : at + SECTOR]
            digest = 0
            if data != self._raw[place : place + SECTOR]:
                text = hashlib.blake2b(data, digest_size=16, salt=place.to_bytes(8, "little"))
                digest = int.from_bytes(text.digest(), "little")
            hashes[place] = digest
        return hashes
