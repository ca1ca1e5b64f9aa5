"""The doctor's side of the C core: what statx(2) tells of a path, and trying ways of writing."""

from __future__ import annotations

import errno
import os
from typing import Any, NamedTuple

from pydurable._core import ffi, lib

WAYS: dict[str, int] = {
    "fdatasync": lib.PD_WAY_FDATASYNC,
    "fsync": lib.PD_WAY_FSYNC,
    "O_DSYNC": lib.PD_WAY_DSYNC,
    "O_SYNC": lib.PD_WAY_SYNC,
    "O_DIRECT, fdatasync": lib.PD_WAY_DIRECT_FDATASYNC,
    "O_DIRECT, fsync": lib.PD_WAY_DIRECT_FSYNC,
    "O_DIRECT|O_DSYNC": lib.PD_WAY_DIRECT_DSYNC,
    "O_DIRECT|O_SYNC": lib.PD_WAY_DIRECT_SYNC,
    "F_FULLFSYNC": lib.PD_WAY_FULLFSYNC,
    "F_BARRIERFSYNC": lib.PD_WAY_BARRIER,
}
SPACES: dict[str, int] = {
    "append": lib.PD_SPACE_APPEND,
    "allocated": lib.PD_SPACE_ALLOCATED,
    "zeroed": lib.PD_SPACE_ZEROED,
}
_SPACE_NAMES = {number: name for name, number in SPACES.items()}
_METHOD_NAMES = {
    lib.PD_METHOD_FDATASYNC: "fdatasync",
    lib.PD_METHOD_DSYNC: "dsync",
    lib.PD_METHOD_DIRECT: "direct",
    lib.PD_METHOD_DIRECT_DSYNC: "direct+dsync",
    lib.PD_METHOD_FULLFSYNC: "fullfsync",
}


class ProbeLine(NamedTuple):
    """How one method did in the probe."""

    method: str
    space: str
    samples: int
    median_us: float


class Probe(NamedTuple):
    """What ``method="auto"`` would take in a directory, and why."""

    method: str
    space: str
    """``"zeroed"`` where a log writes zeros ahead, ``"allocated"`` or ``"append"`` where not."""
    seconds: float
    """What it took to find out."""
    lines: tuple[ProbeLine, ...]
    """Empty where there is nothing to choose: in memory, on macOS."""


def path_facts(path: str) -> Any:
    """A ``struct pd_path_facts``, all zeros where the kernel does not answer."""
    facts = ffi.new("struct pd_path_facts *")
    raw = os.fsencode(path)
    if b"\0" not in raw:
        lib.pd_path_facts(raw, facts)
    return facts


def _error(error: Any, path: str) -> OSError:
    text = f"{os.fsdecode(ffi.string(error.op))}: {os.strerror(error.code)}"
    return OSError(error.code, text, path)


def probe(path: str, *, appending: bool) -> Probe:
    """Choose as a log would that is made in a directory, or a file there that is appended to."""
    report = ffi.new("struct pd_probe_report *")
    error = ffi.new("struct pd_error *")
    if lib.pd_probe_path(os.fsencode(path), appending, report, error) < 0:
        raise _error(error, path)
    lines = tuple(
        ProbeLine(
            _METHOD_NAMES[line.method],
            _SPACE_NAMES[line.space],
            int(line.count),
            line.median_ns / 1e3,
        )
        for line in ffi.unpack(report.lines, report.count)
    )
    space = "append" if appending else "zeroed" if report.prezero else "allocated"
    return Probe(_METHOD_NAMES[report.method], space, report.spent_ns / 1e9, lines)


def measure(
    path: str, way: str, space: str, *, writers: int, size: int, seconds: float, most: int = 1 << 16
) -> list[int] | None:
    """Nanoseconds of each write and sync, sorted; None where there is no such way of writing."""
    options = ffi.new(
        "struct pd_measure_options *",
        {
            "way": WAYS[way],
            "space": SPACES[space],
            "writers": writers,
            "bytes": size,
            "budget_ns": round(seconds * 1e9),
        },
    )
    times = ffi.new("uint64_t[]", most)
    error = ffi.new("struct pd_error *")
    count = lib.pd_measure(os.fsencode(path), options, times, most, error)
    if count == -errno.ENOTSUP:
        return None
    if count < 0:
        raise _error(error, path)
    return sorted(ffi.unpack(times, count))
