"""Is there a log at a path?  Asked before a subcommand looks closer, for an error that helps."""

from __future__ import annotations

import errno
import os

# The names that a writer leaves from its first moment on; see docs/format.md.
_LOCK = "LOCK"
_SEGMENT_SUFFIX = ".seg"


def require_log(path: str) -> None:
    """Raise OSError with ``path`` and what is there instead, unless it is a log's directory."""
    names = _names(path)
    if not _is_log(names):
        raise OSError(errno.EINVAL, "this directory is not a log", path)


def require_log_or_room(path: str) -> None:
    """Raise OSError where ``path`` is neither a log nor free for a new one.

    A writer makes its files in any directory; among somebody's other files they are a mistake.
    """
    try:
        names = _names(path)
    except FileNotFoundError:
        return
    if names and not _is_log(names):
        raise OSError(
            errno.ENOTEMPTY, "this directory is not a log, and there are other files in it", path
        )


def _names(path: str) -> list[str]:
    """What is in the directory; OSError with a clear text where there is none."""
    try:
        return os.listdir(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, "there is no such log", path) from error
    except NotADirectoryError as error:
        text = "this is not a directory, and a log is one"
        raise NotADirectoryError(errno.ENOTDIR, text, path) from error


def _is_log(names: list[str]) -> bool:
    return any(name == _LOCK or name.endswith(_SEGMENT_SUFFIX) for name in names)
