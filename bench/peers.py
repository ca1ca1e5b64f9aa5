"""The databases that pydurable is compared with, each set to sync every commit."""

from __future__ import annotations

import itertools
import sqlite3
import threading
from pathlib import Path

from .cells import Terms

MAP_BYTES = 4 << 30  # address space for lmdb, not memory


class Sqlite:
    """One connection that the threads share: faster here than one connection each, whose writers
    find each other's lock taken and sleep."""

    def __init__(self, directory: Path, terms: Terms) -> None:
        self.lock = threading.Lock()
        self.connection = sqlite3.connect(
            directory / "db.sqlite", isolation_level=None, check_same_thread=False
        )
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute("PRAGMA synchronous=FULL")
        self.connection.execute("CREATE TABLE log (id INTEGER PRIMARY KEY, data BLOB)")

    def commit(self, data: bytes) -> None:
        """Return when the row is durable."""
        with self.lock:
            self.connection.execute("INSERT INTO log (data) VALUES (?)", (data,))

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


class LevelDB:
    """LevelDB groups the commits that wait for its writer."""

    def __init__(self, directory: Path, terms: Terms) -> None:
        import plyvel

        self.database = plyvel.DB(str(directory / "db"), create_if_missing=True)
        self.numbers = itertools.count()

    def commit(self, data: bytes) -> None:
        """Return when the value is durable."""
        self.database.put(next(self.numbers).to_bytes(8, "big"), data, sync=True)

    def close(self) -> None:
        """Close the database."""
        self.database.close()


class Lmdb:
    """LMDB has one writer at a time; each commit is a transaction that syncs."""

    def __init__(self, directory: Path, terms: Terms) -> None:
        import lmdb

        self.environment = lmdb.open(str(directory / "db"), map_size=MAP_BYTES, sync=True)
        self.numbers = itertools.count()

    def commit(self, data: bytes) -> None:
        """Return when the value is durable."""
        with self.environment.begin(write=True) as transaction:
            # The key is drawn inside: transactions are in order, so it can be appended.
            transaction.put(next(self.numbers).to_bytes(8, "big"), data, append=True)

    def close(self) -> None:
        """Close the environment."""
        self.environment.close()


class RocksDB:
    """RocksDB groups the commits that wait, as LevelDB does."""

    def __init__(self, directory: Path, terms: Terms) -> None:
        import rocksdict

        self.options = rocksdict.WriteOptions()
        self.options.sync = True
        self.database = rocksdict.Rdict(str(directory / "db"), rocksdict.Options(raw_mode=True))
        self.numbers = itertools.count()

    def commit(self, data: bytes) -> None:
        """Return when the value is durable."""
        key = next(self.numbers).to_bytes(8, "big")
        self.database.put(key, data, write_opt=self.options)

    def close(self) -> None:
        """Close the database."""
        self.database.close()
