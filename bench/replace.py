"""Measure replacing files: python -m bench.replace [--folder FOLDER] [--rounds N].

Everything is compared within one run: the contenders take turns in a new order each round, and
the figures are medians over the rounds of ratios between neighbours, with the least and the
greatest behind them.  Each turn starts from the same state.  Nothing is left out of a sync; what a
library leaves out itself is said beside its name.  The lines "against itself" compare one way with
the same way: a difference no larger than theirs says nothing.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from . import places, report
from .replace_cases import (
    BY_HAND,
    BYTES,
    DATA,
    ITSELF,
    OURS,
    Case,
    at_once,
    atomic_stream,
    floor,
    libraries,
    one_by_one,
    plain_stream,
)
from .replace_disk import built_floor, cached_bytes, fresh_folder, settled_memory, spread_out
from .rounds import spread

MIB = 1 << 20
CHUNK_BYTES = 4 * MIB


@dataclass(frozen=True)
class Line:
    """One figure, and the goal that it has to reach, if there is one."""

    filesystem: str
    what: str
    figure: str
    goal: str = ""
    reached: bool | None = None


Times = dict[str, list[float]]


def ratios(ours: list[float], theirs: list[float]) -> tuple[float, str]:
    """Return the median of the rounds' ratios, and the text of it with least and greatest."""
    found = spread([a / b for a, b in zip(ours, theirs, strict=True)])
    assert found is not None
    return found["median"], report.spread_text(found)


def measure_one(folder: Path, kind: str, cases: list[Case], args: argparse.Namespace) -> list[Line]:
    """Compare single replacements of a small file."""
    (folder / "target").write_bytes(DATA)
    times: Times = {case.name: [] for case in cases}
    for case in cases:
        case.seconds(folder, 5)
    for _ in range(args.rounds):
        for case in random.sample(cases, len(cases)):
            times[case.name].append(case.seconds(folder, args.count) / args.count)
    lines = []
    for case in cases:
        each = f"{statistics.median(times[case.name]) * 1e6:.0f} us"
        if case is OURS:
            lines.append(Line(kind, case.name, each))
            continue
        ratio, text = ratios(times[OURS.name], times[case.name])
        figure = f"{each}; pydurable takes {text} of that"
        if case is ITSELF:
            lines.append(Line(kind, case.name, figure))
        elif case.skips:
            lines.append(Line(kind, f"{case.name}, without {case.skips}", figure))
        else:
            limit = 1.1 if case.name.endswith("in C") else 1.0
            reached = ratio <= limit
            lines.append(Line(kind, case.name, figure, f"at most {limit:.2f}", reached))
    return lines


def measure_many(folder: Path, kind: str, args: argparse.Namespace) -> list[Line]:
    """Compare one batch with as many single calls, in fresh directories and in one for all."""
    base = folder / "many"
    base.mkdir()
    spread_out(base)
    what = f"replace_many of {args.files} files of {BYTES} bytes"

    def items_in(place: Path) -> list[tuple[Path, bytes]]:
        items = [(place / f"{number:04}", DATA) for number in range(args.files)]
        at_once(items)
        return items

    fresh: Times = {"single": [], "batch": []}
    again: Times = {"single": [], "batch": []}
    ways = {"single": one_by_one, "batch": at_once}
    for _ in range(args.rounds_many):
        for name in random.sample(list(ways), len(ways)):
            with fresh_folder(base) as place:
                fresh[name].append(ways[name](items_in(place)))
    with fresh_folder(base) as place:
        items = items_in(place)
        for _ in range(args.rounds_many):
            for name in random.sample(list(ways), len(ways)):
                again[name].append(ways[name](items))
    return [
        _many_line(kind, f"{what}, each turn in a fresh directory", fresh),
        _many_line(kind, f"{what}, over and over in one directory", again),
    ]


def _many_line(kind: str, what: str, times: Times) -> Line:
    gain, text = ratios(times["single"], times["batch"])
    batch, single = (
        f"{statistics.median(times[name]) * 1e3:.0f} ms" for name in ("batch", "single")
    )
    figure = f"{batch} against {single}: {text} times faster"
    return Line(kind, what, figure, "at least 3.0 times", gain >= 3)


def measure_stream(folder: Path, kind: str, args: argparse.Namespace) -> list[Line]:
    """Compare a large stream with a plain file, and look at what it leaves in the page cache."""
    count = args.stream_mib * MIB // CHUNK_BYTES
    chunk = random.randbytes(CHUNK_BYTES)
    target = folder / "stream"
    ways: dict[str, Callable[[], float]] = {
        "write and fsync": lambda: plain_stream(target, chunk, count),
        "write and fsync against itself": lambda: plain_stream(target, chunk, count),
        "open_atomic": lambda: atomic_stream(target, chunk, count, False),
        "open_atomic(direct=True)": lambda: atomic_stream(target, chunk, count, True),
    }
    times: Times = {name: [] for name in ways}
    cached = []
    for _ in range(args.rounds_stream):
        for name in random.sample(list(ways), len(ways)):
            target.unlink(missing_ok=True)
            settled_memory(folder, count * CHUNK_BYTES, args.settle)
            times[name].append(ways[name]())
            if name.endswith("(direct=True)"):
                cached.append(cached_bytes(target))
    target.unlink()
    plain, *others = times
    size = f"{args.stream_mib} MiB"
    lines = [Line(kind, f"{size}, {plain}", _rate(times[plain], args))]
    for name in others:
        ratio, text = ratios(times[name], times[plain])
        figure = f"{_rate(times[name], args)}; {text} of the plain file's time"
        goal = ("at most 1.00", ratio <= 1) if name == "open_atomic" else ("", None)
        lines.append(Line(kind, f"{size}, {name}", figure, *goal))
    figure = f"{max(cached) / MIB:.1f} MiB"
    what = "the page cache after direct=True"
    return [*lines, Line(kind, what, figure, "below 32 MiB", max(cached) < 32 * MIB)]


def _rate(times: list[float], args: argparse.Namespace) -> str:
    return f"{args.stream_mib / statistics.median(times):.0f} MiB/s"


def table(lines: list[Line]) -> report.Table:
    """Lay out the figures."""
    words = {True: "reached", False: "not reached", None: ""}
    return report.Table(
        "Replacing files: median (least-greatest) of the rounds",
        ("what", "on", "measured", "goal", ""),
        [
            (line.what, line.filesystem, line.figure, line.goal, words[line.reached])
            for line in lines
        ],
    )


PARTS = ("one", "many", "stream")


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="python -m bench.replace", description=__doc__)
    places.add_options(parser, ("ext4", "xfs"))
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure, if not all"
    )
    parser.add_argument("--rounds", type=int, default=15, help="of single replacements")
    parser.add_argument("--count", type=int, default=40, help="replacements in each round")
    parser.add_argument("--files", type=int, default=1000, help="in a batch")
    parser.add_argument("--rounds-many", type=int, default=5)
    parser.add_argument("--stream-mib", type=int, default=1024)
    parser.add_argument("--rounds-stream", type=int, default=5)
    parser.add_argument(
        "--settle",
        type=float,
        default=2.5,
        help="seconds before each stream, in which the machine gives back what memory it will",
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and return 0 if every goal was reached."""
    args = parsed(arguments)
    lines: list[Line] = []
    with tempfile.TemporaryDirectory() as scratch, places.places(args) as found:
        try:
            bare = [floor(built_floor(Path(scratch)))]
        except places.Unavailable as missing:
            print(f"no floor: {missing}", file=sys.stderr)
            bare = []
        cases = [OURS, ITSELF, *bare, BY_HAND, *libraries()]
        for kind, folder in found:
            if "one" in args.parts:
                lines += measure_one(folder, kind, cases, args)
            if "many" in args.parts:
                lines += measure_many(folder, kind, args)
            if "stream" in args.parts:
                lines += measure_stream(folder, kind, args)
    report.show(table(lines))
    if args.json:
        args.json.write_text(json.dumps([asdict(line) for line in lines], indent=2) + "\n")
    return 0 if all(line.reached is not False for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
