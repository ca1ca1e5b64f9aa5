"""Measure committing from event loops: python -m bench.asyncio [--quick] [--loop uvloop].

pydurable beside the best batching executors that pure Python allows, in interleaved rounds, each
slice in an interpreter and on files of its own.  Ratios are taken within a round, against the
executor with the best median; printed are their medians.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import sys
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from statistics import median

from . import ROOT, machine, native, report
from .arena import Arena
from .async_contenders import CONTENDERS, OURS, PYTHON, floors
from .goals import Outcome
from .latency import Histogram

FLUSH = 0  # in place of a number of tasks: commits of one thread, without a loop
TASKS = (1, 10, 100, 1000)
GOAL_TASKS = (10, 1000)
FLOOR_TASKS = 10
PERCENTS = (50, 99, 99.9)


@dataclass
class Series:
    """One contender with so many tasks: its rate and its latencies in each round."""

    rates: list[float] = field(default_factory=list)
    latencies: list[Histogram] = field(default_factory=list)

    def percentiles(self, percent: float) -> list[float]:
        """In microseconds, by round."""
        return [each.percentile_us(percent) for each in self.latencies]


Results = dict[tuple[str, int], Series]


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.asyncio", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the goals' rows, some 40 seconds")
    parser.add_argument("--dir", type=Path, default=Path(), help="disk to measure (default: here)")
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
    parser.add_argument("--size", type=int, default=64, help="bytes of a record")
    parser.add_argument("--rounds", type=int, help="default: 11, or 5 with --quick")
    parser.add_argument("--json", type=Path, help="default: bench/results/<date>-<loop>.json")
    options = parser.parse_args()
    if min(options.rounds or 1, options.size) < 1:
        parser.error("--rounds and --size are at least 1")
    if options.loop == "uvloop" and importlib.util.find_spec("uvloop") is None:
        parser.error("uvloop is not installed")
    filesystem = machine.mount_of(options.dir.resolve())["filesystem"]
    if filesystem in machine.IN_MEMORY:
        parser.error(f"{options.dir} is a {filesystem}, which syncs nothing: name a disk's --dir")
    return options


def measure(options: argparse.Namespace, arena: Arena, program: str | None) -> Results:
    """Run the rounds."""
    numbers = GOAL_TASKS if options.quick else TASKS
    beside = floors(program)
    slices = [(name, number) for name in CONTENDERS for number in numbers]
    slices += [(name, FLUSH) for name in (*OURS, *beside)]
    slices += [(name, number) for name in beside for number in numbers if number <= FLOOR_TASKS]
    rounds = options.rounds or (5 if options.quick else 11)
    results: Results = {each: Series() for each in slices}
    with report.progress(rounds * len(slices)) as advance:
        for _ in range(rounds):
            for name, number in random.sample(slices, len(slices)):
                advance(f"{name}, {number} tasks")
                with arena.fresh() as folder:
                    task = {
                        "contender": name,
                        "folder": str(folder),
                        "tasks": number,
                        "size": options.size,
                        "loop": options.loop,
                        "program": program or "",
                        "warm_seconds": 0.2,
                        "seconds": 0.4 if options.quick else 0.8,
                    }
                    answer = arena.run("async_worker", json.dumps(task))
                counts = {int(ns): count for ns, count in answer["latencies"].items()}
                results[name, number].rates.append(answer["rate"])
                results[name, number].latencies.append(Histogram(counts))
    return results


def against_best(results: Results, ours: str, number: int) -> tuple[list[float], list[float]]:
    """Round by round, rate and p99 as parts of those of the executor with the best median rate."""
    mine = results[ours, number]
    best = max((results[name, number] for name in PYTHON), key=lambda each: median(each.rates))
    rates = [a / b for a, b in zip(mine.rates, best.rates, strict=True)]
    tails = zip(mine.percentiles(99), best.percentiles(99), strict=True)
    return rates, [a / b for a, b in tails]


def against_one_flush(results: Results, name: str) -> list[float]:
    """Round by round, the p50 of ten tasks by what one thread waits without a loop."""
    flush = results[name, FLUSH].percentiles(50)
    return [a / b for a, b in zip(results[name, 10].percentiles(50), flush, strict=True)]


def outcomes(results: Results) -> list[Outcome]:
    """Hold what was measured against the goals."""
    found = []
    for ours in OURS:
        rates, tails = against_best(results, ours, 1000)
        ratios = against_one_flush(results, ours)
        for meaning, goal, values, met in (
            (f"{ours}, 1,000 tasks: rate x the best executor's", ">= 1.00", rates, _least(rates)),
            (f"{ours}, 1,000 tasks: p99 x the best executor's", "<= 1.00", tails, _most(tails, 1)),
            (f"{ours}, 10 tasks: p50 x one flush", "<= 1.30", ratios, _most(ratios, 1.3)),
        ):
            found.append(Outcome(meaning, goal, _spread(values), met))
    return found


def _least(values: list[float]) -> bool:
    return median(values) >= 1


def _most(values: list[float], limit: float) -> bool:
    return median(values) <= limit


def _spread(values: list[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def rows(results: Results) -> list[dict[str, object]]:
    """Sum up each contender."""
    found = []
    for (name, number), series in sorted(results.items(), key=lambda each: -each[0][1]):
        row: dict[str, object] = {"contender": name, "tasks": number or "one thread, no loop"}
        row["commits_per_second"] = median(series.rates)
        for percent in PERCENTS:
            row[f"p{percent:g}_us"] = median(series.percentiles(percent))
        if number and name in OURS:
            row["rate_against_best_executor"] = median(against_best(results, name, number)[0])
        found.append(row)
    return found


def show(facts: dict[str, str], results: Results, options: argparse.Namespace) -> None:
    """Print the tables."""
    for name, fact in facts.items():
        print(f"{name + ':':12} {fact}")
    print(f"{'loop:':12} {options.loop}; records of {options.size} bytes\n")
    heads = ("contender", "tasks", "commits/s", "x best executor", "p50 us", "p99 us", "p99.9 us")
    lines: list[tuple[str, ...]] = []
    for row in rows(results):
        ratio = row.get("rate_against_best_executor")
        rate = f"{row['commits_per_second']:,.0f}" if row["commits_per_second"] else "-"
        times = (f"{row[f'p{percent:g}_us']:,.0f}" for percent in PERCENTS)
        against = f"{ratio:.2f}" if ratio else "-"
        lines.append((str(row["contender"]), str(row["tasks"]), rate, against, *times))
    report.show(report.Table("Commits from tasks, medians of the rounds", heads, lines))
    report.show(report.goal_table(outcomes(results)))
    for name, number in results:
        if number == FLUSH and name not in OURS:
            ratios = _spread(against_one_flush(results, name))
            print(f"{name}: 10 tasks: p50 x one wait: {ratios}")


def main() -> int:
    """Run the benchmark."""
    options = arguments()
    with Arena(options.dir) as arena:
        facts = machine.facts(arena.path)
        programs, missing = native.build(arena.path, ("floor",))
        if "floor" in missing:
            print(f"without the C floor: {missing['floor']}")
        results = measure(options, arena, programs.get("floor"))
    show(facts, results, options)
    path = options.json or ROOT / "bench" / "results" / f"{date.today()}-{options.loop}.json"
    document = {
        "facts": facts,
        "loop": options.loop,
        "rows": rows(results),
        "goals": [asdict(each) for each in outcomes(results)],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(f"written: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
