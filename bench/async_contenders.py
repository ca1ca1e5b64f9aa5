"""What commits from an event loop: pydurable, and the best batching executors in pure Python.

Of the executors every one gathers the commits of a turn of the loop, joins them, and has a thread
write and sync them.  What was tried: a thread of its own with a SimpleQueue is faster than
ThreadPoolExecutor, two lists are faster than a list of pairs or an asyncio.Queue, one thread is
faster than two, which only wait for each other's interpreter lock.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

from .async_floor import FloorLoop, Flusher, Timer
from .python_group import ZeroedFile

STRIDE = 128
Write = Callable[[bytes], None]


class Committer(Protocol):
    """What a contender offers."""

    async def commit(self, data: bytes) -> object: ...
    def close(self) -> None: ...


class AppendedFile:
    """A file that grows."""

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def append(self, data: bytes) -> None:
        """Write the data and wait until it is durable."""
        if os.write(self.fd, data) != len(data):
            raise OSError("short write")
        os.fdatasync(self.fd)

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self.fd)


class Executor:
    """Commit what the tasks of one loop hand in through one thread."""

    def __init__(self, file: ZeroedFile | AppendedFile, eager: bool = False) -> None:
        self.file = file
        self.eager = eager
        self.loop = asyncio.get_running_loop()
        self.create_future = self.loop.create_future
        self.records: list[bytes] = []
        self.futures: list[asyncio.Future[None]] = []
        self.scheduled = False
        self.busy = False
        self.error: BaseException | None = None
        self.queue: SimpleQueue[tuple[bytes, list[asyncio.Future[None]]] | None] = SimpleQueue()
        self.thread = threading.Thread(target=self._write)
        self.thread.start()

    async def commit(self, data: bytes) -> None:
        """Return when the record is durable."""
        future = self.create_future()
        self.records.append(data)
        self.futures.append(future)
        if not self.scheduled:
            self.scheduled = True
            self.loop.call_soon(self._end_turn)
        return await future

    def close(self) -> None:
        """End the thread and close the file."""
        self.queue.put(None)
        self.thread.join()
        self.file.close()

    def _end_turn(self) -> None:
        self.scheduled = False
        self._hand_over()

    def _hand_over(self) -> None:
        if self.busy or not self.records:
            return
        self.busy = True
        records, self.records = self.records, []
        futures, self.futures = self.futures, []
        self.queue.put((b"".join(records), futures))

    def _write(self) -> None:
        while (taken := self.queue.get()) is not None:
            data, futures = taken
            try:
                if self.error is None:
                    self.file.append(data)
            except BaseException as error:
                self.error = error  # for good: after a failed sync nothing is known of the file
            with suppress(RuntimeError):  # the loop is over
                self.loop.call_soon_threadsafe(self._tell, futures)

    def _tell(self, futures: list[asyncio.Future[None]]) -> None:
        self.busy = False
        for at, future in enumerate(futures):
            if self.eager and at and at % STRIDE == 0:
                self.loop.call_soon(self._hand_over)
            if future.done():
                continue
            if self.error is None:
                future.set_result(None)
            else:
                future.set_exception(self.error)
        if not self.scheduled:
            self._hand_over()


class Durable:
    """pydurable's own: a Log or an AppendFile."""

    def __init__(self, target: Any) -> None:
        self.target = target
        self.commit = target.commit_async

    def close(self) -> None:
        """Close what was opened."""
        self.target.close()


def _log(folder: Path) -> Any:
    import pydurable

    return pydurable.Log(folder / "log")


def _file(folder: Path) -> Any:
    import pydurable

    return pydurable.AppendFile(folder / "file", sync="group")


OURS: dict[str, Callable[[Path], Any]] = {"Log": _log, "AppendFile": _file}
PYTHON: dict[str, Callable[[Path], Committer]] = {
    "executor, zeroed file": lambda folder: Executor(ZeroedFile(folder / "file")),
    "executor, appended file": lambda folder: Executor(AppendedFile(folder / "file")),
    "executor, eager": lambda folder: Executor(ZeroedFile(folder / "file"), eager=True),
}
# Not contenders: what the loop takes if the disk and pydurable cost nothing, and if pydurable does.
TIMER, FLUSHER = "a timer, no disk", "the C floor as a process"
CONTENDERS = (*OURS, *PYTHON)


def floors(program: str | None) -> tuple[str, ...]:
    """Which of the two there are; the second needs the C floor's program."""
    if sys.platform != "linux":
        return ()
    return (TIMER, FLUSHER) if program else (TIMER,)


def opened(name: str, folder: Path, size: int, program: str) -> Committer:
    """Open a contender inside the running loop."""
    if name == TIMER:
        return FloorLoop(Timer(os.O_NONBLOCK))
    if name == FLUSHER:
        return FloorLoop(Flusher(program, folder, size))
    return Durable(OURS[name](folder)) if name in OURS else PYTHON[name](folder)
