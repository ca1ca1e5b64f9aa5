"""A thread that looks after something at intervals, for as long as anybody holds that."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable

from pydurable._bell import Bell

__all__ = ["Keeper"]


class Keeper:
    """Calls a method every ``interval`` seconds, and soon after :meth:`hurry`, until it says False.

    It does not keep the object of the method alive.
    """

    def __init__(self, keep: Callable[[], bool], interval: float) -> None:
        self._keep = weakref.WeakMethod(keep)
        self._interval = interval
        self._bell = Bell()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, unless it has begun."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=_run,
                args=(self._keep, self._bell, self._interval),
                name="pydurable-log-keeper",
                daemon=True,
            )
            # During the interpreter's last steps no thread can be started.
            with contextlib.suppress(RuntimeError):
                self._thread.start()

    def hurry(self) -> None:
        """Do not wait for the interval to end; may be called by signal handlers."""
        self._bell.ring()

    def stop(self) -> None:
        """Wait for the end of the thread, whose method is to say False now."""
        self._bell.ring()
        thread = self._thread
        if thread is not None and thread.ident and thread is not threading.current_thread():
            thread.join()


def _run(keep: weakref.WeakMethod[Callable[[], bool]], bell: Bell, interval: float) -> None:
    while True:
        bell.wait(interval)
        method = keep()
        if method is None or not method():
            return
        del method
