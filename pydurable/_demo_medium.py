"""A simulated disk that keeps nothing but what a sync has covered: the worst power cut there is.

It replays what the core's recorder has noted.  Each file and directory has two contents: the one
that programs see (the page cache) and the one on the medium.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from pydurable import _native_record as record
from pydurable._native_record import Event


@dataclass(eq=False)
class _Node:
    """A file or a directory."""

    cached: bytearray | dict[str, _Node]
    medium: bytes | dict[str, _Node]
    covered: int = 0
    """When the sync began that ``medium`` is from."""


def _file() -> _Node:
    return _Node(bytearray(), b"")


def _directory() -> _Node:
    return _Node({}, {})


@dataclass
class Medium:
    """What lies below the existing directory ``root``, which is empty when the recording begins."""

    root: Path
    _top: _Node = field(default_factory=_directory)
    _open: dict[int, _Node] = field(default_factory=dict)
    _begun: dict[int, bytes | dict[str, _Node]] = field(default_factory=dict)
    _writes: dict[int, Event] = field(default_factory=dict)

    def apply(self, event: Event) -> None:
        """Let a recorded event happen, if it concerns the root.  No write may be an O_DSYNC one."""
        call = event.call
        if call == record.OPEN:
            node = self._opened(event)
            if node is not None:
                self._open[event.a] = node
        elif call == record.MKDIR:
            names, name = self._place(os.fsdecode(event.data))
            names[name] = _directory()
        elif event.a not in self._open:
            pass  # a mark, or a file that lies elsewhere
        elif call == record.CLOSE:
            del self._open[event.a]
        elif call == record.WRITE:
            self._write(event)
        elif call in record.SYNCS:
            self._sync(event)
        elif call in (record.ALLOCATE, record.TRUNCATE):
            content = _bytes_of(self._open[event.a])
            content.extend(bytes(max(0, event.b - len(content))))
            if call == record.TRUNCATE:
                del content[event.b :]
        elif call == record.RENAME:
            names = _names_of(self._open[event.a])
            old, new = map(os.fsdecode, event.data.split(b"\0"))
            names[new] = names.pop(old)
        elif call == record.UNLINK:
            del _names_of(self._open[event.a])[os.fsdecode(event.data)]

    def _place(self, path: str) -> tuple[dict[str, _Node], str]:
        """The directory that a path leads to, and the last name in it."""
        *above, name = Path(os.path.relpath(path, self.root)).parts or ("",)
        names = _names_of(self._top)
        for part in above:
            names = _names_of(names[part])
        return names, name

    def _opened(self, event: Event) -> _Node | None:
        """What was opened, or None if it lies elsewhere."""
        path = os.fsdecode(event.data)
        if event.b in self._open:
            return _names_of(self._open[event.b]).setdefault(path, _file())
        if not Path(path).is_relative_to(self.root):
            return None
        names, name = self._place(path)
        return names[name] if name else self._top

    def _write(self, event: Event) -> None:
        if event.c == 0:
            self._writes[event.number] = event
            return
        begun = self._writes.pop(event.c)
        content = _bytes_of(self._open[event.a])
        content.extend(bytes(max(0, begun.b - len(content))))
        content[begun.b : begun.b + event.b] = begun.data[: event.b]

    def _sync(self, event: Event) -> None:
        node = self._open[event.a]
        if not event.b:
            kept = node.cached
            self._begun[event.number] = dict(kept) if isinstance(kept, dict) else bytes(kept)
            return
        content = self._begun.pop(event.c)
        # Of two syncs that overlap the one that began later covers more.
        if event.c > node.covered:
            node.medium, node.covered = content, event.c

    def write_to(self, path: Path, *, cached: bool) -> None:
        """Make ``path``, a new directory, what programs see, or what the medium holds."""
        _store(self._top, path, cached)


def _bytes_of(node: _Node) -> bytearray:
    assert isinstance(node.cached, bytearray)
    return node.cached


def _names_of(node: _Node) -> dict[str, _Node]:
    assert isinstance(node.cached, dict)
    return node.cached


def _store(node: _Node, path: Path, cached: bool) -> None:
    content = node.cached if cached else node.medium
    if isinstance(content, dict):
        path.mkdir()
        for name, child in content.items():
            _store(child, path / name, cached)
    else:
        path.write_bytes(content)
