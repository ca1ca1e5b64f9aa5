"""What an event loop costs without pydurable.

``FloorLoop`` is a committer like the others, except that its tasks wait for a descriptor that
becomes readable some time after the loop has handed over.  With a ``Timer`` that is a fixed time,
as a flush of that length would have it, and nothing is written: what its tasks wait beyond a thread
that waits for the same timer is asyncio's, and the machine's.  With a ``Flusher`` it is the write
and the flush of one record, in a process that does nothing else: what they wait beyond one flush is
also the way there and back.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import subprocess
from pathlib import Path

from .cells import Terms
from .native import floor_command

TIMER_NS = 150_000
TERMS = Terms(method="direct", block_bytes=4096, zeroed=True)

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

    def hear(self) -> None:
        """Take note that it is over."""
        os.read(self.fd, 8)

    def commit(self, data: bytes) -> None:
        """Wait in this thread for as long as a flush takes."""
        self.begin()
        self.hear()

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self.fd)


class Flusher:
    """The C floor in a process of its own: begin() has it write a record and flush it."""

    def __init__(self, program: str, folder: Path, size: int) -> None:
        command = floor_command(program, TERMS, size, folder)
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, bufsize=0)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to = self._process.stdin.fileno()
        self.fd = self._process.stdout.fileno()
        self.begin()
        self.hear()  # once it has written its zeros

    def begin(self) -> None:
        """Ask for a flush."""
        os.write(self._to, b"x")

    def hear(self) -> None:
        """Take note that it is over."""
        if not os.read(self.fd, 1):
            raise OSError("the C floor has ended")

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


class FloorLoop:
    """Tasks that wait for the source: a future each, and one descriptor for all of a turn."""

    def __init__(self, source: Timer | Flusher) -> None:
        self.source = source
        self.loop = asyncio.get_running_loop()
        self.coming: list[asyncio.Future[None]] = []
        self.waiting: list[asyncio.Future[None]] = []
        self.loop.add_reader(source.fd, self._ready)

    async def commit(self, data: bytes) -> None:
        """Return when the source says so."""
        future = self.loop.create_future()
        self.coming.append(future)
        if len(self.coming) == 1 and not self.waiting:
            self.loop.call_soon(self._begin)
        return await future

    def close(self) -> None:
        """End the source."""
        self.loop.remove_reader(self.source.fd)
        self.source.close()

    def _begin(self) -> None:
        self.waiting, self.coming = self.coming, []
        self.source.begin()

    def _ready(self) -> None:
        self.source.hear()
        done, self.waiting = self.waiting, []
        for future in done:
            future.set_result(None)
        if self.coming:
            self.loop.call_soon(self._begin)
