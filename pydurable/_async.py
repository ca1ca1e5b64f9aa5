"""Committing from coroutines: what Log and AppendFile have in common.

This much is loaded with them; asyncio, and what serves its loops, with the first call.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydurable._ending import Ending
from pydurable.errors import ForkedError

if TYPE_CHECKING:
    from pydurable._loops import Loops, LoopSide

__all__ = ["NOWHERE", "AsyncCommits", "AsyncFile", "AsyncLog", "as_bytes"]

Outcome = TypeVar("Outcome")


class _Nowhere:
    """Stands for the side of a loop where there is none."""

    def commit(self, _data: Any) -> None:
        return None


NOWHERE: Any = _Nowhere()


class _NoLoops:
    """Stands for the loops that use a log while none does."""

    latest: Any = NOWHERE

    def close(self) -> None:
        pass


_NO_LOOPS = _NoLoops()


def as_bytes(data: Any) -> bytes:
    """A copy that nobody can change while it is checksummed; bytes are their own."""
    if type(data) is bytes:
        return data
    return memoryview(data).tobytes()


class AsyncCommits(Ending, Generic[Outcome]):
    """Committing from coroutines.

    They may run in any number of event loops, each in its own thread, and beside threads that use
    the other calls.  What the tasks of a loop commit during one of its turns shares a batch; the
    loop itself never waits for the disk.
    """

    _max_record_bytes: int
    _lot_bytes: int
    """How much of what tasks commit may go to the core at once; 0 for one by one."""
    _loops: Loops | _NoLoops = _NO_LOOPS
    _numbers = True
    """Whether tasks are told LSNs."""

    async def commit_async(self, data: Any) -> Outcome:
        """As :meth:`commit`, for an event loop: the task waits, the loop does not.

        Records of one loop keep the order of the calls.  **Cancelling the task does not cancel the
        write**: the record is written all the same.  A task that finds ``max_pending_bytes`` used
        up waits, in the loop.

        >>> import asyncio, pydurable, tempfile
        >>> async def main():
        ...     with pydurable.Log(tempfile.mkdtemp() + "/log") as log:
        ...         return await asyncio.gather(*(log.commit_async(b"%d" % i) for i in range(5)))
        >>> asyncio.run(main())
        [1, 2, 3, 4, 5]

        :raises ClosedError: it was closed before the record was handed over, which was not
            written.
        :raises PoisonedError, ValueError, OSError: as :meth:`commit`.
        """
        future = self._loops.latest.commit(data)
        if future is None:
            future = self._commit_otherwise(data)
        outcome: Outcome = await future
        return outcome

    def _commit_otherwise(self, data: Any) -> Any:
        """What is no bytes, or too large, or comes first, or from another loop than the last."""
        record = as_bytes(data)
        if len(record) > self._max_record_bytes:
            self._refuse_size(len(record))
        side = self._use_loop()
        return side.commit(record) or side.put([record])

    def _use_loop(self) -> LoopSide:
        """What serves the running loop, from its first call on."""
        from pydurable._loops import Limits, Loops

        if self._closed:
            raise self._closed_error()
        if os.getpid() != self._pid:
            raise ForkedError("it was opened by the parent of this process; open it anew")
        loops = self._loops
        if isinstance(loops, _NoLoops):
            most = self._max_record_bytes
            limits = Limits(most, min(self._lot_bytes, most // 4))
            made = Loops(self._native, self._ring, limits, self._numbers)
            # Two loops that come here at the same time are to find the same.
            loops = self.__dict__.setdefault("_loops", made)
        return loops.here()

    def _forget_loops(self) -> None:
        self.__dict__.pop("_loops", None)

    def _close_loops(self) -> None:
        """Finish what tasks have handed over and refuse the rest; before the close itself."""
        self._loops.close()

    def _refuse_size(self, size: int) -> None:
        raise NotImplementedError


class AsyncLog(AsyncCommits[int]):
    """The coroutines of a log, whose records have numbers."""

    async def commit_many_async(self, records: Iterable[Any]) -> tuple[int, int]:
        """Write records as one batch and return the first and the last LSN: all or nothing.

        As :meth:`commit_many`, for an event loop: see :meth:`commit_async`.

        :raises ValueError: there are no records, or together they are too large.
        """
        batch = self._batch(records)
        last = await self._use_loop().put(batch)
        return last - len(batch) + 1, last

    async def sync_async(self) -> int:
        """Make everything accepted before durable, whatever the target; return the durable LSN.

        As :meth:`sync`, for an event loop: see :meth:`commit_async`.

        :raises PoisonedError: a write or sync failed, now or earlier.
        """
        lsn: int = await self._use_loop().put([])
        return lsn

    def _batch(self, records: Iterable[Any]) -> list[bytes]:
        raise NotImplementedError


class AsyncFile(AsyncCommits[None]):
    """The coroutines of a plain file."""

    _numbers = False

    async def commit_many_async(self, records: Iterable[Any]) -> None:
        """Write several pieces as one, in one write.

        As :meth:`commit_many`, for an event loop: see :meth:`commit_async`.
        """
        await self.commit_async(b"".join(map(as_bytes, records)))

    async def sync_async(self) -> None:
        """Make everything accepted before durable, whatever the target.

        As :meth:`sync`, for an event loop: see :meth:`commit_async`.

        :raises PoisonedError: a write or sync failed, now or earlier.
        """
        await self._use_loop().put([])
