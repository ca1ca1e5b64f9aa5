"""open_atomic(): a real file object whose content appears at its path whole, or not at all."""

from __future__ import annotations

import io
import os
import warnings
from typing import TYPE_CHECKING, Any, Literal, overload

from pydurable._native_replace import AnyPath, Options, Stage
from pydurable._storage import warn_unless_honoured
from pydurable.errors import ForkedError

if TYPE_CHECKING:
    from types import TracebackType

    _Mixin = io.IOBase
else:
    _Mixin = object

BUFFER_BYTES = 64 << 10
ALTERNATIVES = {
    "r": "open() reads",
    "a": "appending to a copy is reading, then writing; for a log there is pydurable.Log",
    "+": "reading back what was written is what a file of its own is for",
    "x": "use overwrite=False",
}


class _Raw(io.FileIO):
    """The temporary file.  The descriptor belongs to the C core, which closes and checks it."""

    dropping = False

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage.fd, "wb", closefd=False)
        self._writer = stage

    def write(self, data: Any) -> int:
        """Write all of data: a short write without an error would publish a partial file."""
        size = memoryview(data).nbytes
        if not self.dropping:
            # The descriptor has a position too, for those who write by way of fileno().
            at = self.tell()
            self._writer.write_at(data, at)
            self.seek(at + size)
        return size


class _DirectRaw(io.RawIOBase):
    """The temporary file, written past the page cache through the C core's aligned buffer."""

    dropping = False
    name: AnyPath

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return memoryview(data).nbytes if self.dropping else self._stage.write(data)


class _Atomic(_Mixin):
    """What the file objects have in common.  It stands before the class of io in each of them."""

    _stage: Stage | None = None
    _bottom: _Raw | _DirectRaw
    _fate: Literal["open", "committed", "discarded", "closed without commit()"] = "open"

    @property
    def direct(self) -> bool:
        """Whether the content goes past the page cache."""
        return isinstance(self._bottom, _DirectRaw)

    def commit(self) -> None:
        """Flush, sync and publish the content under the path, and close the file.

        Raises what replace() raises; whatever happens the file is closed, and the temporary file
        is gone.  ValueError if there is nothing to commit any more.
        """
        stage = self._stage
        if stage is None or self.closed:
            raise ValueError(f"nothing to commit: the file is {self._fate}")
        if stage.forked:
            raise ForkedError("the file was opened by the parent of this process")
        try:
            super().close()
            self._stage = None
            stage.commit()
            self._fate = "committed"
        except BaseException:
            self._abandon(stage, "discarded")
            raise

    def discard(self) -> None:
        """Close the file and forget its content; nothing happens if it is over already."""
        if self._stage is not None:
            self._abandon(self._stage, "discarded")

    def _abandon(self, stage: Stage, fate: Literal["discarded", "closed without commit()"]) -> None:
        self._stage = None
        self._fate = fate
        # What is still in the buffers goes nowhere: the file is about to vanish, and in a child
        # process it is the parent's.
        self._bottom.dropping = True
        try:
            super().close()
        finally:
            stage.discard()

    def close(self) -> None:
        """Close without publishing, with a ResourceWarning unless it was committed before."""
        if self._stage is None:
            super().close()
            return
        forked = self._stage.forked
        self._abandon(self._stage, "closed without commit()")
        if not forked:
            warnings.warn(
                f"{self!r} was closed without commit(): its content is discarded",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.discard()
        elif self._fate in ("open", "closed without commit()"):
            self.commit()


class AtomicTextFile(_Atomic, io.TextIOWrapper):
    """A text file that commit() publishes; see open_atomic()."""


class AtomicBinaryFile(_Atomic, io.BufferedWriter):
    """A binary file that commit() publishes; see open_atomic()."""


class AtomicRawFile(_Atomic, _Raw):
    """An unbuffered binary file that commit() publishes; see open_atomic()."""


AtomicFile = AtomicTextFile | AtomicBinaryFile | AtomicRawFile


def _checked_mode(mode: str) -> bool:
    """Return whether the mode is binary; ValueError for one that is not for writing anew."""
    for letter, instead in ALTERNATIVES.items():
        if letter in mode:
            raise ValueError(f"open_atomic() has no mode {mode!r}: {instead}")
    if sorted(mode) not in (["w"], ["t", "w"], ["b", "w"]):
        raise ValueError(f"invalid mode: {mode!r}")
    return "b" in mode


def _checked_layers(binary: bool, buffering: int, direct: bool, text: dict[str, Any]) -> None:
    """Refuse what open() refuses too, before anything is created."""
    if binary:
        for name, value in text.items():
            if value is not None:
                raise ValueError(f"binary mode doesn't take {'an ' * (name[0] == 'e')}{name}")
    elif buffering == 0:
        raise ValueError("can't have unbuffered text I/O")
    if direct and buffering == 0:
        raise ValueError("direct=True needs a buffer: leave buffering as it is")
    if buffering < -1:
        raise ValueError("invalid buffering size")


@overload
def open_atomic(
    path: AnyPath,
    mode: Literal["w", "wt", "tw"] = ...,
    buffering: int = ...,
    encoding: str | None = ...,
    errors: str | None = ...,
    newline: str | None = ...,
    *,
    direct: bool = ...,
    durability: str = ...,
    preserve: str = ...,
    permissions: int | None = ...,
    overwrite: bool = ...,
    follow_symlinks: bool = ...,
    dir_fd: int | None = ...,
) -> AtomicTextFile: ...


@overload
def open_atomic(  # type: ignore[overload-overlap]
    path: AnyPath,
    mode: Literal["wb", "bw"],
    buffering: Literal[0],
    encoding: str | None = ...,
    errors: str | None = ...,
    newline: str | None = ...,
    *,
    direct: bool = ...,
    durability: str = ...,
    preserve: str = ...,
    permissions: int | None = ...,
    overwrite: bool = ...,
    follow_symlinks: bool = ...,
    dir_fd: int | None = ...,
) -> AtomicRawFile: ...


@overload
def open_atomic(
    path: AnyPath,
    mode: Literal["wb", "bw"],
    buffering: int = ...,
    encoding: str | None = ...,
    errors: str | None = ...,
    newline: str | None = ...,
    *,
    direct: bool = ...,
    durability: str = ...,
    preserve: str = ...,
    permissions: int | None = ...,
    overwrite: bool = ...,
    follow_symlinks: bool = ...,
    dir_fd: int | None = ...,
) -> AtomicBinaryFile: ...


def open_atomic(
    path: AnyPath,
    mode: str = "w",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    *,
    direct: bool = False,
    durability: str = "full",
    preserve: str = "mode",
    permissions: int | None = None,
    overwrite: bool = True,
    follow_symlinks: bool = True,
    dir_fd: int | None = None,
) -> AtomicFile:
    """Open a file for writing whose content replaces that of path when it is committed.

    The result is a real file object, as open() returns it: of text for mode ``"w"``, a
    BufferedWriter for ``"wb"``, raw for ``"wb"`` with buffering=0.  Besides, it has

    commit(): flush, sync and publish, with the promises and errors of replace(); the file is
        closed then.
    discard(): close the file and forget what was written.

    Leaving ``with`` cleanly commits; any exception, KeyboardInterrupt and SystemExit too,
    discards.  A file that is closed or collected with neither is discarded with a
    ResourceWarning; a ``with`` that is then left cleanly raises ValueError.  In a child after
    fork() nothing is written, removed or published.

    mode: ``"w"``, ``"wt"`` or ``"wb"``; ValueError for others names the alternative.
    buffering, encoding, errors, newline: as in open(), but the default buffer has 64 KiB.
    direct: write past the page cache (O_DIRECT, on macOS F_NOCACHE), so that a large file does
        not evict what others have there.  Such a file has no fileno() and cannot seek.  A
        filesystem without direct I/O gets an ordinary file; ``.direct`` says which it is.

    The other parameters are those of replace().

    >>> import json, pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "state.json")
    ...     with open_atomic(path) as f:
    ...         json.dump({"step": 1}, f)
    ...     path.read_text()
    '{"step": 1}'
    """
    binary = _checked_mode(mode)
    _checked_layers(
        binary, buffering, direct, {"encoding": encoding, "errors": errors, "newline": newline}
    )
    if not binary:
        encoding = io.text_encoding(encoding)
    options = Options(
        durability, preserve, permissions, overwrite, follow_symlinks, dir_fd, bool(direct)
    )
    if durability != "none":
        warn_unless_honoured(os.fspath(path), dir_fd=dir_fd)
    stage = Stage(path, options)
    try:
        file = _opened(stage, path, binary, buffering, encoding, errors, newline)
    except BaseException:
        stage.discard()
        raise
    file._stage = stage
    return file


def _opened(
    stage: Stage,
    path: AnyPath,
    binary: bool,
    buffering: int,
    encoding: str | None,
    errors: str | None,
    newline: str | None,
) -> AtomicFile:
    """Return the layers of io upon the temporary file."""
    file: AtomicFile
    raw: _Raw | _DirectRaw
    if buffering == 0:
        file = raw = AtomicRawFile(stage)
    else:
        raw = _DirectRaw(stage) if stage.direct else _Raw(stage)
        size = buffering if buffering > 1 else BUFFER_BYTES
        if binary:
            file = AtomicBinaryFile(raw, size)
        else:
            buffer = io.BufferedWriter(raw, size)
            file = AtomicTextFile(buffer, encoding, errors, newline, buffering == 1)
    raw.name = os.fspath(path)
    file._bottom = raw
    return file
