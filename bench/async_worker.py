"""One slice in an interpreter of its own: ``python -m bench.async_worker SLICE`` prints JSON."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from array import array
from pathlib import Path
from typing import Any

from . import native
from .async_contenders import FLUSHER, OURS, TIMER, Committer, opened
from .async_floor import TERMS, Timer
from .cells import Cell, Slice
from .latency import Histogram

FLUSHES = 400


def flush_times(name: str, folder: Path, size: int, program: str) -> dict[str, object]:
    """Commit from one thread without a loop: each commit takes one flush."""
    if name == FLUSHER:
        programs = {"floor": program}
        task = Slice("floor", str(folder), Cell(1, size), 0.1, 0.05, TERMS, programs)
        return {"rate": 0.0, "latencies": native.run(task)[1].counts}
    target = Timer() if name == TIMER else OURS[name](folder)
    record = os.urandom(size)
    times = array("Q")
    for _ in range(FLUSHES):
        begin = time.perf_counter_ns()
        target.commit(record)
        times.append(time.perf_counter_ns() - begin)
    target.close()
    return {"rate": 0.0, "latencies": Histogram.of(times[FLUSHES // 4 :]).counts}


async def commit_from_tasks(
    committer: Committer, tasks: int, size: int, warm_seconds: float, seconds: float
) -> dict[str, object]:
    """Commit from so many tasks, each one record after the other."""
    record = os.urandom(size)
    times = array("Q")
    commit, clock, note = committer.commit, time.perf_counter_ns, times.append
    begin = clock() + int(warm_seconds * 1e9)
    end = begin + int(seconds * 1e9)
    inside = 0

    async def task() -> None:
        nonlocal inside
        now = clock()
        while now < begin:
            await commit(record)
            now = clock()
        going = True
        while going:  # at least once: a commit that outlasts the window is not to be lost
            await commit(record)
            then, now = now, clock()
            note(now - then)
            going = now < end
            inside += going

    await asyncio.gather(*(task() for _ in range(tasks)))
    committer.close()
    return {"rate": inside / seconds, "latencies": Histogram.of(times).counts}


async def run_tasks(task: dict[str, Any]) -> dict[str, object]:
    """Open the contender in the running loop and measure it."""
    committer = opened(task["contender"], Path(task["folder"]), task["size"], task["program"])
    times = (task[key] for key in ("tasks", "size", "warm_seconds", "seconds"))
    return await commit_from_tasks(committer, *times)


def run_slice(task: dict[str, Any]) -> dict[str, object]:
    """Measure what the slice names."""
    if task["tasks"] == 0:
        folder = Path(task["folder"])
        return flush_times(task["contender"], folder, task["size"], task["program"])
    if task["loop"] == "uvloop":
        import uvloop

        return uvloop.run(run_tasks(task))
    return asyncio.run(run_tasks(task))


if __name__ == "__main__":
    print(json.dumps(run_slice(json.loads(sys.argv[1]))))
