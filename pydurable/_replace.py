"""Replacing and renaming files so that a crash leaves the old or the new, and the syncs alone.

The module is private because ``pydurable.replace`` is the function.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from pydurable import _native_replace as native
from pydurable._native_replace import AnyPath, Options
from pydurable._storage import warn_unless_honoured

WORKERS = 16  # they mostly wait for the disk, which takes flushes that meet as one


class HasFileno(Protocol):
    """An open file."""

    def fileno(self) -> int:
        """Return its descriptor."""
        ...


def _checked_data(function: str, data: object) -> memoryview:
    """Return data as contiguous bytes, or raise a TypeError that names what to use instead."""
    if isinstance(data, str):
        raise TypeError(
            f"{function}() takes bytes, not str: encode it, or use open_atomic(path, 'w') for text"
        )
    view = memoryview(data)  # type: ignore[arg-type]
    return view if view.c_contiguous else memoryview(view.tobytes())


def replace(
    path: AnyPath,
    data: Any,
    *,
    durability: str = "full",
    preserve: str = "mode",
    permissions: int | None = None,
    overwrite: bool = True,
    follow_symlinks: bool = True,
    dir_fd: int | None = None,
) -> None:
    """Replace the content of a file, atomically and durably.

    At every instant, to readers and after a crash alike, the path shows the whole old content or
    the whole new one.  With ``durability="full"`` it is the new one for good once the call has
    returned.  The file is made if there is none.

    path: str, bytes or path-like.  The parent directory must exist.
    data: a bytes-like object.
    durability: ``"full"``: the data and the directory are synced.  ``"data"``: without the
        directory, so that after a crash the content is old or new.  ``"none"``: atomic for
        readers, nothing is promised after a crash.
    preserve: what the new content takes over from the old file.  ``"none"``: nothing, it is as a
        new file is.  ``"mode"``: the permission bits 0777.  ``"all"``: owner, group, ACL and
        extended attributes too, as far as the system permits.  ``"strict"``: these, or an OSError
        before anything is replaced; so also for a file with other hard links or set-id bits.
        Set-id bits, capabilities and signatures are never passed on to new content.
    permissions: the exact mode of the new file, 0 to 0o7777, instead of the old one's.
    overwrite: if false, FileExistsError where there is a file already, also one that appears at
        the last moment.
    follow_symlinks: a symlink stays and the file that it leads to is replaced; if false, the
        symlink itself is.
    dir_fd: the open directory at which a relative path starts.

    Not promised: that two replacements of one path are ordered, or that open descriptors,
    mappings and other hard links of the old file see the new content.

    Before the rename every failure leaves the target as it was and no temporary file:
    IsADirectoryError, FileExistsError, PermissionError (read-only target), FileNotFoundError (no
    parent), OSError with EINVAL (not a regular file) or whatever the system reported.  After it:
    NotDurableError.  TypeError and ValueError come before anything is touched.

    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "settings.json")
    ...     replace(path, b'{"volume": 7}')
    ...     path.read_bytes()
    b'{"volume": 7}'
    """
    options = Options(durability, preserve, permissions, overwrite, follow_symlinks, dir_fd)
    content = _checked_data("replace", data)
    if durability != "none":
        warn_unless_honoured(os.fspath(path), dir_fd=dir_fd)
    native.replace(path, content, options)


def replace_many(
    items: Mapping[Any, Any] | Iterable[tuple[AnyPath, Any]],
    *,
    durability: str = "full",
    preserve: str = "mode",
    permissions: int | None = None,
    overwrite: bool = True,
    follow_symlinks: bool = True,
    dir_fd: int | None = None,
    workers: int | None = None,
) -> None:
    """Replace many files, each with the promise of replace(), at a fraction of the cost.

    All new contents are written and synced first, then they are renamed in the order given, then
    each directory is synced once.  This is *not* one transaction: a crash during the renames
    leaves some files new and the others old, each of them whole.

    items: a mapping, or pairs, of path and bytes-like data.
    workers: how many threads write and sync, at most 64; None chooses.

    The other parameters are those of replace().  Descriptors are bounded, whatever the number of
    items: at most three eighths of the process's limit, and never more than 384.

    A failure before the first rename changes nothing and raises what replace() would.  A failed
    rename stops: PartlyReplacedError, with the paths in ``.replaced`` and ``.pending``.  A failed
    sync of a directory after the renames: NotDurableError, which has both too.

    >>> import tempfile, os
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     replace_many({os.path.join(folder, name): b"1" for name in ("a", "b")})
    ...     sorted(os.listdir(folder))
    ['a', 'b']
    """
    given = items.items() if isinstance(items, Mapping) else items
    pairs = [(path, _checked_data("replace_many", data)) for path, data in given]
    if workers is None:
        workers = WORKERS
    if not 1 <= workers <= 64:
        raise ValueError(f"workers must lie in 1 to 64, not {workers}")
    options = Options(durability, preserve, permissions, overwrite, follow_symlinks, dir_fd)
    if durability != "none":
        for path, _ in pairs:
            warn_unless_honoured(os.fspath(path), dir_fd=dir_fd)
    native.replace_many(pairs, options, workers)


def rename(src: AnyPath, dst: AnyPath, *, overwrite: bool = True) -> None:
    """Rename a file or a directory within a filesystem, durably.

    The file is synced, then renamed, then both directories are synced, the new one first: when
    the call returns, the new name with the whole content survives a power cut.  A directory is
    synced as such; the files in it are the business of whoever wrote them.  A symlink is renamed
    itself.

    src, dst: str, bytes or path-like; the whole new path, not a directory to move into.
    overwrite: if false, FileExistsError where dst exists.

    Raises what os.rename() raises (OSError with EXDEV between filesystems), and before the rename
    OSError where a directory cannot be synced or the file cannot be read; after it
    NotDurableError.

    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     draft, final = pathlib.Path(folder, "draft"), pathlib.Path(folder, "final")
    ...     draft.write_text("done")
    ...     rename(draft, final)
    ...     final.read_text()
    4
    'done'
    """
    source, goal = os.fspath(src), os.fspath(dst)
    if os.path.isdir(source):
        # Only the name of a directory may end with a slash.
        source, goal = _without_slash(source), _without_slash(goal)
    warn_unless_honoured(source)
    native.rename(source, goal, bool(overwrite))


def _without_slash(path: str | bytes) -> str | bytes:
    if isinstance(path, bytes):
        return path.rstrip(b"/") or path
    return path.rstrip("/") or path


def _flushed(f: int | HasFileno) -> int:
    """Return the descriptor, with nothing left in Python's buffer before it."""
    if isinstance(f, int):
        return f
    if not hasattr(f, "fileno"):
        raise TypeError(f"a file or its descriptor is needed, not {type(f).__name__}")
    flush = getattr(f, "flush", None)
    if flush is not None:
        flush()
    return operator.index(f.fileno())


def _name(f: int | HasFileno) -> object:
    """Return what an error can call the file: its path, or the descriptor where nobody knows it."""
    return f if isinstance(f, int) else getattr(f, "name", None)


def sync_file(f: int | HasFileno) -> None:
    """Force a file with its metadata out to stable storage, by the platform's right call.

    f: an open file, whose Python buffer is flushed first, or a descriptor.

    That call is fsync on Linux and F_FULLFSYNC on macOS, where fsync does not reach the medium.
    Raises OSError; after an error what was written is not to be trusted, and trying again does
    not help.  The name of a new file is durable only after sync_directory() of its directory.

    >>> import tempfile
    >>> with tempfile.TemporaryFile() as f:
    ...     f.write(b"abc")
    ...     sync_file(f)
    3
    """
    native.sync_file(_flushed(f), _name(f))


def sync_data(f: int | HasFileno) -> None:
    """Force out a file's data and what it takes to read them: not its times and mode.

    f: an open file, whose Python buffer is flushed first, or a descriptor.

    That call is fdatasync on Linux and F_FULLFSYNC on macOS.  Raises OSError, as sync_file().

    >>> import tempfile
    >>> with tempfile.TemporaryFile() as f:
    ...     f.write(b"abc")
    ...     sync_data(f)
    3
    """
    native.sync_data(_flushed(f), _name(f))


def sync_directory(path: AnyPath) -> None:
    """Force out a directory, so that names made, moved or removed in it survive a crash.

    path: str, bytes or path-like.  Raises OSError, with EINVAL where a filesystem cannot do that.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sync_directory(folder)
    """
    native.sync_directory(path)
