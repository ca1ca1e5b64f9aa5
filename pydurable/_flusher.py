"""The thread that hands appended records over at intervals."""

from __future__ import annotations

import contextlib
import threading

from pydurable._ring import AppendRing
from pydurable.errors import DurableError

__all__ = ["Flusher"]


class Flusher:
    """Empties a ring at intervals, from the first record that was appended on.

    It knows the ring and not the log: a log that nobody holds any more can be collected.
    """

    def __init__(self, ring: AppendRing, interval: float) -> None:
        self._ring = ring
        self._interval = interval
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def started(self) -> bool:
        return self._thread is not None

    def start(self) -> None:
        """Begin, unless somebody else has, or the end has come."""
        with self._lock:
            if self._thread is None and not self._stopping.is_set():
                thread = threading.Thread(target=self._run, name="pydurable-flush", daemon=True)
                thread.start()
                self._thread = thread

    def stop(self) -> None:
        """End the thread and wait for it, unless this is it."""
        with self._lock:
            self._stopping.set()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(self._interval):
            # A poisoned log tells whoever appends next; a full disk may have room next time.
            with contextlib.suppress(DurableError, OSError):
                if not self._ring.empty:
                    self._ring.drain()
