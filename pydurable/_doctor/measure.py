"""``pydurable doctor --measure``: how long each way of writing takes on a path."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

from pydurable._doctor.report import StorageReport
from pydurable._native_storage import WAYS, Probe, measure, probe

SIZE_BYTES = 512
WRITERS = (1, 2, 4, 8)
SPACES = ("append", "zeroed")
SECONDS = 8.0
"""For all cells together: the rest of the ten seconds is for setting up and for the probe."""
_CELL_SECONDS = (0.02, 0.3)

Show = Callable[[str, float], None]


@dataclasses.dataclass(frozen=True)
class Cell:
    """One way of writing by so many writers at once; times in microseconds."""

    way: str
    space: str
    """``"append"``: at the end of a growing file; ``"zeroed"``: over what was written before."""
    writers: int
    samples: int
    p50_us: float
    p99_us: float
    per_second: float
    """Writes a second of all writers together."""


@dataclasses.dataclass(frozen=True)
class Measurement:
    """Everything that was measured on a path."""

    size_bytes: int
    cells: tuple[Cell, ...]
    auto: Probe
    """What a new log would take here, by the same code."""
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The part of the JSON under ``measured``."""
        return {
            "size_bytes": self.size_bytes,
            "cells": [dataclasses.asdict(cell) for cell in self.cells],
            "auto": {
                "method": self.auto.method,
                "space": self.auto.space,
                "seconds": self.auto.seconds,
                "ranking": [line._asdict() for line in ranking(self.auto)],
            },
            "warnings": list(self.warnings),
        }


def ranking(auto: Probe) -> list[Any]:
    """The lines of the probe from the fastest to the slowest."""
    return sorted(auto.lines, key=lambda line: line.median_us)


def _at(times: list[int], share: float) -> float:
    return times[min(len(times) - 1, int(len(times) * share))] / 1e3


def _cell(path: str, way: str, space: str, writers: int, seconds: float) -> Cell | None:
    times = measure(path, way, space, writers=writers, size=SIZE_BYTES, seconds=seconds)
    if not times:
        return None
    rate = writers * len(times) / (sum(times) / 1e9)
    return Cell(way, space, writers, len(times), _at(times, 0.5), _at(times, 0.99), rate)


def _cells(path: str, show: Show) -> Iterator[Cell]:
    """One writer first, so that where time is short the larger crowds are left out."""
    plan = [(way, space, writers) for writers in WRITERS for space in SPACES for way in WAYS]
    missing: set[str] = set()
    begin = time.monotonic()
    for done, (way, space, writers) in enumerate(plan):
        left = SECONDS - (time.monotonic() - begin)
        if left <= 0:
            return
        if way in missing:
            continue
        show(f"{way}, {space}, {writers} at once", done / len(plan))
        # A part of what is left for each: setting up takes its share too.
        share = 0.7 * left / (len(plan) - done)
        cell = _cell(path, way, space, writers, min(max(share, _CELL_SECONDS[0]), _CELL_SECONDS[1]))
        if cell:
            yield cell
        else:
            missing.add(way)


# The least time that a flush takes to a medium, in microseconds.  A disk turns at most 15,000 times
# a minute, so that a sector comes by each 4 ms; half of that is generous.  A flush of flash without
# power-loss protection programs a page, which takes hundreds of microseconds.
_ROTATIONAL_US = 2000.0
_FLASH_US = 20.0
_FLUSHING = ("fsync", "F_FULLFSYNC")


def too_fast(report: StorageReport, cells: tuple[Cell, ...]) -> Iterator[str]:
    """What cannot be true of the kind of device: a flush that is faster than its medium."""
    drive = next((layer for layer in reversed(report.layers) if layer.kind == "drive"), None)
    flushes = [
        cell.p50_us
        for cell in cells
        if cell.writers == 1 and cell.space == "append" and cell.way in _FLUSHING
    ]
    if drive is None or not flushes:
        return
    fastest = min(flushes)
    virtual = drive.facts.get("bus") in ("virtio", "Xen")
    if drive.facts.get("rotational") and not virtual and fastest < _ROTATIONAL_US:
        yield (
            f"a flush takes {fastest:,.0f} us on {drive.name}, which turns: too fast for the "
            "platter, so that a cache below answers for it, with a battery or without"
        )
    elif fastest < _FLASH_US:
        yield (
            f"a flush takes {fastest:,.1f} us on {drive.name}: too fast for a medium, so that "
            "flushes are dropped on the way or end in a cache with power-loss protection"
        )


def measured(report: StorageReport, path: str, show: Show) -> Measurement:
    """Measure every way of writing in a directory; raises OSError where it cannot be written to."""
    cells = tuple(_cells(path, show))
    show("choosing as auto does", 1.0)
    return Measurement(
        SIZE_BYTES, cells, probe(path, appending=False), tuple(too_fast(report, cells))
    )
