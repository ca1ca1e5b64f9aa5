"""``pydurable bench``: the five targets beside the pure-Python ways of writing, on the user's disk.

A shorter benchmark than ``python -m bench``, made of the same parts: a slice of each contender in
each round, in shuffled order, each in an interpreter of its own.
"""

from __future__ import annotations

import json
import math
import signal
import sys
import time
from dataclasses import asdict
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

from . import compare, machine, native, replace_cases, report
from .__main__ import terms_of
from .arena import Arena
from .cells import Cell, Terms
from .contenders import APPEND_CELL, BY_NAME, CONTENDERS, Contender
from .rounds import CellResults, Plan, cell_rows, run_rounds, spread

FORMAT = 1
THREADS = (1, 8, 64)
SIZE = 64
TARGETS = tuple(f"pydurable-{name}" for name in ("none", "interval", "group", "each", "paranoid"))
PYTHONS = ("fsync", "fdatasync", "o_dsync", "python-group", "python-1ms")
APPENDS = ("pydurable-append", "write")
QUICK = (1, 0.08, 0.05)
FULL = (5, 0.4, 0.2)
"""Rounds, seconds of a slice, and seconds before it that do not count."""
CELLS_SECONDS, QUICK_SECONDS = 12.0, 15.0
"""When a quick run begins no further slice, and no further replacing: it is to end in 20 s."""


class Usage(Exception):
    """Something that was asked for cannot be done; the message says what."""


def _contenders(missing: dict[str, str], skipped: dict[str, str]) -> tuple[Contender, ...]:
    result = []
    for name in ("floor", *TARGETS, *APPENDS, *PYTHONS):
        if name in missing:
            skipped[name] = missing[name]
        else:
            result.append(BY_NAME[name])
    return tuple(result)


def _cells(
    arena: Arena, quick: bool, until: float, skipped: dict[str, str], failures: dict[str, str]
) -> tuple[Terms, dict[Cell, CellResults]]:
    """Run the rounds of every cell."""
    rounds, seconds, warm = QUICK if quick else FULL
    terms = terms_of(arena, machine.facts(arena.path), skipped)
    results: dict[Cell, CellResults] = {}
    with arena.fresh() as directory:
        programs, missing = native.build(directory, ("floor",))
        who = _contenders(missing, skipped)
        waiting = tuple(each for each in who if each.only_in is None)
        appending = tuple(each for each in who if each.name in APPENDS)
        # The appends are few and come first: a slow machine is not to leave them out.
        plans = [Plan(rounds, {APPEND_CELL: seconds}, appending, warm)]
        plans += [Plan(rounds, {Cell(n, SIZE): seconds}, waiting, warm) for n in THREADS]
        with report.progress(sum(plan.slices() for plan in plans)) as advance:
            for plan in plans:
                results |= run_rounds(arena, plan, terms, programs, advance, failures, until)
    for cell, measured in results.items():
        names = {each.name for each in (appending if cell == APPEND_CELL else waiting)}
        left = sorted(n for n in names - {*measured.rates} if f"{n} ({cell})" not in failures)
        if left:
            skipped[str(cell)] = f"no time in 20 s on this machine for {', '.join(left)}"
    return terms, results


def _replaces(arena: Arena, quick: bool, until: float) -> list[dict[str, Any]]:
    """Time replace() and replace_many() beside the code that people write."""
    rounds, count, files = (3, 10, 30) if quick else (7, 40, 1000)
    names = {"replace": replace_cases.OURS, "by hand": replace_cases.BY_HAND}
    times: dict[str, list[float]] = {name: [] for name in (*names, "one by one", "replace_many")}
    with arena.fresh() as folder:
        (folder / "target").write_bytes(replace_cases.DATA)
        many = folder / "many"
        many.mkdir()
        items = [(many / f"{number:04}", replace_cases.DATA) for number in range(files)]
        replace_cases.at_once(items)
        for number in range(rounds):
            if number and time.monotonic() > until:
                break
            for name, case in list(names.items())[:: -1 if number % 2 else 1]:
                times[name].append(case.seconds(folder, count) / count)
            times["replace_many"].append(replace_cases.at_once(items) / files)
            times["one by one"].append(replace_cases.one_by_one(items) / files)
    bases = {"replace": "by hand", "replace_many": "one by one"}
    return [
        {
            "what": name,
            "seconds_per_file": spread(seconds),
            "rounds": seconds,
            "files_at_once": files if name in ("replace_many", "one by one") else 1,
            "times_faster": _faster(times, name, bases.get(name)),
        }
        for name, seconds in times.items()
    ]


def _faster(times: dict[str, list[float]], name: str, base: str | None) -> Any:
    if base is None:
        return None
    return spread([other / own for other, own in zip(times[base], times[name], strict=True)])


def measure(path: Path, *, quick: bool) -> dict[str, Any]:
    """Run everything and return the document that ``--json`` writes."""
    if sys.platform != "linux":
        raise Usage("the benchmark knows how to compare like with like on Linux only")
    if not path.is_dir():
        raise Usage(f"{path} is not a directory")
    filesystem = machine.mount_of(path.resolve())["filesystem"]
    if filesystem in machine.IN_MEMORY:
        raise Usage(f"{path} is a {filesystem}, which syncs nothing: name a directory on a disk")
    skipped: dict[str, str] = {}
    failures: dict[str, str] = {}
    begin = time.monotonic()
    cells_until, until = (
        (begin + CELLS_SECONDS, begin + QUICK_SECONDS) if quick else (math.inf, math.inf)
    )
    with Arena(path) as arena:
        facts = machine.facts(arena.path)
        terms, cells = _cells(arena, quick, cells_until, skipped, failures)
        replaces = _replaces(arena, quick, until)
    return {
        "format": FORMAT,
        "quick": quick,
        "facts": facts,
        "terms": asdict(terms),
        "cells": [
            {"cell": asdict(cell), "contenders": _rows(results)} for cell, results in cells.items()
        ],
        "replace": replaces,
        "skipped": skipped,
        "failures": failures,
    }


def _rows(results: CellResults) -> list[dict[str, Any]]:
    rows = cell_rows(results, CONTENDERS)
    for row in rows:
        counts = results.latencies[str(row["contender"])].counts
        row["latencies_ns"] = {str(time_ns): counts[time_ns] for time_ns in sorted(counts)}
    return rows


def show(document: dict[str, Any]) -> None:
    """Print the tables."""
    terms = document["terms"]
    for name, fact in document["facts"].items():
        print(f"{name + ':':12} {fact}")
    print(f"{'method:':12} {terms['method']}, blocks of {terms['block_bytes']} bytes")
    for entry in document["cells"]:
        if entry["contenders"]:
            report.show(report.cell_table(str(Cell(**entry["cell"])), entry["contenders"]))
    heads = ("replacing a file of 4 KiB", "us a file", "times faster")
    rows = [
        (
            line["what"] + (f", {line['files_at_once']} files" * (line["files_at_once"] > 1)),
            f"{median(line['rounds']) * 1e6:,.0f}",
            report.spread_text(line["times_faster"]) if line["times_faster"] else "",
        )
        for line in document["replace"]
    ]
    report.show(report.Table("Replacing", heads, rows))
    for name, reason in document["skipped"].items():
        print(f"skipped: {name}: {reason}")
    for name, reason in document["failures"].items():
        print(f"FAILED: {name}: {reason}")


def loaded(path: Path) -> dict[str, Any]:
    """Read a document that an earlier run wrote."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise Usage(f"{path} is not JSON: {error}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise Usage(f"{path} was not written by this version of pydurable bench")
    return document


def run(
    path: str,
    *,
    quick: bool,
    load: str | None,
    output: str | None,
    plot: str | None,
    old: str | None,
    limit: float,
) -> int:
    """Measure (or load), print, write JSON and picture, compare; the command's exit code."""
    try:
        if plot:
            from . import picture

            picture.check(plot)
        earlier = loaded(Path(old)) if old else None
        document = loaded(Path(load)) if load else _measured(Path(path), quick)
        show(document)
        if not load:
            target = Path(output or f"pydurable-bench-{date.today()}.json")
            target.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
            print(f"written: {target}")
        if plot:
            picture.draw(document, plot)
            print(f"drawn: {plot}")
    except Usage as error:
        print(f"pydurable: {error}", file=sys.stderr)
        return 2
    worse = compare.show(earlier, document, limit) if earlier else 0
    return 1 if worse or document["failures"] else 0


def _measured(path: Path, quick: bool) -> dict[str, Any]:
    # SIGTERM is to remove the files too.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return measure(path, quick=quick)
    finally:
        signal.signal(signal.SIGTERM, before)
