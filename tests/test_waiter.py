"""How tasks are woken whose records are durable, and where what they commit is gathered."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from _coroutines import run, until
from _scenario import open_log

from pydurable import _gathering, _waiter
from pydurable._gathering import SteppedGathering
from pydurable._native_cpython import compiled
from pydurable._waiter import SteppedWaiter, Waiter, make_waiter, tell_all

KINDS = [SteppedGathering] + ([compiled.Gathering] if compiled else [])
LIMIT = 100

Started = tuple[list[Waiter], list[asyncio.Task[None]]]


def nothing() -> None:
    pass


@pytest.fixture(params=["compiled", "stepped"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which kind of waiter is made."""
    if request.param == "stepped":
        monkeypatch.setattr(_waiter, "_CompiledWaiter", None)
    elif not compiled:
        pytest.skip("nothing is compiled for this interpreter")
    return str(request.param)


async def waiting(number: int, after: Callable[[int, Any], None]) -> Started:
    """So many tasks, each of which waits for a waiter of its own and then calls ``after``."""
    loop = asyncio.get_running_loop()
    waiters = [make_waiter(loop) for _ in range(number)]

    async def task(index: int) -> None:
        after(index, await waiters[index])

    tasks = [asyncio.create_task(task(index)) for index in range(number)]
    await asyncio.sleep(0)
    return waiters, tasks


def in_loop(callback: Callable[[], object]) -> None:
    """As the callback of a descriptor runs: by the loop itself, while no task does."""
    asyncio.get_running_loop().call_soon(callback)


def test_tasks_run_at_once_and_in_order(kind: str) -> None:
    """Each runs until it waits again before the next one does, in the turn in which all are told;
    after each stride somebody else has a word."""
    seen: list[Any] = []

    async def main() -> None:
        waiters, tasks = await waiting(5, lambda index, result: seen.append((index, result)))
        assert all(isinstance(each, SteppedWaiter) == (kind == "stepped") for each in waiters)

        def tell() -> None:
            tell_all(waiters, "abcde", 2, lambda: seen.append("between"))
            seen.append("told")

        in_loop(tell)
        await asyncio.gather(*tasks)

    run(main)
    first, second = [(0, "a"), (1, "b"), "between"], [(2, "c"), (3, "d"), "between"]
    assert seen == [*first, *second, (4, "e"), "between", "told"]


def test_who_is_told_before_it_waits_does_not_wait(kind: str) -> None:
    """A result that is there already is what awaiting gives at once."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for number, way in enumerate(("tell", "tell_later")):
            waiter: Any = make_waiter(loop)
            assert not waiter.done()
            getattr(waiter, way)(number)
            assert waiter.done()
            assert await waiter == number

    run(main)


def test_who_was_cancelled_is_passed_over(kind: str) -> None:
    """It ends as any cancelled task, and the others are woken."""
    seen: list[int] = []

    async def main() -> None:
        waiters, tasks = await waiting(4, lambda index, result: seen.append(index))
        in_loop(lambda: tell_all(waiters, range(4), 9, nothing))
        # The loop runs these behind that, with their cancellation all the same.
        tasks[1].cancel()
        tasks[2].cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        kinds = [type(None), asyncio.CancelledError, asyncio.CancelledError, type(None)]
        assert [type(end) for end in ends] == kinds

    run(main)
    assert seen == [0, 3]


def test_a_cancellation_brings_its_message(kind: str) -> None:
    """The task sees it, and may go on."""

    async def task() -> Any:
        try:
            await make_waiter(asyncio.get_running_loop())
        except asyncio.CancelledError as error:
            return error.args

    async def main() -> None:
        for message in ("why", None):
            waiting = asyncio.create_task(task())
            await asyncio.sleep(0)
            waiting.cancel(message)
            assert await waiting == ((message,) if message else ())

    run(main)


def test_a_failure_is_raised_in_the_task(kind: str) -> None:
    """The very exception, once; who was cancelled before is not bothered with it."""
    error = OSError(5, "failed")

    async def main() -> None:
        waiters, tasks = await waiting(2, lambda index, result: None)
        tasks[1].cancel()
        for waiter in waiters:
            waiter.fail(error)
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert ends[0] is error
        assert isinstance(ends[1], asyncio.CancelledError)

    run(main)


@pytest.mark.parametrize("end", ["told", "failed"])
def test_a_cancellation_that_comes_too_late_wakes_nobody_twice(kind: str, end: str) -> None:
    """Between an outcome that comes through the queue and the task's turn a cancel() changes
    nothing but the task's fate."""

    async def main() -> None:
        waiters, tasks = await waiting(1, lambda index, result: None)
        if end == "told":
            waiters[0].tell_later(1)
        else:
            waiters[0].fail(OSError("failed"))
        assert not waiters[0].cancel()  # type: ignore[attr-defined]
        tasks[0].cancel()
        (outcome,) = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(outcome, asyncio.CancelledError)

    run(main)


def test_what_ends_the_program_leaves_nobody_asleep(kind: str) -> None:
    """KeyboardInterrupt in a woken task goes through the loop; the tasks behind it are woken by its
    next turn."""
    seen: list[int] = []

    def after(index: int, _result: Any) -> None:
        seen.append(index)
        if index == 1:
            raise KeyboardInterrupt

    loop = asyncio.new_event_loop()
    waiters, tasks = loop.run_until_complete(waiting(4, after))
    loop.call_soon(lambda: tell_all(waiters, range(4), 9, nothing))
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(asyncio.sleep(60))
    assert seen == [0, 1]
    for task in tasks[2:]:
        loop.run_until_complete(task)
    assert seen == [0, 1, 2, 3]
    assert isinstance(tasks[1].exception(), KeyboardInterrupt)
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def test_timeouts_and_groups(kind: str, log_path: Path) -> None:
    """What asyncio builds on futures works: wait_for, wait, gather, shield."""

    async def main() -> None:
        with open_log(log_path) as log:
            assert await asyncio.wait_for(log.commit_async(b"1"), 60) == 1
            tasks = {asyncio.create_task(log.commit_async(b"x")) for _ in range(3)}
            done, _ = await asyncio.wait(tasks)
            assert sorted(task.result() for task in done) == [2, 3, 4]
            assert await asyncio.shield(log.commit_async(b"5")) == 5
            first = next(asyncio.as_completed([log.commit_async(b"6")]))
            assert await first == 6
            assert "Waiter" in repr(make_waiter(asyncio.get_running_loop()))

    run(main)


def test_what_waits_for_ever_is_collected(kind: str) -> None:
    """A waiter and the task that waits for it are a circle, which the collector sees through."""
    loop = asyncio.new_event_loop()
    waiters, tasks = loop.run_until_complete(waiting(1, lambda index, result: None))
    task = tasks[0]
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    gone = weakref.ref(task)
    loop.close()
    del waiters, tasks, task
    gc.collect()
    assert gone() is None


def test_misuse_of_a_waiter() -> None:
    """Our own mistakes are errors, not crashes."""
    if not compiled:
        pytest.skip("nothing is compiled for this interpreter")
    with pytest.raises(TypeError):
        compiled.Waiter()
    waiter = compiled.Waiter(loop=None)
    with pytest.raises(TypeError):
        waiter.fail("no exception")
    with pytest.raises(RuntimeError):
        waiter.add_done_callback(nothing)
    with pytest.raises(asyncio.InvalidStateError):
        waiter.result()
    with pytest.raises(TypeError):
        waiter.cancel(message="why")


def test_each_task_keeps_its_context(kind: str, log_path: Path) -> None:
    """A context variable is what its own task has set, before and after a commit."""
    name: contextvars.ContextVar[int] = contextvars.ContextVar("name")

    async def main() -> None:
        with open_log(log_path) as log:

            async def task(number: int) -> None:
                name.set(number)
                for _ in range(5):
                    await log.commit_async(b"x")
                    assert name.get() == number
                    assert asyncio.current_task() is tasks[number]

            tasks = [asyncio.create_task(task(number)) for number in range(20)]
            await asyncio.gather(*tasks)

    run(main)


def test_a_woken_task_may_close_the_log(kind: str, log_path: Path) -> None:
    """The first of many that are woken closes it: the others get their LSNs all the same, and
    what the log is asked for later is refused."""
    import pydurable

    async def main() -> list[Any]:
        log = open_log(log_path)

        async def task(number: int) -> Any:
            lsn = await log.commit_async(b"%d" % number)
            log.close()
            with pytest.raises(pydurable.ClosedError):
                await log.commit_async(b"too late")
            return lsn

        return await asyncio.gather(*(task(number) for number in range(50)))

    assert run(main) == list(range(1, 51))


def test_others_in_the_loop_have_their_turns(kind: str, log_path: Path) -> None:
    """Tasks that commit without end on a disk that takes no time leave the loop to others."""

    async def main() -> None:
        with open_log(log_path, sync="none") as log:
            over = False

            async def task() -> None:
                while not over:
                    await log.commit_async(b"x")

            tasks = [asyncio.create_task(task()) for _ in range(300)]
            for _ in range(20):
                before = log.stats().batches
                await until(lambda before=before: log.stats().batches > before)  # type: ignore[misc]
            over = True
            await asyncio.gather(*tasks)

    run(main)


class Home:
    _thread_id: int | None = threading.get_ident()


def of_kind(kind: Callable[..., Any], schedule: Callable[[], object] = nothing) -> Any:
    return kind(Home(), None, schedule, LIMIT)


@pytest.mark.parametrize("made", KINDS)
def test_a_gathering_holds_what_was_left_in_order(made: Callable[..., Any]) -> None:
    """Records and waiters side by side; the first of a turn schedules its end; what was taken is
    there no more."""
    scheduled: list[int] = []
    gathering = of_kind(made, lambda: scheduled.append(1))
    waiters = [gathering.commit(b"%d" % number) for number in range(3)]
    assert (scheduled, gathering.scheduled) == ([1], True)
    assert gathering.records == [b"0", b"1", b"2"]
    assert gathering.waiters == waiters
    assert gathering.take() == ([b"0", b"1", b"2"], waiters)
    assert (gathering.records, gathering.waiters) == ([], [])
    gathering.scheduled = False
    gathering.commit(bytes(LIMIT))
    assert scheduled == [1, 1]


@pytest.mark.parametrize("made", KINDS)
def test_a_gathering_takes_bytes_of_its_own_thread(made: Callable[..., Any]) -> None:
    """What is no bytes, or too large, or comes from another thread has to go another way."""
    gathering = of_kind(made)
    for other in (bytearray(b"x"), "x", None, bytes(LIMIT + 1), type("Own", (bytes,), {})(b"x")):
        assert gathering.commit(other) is None
    here = threading.get_ident()
    for thread in (None, 0, here + 1, here):
        gathering = made(type("Elsewhere", (), {"_thread_id": thread}), None, nothing, LIMIT)
        for inside in (0, here + 1):
            gathering.inside = inside
            assert (gathering.commit(b"x") is not None) is (thread == here)
        gathering.inside = here
        assert gathering.commit(b"x") is not None


@pytest.mark.parametrize("made", KINDS)
@pytest.mark.parametrize("broken", ["home", "schedule"])
def test_a_gathering_that_fails_has_nothing(made: Callable[..., Any], broken: str) -> None:
    """An exception on the way is raised, and no record is left without its waiter."""

    def fail() -> None:
        raise ZeroDivisionError

    parts: dict[str, Any] = {"home": Home(), "loop": None, "schedule": nothing}
    parts[broken] = object() if broken == "home" else fail
    gathering = made(*parts.values(), LIMIT)
    with pytest.raises(AttributeError if broken == "home" else ZeroDivisionError):
        gathering.commit(b"x")
    assert (gathering.records, gathering.waiters, gathering.scheduled) == ([], [], False)


@pytest.mark.parametrize("made", KINDS)
def test_a_gathering_in_a_circle_is_collected(made: Callable[..., Any]) -> None:
    """Its schedule leads back to whoever has it."""

    class Owner:
        def schedule(self) -> None:
            pass

    owner = Owner()
    owner.gathering = of_kind(made, owner.schedule)  # type: ignore[attr-defined]
    owner.gathering.commit(b"x")  # type: ignore[attr-defined]
    gone = weakref.ref(owner)
    del owner
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("arguments", [(), (1, 2, 3), (1, 2, 3, "4")])
def test_a_gathering_of_the_wrong_parts(arguments: tuple[Any, ...]) -> None:
    """Our own mistakes are errors, not crashes."""
    if compiled:
        with pytest.raises(TypeError):
            compiled.Gathering(*arguments)


def test_a_log_with_the_stepped_gathering(log_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is compiled for the interpreter, tasks commit all the same."""
    monkeypatch.setattr(_gathering, "_CompiledGathering", None)

    async def main() -> None:
        with open_log(log_path) as log:
            commits = [log.commit_async(b"%d" % number) for number in range(30)]
            assert await asyncio.gather(*commits) == list(range(1, 31))
            side = log._loops.latest
            assert isinstance(side._gathering, SteppedGathering)

    run(main)
