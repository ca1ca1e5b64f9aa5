"""Writers as they are found in the wild, each of which loses what it acknowledged.

They are controls: a rig that finds nothing wrong with them would find nothing at all.
"""

from __future__ import annotations

import errno
import mmap
import os
import random
import threading
from collections.abc import Sequence
from pathlib import Path

from .workloads import Stage, Workload

BLOCK = 4096
BLOCKS = 400
WRITERS = 4


def block(number: int) -> bytes:
    return random.Random(f"block {number}").randbytes(BLOCK)


def write_race(stage: Stage) -> None:
    """Group commit that acknowledges what is written when the flush ends, not when it began.

    A direct write that was in flight when the flush began is not covered by it.
    """
    file = os.open(stage.root / "race", os.O_RDWR | os.O_CREAT | os.O_DIRECT)
    zeros = mmap.mmap(-1, BLOCK * BLOCKS)
    os.pwrite(file, zeros, 0)
    os.fsync(file)
    directory = os.open(stage.root, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)
    written: list[int] = []

    def write(first: int) -> None:
        buffer = mmap.mmap(-1, BLOCK)
        for number in range(first, BLOCKS, WRITERS):
            buffer[:] = block(number)
            os.pwrite(file, buffer, number * BLOCK)
            written.append(number)

    writers = [threading.Thread(target=write, args=(n,)) for n in range(WRITERS)]
    for writer in writers:
        writer.start()
    acknowledged = 0
    while acknowledged < BLOCKS:
        os.fdatasync(file)
        now = len(written)
        for number in written[acknowledged:now]:
            stage.note(number)
        acknowledged = now
    for writer in writers:
        writer.join()
    os.close(file)


def check_race(root: Path, facts: Sequence[int], dice: random.Random) -> None:
    """Each acknowledged block is there."""
    if not facts:
        return
    data = (root / "race").read_bytes()
    lost = [n for n in facts if data[n * BLOCK : (n + 1) * BLOCK] != block(n)]
    assert not lost, f"acknowledged blocks are lost: {lost}"


def write_stubborn(stage: Stage) -> None:
    """After EIO write the same bytes to the same place again, and believe the next fdatasync."""
    data = block(0)
    file = os.open(stage.root / "stubborn", os.O_RDWR | os.O_CREAT)
    os.fsync(file)
    directory = os.open(stage.root, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)
    stage.order(b"fail-writes 1 " + data[:16])
    os.pwrite(file, data, 0)
    try:
        os.fdatasync(file)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
    else:
        raise RuntimeError("the disk has not failed")
    os.pwrite(file, data, 0)
    os.fdatasync(file)
    stage.note("written")
    os.close(file)


def check_stubborn(root: Path, facts: Sequence[str], dice: random.Random) -> None:
    """What was acknowledged after the second try is there."""
    if facts:
        assert (root / "stubborn").read_bytes() == block(0), "acknowledged bytes are lost"


NAIVE_WORKLOADS = {
    "naive-race": Workload(write_race, check_race, control=True),
    "naive-stubborn": Workload(write_stubborn, check_stubborn, control=True, only_on=("ext4",)),
}
