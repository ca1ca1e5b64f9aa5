"""Faults, counts, full disks and power cuts for the tests of programs that use pydurable.

Every system call that pydurable's core makes on a file goes through one table.  The context
managers of this module stand in front of it: what they do concerns pydurable alone, in the whole
process and all its threads, and ends with the block.  They can be nested and combined.

>>> import errno, pathlib, tempfile
>>> import pydurable
>>> from pydurable import testing
>>> place = pathlib.Path(tempfile.mkdtemp())
>>> with pydurable.Log(place / "log", method="fdatasync") as log:
...     with testing.count_syscalls() as calls:
...         lsn = log.commit(b"one flush for each commit that nobody shares")
>>> calls["write"], calls["fdatasync"]
(1, 1)

How does your program take it when the disk fails under the third commit?

>>> done = []
>>> with testing.fail("fdatasync", errno.EIO, nth=3) as fault:
...     try:
...         with pydurable.Log(place / "log", method="fdatasync") as log:
...             for record in (b"first", b"second", b"third"):
...                 done.append(log.commit(record))
...     except pydurable.PoisonedError as error:
...         print("the log failed:", errno.errorcode[error.errno], "after", done)
the log failed: EIO after [2, 3]
>>> fault.hits
1

**Power cuts**: :func:`record_writes` remembers what is written and synced in its block, and then
gives the directories that a power cut could have left, for a test to open them.

**Calls** are named as in :data:`CALLS`.  Three names stand for several of them: ``"any"``,
``"sync"`` (whatever forces data out: the platform and the method decide which) and ``"rename"``.
With the methods ``"dsync"`` and ``"direct+dsync"`` a write is its own sync.

**With pytest** put ``pytest_plugins = ["pydurable.testing"]`` into the top ``conftest.py``.  It
brings two fixtures: ``pydurable_faults``, which has the functions of this module as methods whose
effects last until the test ends, and ``pydurable_syscalls``, which counts from the test's start::

    def test_a_full_disk_is_reported(pydurable_faults, tmp_path):
        pydurable_faults.full_disk(after_bytes=100_000)
        with pytest.raises(OSError):
            my_program(tmp_path)

pytest itself is imported only then.

**Not promised**: the faults simulate nothing below the table.  A write that was let through is in
the page cache as ever, so a failed sync does not lose data here as it may on a real disk.
"""

from __future__ import annotations

import errno as errnos
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any

from pydurable import _native_faults
from pydurable._crash_states import CrashState, Writes, record_writes

__all__ = [
    "CALLS",
    "CrashState",
    "Fault",
    "Faults",
    "Syscalls",
    "Writes",
    "count_syscalls",
    "delay",
    "fail",
    "full_disk",
    "record_writes",
    "short_reads",
    "short_writes",
]

CALLS: tuple[str, ...] = tuple(sorted({*_native_faults.CALLS, *_native_faults.GROUPS}))
"""The names of system calls that :func:`fail`, :func:`delay` and :class:`Syscalls` know."""


class Fault:
    """A fault that is set for the length of a ``with`` block."""

    def __init__(self, call: str, mode: str, amount: int, nth: int, times: int | None) -> None:
        _native_faults.members(call)
        if nth < 1:
            raise ValueError(f"nth counts from 1: {nth}")
        if times is not None and times < 1:
            raise ValueError(f"times is at least 1, or None for ever: {times}")
        self._settings = call, mode, amount, nth, times or 0
        self._number = 0
        self._hits = 0

    @property
    def hits(self) -> int:
        """How many calls it has struck."""
        return _native_faults.hits(self._number) if self._number else self._hits

    def __enter__(self) -> Fault:
        if self._number:
            raise RuntimeError("this fault is set already")
        self._number = _native_faults.add(*self._settings)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._hits = _native_faults.remove(self._number)
        self._number = 0


def fail(
    call: str,
    errno: int = errnos.EIO,
    *,
    nth: int = 1,
    times: int | None = 1,
    afterwards: bool = False,
) -> Fault:
    """Make system calls fail.

    ``call`` is one of :data:`CALLS`.  The ``nth`` call of that name from now on is the first that
    fails (1 is the next one), and ``times`` calls fail in a row; ``None`` means all of them.
    ``errno`` is what they report.  With ``afterwards`` the call does its work first and reports the
    failure all the same, as a network filesystem may whose answer was lost.

    Returns a context manager, whose ``hits`` say how many calls have failed.  Raises
    :class:`ValueError` for a name that the table does not have and for counts below 1.

    >>> import pathlib, tempfile
    >>> import pydurable
    >>> settings = pathlib.Path(tempfile.mkdtemp(), "settings")
    >>> pydurable.replace(settings, b"old")
    >>> with fail("rename", errnos.EACCES):
    ...     try:
    ...         pydurable.replace(settings, b"new")
    ...     except PermissionError as error:
    ...         print(error.strerror)
    replacing the file: Permission denied
    >>> settings.read_bytes()
    b'old'
    """
    return Fault(call, "AFTERWARDS" if afterwards else "ERROR", errno, nth, times)


def delay(call: str, seconds: float, *, nth: int = 1, times: int | None = None) -> Fault:
    """Make system calls slow: each takes ``seconds`` longer, in steps of a millisecond.

    One that is late when the block ends goes on then: a long delay holds a call for as long as the
    block runs.  The other parameters are those of :func:`fail`; all calls from the ``nth`` on are
    meant unless ``times`` says how many.

    >>> with delay("sync", 0.05) as slow:
    ...     slow.hits
    0
    """
    if seconds < 0:
        raise ValueError(f"seconds cannot be negative: {seconds}")
    return Fault(call, "DELAY", round(seconds * 1000), nth, times)


def short_writes(*, nth: int = 1, times: int | None = None) -> Fault:
    """Make writes move half of what they were asked to, as they may on any filesystem.

    A write of whole blocks moves whole blocks, and one block is never divided, so that direct I/O
    goes on working.  pydurable completes short writes itself: nothing changes but the number of
    calls.  The parameters are those of :func:`delay`.

    >>> import pathlib, tempfile
    >>> import pydurable
    >>> settings = pathlib.Path(tempfile.mkdtemp(), "settings")
    >>> with short_writes() as short:
    ...     pydurable.replace(settings, b"x" * 1000)
    >>> settings.stat().st_size, short.hits > 5
    (1000, True)
    """
    return Fault("write", "SHORT", 0, nth, times)


def short_reads(*, nth: int = 1, times: int | None = None) -> Fault:
    """Make reads return half of what they were asked for; else as :func:`short_writes`.

    >>> with short_reads(times=3) as short:
    ...     short.hits
    0
    """
    return Fault("read", "SHORT", 0, nth, times)


def full_disk(*, after_bytes: int = 0) -> Fault:
    """Make the disk full once files have grown by ``after_bytes``, together.

    A write that does not fit writes what fits and then fails with ``ENOSPC``; allocating space
    succeeds as a whole or not at all, so that a log fails where it prepares a segment
    (``segment_bytes``).  Writing into space that a file has already needs none.  What is deleted
    meanwhile gives nothing back; leave the block to end the shortage.

    >>> import tempfile
    >>> import pydurable
    >>> name = tempfile.mkdtemp() + "/large"
    >>> with full_disk(after_bytes=1000):
    ...     try:
    ...         pydurable.replace(name, b"x" * 1001)
    ...     except OSError as error:
    ...         print(error.strerror)
    writing a temporary file: No space left on device
    """
    if after_bytes < 0:
        raise ValueError(f"after_bytes cannot be negative: {after_bytes}")
    return Fault("any", "FULL", after_bytes, 1, None)


class Syscalls(Mapping[str, int]):
    """How often each system call was made: ``calls["fdatasync"]``, ``calls["any"]``.

    The keys are :data:`CALLS`.  Inside the block the numbers grow; afterwards they stay.
    """

    def __init__(self) -> None:
        self._before: dict[str, int] = {}
        self._after: dict[str, int] | None = None

    def __getitem__(self, call: str) -> int:
        if call not in CALLS:
            raise KeyError(call)
        now = _native_faults.counts() if self._after is None else self._after
        return sum(now[name] - self._before[name] for name in _native_faults.members(call))

    def __iter__(self) -> Iterator[str]:
        return iter(CALLS)

    def __len__(self) -> int:
        return len(CALLS)

    def __repr__(self) -> str:
        made = {name: self[name] for name in _native_faults.CALLS if self[name]}
        return f"Syscalls({made})"


@contextmanager
def count_syscalls() -> Iterator[Syscalls]:
    """Count the system calls that pydurable's core makes on files, in all threads.

    >>> import tempfile
    >>> import pydurable
    >>> name = tempfile.mkdtemp() + "/settings"
    >>> with count_syscalls() as calls:
    ...     pydurable.replace(name, b"new", durability="none")
    >>> calls["sync"], calls["rename"]
    (0, 1)
    """
    calls = Syscalls()
    _native_faults.start_counting()
    try:
        calls._before = _native_faults.counts()
        yield calls
        calls._after = _native_faults.counts()
    finally:
        _native_faults.stop_counting()


class Faults:
    """The functions of this module as methods, whose effects last until :meth:`clear`.

    The fixture ``pydurable_faults`` is one, cleared when the test ends.

    >>> faults = Faults()
    >>> fault = faults.fail("sync", errnos.EIO, nth=2)
    >>> fault.hits
    0
    >>> faults.clear()
    """

    def __init__(self) -> None:
        self._stack = ExitStack()

    def fail(self, call: str, errno: int = errnos.EIO, **options: Any) -> Fault:
        """See :func:`fail`."""
        return self._stack.enter_context(fail(call, errno, **options))

    def delay(self, call: str, seconds: float, **options: Any) -> Fault:
        """See :func:`delay`."""
        return self._stack.enter_context(delay(call, seconds, **options))

    def short_writes(self, **options: Any) -> Fault:
        """See :func:`short_writes`."""
        return self._stack.enter_context(short_writes(**options))

    def short_reads(self, **options: Any) -> Fault:
        """See :func:`short_reads`."""
        return self._stack.enter_context(short_reads(**options))

    def full_disk(self, *, after_bytes: int = 0) -> Fault:
        """See :func:`full_disk`."""
        return self._stack.enter_context(full_disk(after_bytes=after_bytes))

    def clear(self) -> None:
        """End every fault that was set with this object."""
        self._stack.close()


def pytest_configure(config: Any) -> None:
    """Bring the fixtures, when pytest loads this module as a plugin."""
    config.pluginmanager.import_plugin("pydurable._testing_fixtures")
