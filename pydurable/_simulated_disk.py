"""A simulated disk: what a power cut may leave of a recorded run.

The core records every call that changes a file (csrc/record.c), _simulated_replay.py replays them,
and this model knows at each moment what is durable and what is pending:

* a write survives a cut wholly, not at all, or torn: any of its 512-byte sectors;
* a sync makes durable the writes to its file that had ended before it began; fsync also makes
  durable what changed the file's size, fdatasync nothing but writes;
* a write through O_DSYNC is durable once it has ended;
* names that were made, moved or removed are durable after a sync of their directory and not
  before; of the pending ones any may survive without the others.  A rename is never half done;
  one from a directory into another is durable once both have been synced.

That is no worse than POSIX allows, and worse than most filesystems are.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SECTOR = 512


@dataclass(eq=False)
class Operation:
    """One change of a file's bytes (``data`` at ``offset``) or of its size (``data`` is None)."""

    offset: int  # where data goes; the new size where there is none
    data: bytes | None = None
    grows: bool = False  # a size that only grows the file: allocation, not truncation
    ended: int | None = None  # the event at which it ended, None while it is under way
    durable: bool = False

    def apply(self, content: bytearray) -> None:
        """Do the whole of it."""
        if self.data is not None:
            _put(content, self.offset, self.data)
        elif self.offset > len(content):
            content.extend(bytes(self.offset - len(content)))
        elif not self.grows:
            del content[self.offset :]

    def apply_torn(self, content: bytearray, dice: random.Random) -> None:
        """Do some sectors of a write; a size changes as a whole."""
        if self.data is None:
            self.apply(content)
            return
        for begin, end in _sectors(self.offset, self.offset + len(self.data)):
            if dice.random() < 0.5:
                _put(content, begin, self.data[begin - self.offset : end - self.offset])


def _put(content: bytearray, offset: int, data: bytes) -> None:
    if offset > len(content):
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def _sectors(begin: int, end: int) -> Iterator[tuple[int, int]]:
    """The pieces of [begin, end) that the device writes as a whole."""
    while begin < end:
        stop = min(end, (begin // SECTOR + 1) * SECTOR)
        yield begin, stop
        begin = stop


@dataclass(eq=False)
class File:
    """A file: its durable bytes, and what came after them in order."""

    base: bytearray = field(default_factory=bytearray)
    operations: list[Operation] = field(default_factory=list)

    def sync(self, begun: int, sizes: bool) -> None:
        """Make durable what had ended before event ``begun``."""
        for operation in self.operations:
            if operation.ended is not None and operation.ended < begun:
                operation.durable |= sizes or operation.data is not None
        self.settle()

    def settle(self) -> None:
        """Move what is durable and has nothing pending before it into the base."""
        while self.operations and self.operations[0].durable:
            self.operations.pop(0).apply(self.base)

    def cached(self) -> bytes:
        """What the page cache shows: everything that was done."""
        content = bytearray(self.base)
        for operation in self.operations:
            operation.apply(content)
        return bytes(content)

    def after_cut(self, dice: random.Random, mood: Mood) -> bytes:
        """What a power cut may leave."""
        content = bytearray(self.base)
        for operation in self.operations:
            if operation.durable:
                operation.apply(content)
            elif dice.random() < mood.survives:
                if dice.random() < mood.torn:
                    operation.apply_torn(content, dice)
                else:
                    operation.apply(content)
        return bytes(content)


@dataclass(frozen=True)
class Mood:
    """How a cut treats what is pending: chances between 0 and 1."""

    survives: float
    torn: float
    name_survives: float
    moves: dict[NameChange, bool] = field(default_factory=dict, compare=False)
    """Whether a move between directories survives: both ask."""

    @staticmethod
    def draw(dice: random.Random) -> Mood:
        return Mood(
            survives=dice.choice([0.0, 0.5, 0.9, 1.0, dice.random()]),
            torn=dice.choice([0.0, 0.5, 1.0]),
            name_survives=dice.choice([0.0, 0.5, 1.0]),
        )


@dataclass(eq=False)
class NameChange:
    """``node`` stands under ``new`` from now on, and under ``old`` no more."""

    node: File | Directory
    old: str | None = None
    new: str | None = None
    twin: NameChange | None = None  # the other half of a move between directories
    synced: bool = False  # its directory has been synced since

    @property
    def durable(self) -> bool:
        return self.synced and (self.twin is None or self.twin.synced)

    def survives(self, dice: random.Random, mood: Mood) -> bool:
        """Whether it is there after the cut; the halves of a move share one lot."""
        if self.durable:
            return True
        if self.twin is not None and self.twin in mood.moves:
            return mood.moves[self.twin]
        mood.moves[self] = dice.random() < mood.name_survives
        return mood.moves[self]

    def apply(self, names: dict[str, File | Directory]) -> None:
        if self.old is not None and names.get(self.old) is self.node:
            del names[self.old]
        if self.new is not None:
            names[self.new] = self.node


@dataclass(eq=False)
class Directory:
    """A directory: its durable names, and the changes since, with the event of each."""

    base: dict[str, File | Directory] = field(default_factory=dict)
    changes: list[tuple[int, NameChange]] = field(default_factory=list)

    def change(self, number: int, change: NameChange) -> None:
        self.changes.append((number, change))

    def sync(self, begun: int) -> None:
        for number, change in self.changes:
            change.synced |= number < begun
        while self.changes and self.changes[0][1].durable:
            self.changes.pop(0)[1].apply(self.base)

    def names(self) -> dict[str, File | Directory]:
        """What a running system sees."""
        names = dict(self.base)
        for _, change in self.changes:
            change.apply(names)
        return names

    def names_after_cut(self, dice: random.Random, mood: Mood) -> dict[str, File | Directory]:
        names = dict(self.base)
        for _, change in self.changes:
            if change.survives(dice, mood):
                change.apply(names)
        return names


class Disk:
    """A tree of directories and files that recorded events are applied to."""

    def __init__(self) -> None:
        self.root = Directory()

    @staticmethod
    def holding(path: Path) -> Disk:
        """A disk on which everything below ``path`` is durable, with ``path`` as its root."""
        disk = Disk()
        _load(path, disk.root)
        return disk

    def copy(self) -> Disk:
        """Another disk that is the same now."""
        return copy.deepcopy(self)

    def write_cached(self, path: Path) -> None:
        """Make ``path`` what a running system sees."""
        _store_cached(self.root, path)

    def end_process(self) -> None:
        """The process that wrote has died: its calls have all ended, none became durable by it.

        Events are numbered anew from here on.
        """
        _end_calls(self.root)

    def write_after_cut(self, path: Path, dice: random.Random, mood: Mood | None = None) -> None:
        """Make ``path`` what one power cut may leave, as the dice fall."""
        _store_after_cut(self.root, path, dice, mood or Mood.draw(dice))


def _load(path: Path, directory: Directory) -> None:
    for entry in path.iterdir():
        if entry.is_dir():
            child = Directory()
            _load(entry, child)
            directory.base[entry.name] = child
        else:
            directory.base[entry.name] = File(bytearray(entry.read_bytes()))


def _end_calls(directory: Directory) -> None:
    directory.changes = [(0, change) for _, change in directory.changes]
    nodes = [*directory.base.values(), *(change.node for _, change in directory.changes)]
    for node in nodes:
        if isinstance(node, Directory):
            _end_calls(node)
        else:
            for operation in node.operations:
                operation.ended = 0


def _store_cached(directory: Directory, path: Path) -> None:
    path.mkdir()
    for name, node in directory.names().items():
        if isinstance(node, Directory):
            _store_cached(node, path / name)
        else:
            (path / name).write_bytes(node.cached())


def _store_after_cut(directory: Directory, path: Path, dice: random.Random, mood: Mood) -> None:
    path.mkdir()
    for name, node in sorted(directory.names_after_cut(dice, mood).items()):
        if isinstance(node, Directory):
            _store_after_cut(node, path / name, dice, mood)
        else:
            (path / name).write_bytes(node.after_cut(dice, mood))
