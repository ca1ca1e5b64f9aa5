"""After a power cut at any moment every record is there that a task was told is durable."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from _history import Durable, Fact, Promises, make_group
from _powercut import Laboratory
from _targets import SEGMENT_BYTES

from pydurable import Log
from pydurable._recording import Recording
from pydurable._simulated_disk import Disk

TASKS = 12
STEPS = 12


async def commit(log: Log, number: int, recording: Recording[Fact], dice: random.Random) -> None:
    """Take some steps as one task; what was told is noted in the same turn."""
    serial = 0
    for _ in range(STEPS):
        sizes = [dice.choice([0, dice.randrange(200), dice.randrange(4000)])]
        sizes *= dice.choice([1, 1, 1, 3])
        records = make_group(number, serial, sizes)
        serial += len(records)
        call = dice.random()
        if len(records) > 1:
            first, _ = await log.commit_many_async(records)
        elif call < 0.9:
            first = await log.commit_async(records[0])
        else:
            waiting = asyncio.ensure_future(log.commit_async(records[0]))
            await asyncio.sleep(0)
            await log.sync_async()  # comes behind it
            assert waiting.done()
            first = waiting.result()
        recording.note(Durable(first, tuple(records)))


def record_run(root: Path, dice: random.Random, method: str) -> Recording[Fact]:
    """Record tasks of one loop that commit side by side."""
    recording: Recording[Fact] = Recording()

    async def main() -> None:
        with Log(root / "log", method=method, segment_bytes=SEGMENT_BYTES, interval=0.005) as log:
            tasks = (
                commit(log, number, recording, random.Random(dice.random()))
                for number in range(TASKS)
            )
            await asyncio.wait_for(asyncio.gather(*tasks), 60)

    with recording.running():
        asyncio.run(main())
    return recording


@pytest.mark.guarantee("G17")
@pytest.mark.parametrize("method", ["fdatasync", "dsync"])
def test_what_tasks_were_told_survives(laboratory: Laboratory, root: Path, method: str) -> None:
    """Whatever the moment: nothing that a task was told is lost, and a group is whole."""
    recording = record_run(root, laboratory.dice, method)
    laboratory.cut_at_random(Disk(), root, recording, Promises(), cuts=60)
