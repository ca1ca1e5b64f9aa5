"""Committing from event loops: results, order, sharing, room, many loops at once."""

from __future__ import annotations

import asyncio
import os
import selectors
import threading
from pathlib import Path
from typing import Any

import pytest
from _coroutines import held, run, until
from _faults import Faults
from _scenario import open_log, record

import pydurable
from pydurable import Log


@pytest.mark.parametrize("sync", ["none", "interval", "group", "each"])
def test_every_call_gives_what_the_plain_one_gives(log_path: Path, sync: str) -> None:
    """LSNs, pairs of LSNs and the durable LSN, in the order of the calls, for each target."""

    async def main() -> None:
        with open_log(log_path, sync=sync) as log:
            assert await log.commit_async(b"1") == 1
            assert await log.commit_many_async([b"2", bytearray(b"3")]) == (2, 3)
            assert await log.sync_async() == 3 == log.durable_lsn
            together = await asyncio.gather(
                log.commit_async(memoryview(b"4")),
                log.commit_many_async(iter([b"5", b"6"])),
                log.sync_async(),
                log.commit_async(b""),
            )
            assert together[:2] == [4, (5, 6)]
            assert together[2] >= 6
            assert together[3] == 7
            assert log.commit(b"8") == 8

    run(main)
    assert held(log_path) == [b"1", b"2", b"3", b"4", b"5", b"6", b"", b"8"]


def test_sync_covers_what_was_appended(log_path: Path) -> None:
    """Records in the ring come before the next commit_async and are durable with sync_async."""

    async def main() -> None:
        with open_log(log_path) as log:
            log.append(b"1")
            assert await log.commit_async(b"2") == 2
            log.append(b"3")
            assert await log.sync_async() == 3
        assert await asyncio.to_thread(held, log_path) == [b"1", b"2", b"3"]

    run(main)


def test_wrong_data_is_refused_as_by_commit(log_path: Path) -> None:
    """TypeError and ValueError reach the one who made the mistake, and nobody else."""

    async def main() -> None:
        with open_log(log_path) as log:
            limit = log.max_record_bytes
            wrong = [
                log.commit_async("text"),
                log.commit_async(bytes(limit + 1)),
                log.commit_many_async([]),
                log.commit_many_async([b"fine", None]),
                log.commit_many_async([bytes(limit), b""]),
            ]
            good = log.commit_async(b"good")
            *errors, lsn = await asyncio.gather(*wrong, good, return_exceptions=True)
            kinds = [TypeError, ValueError, ValueError, TypeError, ValueError]
            assert [type(error) for error in errors] == kinds
            assert str(limit) in str(errors[1])
            assert lsn == 1
            assert await log.commit_async(bytes(limit)) == 2

    run(main)


def test_commits_of_one_turn_share_a_flush(log_path: Path, faults: Faults) -> None:
    """Ten tasks in step take one batch a turn, and a thousand a handful; no thread is started
    beyond the two of the first commit."""

    async def main() -> None:
        with open_log(log_path, segment_bytes=1 << 20) as log:
            await log.commit_async(b"first")
            threads = len(os.listdir("/proc/self/task")) if os.path.isdir("/proc") else 0
            before = log.stats()
            for _ in range(20):
                await asyncio.gather(*(log.commit_async(b"x") for _ in range(10)))
            after = log.stats()
            assert after.commits - before.commits == 200
            assert after.batches - before.batches == 20
            await asyncio.gather(*(log.commit_async(b"x") for _ in range(1000)))
            assert log.stats().batches - after.batches <= 10
            if threads:
                # One of an earlier test that was on its way out may be gone by now.
                assert len(os.listdir("/proc/self/task")) <= threads

    run(main)


class _CountingSelector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    """Counts how often the loop asks the system for news."""

    asked = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.asked += 1
        found: list[tuple[selectors.SelectorKey, int]] = super().select(timeout)
        return found


def test_a_round_of_commits_takes_one_turn_of_the_loop(log_path: Path) -> None:
    """The turn that learns of a flush runs the tasks that waited for it, and hands over what they
    commit next: the loop asks for news once a round."""
    rounds, selector = 200, _CountingSelector()

    async def main() -> None:
        with open_log(log_path) as log:

            async def task() -> None:
                for _ in range(rounds):
                    await log.commit_async(b"x")

            before = selector.asked
            await asyncio.gather(*(task() for _ in range(10)))
            assert log.stats().batches <= rounds + 5
            assert selector.asked - before <= 1.2 * rounds

    loop = asyncio.SelectorEventLoop(selector)
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()


def test_each_means_a_flush_for_every_commit(log_path: Path) -> None:
    """Under "each" tasks of one turn do not share either; a commit_many has one."""

    async def main() -> None:
        with open_log(log_path, sync="each") as log:
            await asyncio.gather(*(log.commit_async(b"x") for _ in range(7)))
            assert log.stats().flushes == 7
            await asyncio.gather(log.commit_many_async([b"x"] * 5), log.commit_async(b"x"))
            assert log.stats().flushes == 9

    run(main)


@pytest.mark.guarantee("G17")
def test_nothing_is_told_before_its_flush(log_path: Path, faults: Faults) -> None:
    """While the flush goes on the task waits and the loop does not."""

    async def main() -> None:
        with open_log(log_path) as log:
            await log.commit_async(record(1))
            with faults.hold("fdatasync"):
                task = asyncio.ensure_future(log.commit_async(record(2)))
                await until(lambda: faults.calls("fdatasync"))
                for _ in range(100):
                    assert (task.done(), log.durable_lsn) == (False, 1)
                    await asyncio.sleep(0.001)
                assert faults.calls("fdatasync") == 1
            assert await task == 2 == log.durable_lsn

    run(main)


def test_who_finds_no_room_waits_in_the_loop(log_path: Path, faults: Faults) -> None:
    """Far more than max_pending_bytes at once: the loop goes on, memory stays bounded, and every
    commit ends, in order."""
    pending = 256 << 10

    async def main() -> None:
        with open_log(log_path, max_pending_bytes=pending, segment_bytes=8 << 20) as log:
            await log.commit_async(b"first")
            faults.delay("fdatasync", 20, times=10)
            turns = 0
            most = 0

            async def tick() -> None:
                nonlocal turns, most
                while True:
                    turns += 1
                    most = max(most, log.stats().buffer_bytes)
                    await asyncio.sleep(0)

            ticker = asyncio.ensure_future(tick())
            calls = (log.commit_async(bytes(16 << 10)) for _ in range(200))
            assert await asyncio.gather(*calls) == list(range(2, 202))
            ticker.cancel()
            assert turns > 100
            assert most <= 2 * pending
            assert await log.commit_async(bytes(1 << 20)) == 202  # alone larger than the bound

    run(main)


def test_commit_many_is_one_batch_among_others(log_path: Path) -> None:
    """Records of one call stand together, whatever other tasks commit at the same time, and even
    where a lot has to be divided."""

    async def main() -> list[Any]:
        with open_log(log_path, max_pending_bytes=256 << 10, segment_bytes=1 << 20) as log:
            calls: list[Any] = []
            for group in range(40):
                size = 3000 * (group % 4)
                records = [b"%d of %d;" % (n, group) + bytes(size) for n in range(5)]
                calls += [log.commit_many_async(records), log.commit_async(b"alone")]
                if group % 10 == 9:
                    calls.append(log.sync_async())
            return list(await asyncio.gather(*calls))

    results = run(main)
    expected = 1
    for each in results:
        if isinstance(each, tuple):
            assert each == (expected, expected + 4)
            expected += 5
        elif each == expected:
            expected += 1
        else:
            assert each >= expected - 1  # what a sync reports
    data = held(log_path)
    assert len(data) == expected - 1 == 240
    for group in range(40):
        at = 6 * group
        stems = [b"%d of %d" % (n, group) for n in range(5)]
        assert [each.split(b";")[0] for each in data[at : at + 5]] == stems


def test_several_loops_and_threads_on_one_log(log_path: Path) -> None:
    """Loops in threads of their own and threads without a loop: every record once, each under
    the LSN that its owner was told, and each loop's in its order."""
    got: dict[int, bytes] = {}

    async def use(number: int, log: Log) -> None:
        async def task(part: int) -> None:
            last = 0
            for serial in range(20):
                data = b"loop %d task %d record %d" % (number, part, serial)
                lsn = await log.commit_async(data)
                assert lsn > last
                got[lsn] = data
                last = lsn

        await asyncio.gather(*(task(part) for part in range(10)))

    def plain(number: int, log: Log) -> None:
        for serial in range(50):
            data = b"thread %d record %d" % (number, serial)
            got[log.commit(data)] = data

    with open_log(log_path, segment_bytes=1 << 20) as log:
        threads = [threading.Thread(target=run, args=(lambda n=n: use(n, log),)) for n in range(4)]
        threads += [threading.Thread(target=plain, args=(n, log)) for n in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert log.durable_lsn == len(got) == 4 * 200 + 3 * 50
    assert {entry.lsn: entry.data for entry in pydurable.read_log(log_path)} == got


def test_outside_of_a_loop_there_is_a_clear_error(log_path: Path) -> None:
    """A coroutine that no event loop drives is a RuntimeError, as anywhere in asyncio."""
    with open_log(log_path) as log:
        call = log.commit_async(b"x")
        with pytest.raises(RuntimeError, match="no running event loop"):
            call.send(None)
