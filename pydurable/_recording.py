"""One run of the core as its recorder (csrc/record.c) notes it, with marks of what it promised."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from pydurable import _native_record
from pydurable._native_record import Event

Fact = TypeVar("Fact")


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
        return self._facts[event.c] if event.call == _native_record.MARK else None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Record what happens in the block; one recording can run at a time."""
        with _native_record.recording():
            try:
                yield
            finally:
                self.events = _native_record.recorded()
