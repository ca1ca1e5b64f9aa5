"""The writing end of a log: what ``append`` and ``commit`` call for each record.

On CPython with its lock (GIL) that is a type written in C (csrc/cpython/writer.c): a store is one
call that gives the lock to nobody.  Elsewhere :class:`LockedWriter` does the same with a lock of
its own, in a few steps of Python.
"""

from __future__ import annotations

import contextlib
import mmap
import struct
import sys
import threading
import zlib
from typing import Any, Protocol

from pydurable._core import ffi
from pydurable._native import NativeLog
from pydurable._native_cpython import compiled

__all__ = ["FRAME_BYTES", "LockedWriter", "Writer", "writer"]

FRAME_BYTES = 8
_pack_frame = struct.Struct("=II").pack
_MADV_POPULATE_WRITE = 23  # madvise(2); the mmap module has no name for it
_STOP = 0


def _map_at_once(chunk: mmap.mmap) -> None:
    """As the core does with its own mapping (csrc/ring.c)."""
    if sys.platform == "linux":
        # Linux 5.14 has it; what is refused is paid later, page by page.
        with contextlib.suppress(OSError):
            chunk.madvise(_MADV_POPULATE_WRITE)


class Writer(Protocol):
    """One end for all threads, which stores frames into one chunk of the ring after the other."""

    @property
    def tail(self) -> int:
        """The position up to which frames are stored; passed to C with each call, which orders the
        stores before it: C never reads beyond a tail that it was given."""

    @property
    def activation(self) -> int:
        """Which use of a chunk this is."""

    def append(self, record: Any, /) -> bool:
        """Store bytes into the ring; False if they are none, or do not fit, or nothing may be
        stored."""

    def commit(self, record: bytes, /) -> int:
        """Commit bytes as one record, behind what was stored; return its LSN."""

    def start(self) -> None:
        """From now on records may be stored, if there is a ring."""

    def fill(self) -> None:
        """Let nothing more fit into the chunk that is in use."""

    def turn(self, lead: bytes, /) -> None:
        """Go over to the next chunk, which begins with this record if it has any bytes."""

    def stop(self) -> None:
        """Store nothing any more: the ring goes away."""


class LockedWriter:
    """A writer that takes a lock for each store."""

    def __init__(self, native: NativeLog) -> None:
        self._native = native
        self._lock = threading.RLock()
        self._chunks: list[mmap.mmap] = []
        self._size = 0
        self.activation = 0

    @property
    def tail(self) -> int:
        with self._lock, contextlib.suppress(ValueError, IndexError):  # not within a store
            return self.activation * self._size + self._chunk(self.activation).tell()
        return 0

    def start(self) -> None:
        view = self._native.ring()
        with self._lock:
            if self._chunks or view.fd < 0:
                return
            self._salt, self._words, self._size = view.salt, view.words, view.chunk_bytes
            chunks = []
            for index in range(view.chunks):
                chunks.append(mmap.mmap(view.fd, self._size, offset=index * self._size))
                _map_at_once(chunks[-1])
            self._chunks = chunks

    def append(self, record: Any, /) -> bool:
        if type(record) is not bytes or not self._chunks:
            return False
        framed = self._frame(record)
        with self._lock:
            return not self._words[_STOP] and self._store(framed)

    def commit(self, record: bytes, /) -> int:
        return self._native.commit(record, len(record), 0, self.tail)

    def fill(self) -> None:
        with self._lock, contextlib.suppress(IndexError):
            self._chunk(self.activation).seek(self._size)

    def turn(self, lead: bytes, /) -> None:
        with self._lock:
            chunk = self._chunk(self.activation + 1)
            chunk.seek(0)
            if lead:
                chunk.write(self._frame(lead))
            self.activation += 1

    def stop(self) -> None:
        # Not under the lock: in a child process a thread that is not there may hold it.
        chunks, self._chunks, self._lock = self._chunks, [], threading.RLock()
        for chunk in chunks:
            chunk.close()

    def _frame(self, record: bytes) -> bytes:
        return _pack_frame(len(record), zlib.adler32(record, self._salt)) + record

    def _chunk(self, activation: int) -> mmap.mmap:
        chunks = self._chunks  # none: IndexError
        return chunks[activation % max(1, len(chunks))]

    def _store(self, framed: bytes) -> bool:
        # One call of a method in C: no signal handler of this thread comes in between.
        try:
            self._chunk(self.activation).write(framed)
        except (ValueError, IndexError):
            return False
        return True


_CompiledWriter: Any = compiled and compiled.Writer


def writer(native: NativeLog) -> Writer:
    """The writing end of a log, which has its ring by now, if it is to have one."""
    if _CompiledWriter is None:
        return LockedWriter(native)
    address = int(ffi.cast("uintptr_t", native._log))
    made: Writer = _CompiledWriter(address, native._log, native._refuse)
    return made
