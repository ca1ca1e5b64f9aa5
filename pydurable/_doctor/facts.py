"""Reading /proc, /sys and a path's own properties, below a root, without ever raising.

Where the root is not ``/`` the files come from a recorded tree, and what only a system call can
tell is not asked.
"""

from __future__ import annotations

import contextlib
import os
import struct
import sys

_READ_MAX = 1 << 20
# FS_IOC_GETFLAGS, _IOR('f', 1, long): the number holds the size of a long.
_GETFLAGS = 0x80006601 | struct.calcsize("l") << 16
_NOCOW = 0x00800000  # FS_NOCOW_FL


class Facts:
    """Files and links below a root."""

    def __init__(self, root: str = "/") -> None:
        self.root = os.path.abspath(root)
        self.live = self.root == "/"

    def _at(self, path: str) -> str:
        return path if self.live else self.root + os.path.normpath("/" + path)

    def text(self, path: str) -> str | None:
        """The content of a file, None if it cannot be read."""
        try:
            with open(self._at(path), "rb") as file:
                return file.read(_READ_MAX).decode("utf-8", "surrogateescape")
        except (OSError, ValueError):
            return None

    def line(self, path: str) -> str | None:
        """The first line of a file without its spaces, None if there is none."""
        text = self.text(path)
        lines = text.splitlines() if text else []
        return (lines[0].strip() or None) if lines else None

    def number(self, path: str) -> int | None:
        """A file that holds a decimal number."""
        line = self.line(path)
        # int() takes what no kernel writes, and refuses what is absurdly long.
        return int(line) if line and line.isascii() and line.isdigit() and len(line) < 20 else None

    def names(self, path: str) -> list[str]:
        """The names in a directory, sorted; none if it cannot be listed."""
        try:
            return sorted(os.listdir(self._at(path)))
        except (OSError, ValueError):
            return []

    def exists(self, path: str) -> bool:
        with contextlib.suppress(ValueError):
            return os.path.lexists(self._at(path))
        return False

    def link(self, path: str) -> str | None:
        """Where a symlink points, as it is written."""
        try:
            return os.readlink(self._at(path))
        except (OSError, ValueError):
            return None

    def real(self, path: str) -> str:
        """The path without symlinks; as it is written where the root is a recorded one."""
        if self.live:
            with contextlib.suppress(OSError, ValueError):
                return os.path.realpath(path)
        return os.path.normpath(os.path.join("/", path))

    def existing(self, path: str) -> str:
        """The path itself, or the nearest parent that exists."""
        real = self.real(path)
        while self.live and not self.exists(real) and real != os.path.dirname(real):
            real = os.path.dirname(real)
        return real

    def device(self, path: str) -> str | None:
        """``major:minor`` of the filesystem that holds a path."""
        if not self.live:
            return None
        try:
            number = os.stat(path).st_dev
        except (OSError, ValueError):
            return None
        return f"{os.major(number)}:{os.minor(number)}"

    def no_copy_on_write(self, path: str) -> bool | None:
        """Whether a file or directory has the NOCOW attribute (``chattr +C``)."""
        if not self.live or sys.platform != "linux":
            return None
        import fcntl

        try:
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        except (OSError, ValueError):
            return None
        try:
            answer = fcntl.ioctl(fd, _GETFLAGS, bytes(struct.calcsize("l")))
        except OSError:
            return None
        finally:
            os.close(fd)
        return bool(int.from_bytes(answer[:4], sys.byteorder) & _NOCOW)
