"""``pydurable bench``: hand over to the benchmark, which is a package of its own."""

from __future__ import annotations

import argparse
import importlib
from typing import Any


def add_bench(commands: Any) -> None:
    """Add the subcommand to the parser."""
    summary = "measure the five targets beside pure Python on a disk"
    bench = commands.add_parser(
        "bench",
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}: 1, 8 and 64 threads, appending beside a "
        "busy thread, replacing files.  Some four minutes; the files go away again.",
    )
    bench.add_argument(
        "path", metavar="PATH", nargs="?", default=".", help="directory on the disk (default: here)"
    )
    bench.add_argument("--quick", action="store_true", help="one round, at most 20 seconds")
    bench.add_argument(
        "--json", metavar="FILE", help="where the figures go (default: pydurable-bench-DATE.json)"
    )
    bench.add_argument("--plot", metavar="FILE", help="draw them too: FILE.png or FILE.svg")
    bench.add_argument(
        "--load", metavar="FILE", help="do not measure: take the figures of an earlier run"
    )
    bench.add_argument(
        "--compare", metavar="OLD.json", help="print ratios against an earlier run, and judge"
    )
    bench.add_argument(
        "--limit",
        metavar="PERCENT",
        type=_percent,
        default=20.0,
        help="exit with 1 if one of pydurable's own figures fell by more (default: %(default)s)",
    )
    bench.set_defaults(run=_run_bench)


def _percent(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 100")
    return value


def _run_bench(arguments: argparse.Namespace) -> int:
    command = importlib.import_module("pydurable_bench.command")
    code: int = command.run(
        arguments.path,
        quick=arguments.quick,
        load=arguments.load,
        output=arguments.json,
        plot=arguments.plot,
        old=arguments.compare,
        limit=arguments.limit,
    )
    return code
