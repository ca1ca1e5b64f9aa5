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
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

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

    def __init__(
        self,
        recording: Recording,
        whole: Iterable[int] = (),
        settled: Callable[[Write], None] = lambda write: None,
    ) -> None:
        """settled: told of each write that has become certain."""
        self.position = 0
        self.facts = list(recording.inherited)
        self._durable: dict[tuple[int, int], Write] = {}
        self.pending: dict[int, Write] = {}
        self._entries = recording.entries
        self._covers: dict[int, list[int]] = {}
        self._whole = frozenset(whole)
        self._settled = settled

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
                for request in covered:
                    if request in self.pending:
                        self._settle(self.pending.pop(request))
        elif entry.kind == Kind.MARK:
            self.facts.append(entry.fact())

    def _settle(self, write: Write) -> None:
        """Take a write for certain; of those to the same place only the last one counts."""
        place = write.offset, len(write.data)
        if place not in self._durable or self._durable[place].number < write.number:
            self._durable[place] = write
        self._settled(write)

    @property
    def durable(self) -> list[Write]:
        """What is certain, in order, without what was written over as a whole."""
        return sorted(self._durable.values(), key=lambda write: write.number)

    def draw(self, dice: random.Random) -> list[Piece]:
        """What a power cut now leaves of the writes that no flush covers, in order."""
        pending = sorted(self.pending.values(), key=lambda write: write.number)
        return dice.choice(WAYS)(pending, dice, self._whole)

    def disk(self, drawn: Sequence[Piece]) -> list[Piece]:
        """All that is on the disk if this was drawn, in order."""
        pieces = [*map(piece_of, self._durable.values()), *drawn]
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


class Fingerprints:
    """Tells states of one recording apart by what they change of the base image.

    The fingerprint is the sum of hashes of the changed sectors with their places.  What is certain
    is summed up as it comes; of each write the sectors are hashed once, for most states share most
    of them.
    """

    def __init__(self, base: Image) -> None:
        self._raw = base.whole()
        self._known: dict[tuple[int, int, int], dict[int, int]] = {}
        self._settled: dict[int, tuple[int, int]] = {}
        self._sum = 0

    def settle(self, write: Write) -> None:
        """From now on each state has this write, unless a later one was to the same place."""
        for place, digest in self._hashes(piece_of(write)).items():
            number, before = self._settled.get(place, (-1, 0))
            if number < write.number:
                self._settled[place] = write.number, digest
                self._sum += digest - before

    def of(self, drawn: Iterable[Piece]) -> bytes:
        """The fingerprint of what is settled with these pieces, given in order."""
        changes: dict[int, int] = {}
        for piece in drawn:
            for place, digest in self._hashes(piece).items():
                number, before = self._settled.get(place, (-1, 0))
                if number < piece.number:
                    changes[place] = digest - before
        return ((self._sum + sum(changes.values())) % (1 << 128)).to_bytes(16, "little")

    def _hashes(self, piece: Piece) -> dict[int, int]:
        key = piece.number, piece.offset, len(piece.data)
        if key not in self._known:
            self._known[key] = dict(self._hash(piece))
        return self._known[key]

    def _hash(self, piece: Piece) -> Iterator[tuple[int, int]]:
        for at in range(0, len(piece.data), SECTOR):
            place = piece.offset + at
            data = piece.data[at : at + SECTOR]
            digest = 0
            if data != self._raw[place : place + SECTOR]:
                text = hashlib.blake2b(data, digest_size=16, salt=place.to_bytes(8, "little"))
                digest = int.from_bytes(text.digest(), "little")
            yield place, digest


@dataclass(frozen=True)
class Drawing:
    """A state: the moment of a cut, and what it left of the writes that no flush covered then."""

    position: int
    pieces: list[Piece]


MOMENTS = 2
"""How many moments are drawn for each state that is wanted, since many leave the same."""

TRIES = 4
"""How often is drawn at one moment until it leaves a state that was not drawn before."""


def draw_moments(recording: Recording, count: int, dice: random.Random) -> list[int]:
    """Moments to cut at, in order: half of them just after a promise, where it may be too early."""
    marks = [i + 1 for i, entry in enumerate(recording.entries) if entry.kind == Kind.MARK]
    return sorted(
        dice.choice(marks)
        if marks and dice.random() < 0.5
        else dice.randint(1, len(recording.entries))
        for _ in range(count)
    )


def draw_states(
    recording: Recording, whole: Iterable[int], count: int, dice: random.Random
) -> list[Drawing]:
    """So many different states, or as many as are found, in the order of their moments.

    A state that was drawn at several moments is taken at the last one: by then most has been
    promised about it.
    """
    prints = Fingerprints(recording.base)
    cut = Cut(recording, whole, prints.settle)
    drawn: dict[bytes, Drawing] = {}
    for moment in draw_moments(recording, MOMENTS * count, dice):
        cut.advance(moment)
        for _ in range(TRIES):
            pieces = cut.draw(dice)
            fingerprint = prints.of(pieces)
            known = drawn.pop(fingerprint, None) is not None
            drawn[fingerprint] = Drawing(moment, pieces)
            if not known:
                break
    chosen = dice.sample(range(len(drawn)), min(count, len(drawn)))
    drawings = list(drawn.values())
    return [drawings[i] for i in sorted(chosen)]
