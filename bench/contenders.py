"""The contenders: each opens in an empty directory, commits durably, and closes."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from . import peers
from .cells import Cell, Terms
from .python_group import PythonGroup
from .timer_group import TimerGroup


class Committer(Protocol):
    """What a contender written in Python offers to the worker."""

    def commit(self, data: bytes) -> object: ...
    def close(self) -> object: ...


Opener = Callable[[Path, Terms], Committer]


class PlainFile:
    """Append with os.write, and with a sync of its own for each record."""

    def __init__(self, path: Path, sync: Callable[[int], None] | None, flags: int = 0) -> None:
        self.sync = sync
        self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | flags, 0o644)

    def commit(self, data: bytes) -> None:
        """Return when the record is durable."""
        os.write(self.fd, data)
        if self.sync is not None:
            self.sync(self.fd)

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self.fd)


def _plain(sync_name: str | None, flag_name: str | None = None) -> Opener:
    def open_file(directory: Path, terms: Terms) -> Committer:
        sync = getattr(os, sync_name) if sync_name else None
        return PlainFile(directory / "file", sync, getattr(os, flag_name) if flag_name else 0)

    return open_file


def _log(sync: str, lanes: int = 2) -> Opener:
    def open_log(directory: Path, terms: Terms) -> Committer:
        import pydurable

        # The method was chosen among ways to sync each commit; the other targets have their own.
        method = terms.method if sync in ("group", "each") else "auto"
        return pydurable.Log(directory / "log", sync=sync, method=method, lanes=lanes)

    return open_log


class Appending:
    """Log.append: no system call, durable with the next sync."""

    def __init__(self, path: Path) -> None:
        import pydurable

        self.log = pydurable.Log(path, method="fdatasync")
        self.commit = self.log.append

    def close(self) -> None:
        """Make durable what was appended."""
        self.log.close()


@dataclass(frozen=True)
class Contender:
    """Something that commits: in Python if it has an opener, else a program (see native.py)."""

    name: str
    meaning: str
    opener: Opener | None = None
    needs: str | None = None
    pure_python: bool = False
    only_in: Cell | None = None

    def missing(self) -> str | None:
        """Return the module that has to be installed first, or None."""
        if self.needs is None or importlib.util.find_spec(self.needs) is not None:
            return None
        return self.needs


# fio writes 4 KiB blocks from one job; it is there to check the floor against.
FIO_CELL = Cell(threads=1, size=64)

# What does not wait for the disk is compared where a busy thread makes each system call dear.
APPEND_CELL = Cell(threads=1, size=64, busy=True)

CONTENDERS = (
    Contender("floor", "C loop, one thread, pydurable's own method on this path"),
    Contender("engine", "pydurable's C engine driven by C threads"),
    Contender("engine-lanes1", "the same, one batch in flight"),
    Contender("fio", "fio --rw=write --bs=4k --fdatasync=1", only_in=FIO_CELL),
    Contender("fio-direct", "the same with --direct=1", only_in=FIO_CELL),
    Contender("pydurable-none", "Log(sync='none')", _log("none"), "pydurable"),
    Contender("pydurable-interval", "Log(sync='interval')", _log("interval"), "pydurable"),
    Contender("pydurable-group", "Log(sync='group')", _log("group"), "pydurable"),
    Contender("pydurable-lanes1", "the same, lanes=1", _log("group", 1), "pydurable"),
    Contender("pydurable-each", "Log(sync='each')", _log("each"), "pydurable"),
    Contender("pydurable-paranoid", "Log(sync='paranoid')", _log("paranoid"), "pydurable"),
    Contender(
        "pydurable-append",
        "Log.append",
        lambda directory, terms: Appending(directory / "log"),
        "pydurable",
        only_in=APPEND_CELL,
    ),
    Contender("write", "os.write alone", _plain(None), only_in=APPEND_CELL),
    Contender("fsync", "os.write, os.fsync", _plain("fsync"), pure_python=True),
    Contender("fdatasync", "os.write, os.fdatasync", _plain("fdatasync"), pure_python=True),
    Contender("o_dsync", "os.write, O_DSYNC", _plain(None, "O_DSYNC"), pure_python=True),
    Contender(
        "python-group",
        "careful group commit in pure Python",
        lambda directory, terms: PythonGroup(directory / "file"),
        pure_python=True,
    ),
    Contender(
        "python-1ms",
        "group commit by a 1 ms timer",
        lambda directory, terms: TimerGroup(directory / "file"),
        pure_python=True,
    ),
    Contender("sqlite3", "WAL, synchronous=FULL", peers.Sqlite, "sqlite3"),
    Contender("plyvel", "LevelDB, sync=True", peers.LevelDB, "plyvel"),
    Contender("lmdb", "a synced transaction each", peers.Lmdb, "lmdb"),
    Contender("rocksdict", "RocksDB, sync write", peers.RocksDB, "rocksdict"),
)

BY_NAME = {contender.name: contender for contender in CONTENDERS}
PURE_PYTHON = tuple(contender.name for contender in CONTENDERS if contender.pure_python)
