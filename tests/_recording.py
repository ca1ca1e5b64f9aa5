"""Recording what the core does to files (csrc/record.c), with marks of what it promised."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, Generic, TypeVar

from _faults import CALLS

from pydurable import _native_record
from pydurable._core import lib
from pydurable._native_record import Event

__all__ = ["Call", "Event", "Recording"]

Fact = TypeVar("Fact")


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
    OPEN_UNNAMED = 16  # PD_OPEN_UNNAMED


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
        _native_record.mark(number)

    def fact(self, event: Event) -> Fact | None:
        """The fact that an event is the mark of."""
        return self._facts[event.c] if event.call == Call.MARK else None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Record what happens in the block; one recording can run at a time."""
        with _native_record.recording():
            yield
            self.events = _native_record.recorded()
