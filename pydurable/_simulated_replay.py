"""Recorded events (csrc/record.c) applied to a simulated disk."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydurable import _native_record as record
from pydurable._native_record import Event
from pydurable._simulated_disk import Directory, Disk, File, NameChange, Operation

AT_FDCWD = -100
"""The directory of a path that stands for itself (openat(2)), as Linux numbers it."""


@dataclass(eq=False)
class Descriptor:
    node: File | Directory | None  # None where it leads out of the root
    dsync: bool = False


class Replay:
    """Applies the events of one recording, made below the directory ``root``, to a disk.

    ``elsewhere`` are descriptors that were open before and lead out of the root.
    """

    def __init__(self, disk: Disk, root: Path, elsewhere: Iterable[int] = ()) -> None:
        self._disk = disk
        self._root = os.path.realpath(root)
        self._descriptors = {fd: Descriptor(None) for fd in elsewhere}
        self._writes: dict[int, Operation] = {}

    def apply(self, event: Event) -> None:
        """Let one event happen; marks are no concern of the disk's."""
        if event.call != record.MARK and self.concerns_root(event):
            _HANDLERS[event.call](self, event)
        elif event.call == record.OPEN:
            self._descriptors[event.a] = Descriptor(None)
        elif event.call == record.CLOSE:
            self._close(event)

    def concerns_root(self, event: Event) -> bool:
        """Whether an event happens below the root, and not, say, to a ring in memory."""
        if event.call == record.MARK:
            return False
        if event.call == record.CLOSE:
            return event.a in self._descriptors and self._descriptors[event.a].node is not None
        where = event.b if event.call == record.OPEN else event.a
        by_path = event.call == record.MKDIR or where == AT_FDCWD
        if by_path or (event.call == record.OPEN and event.c & os.O_DIRECTORY):
            return self._parts(os.fsdecode(event.data)) is not None
        return self._descriptor(where).node is not None

    def _parts(self, path: str) -> tuple[str, ...] | None:
        """The names that lead from the root to a path, None for a path elsewhere."""
        parent, name = os.path.split(os.path.abspath(path))
        for place in (os.path.realpath(path), os.path.join(os.path.realpath(parent), name)):
            parts = Path(os.path.relpath(place, self._root)).parts
            if parts[:1] != (os.pardir,):
                return parts
        return None

    def _lookup(self, path: str) -> tuple[Directory, str]:
        """The directory that holds path, and the name in it."""
        parts = self._parts(path)
        assert parts is not None
        directory = self._disk.root
        for part in parts[:-1]:
            child = directory.names()[part]
            assert isinstance(child, Directory)
            directory = child
        return directory, parts[-1] if parts else ""

    def _descriptor(self, fd: int) -> Descriptor:
        if fd not in self._descriptors:
            raise ValueError(f"a write to descriptor {fd}, which was opened before the recording")
        return self._descriptors[fd]

    def _file(self, event: Event) -> File:
        node = self._descriptor(event.a).node
        assert isinstance(node, File)
        return node

    def _directory(self, fd: int) -> Directory:
        node = self._descriptor(fd).node
        assert isinstance(node, Directory)
        return node

    def _open_node(self, event: Event) -> File | Directory:
        flags = event.c & 0xFFFFFFFF
        name = os.fsdecode(event.data)
        if event.c >> 32 & record.OPEN_UNNAMED:
            return File()
        if flags & os.O_DIRECTORY:
            directory, name = self._lookup(name)
            return directory.names()[name] if name else directory
        if event.b != AT_FDCWD:
            directory = self._directory(event.b)
        else:
            directory, name = self._lookup(name)
        node = directory.names().get(name)
        if node is None:
            node = File()
            directory.change(event.number, NameChange(node, new=name))
        elif flags & os.O_TRUNC:
            assert isinstance(node, File)
            node.operations.append(Operation(offset=0, ended=event.number))
        return node

    def _open(self, event: Event) -> None:
        dsync = bool(event.c >> 32 & record.OPEN_DSYNC)
        self._descriptors[event.a] = Descriptor(self._open_node(event), dsync)

    def _close(self, event: Event) -> None:
        # Duplicates are closed too, and nobody recorded how they came to be.
        self._descriptors.pop(event.a, None)

    def _write(self, event: Event) -> None:
        file = self._file(event)
        if event.c == 0:
            operation = Operation(offset=event.b, data=event.data)
            self._writes[event.number] = operation
            file.operations.append(operation)
            return
        operation = self._writes.pop(event.c)
        if event.b < 0:
            return  # it failed: who knows what it has left, for ever
        assert operation.data is not None
        operation.data = operation.data[: event.b]
        operation.ended = event.number
        operation.durable = self._descriptor(event.a).dsync
        file.settle()

    def _sync(self, event: Event) -> None:
        node = self._descriptor(event.a).node
        if not event.b or event.call == record.BARRIER:
            return
        if isinstance(node, Directory):
            node.sync(event.c)
        elif node is not None:
            node.sync(event.c, sizes=event.call != record.FDATASYNC)

    def _allocate(self, event: Event) -> None:
        operation = Operation(offset=event.b, grows=True, ended=event.number)
        self._file(event).operations.append(operation)

    def _truncate(self, event: Event) -> None:
        self._file(event).operations.append(Operation(offset=event.b, ended=event.number))

    def _rename(self, event: Event) -> None:
        old, new = (os.fsdecode(name) for name in event.data.split(b"\0"))
        directory = self._directory(event.a)
        node = directory.names()[old]
        directory.change(event.number, NameChange(node, old=old, new=new))

    def _move(self, event: Event) -> None:
        """A name goes from one directory into another, or changes in its own."""
        if event.a == event.b or self._descriptor(event.b).node is self._directory(event.a):
            self._rename(event)
            return
        old, new = (os.fsdecode(name) for name in event.data.split(b"\0"))
        directory = self._directory(event.a)
        node = directory.names()[old]
        gone = NameChange(node, old=old)
        directory.change(event.number, gone)
        if self._descriptor(event.b).node is not None:
            gone.twin = NameChange(node, new=new, twin=gone)
            self._directory(event.b).change(event.number, gone.twin)

    def _link(self, event: Event) -> None:
        old, new = (os.fsdecode(name) for name in event.data.split(b"\0"))
        node = self._directory(event.a).names()[old]
        self._directory(event.b).change(event.number, NameChange(node, new=new))

    def _unlink(self, event: Event) -> None:
        name = os.fsdecode(event.data)
        if event.a != AT_FDCWD:
            directory = self._directory(event.a)
        else:
            directory, name = self._lookup(name)
        node = directory.names()[name]
        directory.change(event.number, NameChange(node, old=name))

    def _mkdir(self, event: Event) -> None:
        directory, name = self._lookup(os.fsdecode(event.data))
        directory.change(event.number, NameChange(Directory(), new=name))


_HANDLERS = {
    **dict.fromkeys((*record.SYNCS, record.BARRIER), Replay._sync),
    record.OPEN: Replay._open,
    record.CLOSE: Replay._close,
    record.WRITE: Replay._write,
    record.ALLOCATE: Replay._allocate,
    record.TRUNCATE: Replay._truncate,
    record.RENAME: Replay._rename,
    record.MOVE: Replay._move,
    record.MOVE_NEW: Replay._move,
    record.LINK: Replay._link,
    record.UNLINK: Replay._unlink,
    record.MKDIR: Replay._mkdir,
}
