"""How waiting in an event loop ends: cancelled, poisoned, closed, forked, with the program."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from _coroutines import held, run, until
from _faults import Faults
from _patience import PATIENCE_S, wait_until
from _processes import check_python
from _scenario import check_resources, open_log, record, resources

import pydurable
from pydurable import ClosedError, Log, PoisonedError, _loops


@pytest.mark.guarantee("G17")
def test_cancelling_a_task_does_not_cancel_the_write(log_path: Path, faults: Faults) -> None:
    """The record of a task that was cancelled, or whose time was up, is written all the same,
    and those beside it get their results."""

    async def main() -> None:
        with open_log(log_path) as log:
            await log.commit_async(record(1))
            with faults.hold("fdatasync"):
                doomed = asyncio.ensure_future(log.commit_async(record(2)))
                other = asyncio.ensure_future(log.commit_async(record(3)))
                hurried = asyncio.ensure_future(
                    asyncio.wait_for(log.commit_async(record(4)), timeout=0.001)
                )
                await until(lambda: log.next_lsn == 5 and faults.calls("fdatasync"))
                doomed.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await doomed
                with pytest.raises(asyncio.TimeoutError):
                    await hurried
                assert not other.done()
            assert await other == 3
            # One that is cancelled before it was handed over is written too.
            early = asyncio.ensure_future(log.commit_async(record(5)))
            await asyncio.sleep(0)
            early.cancel()
            assert await log.sync_async() == 5

    run(main)
    assert held(log_path) == [record(lsn) for lsn in range(1, 6)]


@pytest.mark.guarantee("G17")
def test_poison_reaches_every_waiter(log_path: Path, faults: Faults) -> None:
    """Those in flight, those that wait for room and those that come later get the first errno,
    each an exception of its own; nobody is told that a record is durable."""

    async def main() -> None:
        log = open_log(log_path, sync="each")
        await log.commit_async(record(1))
        faults.delay("fdatasync", 100)
        faults.fail("fdatasync", errno.EIO, nth=2, times=0)
        outcomes = await asyncio.gather(
            *(log.commit_async(record(lsn)) for lsn in range(2, 60)),
            log.commit_many_async([b"x"] * 3),
            log.sync_async(),
            return_exceptions=True,
        )
        errors = [each for each in outcomes if isinstance(each, PoisonedError)]
        promised = [each for each in outcomes if isinstance(each, int)]
        assert len(errors) + len(promised) == len(outcomes)
        assert len(errors) > 50
        assert {error.errno for error in errors} == {errno.EIO}
        assert len({id(error) for error in errors}) == len(errors)
        assert max(promised, default=1) == log.durable_lsn
        for call in (log.commit_async(b"x"), log.commit_many_async([b"x"]), log.sync_async()):
            with pytest.raises(PoisonedError):
                await call
        with pytest.raises(PoisonedError):
            log.close()

    run(main)


def test_no_room_for_a_segment_is_refused_and_over_when_there_is(
    log_path: Path, faults: Faults
) -> None:
    """ENOSPC reaches the tasks concerned, the log stays healthy, and a later commit works."""

    async def main() -> None:
        with open_log(log_path) as log:
            faults.fail("allocate", errno.ENOSPC, times=0)
            outcomes: list[Any] = []
            while not any(isinstance(each, OSError) for each in outcomes):
                calls = (log.commit_async(bytes(9000)) for _ in range(3))
                outcomes += await asyncio.gather(*calls, return_exceptions=True)
            lsns = [each for each in outcomes if isinstance(each, int)]
            errors = [each for each in outcomes if not isinstance(each, int)]
            assert {error.errno for error in errors} == {errno.ENOSPC}
            assert not any(isinstance(error, PoisonedError) for error in errors)
            assert lsns == list(range(1, len(lsns) + 1))
            faults.clear()
            assert await log.commit_async(b"again") == len(lsns) + 1

    run(main)


def test_closing_the_log_ends_those_that_wait(log_path: Path, faults: Faults) -> None:
    """What was handed over is finished and told; what was not gets ClosedError and is not
    written; later calls get ClosedError at once."""

    async def main() -> None:
        log = open_log(log_path, sync="each")
        await log.commit_async(record(1))
        faults.delay("fdatasync", 100, times=0)
        tasks = [asyncio.ensure_future(log.commit_async(record(lsn))) for lsn in range(2, 30)]
        await until(lambda: log.next_lsn > 2)
        log.close()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        told = [each for each in outcomes if isinstance(each, int)]
        refused = [each for each in outcomes if isinstance(each, ClosedError)]
        assert told == list(range(2, len(told) + 2))
        assert told
        assert refused
        assert len(told) + len(refused) == len(outcomes)
        for call in (log.commit_async(b"x"), log.commit_many_async([b"x"]), log.sync_async()):
            with pytest.raises(ClosedError):
                await call
        data = await asyncio.to_thread(held, log_path)
        assert data == [record(lsn) for lsn in range(1, len(told) + 2)]

    run(main)


def test_closing_in_another_thread(log_path: Path) -> None:
    """The same where the loop goes on committing while a thread closes the log."""
    for round_ in range(10):
        path = log_path.with_name(f"log{round_}")
        log = open_log(path)
        told: list[tuple[int, bytes]] = []

        async def commit(number: int, log: Log = log, told: Any = told) -> None:
            serial = 0
            while True:
                data = b"%d %d" % (number, serial)
                try:
                    told.append((await log.commit_async(data), data))
                except ClosedError:
                    return
                serial += 1

        async def main(commit: Any = commit) -> None:
            await asyncio.gather(*(commit(number) for number in range(20)))

        thread = threading.Thread(target=run, args=(main,))
        thread.start()
        wait_until(lambda: len(told) >= 50 * round_, "tasks commit")  # noqa: B023
        log.close()
        thread.join()
        assert sorted(told) == [tuple(entry) for entry in pydurable.read_log(path)]


def test_one_loop_after_the_other_leaves_nothing_behind(log_path: Path) -> None:
    """A log outlives its loops: descriptors and threads of a loop that is over are given back,
    also where tasks were still waiting when it was closed."""
    if not os.path.isdir("/proc/self/task"):
        pytest.skip("descriptors and threads are counted in /proc, which is not here")
    with open_log(log_path) as log:

        async def main() -> None:
            await asyncio.gather(*(log.commit_async(b"x") for _ in range(3)))

        run(main)
        first = resources()
        for _ in range(30):
            run(main)
            check_resources(first)
        loop = asyncio.new_event_loop()
        task = loop.create_task(log.commit_async(b"left alone"))
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        run(main)
        check_resources(first)
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        task.get_coro().close()  # type: ignore[union-attr]
        del task
    descriptors, threads = first
    wait_until(lambda: resources()[1] <= threads - 3, "the two workers and the keeper are gone")
    assert resources()[0] < descriptors


def test_a_run_that_ends_cancels_its_tasks_and_keeps_their_records(
    log_path: Path, faults: Faults
) -> None:
    """asyncio.run() ends tasks that still wait with CancelledError; what they had asked for is
    in the log when it is closed."""
    ended: list[BaseException] = []
    with open_log(log_path) as log:

        async def wait() -> None:
            try:
                await log.commit_async(b"asked for")
            except asyncio.CancelledError as error:
                ended.append(error)
                raise

        async def main() -> None:
            task = asyncio.ensure_future(wait())
            await asyncio.sleep(0)
            assert not task.done()

        with faults.hold("fdatasync"):
            run(main)
        assert len(ended) == 1
    assert held(log_path) == [b"asked for"]


FORKED = """
import asyncio, os, sys
from _scenario import *
from pydurable import ForkedError
log = open_log(sys.argv[1])
async def main():
    await log.commit_async(record(1))
    waiting = asyncio.ensure_future(log.commit_async(record(2)))
    await asyncio.sleep(0)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            await log.commit_async(b"never")
        except RuntimeError:  # asyncio itself knows that this loop is the parent's
            code = 0
        log.close()
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert await waiting == 2
    assert await log.commit_async(record(3)) == 3
async def child():
    try:
        await log.commit_async(b"never")
    except ForkedError:
        return 0
    return 1
asyncio.run(main())
pid = os.fork()
if pid == 0:
    os._exit(asyncio.run(child()))
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
log.close()
"""


def test_a_child_is_refused_and_the_parent_goes_on(log_path: Path) -> None:
    """After fork the child gets ForkedError in a loop of its own, and a RuntimeError, which that is
    too, in the one it inherited; the parent's tasks get their results."""
    assert check_python(FORKED, log_path) == ""
    assert held(log_path) == [record(lsn) for lsn in range(1, 4)]


UNCLOSED = """
import asyncio, sys, warnings
warnings.simplefilter("error")
from _scenario import *
log = open_log(sys.argv[1])
async def main():
    print(await log.commit_async(record(1)))
    for lsn in range(2, 40):
        asyncio.ensure_future(log.commit_async(record(lsn)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
asyncio.run(main())
"""


def test_a_program_that_ends_without_closing(log_path: Path) -> None:
    """What tasks had handed over is in the log, and the end is quiet."""
    assert check_python(UNCLOSED, log_path) == "1\n"
    assert held(log_path) == [record(lsn) for lsn in range(1, 40)]


def test_uvloop(log_path: Path, faults: Faults) -> None:
    """The same under uvloop: results, cancelling, closing with tasks that wait."""
    uvloop = pytest.importorskip("uvloop", reason="uvloop is not installed")

    async def main() -> None:
        log = open_log(log_path)
        assert "uvloop" in type(asyncio.get_running_loop()).__module__
        assert await asyncio.gather(*(log.commit_async(b"x") for _ in range(300))) == list(
            range(1, 301)
        )
        with faults.hold("fdatasync"):
            doomed = asyncio.ensure_future(log.commit_async(b"301"))
            kept = asyncio.ensure_future(log.commit_async(b"302"))
            await until(lambda: log.next_lsn == 303 and faults.calls("fdatasync"))
            doomed.cancel()
        assert await kept == 302
        assert doomed.cancelled()
        assert await log.sync_async() == 302
        late = asyncio.ensure_future(log.commit_async(b"late"))
        await asyncio.sleep(0)
        log.close()
        with pytest.raises(ClosedError):
            await late
        with pytest.raises(ClosedError):
            await log.commit_async(b"later")

    uvloop.run(asyncio.wait_for(main(), PATIENCE_S))
    assert held(log_path)[300:] == [b"301", b"302"]


def test_uvloop_is_asked_where_it_runs_once_a_round(
    log_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not say so itself, and to find it out takes time; tasks that are run by whoever has
    their results need not ask.  Afterwards nobody is taken for one of those."""
    uvloop = pytest.importorskip("uvloop", reason="uvloop is not installed")
    asked, tasks, rounds = 0, 50, 40
    found = _loops._Home._thread_id.fget  # type: ignore[attr-defined]

    def ask(home: object) -> int | None:
        nonlocal asked
        asked += 1
        answer: int | None = found(home)
        return answer

    monkeypatch.setattr(_loops._Home, "_thread_id", property(ask))

    async def main() -> None:
        with open_log(log_path) as log:

            async def task() -> None:
                for _ in range(rounds):
                    await log.commit_async(b"x")

            await asyncio.gather(*(task() for _ in range(tasks)))
            assert asked <= 2 * tasks
            before = asked
            await asyncio.gather(*(log.commit_async(b"y") for _ in range(tasks)))
            assert asked == before + tasks

    uvloop.run(asyncio.wait_for(main(), PATIENCE_S))
    assert len(held(log_path)) == tasks * (rounds + 1)
