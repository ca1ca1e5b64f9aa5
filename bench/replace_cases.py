"""What is compared: pydurable, the C floor, the code people write, the libraries they use."""

from __future__ import annotations

import importlib
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydurable

BYTES = 4096
DATA = b"x" * BYTES


@dataclass(frozen=True)
class Case:
    """A way to replace a file: its name, what it leaves out, and how to time some of them."""

    name: str
    skips: str  # "" if the promise is that of replace()
    seconds: Callable[[Path, int], float]


def timed(one: Callable[[Path], object]) -> Callable[[Path, int], float]:
    """Return what times count replacements of one file."""

    def seconds(folder: Path, count: int) -> float:
        target = folder / "target"
        begin = time.perf_counter()
        for _ in range(count):
            one(target)
        return time.perf_counter() - begin

    return seconds


def floor(program: Path) -> Case:
    """Return the bare C loop."""

    def seconds(folder: Path, count: int) -> float:
        command = [str(program), str(folder), str(count), str(BYTES)]
        return int(subprocess.run(command, capture_output=True, check=True).stdout) / 1e9

    return Case("the same system calls in C", "", seconds)


def by_hand(target: Path) -> None:
    """The reference of tutorials: temporary file, fsync, rename, fsync of the directory."""
    folder = os.path.dirname(target)
    fd, name = tempfile.mkstemp(dir=folder)
    with os.fdopen(fd, "wb") as f:
        f.write(DATA)
        f.flush()
        os.fsync(f.fileno())
    os.rename(name, target)
    directory = os.open(folder, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)


def _written(manager: Any) -> None:
    with manager as f:
        f.write(DATA)


def libraries() -> list[Case]:
    """Return the libraries that are installed, each with its most durable settings."""
    wanted: list[tuple[str, str, Callable[[Any], Callable[[Path], object]]]] = [
        (
            "atomicwrites",
            "",
            lambda m: lambda p: _written(m.atomic_write(p, mode="wb", overwrite=True)),
        ),
        ("durablewrite", "", lambda m: lambda p: _written(m.atomic_write(p, "wb", fsync="full"))),
        (
            "atomicreplace",
            "",
            lambda m: lambda p: _written(m.atomic_open(p, "wb", durability="full")),
        ),
        (
            "boltons.fileutils",
            "the directory's sync",
            lambda m: lambda p: _written(m.atomic_save(str(p), text_mode=False)),
        ),
        (
            "posixfs",
            "the file's sync",
            lambda m: lambda p: m.atomic_write_bytes(p, DATA, durable=True),
        ),
        ("atomicfile", "both syncs", lambda m: lambda p: _written(m.AtomicFile(str(p), "wb"))),
        ("safer", "both syncs", lambda m: lambda p: _written(m.open(p, "wb", temp_file=True))),
    ]
    found = []
    for name, skips, call in wanted:
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        found.append(Case(name, skips, timed(call(module))))
    return found


OURS = Case("pydurable.replace", "", timed(lambda target: pydurable.replace(target, DATA)))
ITSELF = Case("pydurable.replace against itself", "", OURS.seconds)
BY_HAND = Case("temp, fsync, rename, fsync by hand", "", timed(by_hand))


def one_by_one(items: list[tuple[Path, bytes]]) -> float:
    """Time a replace() for each item."""
    begin = time.perf_counter()
    for path, data in items:
        pydurable.replace(path, data)
    return time.perf_counter() - begin


def at_once(items: list[tuple[Path, bytes]]) -> float:
    """Time one replace_many()."""
    begin = time.perf_counter()
    pydurable.replace_many(items)
    return time.perf_counter() - begin


def plain_stream(path: Path, chunk: Any, count: int) -> float:
    """Time an ordinary file, written and synced."""
    begin = time.perf_counter()
    with open(path, "wb") as f:
        for _ in range(count):
            f.write(chunk)
        f.flush()
        os.fsync(f.fileno())
    return time.perf_counter() - begin


def atomic_stream(path: Path, chunk: Any, count: int, direct: bool) -> float:
    """Time open_atomic()."""
    begin = time.perf_counter()
    with pydurable.open_atomic(path, "wb", direct=direct) as f:
        for _ in range(count):
            f.write(chunk)
    return time.perf_counter() - begin
