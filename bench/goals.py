"""The goals of the project, each a figure that has to be reached within one run."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Any

from .cells import Cell
from .rounds import CellResults

# fsync and O_DSYNC do the same as fdatasync, and more; beside a busy thread the plain way wins.
PYTHONS = ("fdatasync", "python-group", "python-1ms")
ONE, EIGHT, MANY = (Cell(threads, 64) for threads in (1, 8, 64))
MANY_BUSY = Cell(64, 64, busy=True)


@dataclass(frozen=True)
class RatioGoal:
    """In this cell, pydurable's group commit is to reach so many times the best other's rate."""

    cell: Cell
    others: tuple[str, ...]
    meaning: str
    at_least: float


@dataclass(frozen=True)
class FigureGoal:
    """A figure of whole logs is to stay on the right side of a limit."""

    part: str
    figure: str
    meaning: str
    limit: float
    unit: str
    at_most: bool
    scale: float = 1.0


@dataclass(frozen=True)
class Outcome:
    """A goal beside what was reached; reached is None where it was not measured."""

    meaning: str
    goal: str
    reached: str | None
    met: bool | None


OURS = "pydurable-group"
RATIOS = (
    RatioGoal(ONE, ("floor",), "the C floor loop, same method", 0.95),
    RatioGoal(ONE, ("fdatasync",), "pure-Python append + fdatasync", 1.35),
    RatioGoal(ONE, ("sqlite3",), "sqlite3", 1.05),
    RatioGoal(EIGHT, ("pydurable-lanes1",), "the same engine, one batch in flight", 1.2),
    RatioGoal(EIGHT, ("plyvel",), "plyvel", 1.4),
    RatioGoal(MANY, ("engine",), "the same engine driven by C threads", 0.8),
    RatioGoal(MANY, ("plyvel",), "plyvel", 1.3),
    RatioGoal(MANY, ("python-group",), "the best pure-Python group commit", 1.5),
    RatioGoal(MANY, ("python-1ms",), "the 1 ms group commit", 2.5),
    RatioGoal(MANY_BUSY, PYTHONS, "the best pure Python", 2.0),
)
FIGURES = (
    FigureGoal("open", "open_ms", "opening an empty log", 10, "ms", at_most=True),
    FigureGoal(
        "replay 64 KiB",
        "bytes_per_second",
        "replay of 64 KiB records",
        1.5,
        "GB/s",
        at_most=False,
        scale=1e-9,
    ),
    FigureGoal(
        "replay 64 B",
        "records_per_second",
        "replay of 64 B records",
        1,
        "M records/s",
        at_most=False,
        scale=1e-6,
    ),
    FigureGoal("recovery", "ratio", "recovery, against reading the bytes", 1.3, "x", at_most=True),
)
# Every contender that a goal names, and in which cells.
CELLS = tuple(dict.fromkeys(goal.cell for goal in RATIOS))
NAMES = frozenset({OURS, *(name for goal in RATIOS for name in goal.others)})


def outcomes(cells: dict[Cell, CellResults], figures: dict[str, Any]) -> list[Outcome]:
    """Hold the goals against what was measured."""
    return [
        *(_ratio_outcome(goal, cells.get(goal.cell)) for goal in RATIOS),
        *(_figure_outcome(goal, figures.get(goal.part)) for goal in FIGURES),
    ]


def _ratio_outcome(goal: RatioGoal, results: CellResults | None) -> Outcome:
    meaning = f"{goal.cell}: times {goal.meaning}"
    wanted = f">= {goal.at_least:.2f}"
    ratios = results.ratios(OURS, goal.others) if results else []
    if not ratios:
        return Outcome(meaning, wanted, None, None)
    reached = median(ratios)
    text = f"{reached:.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    return Outcome(meaning, wanted, text, reached >= goal.at_least)


def _figure_outcome(goal: FigureGoal, part: dict[str, Any] | None) -> Outcome:
    wanted = f"{'<=' if goal.at_most else '>='} {goal.limit:g} {goal.unit}"
    if part is None:
        return Outcome(goal.meaning, wanted, None, None)
    figure = part[goal.figure]
    spread = figure if isinstance(figure, dict) else {"median": figure}
    reached = spread["median"] * goal.scale
    text = f"{reached:.2f} {goal.unit}"
    if "min" in spread:
        text += f" ({spread['min'] * goal.scale:.2f} to {spread['max'] * goal.scale:.2f})"
    met = reached <= goal.limit if goal.at_most else reached >= goal.limit
    return Outcome(goal.meaning, wanted, text, met)
