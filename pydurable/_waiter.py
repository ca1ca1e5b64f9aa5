"""What one task waits for, and how the tasks of a batch are woken.

A future wakes its task through the loop's queue: a handle for each, which the loop runs in its next
turn.  With a thousand tasks that takes a fifth of the loop's time.  A waiter keeps the wake-up to
itself, so that whoever has the results runs the tasks one after the other, in the same turn.
Anything else that can befall it, a failure or a cancellation, goes through the queue.

On CPython with its lock a waiter is a type written in C (csrc/cpython/waiter.c); elsewhere it is
:class:`SteppedWaiter`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterable, Sequence
from contextvars import Context, copy_context
from itertools import islice
from typing import Any, Protocol

from pydurable._native_cpython import compiled

__all__ = ["SteppedWaiter", "Waiter", "make_waiter", "tell_all", "tell_all_later"]


class Waiter(Protocol):
    """An awaitable for one task."""

    def __await__(self) -> Generator[Any, None, Any]: ...

    def tell(self, result: Any, /) -> None:
        """Give it its result, and run the task until it waits again, while no other task runs;
        nothing, if it was cancelled."""

    def tell_later(self, result: Any, /) -> object:
        """Give it its result, unless it was cancelled; the loop runs the task in its next turn."""

    def fail(self, error: Exception, /) -> object:
        """Let the task's waiting end with an exception, unless it was cancelled."""


class SteppedWaiter(asyncio.Future[Any]):
    """A waiter in Python."""

    __slots__ = ("_context", "_wake")  # neither is there before a task waits

    _wake: Callable[[Any], object]
    _context: Context

    def add_done_callback(
        self, fn: Callable[[Any], object], *, context: Context | None = None
    ) -> None:
        """Keep the task's, which is the first and only one."""
        if self.done():
            super().add_done_callback(fn, context=context)
        self._wake = fn
        self._context = context or copy_context()

    def tell(self, result: Any, /) -> None:
        if self.done():
            return
        self.set_result(result)
        if hasattr(self, "_wake"):
            self._context.run(self._wake, self)

    def tell_later(self, result: Any, /) -> None:
        if not self.done():
            self.set_result(result)
            self._wake_soon()

    def fail(self, error: Exception, /) -> None:
        if not self.done():
            self.set_exception(error)
            self._wake_soon()

    def cancel(self, msg: Any | None = None) -> bool:
        if not super().cancel(msg):
            return False
        self._wake_soon()
        return True

    def _wake_soon(self) -> None:
        if hasattr(self, "_wake"):
            self.get_loop().call_soon(self._wake, self, context=self._context)


_CompiledWaiter: Any = compiled and compiled.Waiter


def make_waiter(loop: asyncio.AbstractEventLoop) -> Waiter:
    """One for a task of the loop."""
    made: Waiter = (_CompiledWaiter or SteppedWaiter)(loop=loop)
    return made


def tell_all(
    waiters: Sequence[Waiter], results: Iterable[Any], stride: int, between: Callable[[], object]
) -> None:
    """Tell each in turn; after each ``stride`` of them ``between`` is called.

    What ends the program while a task runs (KeyboardInterrupt, SystemExit) is raised, and the loop
    wakes the others.
    """
    rest = zip(waiters, results, strict=False)
    try:
        for _ in range(0, len(waiters), stride):
            for waiter, result in islice(rest, stride):
                waiter.tell(result)
            between()
    except BaseException:
        for waiter, result in rest:
            waiter.tell_later(result)
        raise


def tell_all_later(waiters: Sequence[Waiter], results: Iterable[Any]) -> None:
    """Give each its result; the loop runs their tasks in its next turn."""
    for waiter, result in zip(waiters, results, strict=False):
        waiter.tell_later(result)
