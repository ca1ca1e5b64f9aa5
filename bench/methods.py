"""Does ``method="auto"`` choose well?  ``python -m bench.methods [--folder FOLDER] [--pg]``.

On the folder's own filesystem and on ext4, xfs and btrfs in loop mounts (which takes root) a log
commits with each method that can be named, in short slices whose order changes each round.  The
method that auto takes is held against the best of them by hand: the ratio of their medians, round
by round.  The time that the choice took is printed too, and with ``--pg`` what pg_test_fsync says
beside the doctor's measurement.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from pydurable import Log
from pydurable._native_storage import measure, probe

from . import places, report
from .rounds import spread

METHODS = ("fdatasync", "fsync", "dsync", "direct", "direct+dsync")
WITHIN = 1.05
PROBE_SECONDS = 0.3
RECORD = b"x" * 64
SEGMENT = 16 << 20
WARM = 50  # commits in which a new log writes its first zeros
# What both measure: 8 KiB over space that was written before.
PG_BYTES = 8192
PG_WAYS = {"open_datasync": "O_DSYNC", "fdatasync": "fdatasync", "fsync": "fsync"}


def slice_us(log: Log, count: int) -> float:
    """Commit some records alone and return the median time."""
    times = []
    for _ in range(count):
        begin = time.perf_counter()
        log.commit(RECORD)
        times.append(time.perf_counter() - begin)
    return median(times) * 1e6


def chosen_in(folder: Path, probes: int) -> tuple[dict[str, int], list[float]]:
    """Let auto choose some times: how often it took which method, and how long that took."""
    counts: dict[str, int] = {}
    seconds = []
    for _ in range(probes):
        found = probe(str(folder), appending=False)
        counts[found.method] = counts.get(found.method, 0) + 1
        seconds.append(found.seconds)
    return counts, seconds


def by_hand(folder: Path, rounds: int, count: int) -> dict[str, list[float]]:
    """Median microseconds of a commit for each method in each round."""
    times: dict[str, list[float]] = {method: [] for method in METHODS}
    with tempfile.TemporaryDirectory(dir=folder) as name, contextlib.ExitStack() as stack:
        logs = {
            method: stack.enter_context(
                Log(Path(name, method), method=method, segment_bytes=SEGMENT)
            )
            for method in METHODS
        }
        for log in logs.values():
            slice_us(log, WARM)
        for _ in range(rounds):
            for method in random.sample(METHODS, len(METHODS)):
                times[method].append(slice_us(logs[method], count))
    return times


def judge(kind: str, folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Hold auto against the best by hand on one filesystem."""
    counts, seconds = chosen_in(folder, args.probes)
    times = by_hand(folder, args.rounds, args.count)
    taken = max(counts, key=lambda method: counts[method])
    best = min(METHODS, key=lambda method: median(times[method]))
    ratios = [ours / theirs for ours, theirs in zip(times[taken], times[best], strict=True)]
    return {
        "filesystem": kind,
        "taken": taken,
        "choices": counts,
        "best": best,
        "ratio": spread(ratios),
        "medians_us": {method: median(times[method]) for method in METHODS},
        "probe_seconds": spread(seconds),
        "left_behind": sorted(path.name for path in folder.glob("probe.*")),
    }


def pg_rates(program: str, folder: Path) -> dict[str, float]:
    """Run pg_test_fsync for a second a test: microseconds for each method, first table."""
    target = folder / "pg_test_fsync.out"
    command = [program, "-s", "1", "-f", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"pg_test_fsync: {done.stderr.strip()}")
    first = done.stdout.partition("using two")[0]
    found = re.findall(r"^\s+(\w+)\s+[\d.]+ ops/sec\s+(\d+) usecs/op", first, re.MULTILINE)
    return {name: float(us) for name, us in found}


def pg_program() -> str | None:
    """pg_test_fsync on the path, or where Debian puts it."""
    debian = Path("/usr/lib/postgresql").glob("*/bin/pg_test_fsync")
    return shutil.which("pg_test_fsync") or next(map(str, debian), None)


def pg_lines(kind: str, folder: Path) -> list[tuple[str, ...]]:
    """Rows that hold the doctor's figures against those of pg_test_fsync."""
    program = pg_program()
    if program is None:
        print("no pg_test_fsync here (Debian: postgresql)", file=sys.stderr)
        return []
    rows = []
    theirs = pg_rates(program, folder)
    for name, way in PG_WAYS.items():
        # Versions before 16 open with O_DIRECT too where that works: that row says less then.
        times = measure(str(folder), way, "zeroed", writers=1, size=PG_BYTES, seconds=1.0)
        if name in theirs and times:
            ours = sum(times) / len(times) / 1e3
            rows.append(
                (kind, name, f"{theirs[name]:,.0f}", f"{ours:,.0f}", f"{ours / theirs[name]:.2f}")
            )
    return rows


def show(results: list[dict[str, Any]]) -> bool:
    """Print the table; whether both goals are reached everywhere."""
    heads = ("filesystem", "taken", "best by hand", f"ratio (goal {WITHIN})", "probe s (goal 0.3)")
    rows = []
    good = True
    for result in results:
        ratio, seconds = result["ratio"], result["probe_seconds"]
        good &= ratio["median"] <= WITHIN and seconds["median"] <= PROBE_SECONDS
        good &= not result["left_behind"]
        rows.append(
            (
                result["filesystem"],
                result["taken"],
                result["best"],
                report.spread_text(ratio),
                report.spread_text(seconds),
            )
        )
    report.show(report.Table("What auto takes, against the best method by hand", heads, rows))
    heads = ("filesystem", *METHODS, "choices")
    detail = [
        (
            result["filesystem"],
            *(f"{result['medians_us'][method]:,.0f}" for method in METHODS),
            ", ".join(f"{name} {n}" for name, n in result["choices"].items()),
        )
        for result in results
    ]
    report.show(report.Table("Microseconds for a commit of 64 bytes, one thread", heads, detail))
    return good


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="python -m bench.methods", description=__doc__)
    places.add_options(parser, ("ext4", "xfs", "btrfs"))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--count", type=int, default=100, help="commits in each slice")
    parser.add_argument("--probes", type=int, default=9, help="how often auto chooses")
    parser.add_argument(
        "--pg", action="store_true", help="compare with pg_test_fsync, some 20 s each"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and return 0 if auto is within 5 % of the best and quick enough."""
    args = parsed(arguments)
    results, rows = [], []
    with places.places(args) as found:
        for kind, folder in found:
            results.append(judge(kind, folder, args))
            if args.pg:
                rows += pg_lines(kind, folder)
    good = show(results)
    if rows:
        heads = ("filesystem", "method", "pg_test_fsync us", "doctor us", "ratio")
        report.show(report.Table("8 KiB over written space, means", heads, rows))
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
