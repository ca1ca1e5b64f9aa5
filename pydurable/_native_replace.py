"""The C core's calls that replace files, with Python's arguments and exceptions."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from pydurable._core import ffi, lib
from pydurable.errors import ForkedError, NotDurableError, PartlyReplacedError

DURABILITIES = {
    "none": lib.PD_DURABLE_NONE,
    "data": lib.PD_DURABLE_DATA,
    "full": lib.PD_DURABLE_FULL,
}
PRESERVES = {
    "none": lib.PD_PRESERVE_NONE,
    "mode": lib.PD_PRESERVE_MODE,
    "all": lib.PD_PRESERVE_ALL,
    "strict": lib.PD_PRESERVE_STRICT,
}

AnyPath = str | bytes | os.PathLike[str] | os.PathLike[bytes]


class Options(NamedTuple):
    """What replace() and its kin have in common, under the names of their keywords."""

    durability: str = "full"
    preserve: str = "mode"
    permissions: int | None = None
    overwrite: bool = True
    follow_symlinks: bool = True
    dir_fd: int | None = None
    direct: bool = False

    def encoded(self) -> Any:
        """Return the C structure, or raise ValueError or TypeError for what makes no sense."""
        if self.permissions is not None and not 0 <= self.permissions <= 0o7777:
            raise ValueError(f"permissions must lie in 0 to 0o7777, not {self.permissions:#o}")
        if self.dir_fd is not None and self.dir_fd < 0:
            raise ValueError(f"dir_fd must be an open descriptor, not {self.dir_fd}")
        return ffi.new(
            "struct pd_replace_options *",
            {
                "durability": chosen(DURABILITIES, "durability", self.durability),
                "preserve": chosen(PRESERVES, "preserve", self.preserve),
                "permissions": -1 if self.permissions is None else self.permissions,
                "dir": -1 if self.dir_fd is None else self.dir_fd,
                "overwrite": bool(self.overwrite),
                "follow": bool(self.follow_symlinks),
                "direct": bool(self.direct),
            },
        )


def chosen(table: dict[str, int], name: str, value: str) -> int:
    """Return what stands for value, or raise a ValueError that lists the possible ones."""
    try:
        return table[value]
    except KeyError:
        wanted = ", ".join(repr(known) for known in table)
        raise ValueError(f"{name} must be one of {wanted}, not {value!r}") from None


def encoded_path(path: AnyPath) -> bytes:
    """Return the path as the C core takes it."""
    raw = os.fsencode(path)
    if b"\0" in raw:
        raise ValueError("embedded null byte")
    return raw


def _message(error: Any) -> str:
    """Return what was being done, the system's word for what happened, and our note on it."""
    op, why = (os.fsdecode(ffi.string(field)) for field in (error.op, error.why))
    return f"{op}: {os.strerror(error.code)}{f' ({why})' if why else ''}"


def _exception(error: Any, path: object) -> Exception:
    """Return the exception that says what the C core reported."""
    message = _message(error)
    if error.kind == lib.PD_ERROR_FORKED:
        return ForkedError(message)
    kind = NotDurableError if error.kind == lib.PD_ERROR_NOT_DURABLE else OSError
    return kind(error.code, message, path)


def replace(path: AnyPath, data: Any, options: Options) -> None:
    """Replace one file by data, which must be a contiguous buffer."""
    error = ffi.new("struct pd_error *")
    raw, encoded = encoded_path(path), options.encoded()
    with ffi.from_buffer(data) as view:
        if lib.pd_replace(raw, view, len(view), encoded, error) < 0:
            raise _exception(error, os.fspath(path))


def replace_many(pairs: Sequence[tuple[AnyPath, Any]], options: Options, workers: int) -> None:
    """Replace many files; the buffers must stay unchanged meanwhile."""
    encoded = options.encoded()
    items = ffi.new("struct pd_replace_item[]", len(pairs))
    kept = []
    for item, (path, data) in zip(items, pairs, strict=True):
        name, view = ffi.new("char[]", encoded_path(path)), ffi.from_buffer(data)
        kept.append((name, view))
        item.path, item.data, item.size = name, view, len(view)
    error = ffi.new("struct pd_error *")
    outcome = ffi.new("struct pd_replace_outcome *")
    try:
        rc = lib.pd_replace_many(items, len(pairs), encoded, workers, outcome, error)
    finally:
        for _, view in kept:
            ffi.release(view)
    if rc < 0:
        raise _batch_exception(error, outcome, [os.fspath(path) for path, _ in pairs])


def _batch_exception(error: Any, outcome: Any, paths: list[str | bytes]) -> Exception:
    path = paths[outcome.failed] if outcome.failed < len(paths) else None
    if not outcome.staged:
        return _exception(error, path)
    kind = NotDurableError if error.kind == lib.PD_ERROR_NOT_DURABLE else PartlyReplacedError
    exception = kind(error.code, _message(error), path)
    exception.replaced = tuple(paths[: outcome.replaced])
    exception.pending = tuple(paths[outcome.replaced :])
    return exception


def rename(source: AnyPath, goal: AnyPath, overwrite: bool) -> None:
    """Rename durably."""
    error = ffi.new("struct pd_error *")
    if lib.pd_rename(encoded_path(source), encoded_path(goal), overwrite, error) < 0:
        exception = _exception(error, os.fspath(source))
        if isinstance(exception, OSError):
            exception.filename2 = os.fspath(goal)
        raise exception


def sync_file(fd: int, name: object) -> None:
    """Sync a file and its metadata; the name is for errors."""
    _check(lib.pd_sync_file(fd), name)


def sync_data(fd: int, name: object) -> None:
    """Sync what it takes to read a file's data; the name is for errors."""
    _check(lib.pd_sync_data(fd), name)


def _check(rc: int, name: object) -> None:
    if rc < 0:
        raise OSError(-rc, f"syncing the file: {os.strerror(-rc)}", name)


def sync_directory(path: AnyPath) -> None:
    """Sync a directory."""
    error = ffi.new("struct pd_error *")
    if lib.pd_sync_directory(encoded_path(path), error) < 0:
        raise _exception(error, os.fspath(path))


class Stage:
    """A temporary file beside its target, which commit() publishes and discard() takes away."""

    def __init__(self, path: AnyPath, options: Options) -> None:
        """Find the target, refuse what cannot be replaced, create the temporary file."""
        self._path = os.fspath(path)
        self._pid = os.getpid()
        out = ffi.new("struct pd_stage **")
        error = ffi.new("struct pd_error *")
        if lib.pd_stage_open(encoded_path(path), options.encoded(), out, error) < 0:
            raise _exception(error, self._path)
        # Garbage collection is the last resort that takes the file away.
        self._stage = ffi.gc(out[0], lib.pd_stage_free)
        self.fd: int = lib.pd_stage_fd(self._stage)
        self.direct: bool = lib.pd_stage_is_direct(self._stage)

    @property
    def forked(self) -> bool:
        """Whether it belongs to the parent of this process."""
        return os.getpid() != self._pid

    def write(self, data: Any) -> int:
        """Append; returns the number of bytes, which is all of them."""
        error = ffi.new("struct pd_error *")
        with ffi.from_buffer(data) as view:
            if lib.pd_stage_write(self._stage, view, len(view), error) < 0:
                raise _exception(error, self._path)
            return len(view)

    def write_at(self, data: Any, offset: int) -> None:
        """Write all of data at an offset in bytes; not for a direct stage."""
        error = ffi.new("struct pd_error *")
        with ffi.from_buffer(data) as view:
            if lib.pd_stage_write_at(self._stage, view, len(view), offset, error) < 0:
                raise _exception(error, self._path)

    def commit(self) -> None:
        """Sync, publish and free."""
        error = ffi.new("struct pd_error *")
        rc = lib.pd_stage_commit(self._stage, error)
        self.discard()
        if rc < 0:
            raise _exception(error, self._path)

    def discard(self) -> None:
        """Free, and take the temporary file away if it was not published; never fails."""
        if self._stage is not None:
            ffi.release(self._stage)
            self._stage = None
