"""What the core does to files, in order, as its recorder (csrc/record.c) has noted it."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from pydurable._core import ffi, lib
from pydurable._native_faults import CALLS

_HEADER = struct.Struct("=IIqqQQ")
_running = threading.Lock()


class Event(NamedTuple):
    """One recorded event; csrc/record.c says what a, b and c are for each call."""

    call: int
    a: int
    b: int
    c: int
    number: int
    data: bytes


@contextmanager
def recording() -> Iterator[None]:
    """Record in the block, in all threads of the process; one recording can run at a time."""
    if not _running.acquire(blocking=False):
        raise RuntimeError("a recording is running already")
    lib.pd_record_start()
    try:
        yield
    finally:
        lib.pd_record_stop()
        _running.release()


def mark(value: int) -> None:
    """Put a mark among the events; it is nothing where nothing is recorded."""
    lib.pd_record_mark(value)


def recorded() -> list[Event]:
    """The events so far."""
    size = lib.pd_record_size()
    raw = ffi.new("uint8_t[]", max(1, size))
    lib.pd_record_copy(raw, size)
    return list(_parse(ffi.buffer(raw, size)))


def _parse(raw: Any) -> Iterator[Event]:
    at = 0
    while at < len(raw):
        call, size, a, b, c, number = _HEADER.unpack_from(raw, at)
        at += _HEADER.size
        yield Event(call, a, b, c, number, bytes(raw[at : at + size]))
        at += size


OPEN: int = lib.PD_CALL_OPEN
CLOSE: int = lib.PD_CALL_CLOSE
WRITE: int = lib.PD_CALL_WRITE
ALLOCATE: int = lib.PD_CALL_ALLOCATE
TRUNCATE: int = lib.PD_CALL_TRUNCATE
RENAME: int = lib.PD_CALL_RENAME
MOVE: int = lib.PD_CALL_MOVE
MOVE_NEW: int = lib.PD_CALL_MOVE_NEW
LINK: int = lib.PD_CALL_LINK
UNLINK: int = lib.PD_CALL_UNLINK
MKDIR: int = lib.PD_CALL_MKDIR
MARK: int = lib.PD_CALL_COUNT
FDATASYNC: int = lib.PD_CALL_FDATASYNC
BARRIER: int = lib.PD_CALL_BARRIER
SYNCS = frozenset({lib.PD_CALL_FSYNC, lib.PD_CALL_FDATASYNC, lib.PD_CALL_FULLFSYNC})
NAMES = {number: name for name, number in CALLS.items()}
OPEN_DSYNC = 2
"""PD_OPEN_DSYNC of csrc/sys.h."""
OPEN_UNNAMED = 16
"""PD_OPEN_UNNAMED."""
