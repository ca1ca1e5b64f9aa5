"""Waking a thread from anywhere, a signal handler that interrupts a waking included."""

from __future__ import annotations

import contextlib
import threading

__all__ = ["Bell"]


class Bell:
    """One thread waits; others ring, any number of times until it looks.

    threading.Event will not do: its set() takes a lock, and a signal handler that calls it while
    the same thread is in it waits for ever.  Here ringing is one call of a method in C.
    """

    def __init__(self) -> None:
        self._quiet = threading.Lock()
        self._quiet.acquire()

    def ring(self) -> None:
        """Wake the one that waits, or let it not fall asleep the next time."""
        with contextlib.suppress(RuntimeError):  # it has been rung already
            self._quiet.release()

    def wait(self, seconds: float) -> bool:
        """Sleep until somebody rings, or the time is over; whether somebody did."""
        return self._quiet.acquire(timeout=seconds)
