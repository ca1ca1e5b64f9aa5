"""``python -m bench.logging``: what a whole ``logger.info`` call costs, beside busy threads too."""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import sys
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from . import ROOT, machine, report
from .arena import Arena, JobError
from .latency import Histogram
from .logging_jobs import CONTENDERS

BUSY = (0, 1, 3)
OURS = "DurableHandler"
STDLIB = "FileHandler"
FLOOR = "floor"
P999_GOAL_US = 50.0
PERCENTS = (50, 99, 99.9)


@dataclass
class Row:
    """What the slices of one contender beside so many busy threads have in common."""

    slices: list[Histogram] = field(default_factory=list)
    max_us: float = 0.0

    @property
    def pooled(self) -> Histogram:
        """The calls of all slices."""
        return Histogram.pooled(self.slices)

    def figures(self) -> dict[str, float]:
        """Percentiles in microseconds, the maximum, and the number of calls."""
        pooled = self.pooled
        found = {f"p{percent:g}_us": pooled.percentile_us(percent) for percent in PERCENTS}
        return {**found, "max_us": self.max_us, "calls": sum(pooled.counts.values())}


Rows = dict[tuple[int, str], Row]


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.logging", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute: shorter slices")
    parser.add_argument("--dir", type=Path, default=Path(), help="disk to measure (default: here)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--busy", type=int, nargs="+", default=BUSY, metavar="N")
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, metavar="NAME")
    parser.add_argument("--json", type=Path, help="default: bench/results/logging-<date>.json")
    options = parser.parse_args()
    if options.rounds < 1 or min(options.busy) < 0:
        parser.error("--rounds is at least 1 and --busy at least 0")
    if not options.dir.is_dir():
        parser.error(f"--dir {options.dir} is not a directory")
    return options


def measure(
    options: argparse.Namespace, names: list[str], arena: Arena
) -> tuple[Rows, dict[str, str]]:
    """Give every contender a slice in each round, in shuffled order."""
    rows: Rows = {(busy, name): Row() for busy in options.busy for name in names}
    failures: dict[str, str] = {}
    # A slice beside three busy threads has a quarter of the time.
    seconds = {busy: (0.25 if options.quick else 0.6) * (1 + busy) for busy in options.busy}
    with report.progress(options.rounds * len(rows)) as advance:
        for _ in range(options.rounds):
            for busy, name in random.sample(list(rows), len(rows)):
                advance(f"{name}, {busy} busy")
                if name in failures:
                    continue
                with arena.fresh() as place:
                    task = {
                        "contender": name,
                        "directory": str(place),
                        "busy": busy,
                        "seconds": seconds[busy],
                    }
                    try:
                        got = arena.run("logging_jobs", json.dumps(task))
                    except JobError as error:
                        failures[name] = str(error)
                        continue
                row = rows[busy, name]
                row.slices.append(Histogram({int(k): v for k, v in got["latencies"].items()}))
                row.max_us = max(row.max_us, got["max_ns"] / 1000)
    return {key: row for key, row in rows.items() if row.slices}, failures


def goals(rows: Rows) -> list[report.Outcome]:
    """Hold the goals against what was measured."""
    quiet = [rows.get((0, name)) for name in (OURS, STDLIB)]
    busy = [rows.get((3, name)) for name in (OURS, FLOOR)]
    outcomes = []
    if all(quiet):
        ours, theirs = (row.pooled.percentile_us(50) for row in quiet if row)
        outcomes.append(
            report.Outcome(
                f"p50 of logger.info, against {STDLIB}'s",
                f"<= {theirs:.2f} us",
                f"{ours:.2f} us",
                ours <= theirs,
            )
        )
    if all(busy):
        ours, floor = (row.pooled.percentile_us(99.9) for row in busy if row)
        outcomes.append(
            report.Outcome(
                "p99.9 of logger.info beside 3 busy threads",
                f"<= {P999_GOAL_US:g} us",
                f"{ours:.1f} us (a call that writes nothing: {floor:.1f} us)",
                ours <= P999_GOAL_US,
            )
        )
    return outcomes


def show(rows: Rows, facts: dict[str, str], outcomes: list[report.Outcome]) -> None:
    """Print facts, tables and goals."""
    for name, value in facts.items():
        print(f"{name}: {value}")
    for busy in dict.fromkeys(key[0] for key in rows):
        table = [
            (
                name,
                *(f"{row.figures()[f'p{percent:g}_us']:,.1f}" for percent in PERCENTS),
                f"{row.max_us:,.0f}",
                f"{row.figures()['calls']:,.0f}",
            )
            for (count, name), row in rows.items()
            if count == busy
        ]
        title = f"logger.info beside {busy} CPU-bound threads"
        heads = ("handler", "p50 us", "p99 us", "p99.9 us", "max us", "calls")
        report.show(report.Table(title, heads, table))
    report.show(report.goal_table(outcomes, "a logging call"))


def write_json(rows: Rows, facts: dict[str, str], outcomes: list[Any], path: Path) -> None:
    """Write what was measured where other programs can read it."""
    document = {
        "facts": facts,
        "rows": [
            {"handler": name, "busy": busy, **row.figures()} for (busy, name), row in rows.items()
        ],
        "goals": [vars(outcome) for outcome in outcomes],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(f"written: {path}")


def main() -> int:
    """Run the benchmark; 1 if a contender failed, which a goal that is not met is not."""
    options = arguments()
    names = list(options.only or CONTENDERS)
    missing = [name for name in names if not _installed(CONTENDERS[name][0])]
    names = [name for name in names if name not in missing]
    with Arena(options.dir) as arena:
        rows, failures = measure(options, names, arena)
    facts = machine.facts(options.dir.resolve())
    outcomes = goals(rows)
    show(rows, facts, outcomes)
    for name in missing:
        print(f"skipped: {name} is not installed")
    for name, reason in failures.items():
        print(f"FAILED: {name}: {reason}")
    default = ROOT / "bench" / "results" / f"logging-{date.today()}.json"
    write_json(rows, facts, outcomes, options.json or default)
    return 1 if failures else 0


def _installed(module: str) -> bool:
    return not module or importlib.util.find_spec(module) is not None


if __name__ == "__main__":
    sys.exit(main())
