"""Interleaved rounds: every contender has a short turn in each round, in shuffled order."""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

from .arena import Arena, JobError
from .cells import Cell, Slice, Terms
from .contenders import PURE_PYTHON, Contender
from .latency import Histogram

PERCENTILES = (50, 99, 99.9)


@dataclass
class CellResults:
    """What was measured in one cell: by contender, the rate in each round and all latencies."""

    rates: dict[str, dict[int, float]] = field(default_factory=dict)
    latencies: dict[str, Histogram] = field(default_factory=dict)

    def add(self, name: str, number: int, rate: float, latencies: Histogram) -> None:
        """Note one slice."""
        self.rates.setdefault(name, {})[number] = rate
        self.latencies[name] = Histogram.pooled([latencies, self.latencies.get(name, Histogram())])

    def median_rate(self, name: str) -> float:
        """Return the median over the rounds, in commits/s."""
        return median(self.rates[name].values())

    def ratios(self, above: str, below: tuple[str, ...]) -> list[float]:
        """Divide one contender's rate by the best of the others', round by round."""
        result = []
        for number, rate in self.rates.get(above, {}).items():
            others = [self.rates[name][number] for name in below if self._has(name, number)]
            if others and max(others) > 0:
                result.append(rate / max(others))
        return result

    def _has(self, name: str, number: int) -> bool:
        return number in self.rates.get(name, {})


@dataclass(frozen=True)
class Plan:
    """How long and how often."""

    rounds: int
    cells: dict[Cell, float]  # and for how many seconds each slice lasts in them
    contenders: tuple[Contender, ...]
    warm_seconds: float = 0.2  # a log that was just made writes zeros ahead of its first records
    once: frozenset[str] = frozenset()  # contenders that have a turn in the first round only

    def turns(self, number: int) -> list[tuple[Cell, list[Contender]]]:
        """Return who takes part in the cells of a round."""
        return [
            (cell, [each for each in self.contenders if self._takes_part(each, cell, number)])
            for cell in self.cells
        ]

    def _takes_part(self, contender: Contender, cell: Cell, number: int) -> bool:
        if contender.name in self.once and number > 0:
            return False
        return contender.only_in in (None, cell)

    def slices(self) -> int:
        """Return how many slices that makes."""
        return sum(len(who) for number in range(self.rounds) for _, who in self.turns(number))


def run_rounds(
    arena: Arena,
    plan: Plan,
    terms: Terms,
    programs: dict[str, str],
    advance: Callable[[str], None],
    failures: dict[str, str],
    until: float = math.inf,
) -> dict[Cell, CellResults]:
    """Run the slices; a contender that fails is noted in failures and left out there.

    No slice begins after ``until`` on the monotonic clock.
    """
    results = {cell: CellResults() for cell in plan.cells}
    for number in range(plan.rounds):
        for cell, contenders in plan.turns(number):
            random.shuffle(contenders)
            for contender in contenders:
                if time.monotonic() > until:
                    return results
                advance(f"round {number + 1}/{plan.rounds}: {cell}: {contender.name}")
                with arena.fresh() as directory:
                    task = Slice(
                        contender=contender.name,
                        directory=str(directory),
                        cell=cell,
                        seconds=plan.cells[cell],
                        warm_seconds=plan.warm_seconds,
                        terms=terms,
                        programs=programs,
                    )
                    try:
                        answer = arena.run("worker", json.dumps(task.to_json()))
                    except JobError as error:
                        failures[f"{contender.name} ({cell})"] = str(error)
                        continue
                counts = {int(time_ns): count for time_ns, count in answer["latencies"].items()}
                results[cell].add(contender.name, number, answer["rate"], Histogram(counts))
    return results


def floor_spread(cells: dict[Cell, CellResults]) -> dict[int, tuple[float, float]]:
    """Return by record size how slow and how fast the floor was in the cells without company.

    It does the same thing in all of them, so the spread is that of the machine.
    """
    rates: dict[int, list[float]] = {}
    for cell, results in cells.items():
        if not cell.busy:
            rates.setdefault(cell.size, []).extend(results.rates.get("floor", {}).values())
    return {size: (min(found), max(found)) for size, found in rates.items() if found}


def cell_rows(results: CellResults, order: tuple[Contender, ...]) -> list[dict[str, object]]:
    """Sum a cell up: a row for each contender that was measured."""
    rows = []
    for contender in order:
        name = contender.name
        if name not in results.rates:
            continue
        row: dict[str, object] = {
            "contender": name,
            "commits_per_second": results.median_rate(name),
            "rounds": list(results.rates[name].values()),
            "against_floor": spread(results.ratios(name, ("floor",))),
            "against_best_python": spread(results.ratios(name, PURE_PYTHON)),
        }
        latencies = results.latencies[name]
        for percent in PERCENTILES:
            row[f"p{percent}_us"] = latencies.percentile_us(percent) if latencies else None
        rows.append(row)
    return rows


def spread(values: list[float]) -> dict[str, float] | None:
    """Return median, least and greatest, or None of nothing."""
    if not values:
        return None
    return {"median": median(values), "min": min(values), "max": max(values)}
