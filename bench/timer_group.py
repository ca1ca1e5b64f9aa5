"""The group commit that is copied from tutorials: a thread that syncs once a millisecond."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

PERIOD_SECONDS = 0.001


class TimerGroup:
    """Commit records from many threads, each waiting on an Event for the next tick."""

    def __init__(self, path: Path) -> None:
        self.file = open(path, "ab")  # noqa: SIM115 (closed by close)
        self.lock = threading.Lock()
        self.pending: list[tuple[bytes, threading.Event]] = []
        self.closing = False
        self.flusher = threading.Thread(target=self._flush_each_tick)
        self.flusher.start()

    def commit(self, data: bytes) -> None:
        """Return when the record is durable."""
        done = threading.Event()
        with self.lock:
            self.pending.append((data, done))
        done.wait()

    def close(self) -> None:
        """Stop the flusher and close the file."""
        self.closing = True
        self.flusher.join()
        self.file.close()

    def _flush_each_tick(self) -> None:
        while not self.closing:
            time.sleep(PERIOD_SECONDS)
            with self.lock:
                batch, self.pending = self.pending, []
            if not batch:
                continue
            for data, _ in batch:
                self.file.write(data)
            self.file.flush()
            os.fdatasync(self.file.fileno())
            for _, done in batch:
                done.set()
