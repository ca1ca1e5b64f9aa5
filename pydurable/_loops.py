"""The event loops that use a log: how commits go to the C core and their results come back.

What tasks commit during a turn of their loop is gathered in a list and handed to the core as one
lot, which becomes one batch.  Two threads of the core write and flush, and ring a descriptor that
the loop watches.  So a commit costs a waiter and an entry in a list, a lot one call into C, and
no Python thread is involved.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from functools import partial
from itertools import accumulate, repeat
from typing import Any, NamedTuple

from pydurable._async import NOWHERE
from pydurable._gathering import gathering
from pydurable._native import NativeLog
from pydurable._native_async import NativeAsync
from pydurable._ring import AppendRing, NoRing
from pydurable._waiter import Waiter, make_waiter, tell_all, tell_all_later
from pydurable.errors import ClosedError, DurableError

__all__ = ["Limits", "LoopSide", "Loops"]

_PREFIX_BYTES = 4

_IN_FLIGHT = 3
"""Lots: two that are being flushed, and one so that the core need not wait for the loop."""

_STRIDE = 250
"""Where more tasks than this are woken at once, the commits of each so many that follow are handed
over while there is room: they are flushed while the loop goes on with the other tasks."""


class Lot:
    """Records that were committed one after the other, and who waits for them.

    Nearly every waiter stands for one record; ``counts`` has the others, by their index: those of
    several records, and, with 0, those of a sync.
    """

    __slots__ = ("counts", "records", "waiters")

    def __init__(
        self,
        records: list[bytes],
        waiters: list[Waiter],
        counts: dict[int, int],
    ) -> None:
        self.records = records
        self.waiters = waiters
        self.counts = counts

    @property
    def is_sync(self) -> bool:
        """Whether it is a sync, and nothing else."""
        return not self.records

    def split(self, limit: int) -> Lot | None:
        """Keep what makes a batch, one waiter at the least; return the rest.

        A sync is a lot of its own.
        """
        records, counts = self.records, self.counts
        size = sum(map(len, records)) + _PREFIX_BYTES * len(records)
        if size <= limit and 0 not in counts.values():
            return None
        size = at = 0
        for index in range(len(self.waiters)):
            after = at + counts.get(index, 1)
            size += sum(map(len, records[at:after])) + _PREFIX_BYTES * (after - at)
            if index and (size > limit or after == at or not at):
                return self._cut(index, at)
            at = after
        return None

    def _cut(self, index: int, at: int) -> Lot:
        rest = Lot(
            self.records[at:],
            self.waiters[index:],
            {key - index: count for key, count in self.counts.items() if key >= index},
        )
        self.records, self.waiters = self.records[:at], self.waiters[:index]
        self.counts = {key: count for key, count in self.counts.items() if key < index}
        return rest

    def lsns(self, last: int) -> Sequence[int]:
        """The last LSN of each waiter, where ``last`` is that of the lot."""
        number = len(self.waiters)
        if not self.counts:
            return range(last - number + 1, last + 1)
        steps = [self.counts.get(index, 1) for index in range(number)]
        return list(accumulate(steps, initial=last - sum(steps)))[1:]

    def fail(self, make: Callable[[], Exception]) -> None:
        """Give each task an exception of its own: raised in several, one would mix them up."""
        for waiter in self.waiters:
            waiter.fail(make())


class _Home:
    """Where a loop runs, for one that does not say so itself."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    @property
    def _thread_id(self) -> int | None:
        return threading.get_ident() if asyncio._get_running_loop() is self._loop else None


def _schedule_end_of_turn(side: weakref.ref[LoopSide]) -> None:
    """For a gathering, which must not keep the side that has it: what a side has of the core is to
    be given back at once where nobody has it any more."""
    found = side()
    if found is None:
        raise ClosedError("it is closed")
    found.loop.call_soon(found._end_turn)


class Limits(NamedTuple):
    """How large things may be, in bytes."""

    record_bytes: int
    lot_bytes: int
    """Of what goes to the core at once; 0 for one by one."""


class LoopSide:
    """One loop's dealings with one log.  All but close() happens in that loop's thread.

    ``commit`` leaves a single record with the gathering; :meth:`put` takes the rest.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        log: NativeLog,
        ring: AppendRing | NoRing,
        limits: Limits,
        numbers: bool,
    ) -> None:
        self.loop = loop
        self._gathering = gathering(
            loop if hasattr(loop, "_thread_id") else _Home(loop),
            loop,
            partial(_schedule_end_of_turn, weakref.ref(self)),
            limits.record_bytes,
        )
        self.commit = self._gathering.commit
        self._counts: dict[int, int] = {}
        self._waiting: Lot | None = None
        self._flight: deque[Lot] = deque()
        self._ring = ring
        self._lot_bytes = limits.lot_bytes
        self._numbers = numbers
        self._ended = False
        self._native = NativeAsync(log)
        self.loop.add_reader(self._native.descriptor, self._take_results)

    def put(self, records: list[bytes]) -> Waiter:
        """Queue records that are to be in one batch, or, with none, a sync.

        The waiter gets the last LSN, or the durable one.
        """
        gathering = self._gathering
        waiter = make_waiter(self.loop)
        if not gathering.scheduled:
            gathering.scheduled = True
            self.loop.call_soon(self._end_turn)
        self._counts[len(gathering.waiters)] = len(records)
        gathering.records.extend(records)
        gathering.waiters.append(waiter)
        return waiter

    def close(self) -> None:
        """Finish what was handed over; the rest gets ClosedError.  In whatever thread."""
        self._native.close()
        if asyncio._get_running_loop() is self.loop:
            self._end()
            return
        try:
            self.loop.call_soon_threadsafe(self._end)
        except RuntimeError:  # the loop is closed: nobody waits in it any more
            self._native.free()

    # -- in the loop -----------------------------------------------------------------------

    def _end_turn(self) -> None:
        self._gathering.scheduled = False
        self._hand_over()

    def _hand_over_a_part(self) -> None:
        if len(self._flight) < _IN_FLIGHT - 1:
            self._hand_over()

    def _next_lot(self) -> Lot | None:
        """What goes to the core next: what found no room before, then what came since."""
        lot = self._waiting
        if lot is None:
            if not self._gathering.waiters:
                return None
            lot = Lot(*self._gathering.take(), self._counts)
            self._counts = {}
        self._waiting = lot.split(self._lot_bytes)
        return lot

    def _hand_over(self) -> None:
        """Hand over what waits, as far as there is room; the rest follows with the results."""
        while len(self._flight) < _IN_FLIGHT and (lot := self._next_lot()):
            try:
                if lot.is_sync:
                    self._native.sync(self._ring.tail)
                else:
                    self._native.submit(lot.records, self._ring.tail)
            except (DurableError, OSError) as error:
                lot.fail(partial(copy, error))
            else:
                self._flight.append(lot)

    def _take_results(self) -> None:
        """Tell the tasks of every lot that is finished, in order, and hand over the next ones."""
        # Not those that come in meanwhile: on a fast disk that could go on for ever.
        for _ in range(len(self._flight)):
            # A task that closes the log takes the rest, and the core is not to be asked any more.
            if not self._flight or (last := self._native.take()) is None:
                return
            try:
                self._settle(self._flight.popleft(), last)
            finally:  # also where a task has ended the program
                if not self._ended:
                    self._hand_over()

    def _settle(self, lot: Lot, last: int) -> None:
        if last < 0:
            lot.fail(self._native.refusal)
        elif asyncio.current_task() is None:
            self._run_tasks(lot, last)
        else:  # which has closed the log: one task cannot run within another
            tell_all_later(lot.waiters, self._results(lot, last))

    def _run_tasks(self, lot: Lot, last: int) -> None:
        """Run each task with its last LSN."""
        gathering = self._gathering
        # What all of them commit now is handed over behind them, and not at the end of the turn.
        before, gathering.scheduled = gathering.scheduled, True
        gathering.inside = threading.get_ident()
        try:
            tell_all(lot.waiters, self._results(lot, last), _STRIDE, self._hand_over_a_part)
        finally:
            gathering.inside = 0
            gathering.scheduled = before

    def _results(self, lot: Lot, last: int) -> Iterable[Any]:
        return lot.lsns(last) if self._numbers else repeat(None)

    def _end(self) -> None:
        if self._ended:
            return
        self._ended = True
        self.loop.remove_reader(self._native.descriptor)
        self._take_results()
        # What is left was not handed over, and the core takes nothing more.
        self._hand_over()
        self._native.free()


class Loops:
    """The event loops that use a log.

    ``latest`` is the side of the loop that asked for its own last.  It is that of the running loop
    if that loop says that it runs in this thread (``_thread_id``).  Before Python 3.12
    asyncio.get_running_loop() makes a system call, which takes a fifth of a microsecond.
    """

    def __init__(
        self, log: NativeLog, ring: AppendRing | NoRing, limits: Limits, numbers: bool
    ) -> None:
        self.latest: Any = NOWHERE
        self._all: dict[asyncio.AbstractEventLoop, LoopSide] = {}
        self._log = log
        self._ring = ring
        self._limits = limits
        self._numbers = numbers
        self._lock = threading.Lock()
        self._closed = False

    def here(self) -> LoopSide:
        """The side of the running loop; made when the loop first uses the log."""
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._closed:
                raise ClosedError("it is closed")
            side = self._all.get(loop)
            if side is None:
                # A program may run one loop after the other: those that are over give back
                # what they had.
                for other in [each for each in self._all if each.is_closed()]:
                    self._all.pop(other).close()
                side = LoopSide(loop, self._log, self._ring, self._limits, self._numbers)
                self._all[loop] = side
            self.latest = side
            return side

    def close(self) -> None:
        """Finish what was handed over, in all loops, and take nothing more."""
        with self._lock:
            self._closed = True
            sides = list(self._all.values())
            self._all.clear()
            self.latest = NOWHERE
        for side in sides:
            side.close()
