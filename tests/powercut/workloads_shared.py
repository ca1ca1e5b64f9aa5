"""Two writers that sync one file at a moment at which another file is being synced.

On btrfs the second sync may then find that the first has put the file into the log tree, and return
before that part of the log tree is on the disk (docs/powercut.md).
"""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from pydurable import AppendFile

from .workloads import Stage, Workload

ROUNDS = 12
FLUSH_US = 20_000
BEGUN_S = FLUSH_US / 2e6
"""After this time a sync waits for its first flush; where it does not the round shows nothing."""

PAGE = 4096

PATIENCE_S = 300
FLOCK = "hhqqi"
"""struct flock: type, whence, start, length, pid."""


def page(number: int) -> bytes:
    return Random(f"page {number}").randbytes(PAGE)


def meet(
    stage: Stage,
    descriptor: int,
    write: Callable[[bytes], object],
    first: Callable[[], object],
    second: Callable[[], object],
) -> None:
    """Have a page written out ahead of any sync, and both syncs begin while a third is under way.

    write: appends to the file, which ``descriptor`` is of.  second: makes the page durable.
    """
    other = os.open(stage.root / "other", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.fsync(other)
    stage.order(b"slow-flushes %d" % FLUSH_US)
    for number in range(ROUNDS):
        write(page(number))
        # This begins to write dirty pages out, as the kernel does by itself when there are many.
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        time.sleep(BEGUN_S)
        os.write(other, page(number))
        syncs = [
            threading.Thread(target=os.fdatasync, args=(other,)),
            threading.Thread(target=first),
        ]
        for sync in syncs:
            sync.start()
            time.sleep(BEGUN_S)
        syncs[0].join()
        second()
        stage.note(number)
        syncs[1].join()
    os.close(other)


def write_naive(stage: Stage) -> None:
    """Each of the two believes the return of its own fdatasync."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    one, two = (os.open(stage.root / "shared", flags) for _ in range(2))
    os.fsync(one)
    directory = os.open(stage.root, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)
    meet(
        stage,
        two,
        lambda data: os.write(two, data),
        lambda: os.fdatasync(one),
        lambda: os.fdatasync(two),
    )
    os.close(one)
    os.close(two)


def write_append(stage: Stage) -> None:
    """Two AppendFiles, which know as little of each other as those of two processes."""
    with (
        AppendFile(stage.root / "shared", sync="none") as one,
        AppendFile(stage.root / "shared", sync="none") as two,
    ):

        def write(data: bytes) -> None:
            # Who has written nothing has nothing to sync.
            one.commit(bytes(PAGE))
            two.commit(data)

        meet(stage, two.fileno(), write, one.sync, two.sync)


def write_locked(stage: Stage) -> None:
    """An AppendFile, whose whole file another program has locked for as long as it runs."""
    with (stage.root / "shared").open("ab") as file:
        whole = struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, whole)
        signal.alarm(PATIENCE_S)
        with AppendFile(stage.root / "shared", sync="group") as shared:
            for number in range(ROUNDS):
                shared.commit(page(number))
                stage.note(number)
        signal.alarm(0)


def check_shared(root: Path, facts: Sequence[int], dice: Random) -> None:
    """Each acknowledged page is there."""
    if not facts:
        return
    data = (root / "shared").read_bytes()
    lost = [n for n in facts if page(n) not in data]
    assert not lost, f"acknowledged pages are lost: {lost}"


SHARED_WORKLOADS = {
    "append-shared": Workload(write_append, check_shared),
    "append-locked": Workload(write_locked, check_shared),
    "naive-shared": Workload(write_naive, check_shared, control=True),
}
