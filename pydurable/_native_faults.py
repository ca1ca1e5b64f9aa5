"""The faulty table of system calls (csrc/fault.c) by the names of its calls."""

from __future__ import annotations

import threading

from pydurable._core import lib

_PREFIX = "PD_CALL_"

CALLS: dict[str, int] = {
    name.removeprefix(_PREFIX).lower(): getattr(lib, name)
    for name in dir(lib)
    if name.startswith(_PREFIX) and name not in (f"{_PREFIX}ANY", f"{_PREFIX}COUNT")
}
"""The number of each call of the table."""

GROUPS: dict[str, tuple[str, ...]] = {
    "any": tuple(CALLS),
    "sync": ("fsync", "fdatasync", "fullfsync", "barrier"),
    "rename": ("rename", "move", "move_new"),
}
"""Calls that do the same, in the words of somebody who does not mind which of them it is."""

_counting = threading.Lock()
_counters = 0


def members(call: str) -> tuple[str, ...]:
    """Return the calls of the table that a name stands for."""
    if call in GROUPS:
        return GROUPS[call]
    if call in CALLS:
        return (call,)
    known = ", ".join(sorted({*CALLS, *GROUPS}))
    raise ValueError(f"no system call of the table is named {call!r}; those are {known}")


def add(call: str, mode: str, amount: int, nth: int, times: int) -> int:
    """Set a fault and return its number."""
    which = sum(1 << CALLS[name] for name in members(call))
    number = int(lib.pd_fault_add(which, getattr(lib, f"PD_FAULT_{mode}"), amount, nth, times))
    if number < 0:
        raise RuntimeError("too many faults are set at once")
    return number


def remove(number: int) -> int:
    """Take a fault away and return how often it has struck."""
    return int(lib.pd_fault_remove(number))


def hits(number: int) -> int:
    """Return how often a fault that is set has struck."""
    return int(lib.pd_fault_hits(number))


def counts() -> dict[str, int]:
    """Return how often each call was made while somebody counted."""
    return {name: int(lib.pd_fault_calls(number)) for name, number in CALLS.items()}


def start_counting() -> None:
    _change_counters(1)


def stop_counting() -> None:
    _change_counters(-1)


def _change_counters(change: int) -> None:
    """Count calls as long as anybody wants to know."""
    global _counters
    with _counting:
        _counters += change
        lib.pd_fault_count(_counters > 0)
