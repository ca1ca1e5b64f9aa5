"""Storing appended records where they survive this process, without a call that could wait.

Every call that releases the GIL can wait the switch interval (5 ms) for each busy thread to get it
back.  So the hot path is one call that does not (_native_writer.py): it takes no lock, makes no
system call, and a signal handler that interrupts it may append too.

The ring has chunks (csrc/ring.h).  Only the step from one to the next takes a lock; a signal
handler that interrupts that very step leaves its record to it.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import threading
import weakref
from collections import deque
from typing import NamedTuple

from pydurable._flusher import Flusher
from pydurable._native import NativeLog, identity, identity_at
from pydurable._native_writer import FRAME_BYTES, Writer, writer
from pydurable._ring_place import Target, ring_paths
from pydurable._salvage import salvage, share
from pydurable.errors import DurableError, FullError

__all__ = ["AppendRing", "NoRing", "open_with_ring"]

CHUNKS = 4

_STOP = 0
_CLEARED = 1

_rings: weakref.WeakSet[AppendRing] = weakref.WeakSet()


def ring_bytes(max_pending_bytes: int) -> int:
    """The size of a ring: about a quarter of the memory for records that wait."""
    quarter = max(64 << 10, max_pending_bytes // 4, CHUNKS * mmap.ALLOCATIONGRANULARITY)
    return int(1 << (quarter.bit_length() - 1))


class NoRing:
    """What stands in for a ring where appended records go to the operating system at once."""

    tail = 0
    dropped = 0
    stop = memoryview(bytes(16)).cast("Q")

    def takes(self, size: int) -> bool:
        return False

    def store(self, data: bytes) -> bool:
        raise AssertionError("there is no ring to store into")

    def end(self) -> int:
        return 0

    def close(self) -> None:
        pass


class AppendRing:
    """A ring beside its writer: the thread that empties it, and what to do while it is full.

    ``stop[0]`` is nonzero once appending has to ask why it may not.
    """

    def __init__(
        self, native: NativeLog, writer: Writer, interval: float, on_full: str = "block"
    ) -> None:
        view = native.ring()
        self._native = native
        self._writer = writer
        self._on_full = on_full
        self._size = view.chunk_bytes
        self.stop = view.words
        self._lock = threading.RLock()
        self._turning = False
        self._left: deque[bytes] = deque()
        self.dropped = self._told = 0
        self._stopped = False
        self.pid = os.getpid()
        self._flusher = Flusher(interval)
        _rings.add(self)

    @property
    def tail(self) -> int:
        """The position up to which frames are stored."""
        return self._writer.tail

    def takes(self, size: int) -> bool:
        """Whether a record of this size goes through the ring at all."""
        return size <= self._size - FRAME_BYTES

    def store(self, data: bytes) -> bool:
        """Store a record that the writer did not take; False if nothing may be stored any more.

        :raises FullError: there is no room, and that was asked for.
        """
        if not (self._flusher.started or self._stopped):
            # In this order: who finds the thread started finds the ring open.
            self._writer.start()
            self._flusher.start(self._hand_over)
        while not (self._stopped or self.stop[_STOP]):
            activation = self._writer.activation
            if self._writer.append(data):
                return True
            turned = self._turn(activation, data)
            if turned is None:
                return True
            if not turned and not self._wait_for_room():
                return True
        return False

    def end(self) -> int:
        """Store nothing more, and return the last tail: what was stored is below it."""
        with self._lock:
            self._stopped = True
            self._writer.fill()
            tail = self._writer.tail
        self._flusher.stop()
        return tail

    def close(self) -> None:
        """Let go of the mapping; nothing can be stored from now on."""
        self._stopped = True
        self._writer.stop()

    def _hand_over(self) -> None:
        self._native.try_flush(self.tail)

    def _wait_for_room(self) -> bool:
        """Do what was asked for while the ring is full; False if the record is given up."""
        if self._on_full == "block":
            self._native.flush(self.tail)
            return True
        self._flusher.hurry()
        if self._on_full == "raise":
            raise FullError(errno.ENOBUFS, "the ring of appended records is full")
        with self._lock:
            self.dropped += 1
        return False

    def _turn(self, activation: int, data: bytes) -> bool | None:
        """Go over to the next chunk: whether somebody has, or None if the record was left to
        whom this call interrupted."""
        with self._lock:
            if self._turning:
                # A signal handler has interrupted this very thread a few lines below.
                self._left.append(data)
                return None
            self._turning = True
            try:
                return self._turn_alone(activation)
            finally:
                self._turning = False
                self._store_left()

    def _store_left(self) -> None:
        while self._left:
            data = self._left.popleft()
            if not self._writer.append(data):
                self._left.appendleft(data)
                return

    def _turn_alone(self, activation: int) -> bool:
        if self._writer.activation != activation or self._stopped:
            return True
        # Smaller records of other threads are not to come in before this one any more.
        self._writer.fill()
        if activation + 1 >= self.stop[_CLEARED]:
            return False
        lost = self.dropped - self._told
        self._told += lost
        self._writer.turn(b"pydurable: %d records were lost here\n" % lost if lost else b"")
        self._flusher.hurry()
        return True


class Opened(NamedTuple):
    native: NativeLog
    writer: Writer
    ring: AppendRing | NoRing
    recovered: int
    """Records of dead processes that were appended."""


def open_with_ring(
    path: str,
    options: dict[str, int],
    *,
    ring: bool,
    interval: float,
    plain: bool = False,
    on_full: str = "block",
) -> Opened:
    """Open a log, or with ``plain`` a file to append to; append what dead processes had accepted;
    make a ring for what is appended now."""
    native = NativeLog(path, options, plain=plain)
    try:
        here = identity(native.fileno()) if plain else identity_at(path)
        target = Target(os.path.abspath(path), here, is_log=not plain)
        if plain:
            share(native, target.path, needed=ring)
        recovered = salvage(native, target, options)
        if not ring:
            return Opened(native, writer(native), NoRing(), recovered)
        _make_ring(native, target, options["max_pending_bytes"])
    except BaseException:
        with contextlib.suppress(DurableError, OSError):
            native.close(0)
        raise
    end = writer(native)
    return Opened(native, end, AppendRing(native, end, interval, on_full), recovered)


def _make_ring(native: NativeLog, target: Target, max_pending_bytes: int) -> None:
    """Make it at the best place that works."""
    *better, last = ring_paths(target)
    for path in better:
        with contextlib.suppress(OSError):
            return native.make_ring(path, ring_bytes(max_pending_bytes), target.path)
    return native.make_ring(last, ring_bytes(max_pending_bytes), target.path)


def _close_in_child() -> None:
    """A child must never store into its parent's ring.

    Hooks that were registered before this one run before it.  What they append finds the parent's
    ring stopped, which the core has seen to inside fork itself, and goes to a new one.
    """
    for ring in list(_rings):
        if ring.pid != os.getpid():
            ring._lock = threading.RLock()  # a thread that is not here may have held the other one
            ring.close()
            _rings.discard(ring)


os.register_at_fork(after_in_child=_close_in_child)
