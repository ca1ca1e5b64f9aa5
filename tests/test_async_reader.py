"""Reading with async for: the same records, the loop goes on, and nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
import os
from functools import partial
from pathlib import Path

import pytest
from _coroutines import run
from _scenario import LARGE, open_log, record

import pydurable
from pydurable import CorruptionError


def fill(path: Path, count: int) -> None:
    with open_log(path) as log:
        log.commit_many([record(lsn) for lsn in range(1, count + 1)])


def test_async_for_yields_what_for_yields(log_path: Path) -> None:
    """Without follow the iteration ends, over several segments and from any record on."""
    with open_log(log_path) as log:
        for lsn in range(1, 40):
            log.commit(record(lsn, LARGE))

    async def main(start: int) -> list[pydurable.Record]:
        return [entry async for entry in pydurable.read_log(log_path, start)]

    for start in (1, 7, 39, 40):
        assert run(partial(main, start)) == list(pydurable.read_log(log_path, start))


def test_following_tasks_in_the_same_loop(log_path: Path) -> None:
    """follow=True yields each record once it is durable, to several followers, beside the tasks
    that commit; a follower ends by break or by being cancelled."""
    count = 300

    async def follow(ready: asyncio.Event) -> int:
        seen = 0
        async for entry in pydurable.read_log(log_path, follow=True):
            seen += 1
            assert entry == (seen, record(seen))
            ready.set()
            if seen == count:
                break
        return seen

    async def forever() -> None:
        async for _ in pydurable.read_log(log_path, follow=True):
            pass
        raise AssertionError("following came to an end")

    async def main() -> None:
        with open_log(log_path) as log:
            ready = asyncio.Event()
            followers = [asyncio.ensure_future(follow(ready)) for _ in range(3)]
            endless = asyncio.ensure_future(forever())
            assert await log.commit_async(record(1)) == 1
            await ready.wait()
            for lsn in range(2, count + 1):
                assert await log.commit_async(record(lsn)) == lsn
            assert await asyncio.gather(*followers) == [count] * 3
            endless.cancel()
            with pytest.raises(asyncio.CancelledError):
                await endless

    run(main)


def test_the_loop_goes_on_while_a_follower_waits(log_path: Path) -> None:
    """A follower without records costs the loop nothing that another task would notice."""
    fill(log_path, 3)

    async def main() -> None:
        seen = []

        async def follow() -> None:
            async for entry in pydurable.read_log(log_path, follow=True):
                seen.append(entry.lsn)

        follower = asyncio.ensure_future(follow())
        while len(seen) < 3:
            await asyncio.sleep(0)
        for _ in range(1000):
            await asyncio.sleep(0)
        assert seen == [1, 2, 3]
        follower.cancel()

    run(main)


def test_damage_is_reported(log_path: Path) -> None:
    """A CorruptionError comes out of async for, after the records before the damage."""
    with open_log(log_path) as log:
        for lsn in range(1, 20):
            log.commit(record(lsn, LARGE))
    with sorted(log_path.glob("*.seg"))[1].open("r+b") as file:
        file.seek(8192 + 3 * 9072 + 500)
        file.write(b"\xff\xff\xff\xff")

    seen: list[int] = []

    async def main() -> None:
        async for entry in pydurable.read_log(log_path):
            seen.append(entry.lsn)

    with pytest.raises(CorruptionError):
        run(main)
    assert seen == list(range(1, len(seen) + 1))
    assert 0 < len(seen) < 19


@pytest.mark.parametrize("end", ["exhausted", "break", "cancelled", "closed while reading"])
def test_no_descriptor_stays_open(log_path: Path, end: str) -> None:
    """However the iteration ends, the files are closed."""
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("descriptors are counted in /proc, which is not here")
    fill(log_path, 1000)

    async def iterate() -> None:
        reader = pydurable.read_log(log_path, follow=end != "exhausted")
        if end == "closed while reading":
            step = asyncio.ensure_future(anext_of(reader))
            await asyncio.sleep(0)
            reader.close()
            step.cancel()
            await asyncio.gather(step, return_exceptions=True)
            return
        async for _ in reader:
            if end == "break":
                return

    async def anext_of(reader: pydurable.reader.LogReader) -> object:
        return await reader.__aiter__().__anext__()

    async def main() -> None:
        for _ in range(20):
            task = asyncio.ensure_future(iterate())
            if end == "cancelled":
                await asyncio.sleep(0.002)
                task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await asyncio.get_running_loop().shutdown_default_executor()

    def descriptors() -> int:
        gc.collect()  # what earlier tests have dropped
        return len(os.listdir("/proc/self/fd"))

    before = descriptors()
    run(main)
    assert descriptors() == before
