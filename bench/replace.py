"""Measure replacing files: python -m bench.replace [--folder FOLDER] [--rounds N].

Everything is compared within one run: the contenders take turns in a new order each round, and
the figures are medians over the rounds of ratios between neighbours.  Nothing is left out of a
sync; what a library leaves out itself is said beside its name.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from .replace_cases import (
    BY_HAND,
    BYTES,
    DATA,
    OURS,
    Case,
    at_once,
    atomic_stream,
    floor,
    libraries,
    one_by_one,
    plain_stream,
)
from .replace_disk import (
    Unavailable,
    built_floor,
    cached_bytes,
    filesystem,
    loop_mounted,
    note,
)

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


def median_ratio(ours: list[float], theirs: list[float]) -> float:
    """Return the median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def measure_one(folder: Path, kind: str, cases: list[Case], args: argparse.Namespace) -> list[Line]:
    """Compare single replacements of a small file."""
    (folder / "target").write_bytes(DATA)
    times: dict[str, list[float]] = {case.name: [] for case in cases}
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
        ratio = median_ratio(times[OURS.name], times[case.name])
        figure = f"{each}; pydurable takes {ratio:.2f} of that"
        what = f"{case.name}, without {case.skips}" if case.skips else case.name
        if case.skips:
            lines.append(Line(kind, what, figure))
            continue
        limit = 1.1 if case.name.endswith("in C") else 1.0
        lines.append(Line(kind, what, figure, f"at most {limit:.2f}", ratio <= limit))
    return lines


def measure_many(folder: Path, kind: str, args: argparse.Namespace) -> list[Line]:
    """Compare one batch with as many single calls."""
    place = folder / "many"
    place.mkdir()
    items = [(place / f"{number:04}", DATA) for number in range(args.files)]
    at_once(items)
    single, batch = [], []
    for turn in range(args.rounds_many):
        for which in (0, 1) if turn % 2 else (1, 0):
            (single if which else batch).append((one_by_one if which else at_once)(items))
    gain = median_ratio(single, batch)
    figure = (
        f"{statistics.median(batch) * 1e3:.0f} ms against {statistics.median(single) * 1e3:.0f} ms"
        f": {gain:.1f} times faster"
    )
    what = f"replace_many of {args.files} files of {BYTES} bytes"
    return [Line(kind, what, figure, "at least 3.0 times", gain >= 3)]


def measure_stream(folder: Path, kind: str, args: argparse.Namespace) -> list[Line]:
    """Compare a large stream with a plain file, and look at what it leaves in the page cache."""
    count = args.stream_mib * MIB // CHUNK_BYTES
    chunk = random.randbytes(CHUNK_BYTES)
    target = folder / "stream"
    times: dict[str, list[float]] = {"plain": [], "atomic": [], "direct": []}
    cached = []
    for _ in range(args.rounds_stream):
        for name in random.sample(list(times), len(times)):
            target.unlink(missing_ok=True)
            if name == "plain":
                times[name].append(plain_stream(target, chunk, count))
            else:
                times[name].append(atomic_stream(target, chunk, count, name == "direct"))
            if name == "direct":
                cached.append(cached_bytes(target))
    target.unlink()
    lines = [
        Line(kind, f"{args.stream_mib} MiB, write and fsync", _rate(times["plain"], args)),
    ]
    for name, what in (("atomic", "open_atomic"), ("direct", "open_atomic(direct=True)")):
        ratio = median_ratio(times[name], times["plain"])
        figure = f"{_rate(times[name], args)}; {ratio:.2f} of the plain file's time"
        goal = ("at most 1.00", ratio <= 1) if name == "atomic" else ("", None)
        lines.append(Line(kind, f"{args.stream_mib} MiB, {what}", figure, *goal))
    figure = f"{max(cached) / MIB:.1f} MiB"
    what = "the page cache after direct=True"
    return [*lines, Line(kind, what, figure, "below 32 MiB", max(cached) < 32 * MIB)]


def _rate(times: list[float], args: argparse.Namespace) -> str:
    return f"{args.stream_mib / statistics.median(times):.0f} MiB/s"


def show(lines: list[Line]) -> None:
    """Print a table, with rich if it is installed."""
    rows = [
        (
            line.filesystem,
            line.what,
            line.figure,
            line.goal,
            {True: "reached", False: "not reached", None: ""}[line.reached],
        )
        for line in lines
    ]
    heads = ("on", "what", "measured", "goal", "")
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        for row in (heads, *rows):
            print(" | ".join(row))
        return
    table = Table(*heads)
    for row in rows:
        table.add_row(*row)
    console = Console()
    # A file or a pipe has no width of its own: there the lines stay whole.
    Console(width=160).print(table) if not console.is_terminal else console.print(table)


@contextlib.contextmanager
def places(folder: Path, args: argparse.Namespace) -> Iterator[list[tuple[str, Path]]]:
    """Yield the folders to measure in: the given one, and those on loop-mounted filesystems."""
    with contextlib.ExitStack() as stack:
        given = f"{filesystem(folder.resolve())} {note(folder)}".strip()
        found = [(given, folder)]
        for kind in args.also:
            try:
                place = stack.enter_context(loop_mounted(kind, folder))
            except Unavailable as missing:
                print(missing, file=sys.stderr)
            else:
                found.append((f"{kind} (loop)", place))
        yield found


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="python -m bench.replace", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="on the disk to measure")
    parser.add_argument(
        "--also",
        nargs="*",
        choices=("ext4", "xfs"),
        default=("ext4", "xfs"),
        help="filesystems to mount on a loop device, which takes root",
    )
    parser.add_argument("--rounds", type=int, default=15, help="of single replacements")
    parser.add_argument("--count", type=int, default=40, help="replacements in each round")
    parser.add_argument("--files", type=int, default=1000, help="in a batch")
    parser.add_argument("--rounds-many", type=int, default=5)
    parser.add_argument("--stream-mib", type=int, default=1024)
    parser.add_argument("--rounds-stream", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and return 0 if every goal was reached."""
    args = parsed(arguments)
    lines: list[Line] = []
    with tempfile.TemporaryDirectory(dir=args.folder, prefix="bench-replace-") as name:
        base = Path(name)
        try:
            bare = [floor(built_floor(base))]
        except Unavailable as missing:
            print(f"no floor: {missing}", file=sys.stderr)
            bare = []
        cases = [OURS, *bare, BY_HAND, *libraries()]
        with places(base, args) as found:
            for kind, folder in found:
                lines += measure_one(folder, kind, cases, args)
                lines += measure_many(folder, kind, args)
                lines += measure_stream(folder, kind, args)
    show(lines)
    if args.json:
        args.json.write_text(json.dumps([asdict(line) for line in lines], indent=2) + "\n")
    return 0 if all(line.reached is not False for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
