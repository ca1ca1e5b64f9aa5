"""The thread that hands appended records over at intervals."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from pydurable._bell import Bell
from pydurable.errors import DurableError

__all__ = ["Flusher"]


class Flusher:
    """Calls ``drain`` every ``interval`` seconds, and soon after :meth:`hurry`.

    It knows nothing of whom it works for: a log that nobody holds any more can be collected.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._lock = threading.Lock()
        self._bell = Bell()
        self._stopping = False
        self._drain: Callable[[], None] | None = None
        self._thread: threading.Thread | None = None

    @property
    def started(self) -> bool:
        return self._thread is not None

    def start(self, drain: Callable[[], None]) -> None:
        """Begin, unless somebody else has, or the end has come."""
        # A signal handler must not wait for the code that it interrupted, which may be this.
        if not self._lock.acquire(blocking=False):
            return
        try:
            if self._thread is None and not self._stopping:
                self._drain = drain
                thread = threading.Thread(target=self._run, name="pydurable-flush", daemon=True)
                # During the interpreter's last steps no thread can be started; close() hands over.
                with contextlib.suppress(RuntimeError):
                    thread.start()
                self._thread = thread
        finally:
            self._lock.release()

    def hurry(self) -> None:
        """There is much to hand over: do not wait for the interval to end."""
        self._bell.ring()

    def stop(self) -> None:
        """End the thread and wait for it, unless this is it."""
        with self._lock:
            self._stopping = True
            self._bell.ring()
            thread = self._thread
        if thread is not None and thread.ident and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        assert self._drain is not None
        while True:
            self._bell.wait(self._interval)
            if self._stopping:
                return
            # A poisoned log tells whoever appends next; a full disk may have room next time.
            with contextlib.suppress(DurableError, OSError):
                self._drain()
