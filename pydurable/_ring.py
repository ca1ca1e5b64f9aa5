"""Storing appended records where they survive this process, without a call that could wait.

Every call that releases the GIL can wait the switch interval (5 ms) for each busy thread to get it
back.  ``mmap.write`` does not release it: one call stores a whole frame, or raises ValueError where
it does not fit, and no other thread and no signal handler of the interpreter comes in between.  So
the hot path takes no lock, makes no system call, and a handler that interrupts it may append too.

The ring has chunks (csrc/ring.h).  Only the step from one to the next takes a lock; a signal
handler that interrupts that very step leaves its record to it.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import struct
import sys
import threading
import weakref
import zlib
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from pydurable._flusher import Flusher
from pydurable._native import NativeLog, identity, identity_at
from pydurable._ring_place import Target, ring_paths
from pydurable._salvage import salvage, share
from pydurable.errors import DurableError, FullError

__all__ = ["AppendRing", "NoRing", "adler32", "open_with_ring", "pack_frame"]

pack_frame = struct.Struct("=II").pack
adler32 = zlib.adler32
FRAME_BYTES = 8
_MADV_POPULATE_WRITE = 23  # madvise(2); the mmap module has no name for it
CHUNKS = 4

_STOP = 0
_CLEARED = 1

_rings: weakref.WeakSet[AppendRing] = weakref.WeakSet()

STORE_IS_ATOMIC = (
    sys.implementation.name == "cpython" and getattr(sys, "_is_gil_enabled", lambda: True)()
)
"""Whether one call of a C method is one step for every other thread."""


def ring_bytes(max_pending_bytes: int) -> int:
    """The size of a ring: about a quarter of the memory for records that wait."""
    quarter = max(64 << 10, max_pending_bytes // 4, CHUNKS * mmap.ALLOCATIONGRANULARITY)
    return int(1 << (quarter.bit_length() - 1))


def frame(data: bytes, salt: int) -> bytes:
    """A record as it lies in the ring; it certifies itself, for a kill can cut it short."""
    return pack_frame(len(data), adler32(data, salt)) + data


def _map_at_once(chunk: mmap.mmap) -> None:
    """Map the pages of a chunk now, or the first store into each takes a fault: with lines of 100
    bytes one in forty, which would be the 99th percentile of appending."""
    if sys.platform == "linux":
        # Linux 5.14 has it; what is refused is paid later, page by page.
        with contextlib.suppress(OSError):
            chunk.madvise(_MADV_POPULATE_WRITE)


def _always_full(_frame: bytes) -> int:
    raise ValueError("no chunk of the ring is open")


class _Active(NamedTuple):
    activation: int
    chunk: mmap.mmap


class NoRing:
    """What stands in for a ring where appended records go to the operating system at once."""

    salt = 0
    tail = 0
    dropped = 0
    stop = memoryview(bytes(16)).cast("Q")
    write = staticmethod(_always_full)

    def takes(self, size: int) -> bool:
        return False

    def store(self, data: bytes) -> bool:
        raise AssertionError("there is no ring to store into")

    def end(self) -> int:
        return 0

    def close(self) -> None:
        pass


class AppendRing:
    """The writing end of a ring, the thread that empties it, and what to do while it is full.

    ``write`` stores a frame and raises ValueError where it does not fit; then :meth:`store` is the
    way.  ``stop[0]`` is nonzero once appending has to ask why it may not.  ``tail`` is passed to C
    with each call, which orders the stores before it: C never reads beyond a tail it was given.
    """

    def __init__(self, native: NativeLog, interval: float, on_full: str = "block") -> None:
        view = native.ring()
        self._native = native
        self._on_full = on_full
        self._size = view.chunk_bytes
        self.stop = view.words
        self.salt = view.salt
        self._chunks = [
            mmap.mmap(view.fd, self._size, offset=i * self._size) for i in range(view.chunks)
        ]
        for chunk in self._chunks:
            _map_at_once(chunk)
            chunk.seek(self._size)  # full until its turn comes
        self._lock = threading.RLock()
        self._turning = False
        self._left: deque[bytes] = deque()
        self.dropped = self._told = 0
        self._stopped = False
        self.pid = os.getpid()
        self._chunks[0].seek(0)
        self._active = _Active(0, self._chunks[0])
        self._flusher = Flusher(interval)
        # The first record finds its way through store(), which starts the thread.
        self.write: Callable[[bytes], int] = _always_full
        _rings.add(self)

    @property
    def tail(self) -> int:
        """The position up to which frames are stored."""
        if STORE_IS_ATOMIC:
            return self._position()
        with self._lock:  # and not in the middle of a store
            return self._position()

    def _position(self) -> int:
        active = self._active
        try:
            return active.activation * self._size + active.chunk.tell()
        except ValueError:
            return 0  # closed: in a child, or after the end

    def takes(self, size: int) -> bool:
        """Whether a record of this size goes through the ring at all."""
        return size <= self._size - FRAME_BYTES

    def store(self, data: bytes) -> bool:
        """Store a record that ``write`` did not take; False if nothing may be stored any more.

        :raises FullError: there is no room, and that was asked for.
        """
        if not self._flusher.started:
            self._flusher.start(self._hand_over)
        framed = frame(data, self.salt)
        while not (self._stopped or self.stop[_STOP]):
            active = self._active
            try:
                (active.chunk.write if STORE_IS_ATOMIC else self._locked_write)(framed)
            except ValueError:
                pass
            else:
                if self.write is _always_full:
                    self._open_write()
                return True
            turned = self._turn(active, framed)
            if turned is None:
                return True
            if not turned and not self._wait_for_room():
                return True
        return False

    def end(self) -> int:
        """Store nothing more, and return the last tail: what was stored is below it."""
        with self._lock:
            self._stopped = True
            self.write = _always_full
            active = self._active
            active.chunk.seek(self._size)
        self._flusher.stop()
        return (active.activation + 1) * self._size

    def close(self) -> None:
        """Let go of the mapping; writing raises ValueError from now on."""
        self._stopped = True
        self.write = _always_full
        for chunk in self._chunks:
            chunk.close()

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

    def _open_write(self) -> None:
        self.write = self._active.chunk.write if STORE_IS_ATOMIC else self._locked_write

    def _locked_write(self, framed: bytes) -> int:
        with self._lock:
            return self._active.chunk.write(framed)

    def _turn(self, active: _Active, framed: bytes) -> bool | None:
        """Go over to the next chunk: whether somebody has, or None if the record was left to
        whom this call interrupted."""
        with self._lock:
            if self._turning:
                # A signal handler has interrupted this very thread a few lines below.
                self._left.append(framed)
                return None
            self._turning = True
            try:
                return self._turn_alone(active)
            finally:
                self._turning = False
                self._store_left()

    def _store_left(self) -> None:
        while self._left:
            framed = self._left.popleft()
            try:
                self._active.chunk.write(framed)
            except ValueError:
                self._left.appendleft(framed)
                return

    def _turn_alone(self, active: _Active) -> bool:
        if self._active is not active or self._stopped:
            return True
        # Whoever still holds this chunk's write finds it full, too.
        active.chunk.seek(self._size)
        activation = active.activation + 1
        if activation >= self.stop[_CLEARED]:
            return False
        chunk = self._chunks[activation % len(self._chunks)]
        chunk.seek(0)
        lost = self.dropped - self._told
        if lost:
            self._told += lost
            chunk.write(frame(b"pydurable: %d records were lost here\n" % lost, self.salt))
        self._active = _Active(activation, chunk)
        self._open_write()
        self._flusher.hurry()
        return True


class Opened(NamedTuple):
    native: NativeLog
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
            return Opened(native, NoRing(), recovered)
        _make_ring(native, target, options["max_pending_bytes"])
    except BaseException:
        with contextlib.suppress(DurableError, OSError):
            native.close(0)
        raise
    return Opened(native, AppendRing(native, interval, on_full), recovered)


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
