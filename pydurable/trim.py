"""Cutting the partial last line that a power cut may leave in a file of lines."""

from __future__ import annotations

import os

from pydurable import _native

__all__ = ["trim_partial_line"]


def trim_partial_line(path: str | os.PathLike[str]) -> int:
    """Cut what follows the last newline of a file, durably; return how many bytes that were.

    After a power cut a file may end in a part of a line, or in zero bytes.  Appending processes are
    kept waiting meanwhile; one that writes its lines in several pieces should not be at it.

    >>> import tempfile, os
    >>> path = os.path.join(tempfile.mkdtemp(), "app.log")
    >>> with open(path, "wb") as file:
    ...     _ = file.write(b"whole\\nhal")
    >>> trim_partial_line(path)
    3

    :raises OSError: as the operating system says; EINVAL if the path is no regular file.
    """
    name = os.fspath(path)
    if not isinstance(name, str):
        raise TypeError("path must be a str or an os.PathLike of str")
    return _native.trim(name)
