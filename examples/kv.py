"""A key-value store that survives a power cut: a log of what was done, and now and then a snapshot.

    put     commit the change to the log, and only then show it and return
    get     look it up in memory
    open    read the snapshot, then what the log has beyond it
    compact write a new snapshot, durably, and only then forget the log before it

>>> import tempfile
>>> with Store(tempfile.mkdtemp()) as store:
...     store.put("Ann", "12")
...     store.put("Bob", "30")
...     store.delete("Ann")
...     store.compact()
...     store.get("Ann"), store.get("Bob"), sorted(store)
(None, '30', ['Bob'])
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from pydurable import Log, read_log, replace

Entry = tuple[int, "str | None"]  # the LSN of the last change, and the value; None if deleted


class Store:
    """Strings by strings, in a directory that exists (its own name is the caller's to sync).

    Any number of threads may call it; their commits share flushes.  What a reader sees is
    durable.  Not promised: that a put which raised, or never returned, has not happened.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._snapshot = Path(directory, "snapshot.json")
        self._index: dict[str, Entry] = {}
        self._lock = threading.Lock()
        self._compacting = threading.Lock()
        self._log = self._open_log(Path(directory, "log"))
        try:
            self._index = self._read(self._log.next_lsn - 1)
        except BaseException:
            self._log.close()
            raise

    def get(self, key: str, default: str | None = None) -> str | None:
        """Return the value, or the default where there is none."""
        _, value = self._index.get(key, (0, None))
        return default if value is None else value

    def put(self, key: str, value: str) -> None:
        """Set the value; it is durable when this returns."""
        self._change(key, value)

    def delete(self, key: str) -> None:
        """Remove the key, durably; nothing happens if it is not there."""
        self._change(key, None)

    def __iter__(self) -> Iterator[str]:
        with self._lock:
            return iter([key for key, (_, value) in self._index.items() if value is not None])

    def compact(self) -> None:
        """Make opening fast again, and give space back: keep one entry for each key."""
        with self._compacting:
            upto = self._log.durable_lsn
            # From the disk, not from the index: that may be ahead of upto, or a thread behind it.
            live = {k: v for k, (_, v) in self._read(upto).items() if v is not None}
            self._save(json.dumps({"lsn": upto, "live": live}).encode())
            self._log.truncate_before(upto + 1)

    def close(self) -> None:
        self._log.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _change(self, key: str, value: str | None) -> None:
        # Without the lock, so that commits of many threads meet in one flush.
        lsn = self._commit(json.dumps([key, value]).encode())
        with self._lock:
            # Threads come here in any order; the log's order is the one that a crash would show.
            if lsn > self._index.get(key, (0, None))[0]:
                self._index[key] = (lsn, value)

    def _read(self, upto: int) -> dict[str, Entry]:
        """Return what the disk holds of the changes up to an LSN."""
        index: dict[str, Entry] = {}
        lsn = 0
        if self._snapshot.exists():
            saved = json.loads(self._snapshot.read_bytes())
            lsn = saved["lsn"]
            index = {key: (lsn, value) for key, value in saved["live"].items()}
        if self._log.oldest_lsn > lsn + 1:
            raise ValueError(f"{self._snapshot} lacks changes that the log has forgotten")
        for record in read_log(self._log.path, start=lsn + 1):
            if record.lsn > upto:
                break
            key, value = json.loads(record.data)
            index[key] = (record.lsn, value)
        return index

    # The three places that decide what survives; tests put the classic mistakes here.

    def _open_log(self, path: Path) -> Log:
        return Log(path)

    def _commit(self, record: bytes) -> int:
        return self._log.commit(record)

    def _save(self, snapshot: bytes) -> None:
        replace(self._snapshot, snapshot)
