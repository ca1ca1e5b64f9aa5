"""Where the tasks of an event loop leave what they commit, until the end of its turn.

On CPython with its lock that is a type written in C (csrc/cpython/gathering.c): each line of Python
counts here.  Elsewhere it is :class:`SteppedGathering`.
"""

from collections.abc import Callable
from threading import get_ident
from typing import Any, Protocol

from pydurable._native_cpython import compiled
from pydurable._waiter import Waiter, make_waiter

__all__ = ["Gathering", "SteppedGathering", "gathering"]


class Gathering(Protocol):
    """What was committed, and who waits for it, in order."""

    scheduled: bool
    """Whether somebody will see to it at the end of the turn."""
    inside: int
    """The thread in which the loop's tasks are being run, 0 if that has to be found out.  To ask a
    loop that does not say where it runs takes half as long as the rest of a commit."""

    @property
    def records(self) -> list[bytes]: ...

    @property
    def waiters(self) -> list[Waiter]: ...

    def commit(self, record: Any, /) -> Waiter | None:
        """Leave one record and return its waiter; None if it has to go another way: it is no bytes,
        or too many, or the loop does not run in this thread."""

    def take(self) -> tuple[list[bytes], list[Waiter]]:
        """Both lists, which begin anew."""


class SteppedGathering:
    """A gathering in Python."""

    def __init__(
        self,
        home: Any,
        loop: Any,
        schedule: Callable[[], object],
        max_bytes: int,
    ) -> None:
        self._home = home
        self._loop = loop
        self._schedule = schedule
        self._max_bytes = max_bytes
        self.scheduled = False
        self.inside = 0
        self.records: list[bytes] = []
        self.waiters: list[Waiter] = []

    def commit(self, record: Any, /) -> Waiter | None:
        if type(record) is not bytes or len(record) > self._max_bytes:
            return None
        here = get_ident()
        if self.inside != here and self._home._thread_id != here:
            return None
        waiter = make_waiter(self._loop)
        if not self.scheduled:
            self._schedule()
            self.scheduled = True
        self.records.append(record)
        self.waiters.append(waiter)
        return waiter

    def take(self) -> tuple[list[bytes], list[Waiter]]:
        taken = self.records, self.waiters
        self.records, self.waiters = [], []
        return taken


_CompiledGathering: Any = compiled and compiled.Gathering


def gathering(
    home: Any,
    loop: Any,
    schedule: Callable[[], object],
    max_bytes: int,
) -> Gathering:
    """One for a loop: ``home._thread_id`` is the thread in which it runs, if it runs, and
    ``schedule`` is called with the first record of each turn."""
    made: Gathering = (_CompiledGathering or SteppedGathering)(home, loop, schedule, max_bytes)
    return made
