"""The demo's victim: 8 threads that commit lines and report each one, until they are killed.

It runs in a process of its own: ``python -m pydurable._demo_child KIND PATH``, with the lines on
standard input and the reports on standard output.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from pydurable import DurableError, Log
from pydurable._demo_lines import THREADS, Origin, record_for, split_lines

REPORT = struct.Struct("<IQQQQ")

# More than any disk acknowledges before the kill; the child must not outlive a parent that hangs.
MAX_TURNS = 1_000_000


class Acknowledgement(NamedTuple):
    """One record was durable: whose it is, its number, and the nanoseconds before and after."""

    thread: int
    turn: int
    lsn: int
    begin_ns: int
    end_ns: int


Commit = Callable[[bytes], int]


# On macOS fsync leaves data in the drive's cache, and there is no fdatasync.
_FULLFSYNC = getattr(fcntl, "F_FULLFSYNC", None)
PLAIN_SYNC = "fdatasync" if _FULLFSYNC is None else "F_FULLFSYNC"


def _sync_file(descriptor: int) -> None:
    if _FULLFSYNC is None:
        os.fdatasync(descriptor)
    else:
        fcntl.fcntl(descriptor, _FULLFSYNC)


def plain_commit(path: str) -> Commit:
    """The careful pure-Python way: one file, one lock, and for each record a write and a sync."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
    lock = threading.Lock()
    count = 0

    def commit(data: bytes) -> int:
        nonlocal count
        with lock:
            if os.write(descriptor, data) != len(data):
                raise OSError("a short write")
            _sync_file(descriptor)
            count += 1
            return count

    return commit


def durable_commit(path: str) -> Commit:
    """The log's own commit, with its defaults."""
    return Log(path).commit


KINDS: dict[str, Callable[[str], Commit]] = {"plain": plain_commit, "durable": durable_commit}


def _submit(
    commit: Commit, lines: Sequence[bytes], thread: int, fail: Callable[[Exception], None]
) -> None:
    """One thread's work: commit the next line, and report it only after commit has returned."""
    try:
        for turn in range(MAX_TURNS):
            data = record_for(lines, Origin(thread, turn))
            begin_ns = time.perf_counter_ns()
            lsn = commit(data)
            end_ns = time.perf_counter_ns()
            # Shorter than PIPE_BUF, so it arrives whole or not at all, and is never mixed.
            os.write(1, REPORT.pack(thread, turn, lsn, begin_ns, end_ns))
    except (OSError, DurableError) as error:
        fail(error)


def main(kind: str, path: str) -> None:
    """Commit until killed."""
    lines = split_lines(sys.stdin.buffer.read())
    commit = KINDS[kind](path)

    def fail(error: Exception) -> None:
        # A parent that is gone closed the pipe, and wants to know nothing more.
        if not isinstance(error, BrokenPipeError):
            with contextlib.suppress(OSError):
                os.write(2, f"pydurable demo: {error}\n".encode("utf-8", "backslashreplace"))
        os._exit(1)

    threads = [
        threading.Thread(target=_submit, args=(commit, lines, number, fail))
        for number in range(THREADS)
    ]
    for thread in threads:
        thread.start()


if __name__ == "__main__":
    main(*sys.argv[1:])
