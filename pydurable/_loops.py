"""The event loops that use a log: how commits go to the C core and their results come back.

What tasks commit during a turn of their loop is gathered in a list and handed to the core as one
lot, which becomes one batch.  Two threads of the core write and flush, and ring a descriptor that
the loop watches.  So a commit costs a future and an entry in a list, a lot one call into C, and
no Python thread is involved.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from copy import copy
from functools import partial
from itertools import accumulate
from typing import Any

from pydurable._async import NOWHERE
from pydurable._native import NativeLog
from pydurable._native_async import NativeAsync
from pydurable._ring import AppendRing, NoRing
from pydurable.errors import ClosedError, DurableError

__all__ = ["LoopSide", "Loops"]

_PREFIX_BYTES = 4

_IN_FLIGHT = 3
"""Lots: two that are being flushed, and one so that the core need not wait for the loop."""

_STRIDE = 128
"""Where more tasks than this are woken at once, the commits of each so many that follow are handed
over if nothing is in flight: they are flushed while the loop goes on with the other tasks."""


class Lot:
    """Records that were committed one after the other, and who waits for them.

    Nearly every future stands for one record; ``counts`` has the others, by their index: those of
    several records, and, with 0, those of a sync.
    """

    __slots__ = ("counts", "futures", "records")

    def __init__(
        self,
        records: list[bytes],
        futures: list[asyncio.Future[Any]],
        counts: dict[int, int],
    ) -> None:
        self.records = records
        self.futures = futures
        self.counts = counts

    @property
    def is_sync(self) -> bool:
        """Whether it is a sync, and nothing else."""
        return not self.records

    def split(self, limit: int) -> Lot | None:
        """Keep what makes a batch, one future at the least; return the rest.

        A sync is a lot of its own.
        """
        records, counts = self.records, self.counts
        size = sum(map(len, records)) + _PREFIX_BYTES * len(records)
        if size <= limit and 0 not in counts.values():
            return None
        size = at = 0
        for index in range(len(self.futures)):
            after = at + counts.get(index, 1)
            size += sum(map(len, records[at:after])) + _PREFIX_BYTES * (after - at)
            if index and (size > limit or after == at or not at):
                return self._cut(index, at)
            at = after
        return None

    def _cut(self, index: int, at: int) -> Lot:
        rest = Lot(
            self.records[at:],
            self.futures[index:],
            {key - index: count for key, count in self.counts.items() if key >= index},
        )
        self.records, self.futures = self.records[:at], self.futures[:index]
        self.counts = {key: count for key, count in self.counts.items() if key < index}
        return rest

    def lsns(self, last: int) -> Sequence[int]:
        """The last LSN of each future, where ``last`` is that of the lot."""
        number = len(self.futures)
        if not self.counts:
            return range(last - number + 1, last + 1)
        steps = [self.counts.get(index, 1) for index in range(number)]
        return list(accumulate(steps, initial=last - sum(steps)))[1:]

    def fail(self, make: Callable[[], Exception]) -> None:
        """Give each task an exception of its own: raised in several, one would mix them up."""
        for future in self.futures:
            if not future.done():
                future.set_exception(make())


class _Home:
    """Where a loop runs, for one that does not say so itself."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    @property
    def _thread_id(self) -> int | None:
        return threading.get_ident() if asyncio._get_running_loop() is self._loop else None


def _future_maker(loop: asyncio.AbstractEventLoop) -> Callable[[], asyncio.Future[Any]]:
    """The loop's create_future; of asyncio's own loops without the step of Python that it is."""
    if getattr(type(loop), "create_future", None) is asyncio.BaseEventLoop.create_future:
        return partial(asyncio.Future, loop=loop)
    return loop.create_future


class LoopSide:
    """One loop's dealings with one log.  All but close() happens in that loop's thread.

    commit_async() itself adds to ``records`` and ``futures``, and calls ``schedule`` unless that
    is ``scheduled``: each line of Python counts there.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        log: NativeLog,
        ring: AppendRing | NoRing,
        lot_bytes: int,
        numbers: bool,
    ) -> None:
        self.loop = loop
        self.home: Any = loop if hasattr(loop, "_thread_id") else _Home(loop)
        self.create_future = _future_maker(loop)
        self.records: list[bytes] = []
        self.futures: list[asyncio.Future[Any]] = []
        self.scheduled = False
        self._counts: dict[int, int] = {}
        self._waiting: Lot | None = None
        self._flight: deque[Lot] = deque()
        self._ring = ring
        self._lot_bytes = lot_bytes
        self._numbers = numbers
        self._ended = False
        self._native = NativeAsync(log)
        self.loop.add_reader(self._native.descriptor, self._take_results)

    def schedule(self) -> None:
        """Hand over at the end of this turn, with all that other tasks commit in it."""
        self.scheduled = True
        self.loop.call_soon(self._end_turn)

    def put(self, records: list[bytes]) -> asyncio.Future[Any]:
        """Queue records that are to be in one batch, or, with none, a sync.

        The future gets the last LSN, or the durable one.
        """
        future = self.create_future()
        self._counts[len(self.futures)] = len(records)
        self.records += records
        self.futures.append(future)
        if not self.scheduled:
            self.schedule()
        return future

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
        self.scheduled = False
        self._hand_over()

    def _hand_over_if_idle(self) -> None:
        if not self._flight:
            self._hand_over()

    def _next_lot(self) -> Lot | None:
        """What goes to the core next: what found no room before, then what came since."""
        lot = self._waiting
        if lot is None:
            if not self.futures:
                return None
            lot = Lot(self.records, self.futures, self._counts)
            self.records, self.futures, self._counts = [], [], {}
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
        while (last := self._native.take()) is not None:
            lot = self._flight.popleft()
            if last < 0:
                lot.fail(self._native.refusal)
            else:
                self._tell(lot, last)
        if not self.scheduled:
            self._hand_over()
            # Behind the tasks that were woken, but in the same turn: what most of them commit now
            # need not wait until the loop has asked the system for news once more.
            self.schedule()

    def _tell(self, lot: Lot, last: int) -> None:
        """Wake each task with its last LSN; one that was cancelled no longer wants to know."""
        futures = lot.futures
        lsns = lot.lsns(last) if self._numbers else [None] * len(futures)
        for at in range(0, len(futures), _STRIDE):
            if at:
                # Tasks run in the order in which they are woken: this comes in between.
                self.loop.call_soon(self._hand_over_if_idle)
            end = at + _STRIDE
            for future, lsn in zip(futures[at:end], lsns[at:end], strict=True):
                try:  # suppress() takes longer than all the rest
                    future.set_result(lsn)
                except asyncio.InvalidStateError:
                    continue  # its task was cancelled

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
        self, log: NativeLog, ring: AppendRing | NoRing, lot_bytes: int, numbers: bool
    ) -> None:
        self.latest: Any = NOWHERE
        self._all: dict[asyncio.AbstractEventLoop, LoopSide] = {}
        self._log = log
        self._ring = ring
        self._lot_bytes = lot_bytes
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
                side = LoopSide(loop, self._log, self._ring, self._lot_bytes, self._numbers)
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
