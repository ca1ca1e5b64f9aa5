"""The mount table (proc_pid_mountinfo(5)), and which mount holds a path."""

from __future__ import annotations

import re
from typing import NamedTuple

TABLE = "/proc/self/mountinfo"
_ESCAPE = re.compile(r"\\([0-7]{3})")


class Mount(NamedTuple):
    """One line of the mount table."""

    number: int
    device: str
    """``major:minor``; of an anonymous device where the filesystem has none of its own."""
    point: str
    kind: str
    source: str
    options: frozenset[str]
    """Those of the mount and those of the filesystem together."""

    def value(self, name: str) -> str | None:
        """The value of an option ``name=value``."""
        for option in self.options:
            key, equals, value = option.partition("=")
            if equals and key == name:
                return value
        return None

    def first(self, *names: str) -> str | None:
        """The first of these options that is set."""
        return next((name for name in names if name in self.options), None)


def unescape(field: str) -> str:
    """Undo the octal escapes of the mount table: each is one byte of a name."""
    if "\\" not in field:
        return field
    raw = _ESCAPE.sub(lambda found: chr(int(found[1], 8) & 0xFF), field)
    # Bytes that were escaped next to each other may be one character together.
    return raw if raw.isascii() else _joined(field)


def _joined(field: str) -> str:
    parts = re.split(r"((?:\\[0-7]{3})+)", field)
    for at in range(1, len(parts), 2):
        numbers = [int(part, 8) & 0xFF for part in parts[at].split("\\")[1:]]
        parts[at] = bytes(numbers).decode("utf-8", "surrogateescape")
    return "".join(parts)


def parse(table: str) -> list[Mount]:
    """The mounts of a table; lines that are none are passed over."""
    mounts = []
    for line in table.splitlines():
        left, separator, right = line.partition(" - ")
        fields, tail = left.split(" "), right.split(" ")
        if not separator or len(fields) < 6 or len(tail) < 3:
            continue
        number = int(fields[0]) if fields[0].isascii() and fields[0].isdigit() else 0
        options = {unescape(option) for text in (fields[5], tail[2]) for option in text.split(",")}
        mounts.append(
            Mount(
                number if number < 1 << 63 else 0,
                fields[2],
                unescape(fields[4]),
                tail[0],
                unescape(tail[1]),
                frozenset(options),
            )
        )
    return mounts


def holding(path: str, mounts: list[Mount]) -> Mount | None:
    """The mount that holds path, which is absolute: the longest point, of equal ones the last."""
    found = None
    for mount in mounts:
        point = mount.point.rstrip("/")
        inside = path == mount.point or path == point or path.startswith(point + "/")
        if inside and (found is None or len(mount.point) >= len(found.point)):
            found = mount
    return found
