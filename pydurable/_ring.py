"""Storing appended records where the C core finds them, without calling it.

Every call into C releases the GIL, and a thread that wants it back waits up to the switch interval
(5 ms) for each busy Python thread.  A store into memory through a memoryview does neither.
"""

from __future__ import annotations

import struct
import threading

from pydurable._native import NativeLog

_pack_length = struct.Struct("<I").pack
_WRAPPED = b"\xff\xff\xff\xff"
_HEAD = 0
_STOP = 1


class AppendRing:
    """The writing end of a log's ring.

    ``tail`` counts bytes since the ring began.  It is passed to C with each call, which orders
    the stores before it: C never reads beyond a tail that it was given.
    """

    __slots__ = ("_bytes", "_lock", "_native", "_size", "_stopped", "_words", "largest", "tail")

    def __init__(self, native: NativeLog, max_record_bytes: int) -> None:
        self._native = native
        self._bytes, self._words = native.ring()
        self._size = len(self._bytes)
        self._lock = threading.Lock()
        self._stopped = False
        self.tail = 0
        self.largest = min(self._size // 2 - 4, max_record_bytes)
        """The largest record in bytes that goes through the ring."""

    @property
    def empty(self) -> bool:
        """Whether C has consumed everything."""
        return self._words[_HEAD] == self.tail

    def drain(self) -> None:
        """Hand what is stored to the file and wait as the target says."""
        self._native.flush(self.tail)

    def stop(self) -> int:
        """Store nothing more, and return the last tail: what was stored is below it."""
        with self._lock:
            self._stopped = True
            return self.tail

    def append(self, data: bytes) -> bool:
        """Store a record; False if the log takes no more and has to say why."""
        while True:
            if self._words[_STOP]:
                return False
            with self._lock:
                if self._stopped:
                    return False
                tail = self.tail
                at = tail & (self._size - 1)
                end = at + 4 + len(data)
                if end <= self._size:
                    begin, after = tail, tail + 4 + len(data)
                else:
                    # The frame lies in one piece, so what is left at the end stays empty.
                    begin = tail + self._size - at
                    after = begin + 4 + len(data)
                if after - self._words[_HEAD] <= self._size:
                    if begin != tail:
                        if self._size - at >= 4:
                            self._bytes[at : at + 4] = _WRAPPED
                        at, end = 0, 4 + len(data)
                    self._bytes[at:end] = _pack_length(len(data)) + data
                    self.tail = after
                    return True
            self.drain()
