"""Recording what the core does to files (csrc/record.c), with marks of what it promised."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from _faults import CALLS

from pydurable._core import ffi, lib

Fact = TypeVar("Fact")

_HEADER = struct.Struct("=IIqqQQ")


class Call:
    """Numbers of the recorded calls."""

    FDATASYNC = CALLS["fdatasync"]
    BARRIER = CALLS["barrier"]
    SYNCS = frozenset(CALLS[name] for name in ("fsync", "fdatasync", "fullfsync", "barrier"))
    NAMES: ClassVar[dict[int, str]] = {
        **{number: name for name, number in CALLS.items()},
        lib.PD_CALL_MOVE: "move",
        lib.PD_CALL_MOVE_NEW: "move",
        lib.PD_CALL_LINK: "link",
    }
    MARK = lib.PD_CALL_COUNT
    OPEN_DSYNC = 2  # PD_OPEN_DSYNC of csrc/sys.h


@dataclass(frozen=True)
class Event:
    """One recorded event; csrc/record.c says what a, b and c are for each call."""

    call: int
    a: int
    b: int
    c: int
    number: int
    data: bytes


class Recording(Generic[Fact]):
    """The events of one run in order, and the facts that were noted among them.

    A fact is noted once it holds: when the mark lies before a cut, so does the promise.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._facts: list[Fact] = []
        self._lock = threading.Lock()

    def note(self, fact: Fact) -> None:
        """Put a fact among the events."""
        with self._lock:
            number = len(self._facts)
            self._facts.append(fact)
        lib.pd_record_mark(number)

    def fact(self, event: Event) -> Fact | None:
        """The fact that an event is the mark of."""
        return self._facts[event.c] if event.call == Call.MARK else None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Record what happens in the block; one recording can run at a time."""
        lib.pd_record_start()
        try:
            yield
            size = lib.pd_record_size()
            raw = ffi.new("uint8_t[]", max(1, size))
            lib.pd_record_copy(raw, size)
            self.events = list(_parse(ffi.buffer(raw, size)))
        finally:
            lib.pd_record_stop()


def _parse(raw: Any) -> Iterator[Event]:
    at = 0
    while at < len(raw):
        call, size, a, b, c, number = _HEADER.unpack_from(raw, at)
        at += _HEADER.size
        yield Event(call, a, b, c, number, bytes(raw[at : at + size]))
        at += size
