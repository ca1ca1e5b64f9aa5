"""What an event loop costs without pydurable and without a disk: a timer stands for the flush.

``TimerLoop`` is a committer like the others, except that nothing is written: a descriptor becomes
readable a fixed time after the loop has handed over, as a flush of that length would have it.  What
its tasks wait beyond a thread that waits for the same timer is asyncio's, and the machine's.
"""

from __future__ import annotations

import asyncio
import ctypes
import os

TIMER_NS = 150_000

_CLOCK_MONOTONIC = 1


class _Interval(ctypes.Structure):
    """struct itimerspec: for how long, and then."""

    _fields_ = (
        ("every_s", ctypes.c_long),
        ("every_ns", ctypes.c_long),
        ("first_s", ctypes.c_long),
        ("first_ns", ctypes.c_long),
    )


class Timer:
    """A descriptor that becomes readable TIMER_NS after begin(); Linux has it."""

    def __init__(self, flags: int = 0) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd = libc.timerfd_create(_CLOCK_MONOTONIC, os.O_CLOEXEC | flags)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._set = libc.timerfd_settime
        self._interval = ctypes.byref(_Interval(0, 0, 0, TIMER_NS))

    def begin(self) -> None:
        """Start the time."""
        self._set(self.fd, 0, self._interval, None)

    def commit(self, data: bytes) -> None:
        """Wait in this thread for as long as a flush takes."""
        self.begin()
        os.read(self.fd, 8)

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self.fd)


class TimerLoop:
    """Tasks that wait for a timer: a future each, and one descriptor for all of a turn."""

    def __init__(self) -> None:
        self.timer = Timer(os.O_NONBLOCK)
        self.loop = asyncio.get_running_loop()
        self.coming: list[asyncio.Future[None]] = []
        self.waiting: list[asyncio.Future[None]] = []
        self.loop.add_reader(self.timer.fd, self._ready)

    async def commit(self, data: bytes) -> None:
        """Return when the timer says so."""
        future = self.loop.create_future()
        self.coming.append(future)
        if len(self.coming) == 1 and not self.waiting:
            self.loop.call_soon(self._begin)
        return await future

    def close(self) -> None:
        """Give the descriptor back."""
        self.loop.remove_reader(self.timer.fd)
        self.timer.close()

    def _begin(self) -> None:
        self.waiting, self.coming = self.coming, []
        self.timer.begin()

    def _ready(self) -> None:
        os.read(self.timer.fd, 8)
        done, self.waiting = self.waiting, []
        for future in done:
            future.set_result(None)
        if self.coming:
            self.loop.call_soon(self._begin)
