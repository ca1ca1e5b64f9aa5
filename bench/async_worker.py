"""One slice in an interpreter of its own: ``python -m bench.async_worker SLICE`` prints JSON."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from array import array
from pathlib import Path

from .async_contenders import FLOOR, OURS, opened
from .latency import Histogram

FLUSHES = 400


def flush_times(name: str, folder: Path) -> dict[str, object]:
    """Commit from one thread without a loop: each commit takes one flush."""
    target = FLOOR[name]() if name in FLOOR else OURS[name](folder)
    record = os.urandom(64)
    times = array("Q")
    for _ in range(FLUSHES):
        begin = time.perf_counter_ns()
        target.commit(record)
        times.append(time.perf_counter_ns() - begin)
    target.close()
    return {"rate": 0.0, "latencies": Histogram.of(times[FLUSHES // 4 :]).counts}


async def commit_from_tasks(
    name: str, folder: Path, tasks: int, size: int, warm_seconds: float, seconds: float
) -> dict[str, object]:
    """Commit from so many tasks, each one record after the other."""
    committer = opened(name, folder)
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


def run_slice(task: dict[str, object]) -> dict[str, object]:
    """Measure what the slice names."""
    name, folder, loop = str(task["contender"]), Path(str(task["folder"])), task["loop"]
    if task["tasks"] == 0:
        return flush_times(name, folder)
    coroutine = commit_from_tasks(
        name,
        folder,
        *(task[key] for key in ("tasks", "size", "warm_seconds", "seconds")),  # type: ignore[arg-type]
    )
    if loop == "uvloop":
        import uvloop

        return uvloop.run(coroutine)
    return asyncio.run(coroutine)


if __name__ == "__main__":
    print(json.dumps(run_slice(json.loads(sys.argv[1]))))
