"""Committing to a plain file from event loops."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path
from typing import Any

import pytest
from _coroutines import run, until
from _faults import Faults
from _processes import check_python

from pydurable import AppendFile, ClosedError, PoisonedError


@pytest.mark.parametrize("sync", ["none", "interval", "group", "each"])
@pytest.mark.parametrize("ring", [True, False])
def test_every_call_does_what_the_plain_one_does(path: Path, sync: str, ring: bool) -> None:
    """Bytes in the order of the calls, those in the ring included, and None for each."""

    async def main() -> None:
        with AppendFile(path, sync=sync, method="fdatasync", ring=ring) as file:
            file.append(b"1\n")
            assert await file.commit_async(b"2\n") is None
            together = await asyncio.gather(
                file.commit_async(bytearray(b"3\n")),
                file.commit_many_async([b"4\n", b"5\n"]),
                file.commit_async(b""),
                file.sync_async(),
                file.commit_async(b"6\n"),
            )
            assert together == [None] * 5
            await file.commit_async(b"")
            await file.commit_many_async([])
            assert await asyncio.to_thread(path.read_bytes) == b"1\n2\n3\n4\n5\n6\n"

    run(main)


def test_commits_of_one_turn_share_a_write_and_a_flush(path: Path) -> None:
    """A hundred tasks in step: one batch a turn, under "each" one for every commit."""

    async def main(sync: str, batches: int) -> None:
        with AppendFile(path, sync=sync, method="fdatasync") as file:
            await file.commit_async(b"first\n")
            before = file.stats()
            await asyncio.gather(*(file.commit_async(b"%d\n" % i) for i in range(100)))
            assert file.stats().batches - before.batches == batches
            assert file.stats().flushes - before.flushes == batches

    run(lambda: main("group", 1))
    run(lambda: main("each", 100))
    lines = [b"first\n", *(b"%d\n" % i for i in range(100))]
    assert path.read_bytes() == b"".join(lines * 2)


@pytest.mark.guarantee("G17")
def test_nothing_is_told_before_its_flush(path: Path, faults: Faults) -> None:
    """While the flush goes on the task waits and the loop does not; cancelling another one that
    waits does not take its line away."""

    async def main() -> None:
        with AppendFile(path, sync="group", method="fdatasync") as file:
            await file.commit_async(b"1\n")
            with faults.hold("fdatasync"):
                kept = asyncio.ensure_future(file.commit_async(b"2\n"))
                doomed = asyncio.ensure_future(file.commit_async(b"3\n"))
                await until(lambda: faults.calls("fdatasync"))
                doomed.cancel()
                for _ in range(100):
                    assert (kept.done(), file.stats().flushes) == (False, 1)
                    await asyncio.sleep(0.001)
            await kept
            assert file.stats().flushes == 2

    run(main)
    assert path.read_bytes() == b"1\n2\n3\n"


def test_poison_and_closing_end_those_that_wait(path: Path, faults: Faults) -> None:
    """PoisonedError for each after a failed flush; ClosedError after close."""

    async def main() -> None:
        file = AppendFile(path, sync="group", method="fdatasync")
        await file.commit_async(b"1\n")
        faults.fail("fdatasync", errno.EIO)
        calls = (file.commit_async(b"x\n") for _ in range(20))
        for outcome in await asyncio.gather(*calls, file.sync_async(), return_exceptions=True):
            assert isinstance(outcome, PoisonedError)
            assert outcome.errno == errno.EIO
        with pytest.raises(PoisonedError):
            file.close()
        for call in (file.commit_async(b"x"), file.commit_many_async([b"x"]), file.sync_async()):
            with pytest.raises(ClosedError):
                await call

    run(main)


def test_who_finds_no_room_waits_in_the_loop(path: Path, faults: Faults) -> None:
    """Far more than max_pending_bytes at once: the loop goes on, and each line is there once."""

    async def main() -> None:
        with AppendFile(
            path, sync="group", method="fdatasync", max_pending_bytes=256 << 10
        ) as file:
            await file.commit_async(b"first\n")
            faults.delay("fdatasync", 20, times=10)
            turns = 0

            async def tick() -> None:
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0)

            ticker = asyncio.ensure_future(tick())
            lines = [b"%d " % i + b"x" * (16 << 10) + b"\n" for i in range(100)]
            await asyncio.gather(*map(file.commit_async, lines))
            ticker.cancel()
            assert turns > 50
        assert await asyncio.to_thread(path.read_bytes) == b"first\n" + b"".join(lines)

    run(main)


def test_wrong_data(path: Path) -> None:
    """str is a TypeError, for the one who made the mistake."""

    async def main() -> None:
        with AppendFile(path) as file:
            calls: list[Any] = [file.commit_async("text"), file.commit_async(b"fine\n")]
            wrong, fine = await asyncio.gather(*calls, return_exceptions=True)
            assert isinstance(wrong, TypeError)
            assert fine is None

    run(main)


CHILD = """
import asyncio, os, sys
import pydurable
file = pydurable.AppendFile(sys.argv[1], sync="group")
asyncio.run(file.commit_async(b"parent\\n"))
pid = os.fork()
asyncio.run(file.commit_async(b"child\\n" if pid == 0 else b"parent again\\n"))
file.close()
if pid == 0:
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""


def test_a_child_commits_on_its_own(path: Path) -> None:
    """After fork the file works in the child too, with threads and a descriptor of its own."""
    if not hasattr(os, "fork"):
        pytest.skip("there is no fork here")
    check_python(CHILD, path)
    lines = path.read_bytes().splitlines()
    assert lines[0] == b"parent"
    assert sorted(lines[1:]) == [b"child", b"parent again"]
