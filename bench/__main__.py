"""``python -m bench``: measure, print the tables, write the JSON."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from . import ROOT, goals, machine, native, report, whole_logs
from .arena import Arena, JobError
from .cells import Cell, Terms, size_text
from .contenders import CONTENDERS, Contender
from .rounds import CellResults, Plan, cell_rows, floor_spread, run_rounds

THREADS = (1, 8, 64)
SIZES = (64, 1 << 10, 16 << 10)
# The cells that the goals are about have longer slices.
GOAL_SECONDS, OTHER_SECONDS, QUICK_SECONDS = 0.4, 0.2, 0.15
FULL_SIZES = whole_logs.Sizes(rounds=5, log_bytes=1 << 30, small_records=1 << 20)
QUICK_SIZES = whole_logs.Sizes(rounds=2, log_bytes=128 << 20, small_records=1 << 18)
# How far the floor's fastest slice may be from its slowest on a quiet machine.
DISTURBED = 2
# Where pydurable is missing, the floor writes in the way that is the fastest on most disks.
TERMS_WITHOUT_PYDURABLE = Terms(method="direct", block_bytes=4096, zeroed=True)


@dataclass
class Measured:
    """Everything that a run found out."""

    facts: dict[str, str]
    terms: Terms
    skipped: dict[str, str]
    failures: dict[str, str]
    cells: dict[Cell, CellResults]
    figures: dict[str, Any]


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    names = [*(contender.name for contender in CONTENDERS), *whole_logs.PARTS]
    parser.add_argument("--quick", action="store_true", help="some two minutes: the goals' cells")
    parser.add_argument("--dir", type=Path, default=Path(), help="disk to measure (default: here)")
    parser.add_argument("--threads", type=int, nargs="+", metavar="N", help="default: 1 8 64")
    parser.add_argument("--sizes", type=int, nargs="+", metavar="BYTES", help="64 1024 16384")
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--rounds", type=int, help="default: 5")
    parser.add_argument("--json", type=Path, help="default: bench/results/<date>.json")
    options = parser.parse_args()
    if min([*(options.threads or ()), *(options.sizes or ()), options.rounds or 1]) < 1:
        parser.error("--threads, --sizes and --rounds are at least 1")
    if sys.platform != "linux":
        parser.error("the benchmark knows how to compare like with like on Linux only")
    if not options.dir.is_dir():
        parser.error(f"--dir {options.dir} is not a directory")
    filesystem = machine.mount_of(options.dir.resolve())["filesystem"]
    if filesystem in machine.IN_MEMORY:
        parser.error(f"{options.dir} is a {filesystem}, which syncs nothing: name a disk's --dir")
    return options


def plan_of(options: argparse.Namespace, contenders: tuple[Contender, ...]) -> Plan:
    """Turn the options into rounds and cells."""
    if options.quick and not (options.threads or options.sizes):
        cells = list(goals.CELLS)
    else:
        cells = [
            Cell(threads, size, busy)
            for busy in (False, True)
            for size in options.sizes or SIZES
            for threads in options.threads or THREADS
        ]
    seconds = {
        cell: QUICK_SECONDS
        if options.quick
        else GOAL_SECONDS
        if cell in goals.CELLS
        else OTHER_SECONDS
        for cell in cells
    }
    once = {each.name for each in contenders if each.name not in goals.NAMES}
    return Plan(
        rounds=options.rounds or 5,
        cells=seconds,
        contenders=contenders,
        once=frozenset(once) if options.quick and not options.only else frozenset(),
    )


def present(
    options: argparse.Namespace, missing_programs: dict[str, str], skipped: dict[str, str]
) -> tuple[Contender, ...]:
    """Return the contenders that were asked for and can run; name the others in skipped."""
    result = []
    for contender in CONTENDERS:
        if options.only and contender.name not in options.only:
            continue
        module = contender.missing()
        reason = (
            f"{module} is not installed (pip install -e '.[bench]')"
            if module
            else missing_programs.get(contender.name)
        )
        if contender.needs == "pydurable":  # what keeps it from running was found out before
            reason = skipped.get("pydurable")
        if reason is None:
            result.append(contender)
        else:
            skipped[contender.name] = reason
    return tuple(result)


def terms_of(arena: Arena, facts: dict[str, str], skipped: dict[str, str]) -> Terms:
    """Let pydurable choose its method once, for itself and for the floor."""
    try:
        with arena.fresh() as directory:
            chosen = arena.run_job("terms", path=str(directory / "log"))
    except JobError as error:
        skipped["pydurable"] = str(error)
        return TERMS_WITHOUT_PYDURABLE
    zeroed = not facts["filesystem"].startswith(machine.COPY_ON_WRITE)
    return Terms(method=chosen["method"], block_bytes=chosen["block_bytes"], zeroed=zeroed)


def measure(options: argparse.Namespace, arena: Arena) -> Measured:
    """Run everything that was asked for."""
    facts = machine.facts(arena.path)
    skipped: dict[str, str] = {}
    failures: dict[str, str] = {}
    terms = terms_of(arena, facts, skipped)
    with arena.fresh() as programs_directory:
        programs, missing = native.build(programs_directory)
        plan = plan_of(options, present(options, missing, skipped))
        parts = tuple(part for part in whole_logs.PARTS if part in (options.only or [part]))
        if "pydurable" in skipped:
            parts = ()
        with report.progress(plan.slices() + len(parts)) as advance:
            cells = run_rounds(arena, plan, terms, programs, advance, failures)
            sizes = QUICK_SIZES if options.quick else FULL_SIZES
            figures: dict[str, Any] = {}
            try:
                figures = whole_logs.measure(arena, parts, sizes, terms, advance)
            except JobError as error:
                failures["whole logs"] = str(error)
    return Measured(facts, terms, skipped, failures, cells, figures)


def show(measured: Measured) -> None:
    """Print the report."""
    terms = measured.terms
    for name, fact in measured.facts.items():
        print(f"{name + ':':12} {fact}")
    print(f"{'method:':12} {terms.method}, blocks of {terms.block_bytes} bytes")
    print("Medians of the rounds, least and greatest in brackets; ratios within a round.\n")
    for cell, results in measured.cells.items():
        if results.rates:
            report.show(report.cell_table(str(cell), cell_rows(results, CONTENDERS)))
    for table in report.log_tables(measured.figures):
        report.show(table)
    report.show(report.goal_table(goals.outcomes(measured.cells, measured.figures)))
    for size, (least, greatest) in floor_spread(measured.cells).items():
        print(f"the floor, {size_text(size)}: {least:,.0f} to {greatest:,.0f} commits/s")
        if greatest > DISTURBED * least:
            print("    Something else was at work on this disk or machine: measure again.")
    for name, reason in measured.skipped.items():
        print(f"skipped: {name}: {reason}")
    for name, reason in measured.failures.items():
        print(f"FAILED: {name}: {reason}")


def write_json(measured: Measured, path: Path) -> None:
    """Write what was measured where other programs can read it."""
    cells = [
        {"cell": asdict(cell), "contenders": cell_rows(results, CONTENDERS)}
        for cell, results in measured.cells.items()
    ]
    outcomes = goals.outcomes(measured.cells, measured.figures)
    document = {
        "facts": measured.facts,
        "terms": asdict(measured.terms),
        "cells": cells,
        "whole_logs": measured.figures,
        "goals": [asdict(outcome) for outcome in outcomes],
        "skipped": measured.skipped,
        "failures": measured.failures,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(f"written: {path}")


def main() -> int:
    """Run the benchmark; 1 if something failed, which a goal that is not met is not."""
    options = arguments()
    # SIGTERM is to remove the files too, and so is SIGINT where the shell began us ignoring it.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        with Arena(options.dir) as arena:
            measured = measure(options, arena)
    except KeyboardInterrupt:
        print("interrupted; the files are removed", file=sys.stderr)
        return 130
    show(measured)
    write_json(measured, options.json or ROOT / "bench" / "results" / f"{date.today()}.json")
    return 1 if measured.failures else 0


if __name__ == "__main__":
    sys.exit(main())
