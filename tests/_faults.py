"""The faulty table of system calls (csrc/fault.c) by the names of its calls."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from _patience import PATIENCE_S

from pydurable._core import lib

CALLS: dict[str, int] = {
    name: getattr(lib, f"PD_CALL_{name.upper()}")
    for name in (
        "any",
        "open",
        "close",
        "read",
        "write",
        "fsync",
        "fdatasync",
        "fullfsync",
        "barrier",
        "allocate",
        "truncate",
        "seek",
        "stat",
        "rename",
        "unlink",
        "mkdir",
        "lock",
        "map",
        "list",
        "random",
    )
}


class Faults:
    """What the core's system calls are to suffer, from the ``nth`` matching one on.

    Calls are named as in :data:`CALLS`; ``"any"`` matches each of them.  ``nth`` counts from 1,
    the next call; ``times`` says how many calls are hit, 0 for ever.
    """

    def fail(self, call: str, errno: int, nth: int = 1, times: int = 1) -> None:
        """The call does nothing and reports ``errno``."""
        lib.pd_fault_set(CALLS[call], lib.PD_FAULT_ERROR, errno, nth, times)

    def short(self, call: str, nth: int = 1, times: int = 1) -> None:
        """A read or write moves half of what it was asked to."""
        lib.pd_fault_set(CALLS[call], lib.PD_FAULT_SHORT, 0, nth, times)

    def delay(self, call: str, milliseconds: int, nth: int = 1, times: int = 1) -> None:
        """The call works, late; one that is late when the faults are cleared goes on then."""
        lib.pd_fault_set(CALLS[call], lib.PD_FAULT_DELAY, milliseconds, nth, times)

    @contextlib.contextmanager
    def hold(self, call: str) -> Iterator[None]:
        """The next call does not come back before the block ends, which clears all faults."""
        self.delay(call, 1000 * PATIENCE_S)
        try:
            yield
        finally:
            self.clear()

    def afterwards(self, call: str, errno: int, nth: int = 1, times: int = 1) -> None:
        """The call works and then reports ``errno`` all the same."""
        lib.pd_fault_set(CALLS[call], lib.PD_FAULT_AFTERWARDS, errno, nth, times)

    def count(self) -> None:
        """Count calls from now on, also while no fault is set."""
        lib.pd_fault_count(True)

    def calls(self, call: str = "any") -> int:
        """How often the call was made since :meth:`clear`, while counting or a fault was on."""
        return int(lib.pd_fault_calls(CALLS[call]))

    def clear(self) -> None:
        """Forget every fault and every count."""
        lib.pd_fault_clear()
