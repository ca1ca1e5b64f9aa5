"""Recorded /proc and /sys: one text file for each machine, unpacked below a folder for a test.

    # Real, or written to the kernel's documented formats: which of the two, and of what.
    # path: the path to ask about
    # verdict: the expected verdict
    # says: a part of the report that must be there (any number of these)
    file /proc/self/mountinfo
     26 1 254:0 / / rw - ext4 /dev/vda rw
    link /sys/dev/block/254:0 ../../devices/virtio1/block/vda
    dir /sys/block/vda/slaves

A line of a file begins with a space.  ``python tests/_tree.py PATH`` prints what the doctor reads
on this machine for PATH in this format, beginning with the expectations as they come out.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import NamedTuple

from pydurable._doctor import inspect as inspection
from pydurable._doctor.facts import Facts
from pydurable._doctor.report import StorageReport

# Mounts that no write goes through.
_NOISE = re.compile(r" - (proc|sysfs|cgroup2?|devpts|devtmpfs) |/mnt/")
FOLDER = Path(__file__).with_name("trees")


class Tree(NamedTuple):
    """A recorded machine."""

    name: str
    head: tuple[tuple[str, str], ...]
    entries: tuple[tuple[str, str, str], ...]
    """Kind, path, and content or target."""
    text: str

    def expected(self, key: str) -> list[str]:
        return [value for name, value in self.head if name == key]

    def unpack(self, root: Path) -> None:
        """Make the files, links and folders below root."""
        for kind, path, content in self.entries:
            place = root / path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            if kind == "file":
                place.write_text(content, encoding="utf-8", errors="surrogateescape")
            elif kind == "link":
                place.symlink_to(content)
            else:
                place.mkdir(exist_ok=True)


def parse(name: str, text: str) -> Tree:
    head: list[tuple[str, str]] = []
    entries: list[tuple[str, str, str]] = []
    for line in text.splitlines():
        if line.startswith("#"):
            key, _, value = line[1:].partition(":")
            head.append((key.strip(), value.strip()))
        elif line.startswith(" ") and entries:
            kind, path, content = entries.pop()
            entries.append((kind, path, content + line[1:] + "\n"))
        elif line:
            kind, path, *rest = line.split(" ", 2)
            if kind not in ("file", "link", "dir"):
                raise ValueError(f"not a line of a tree: {line!r}")
            entries.append((kind, path, rest[0] if rest else ""))
    return Tree(name, tuple(head), tuple(entries), text)


def trees() -> list[Tree]:
    return [parse(path.stem, path.read_text()) for path in sorted(FOLDER.glob("*.tree"))]


class RecordingFacts(Facts):
    """Facts of this machine that remember what they were asked."""

    def __init__(self, root: str = "/") -> None:
        super().__init__(root)
        self.entries: dict[str, tuple[str, str]] = {}

    def _note(self, path: str, kind: str, content: str = "") -> None:
        """Keep an entry where it really lies, and every link on the way there."""
        place = "/"
        for part in path.strip("/").split("/")[:-1]:
            place = os.path.join(place, part)
            if place.startswith("/sys/") and os.path.islink(place):
                self.entries[place] = ("link", os.readlink(place))
                place = os.path.realpath(place)
        place = os.path.join(place, os.path.basename(path))
        # What is known as a bare folder may become more later; never the other way round.
        if place not in self.entries or self.entries[place][0] == "dir":
            self.entries[place] = (kind, content)

    def text(self, path: str) -> str | None:
        text = super().text(path)
        if text is not None:
            self._note(path, "file", text)
        return text

    def names(self, path: str) -> list[str]:
        names = super().names(path)
        if path == "/sys/block":
            return names
        for name in names:
            self.exists(f"{path}/{name}")
        return names

    def exists(self, path: str) -> bool:
        found = super().exists(path)
        if found and path.startswith(("/sys/", "/proc/")):
            target = super().link(path)
            if target is None and os.path.isfile(path):
                self.text(path)
            else:
                self._note(path, "dir" if target is None else "link", target or "")
        return found

    def link(self, path: str) -> str | None:
        target = super().link(path)
        if target is not None:
            self._note(path, "link", target)
        return target


def record(path: str) -> str:
    """The tree of this machine for a path."""
    made: list[RecordingFacts] = []

    class Facts(RecordingFacts):
        def __init__(self, root: str = "/") -> None:
            super().__init__(root)
            made.append(self)

    original, inspection.Facts = inspection.Facts, Facts  # type: ignore[misc]
    try:
        report = inspection.inspect(path)
    finally:
        inspection.Facts = original  # type: ignore[misc]
    return _written(report, made[0].entries)


def _written(report: StorageReport, entries: dict[str, tuple[str, str]]) -> str:
    uname = os.uname()
    lines = [f"# Real: Linux {uname.release}, ", f"# path: {report.path}"]
    lines += [f"# verdict: {report.verdict}", f"# says: {report.reason}"]
    for path, (kind, content) in sorted(entries.items()):
        if path == "/proc/self/mountinfo":
            kept = (line for line in content.splitlines() if _NOISE.search(line) is None)
            content = "\n".join(kept)
        if kind == "file":
            lines.append(f"file {path}")
            lines += [f" {line}" for line in content.splitlines()]
        else:
            lines.append(f"{kind} {path} {content}".rstrip())
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(record(sys.argv[1]), end="")
