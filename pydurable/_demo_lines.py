"""The demo's material: real lines, and the record that carries one of them."""

from __future__ import annotations

import io
import os
import struct
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

# Enough for variety; short input is repeated, so more would only take longer to load.
MAX_INPUT_BYTES = 8 << 20

# A file without newlines is cut, so that its records are of a size that logs have.
MAX_LINE_BYTES = 4096

THREADS = 8

_ORIGIN = struct.Struct("<IQ")


class Origin(NamedTuple):
    """Which thread submitted a record, and as its how manieth (from 0)."""

    thread: int
    turn: int


class Lines(NamedTuple):
    """The input as lines, and words that say where it is from."""

    lines: list[bytes]
    source: str


def load_lines(path: str | None) -> Lines:
    """The lines of the file at ``path``, or of the standard library's source files.

    Raises OSError where the file cannot be read, ValueError where it holds nothing.
    """
    if path is not None:
        with open(path, "rb") as file:
            text, source = file.read(MAX_INPUT_BYTES), path
    else:
        text, source = _standard_library(), "Python's standard library"
    lines = split_lines(text)
    if not lines:
        raise ValueError(f"{source}: there are no lines in it")
    return Lines(lines, source)


def _standard_library() -> bytes:
    """The source files of this Python, as many as are wanted."""
    parts: list[bytes] = []
    size = 0
    for file in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        parts.append(file.read_bytes())
        size += len(parts[-1])
        if size >= MAX_INPUT_BYTES:
            break
    # A Python without source files (frozen, zipped) can still say what it is.
    return b"".join(parts) or os.fsencode("\n".join(sysconfig.get_config_vars())) + b"\n"


def split_lines(text: bytes) -> list[bytes]:
    """Text cut into lines with their newlines; cutting the joined result gives the same lines."""
    stream = io.BytesIO(text)
    return list(iter(lambda: stream.readline(MAX_LINE_BYTES), b""))


def record_for(lines: Sequence[bytes], origin: Origin) -> bytes:
    """What ``origin`` submits: a mark that is its own, and a line (they are dealt out in turn)."""
    line = lines[(origin.turn * THREADS + origin.thread) % len(lines)]
    return _ORIGIN.pack(*origin) + line


def origin_of(data: bytes) -> Origin | None:
    """The origin that a record names, or None where it is too short to name one."""
    return Origin(*_ORIGIN.unpack_from(data)) if len(data) >= _ORIGIN.size else None
