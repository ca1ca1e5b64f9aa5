"""``python -m tests.powercut``: cut the power of real filesystems and check what comes back."""

from __future__ import annotations

import argparse
import os
import random
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from . import requirements
from .campaign import Tally, run_campaign
from .crew import crew
from .filesystems import FILESYSTEMS
from .laboratory import load_state

SKIPPED = 77
"""The exit status of test programs that could not run (automake's)."""


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.powercut",
        description="Cut the power of real filesystems, mount what that leaves, and check it.",
        epilog=f"Exit status: 0 all promises kept, 1 violations, {SKIPPED} could not run here.",
    )
    parser.add_argument(
        "--states", type=int, default=4500, help="distinct states, of all filesystems together"
    )
    parser.add_argument("--fs", choices=["all", *FILESYSTEMS], default="all")
    parser.add_argument("--seed", type=int, help="of all dice; drawn and shown if not given")
    parser.add_argument("--minutes", type=float, help="begin nothing new after this time")
    parser.add_argument(
        "--workers",
        type=int,
        default=2 * (os.cpu_count() or 1),
        help="processes at work at once; each waits for the kernel half of its time",
    )
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="keep the first failing state of each job there"
    )
    parser.add_argument(
        "--replay", type=Path, metavar="STATE", help="check one kept state (a directory in DIR)"
    )
    options = parser.parse_args(arguments)
    if options.states < 1 or options.workers < 1:
        parser.error("--states and --workers must be at least 1")
    return options


def replay(folder: Path, console: Console) -> int:
    """Build one kept state and check it again."""
    state = load_state(folder)
    with crew(1) as workers:
        problem = workers.check(state)
    console.print(f"{state.filesystem} {state.workload}, cut after {state.moment}", soft_wrap=True)
    console.print(problem or "all promises are kept", markup=False, soft_wrap=True)
    return 1 if problem else 0


def run(options: argparse.Namespace, names: list[str], console: Console) -> int:
    seed = random.getrandbits(32) if options.seed is None else options.seed
    console.print(f"seed {seed}, {options.workers} workers", highlight=False)
    share = -(-options.states // len(names))
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with (
        crew(options.workers, options.keep) as workers,
        Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress,
    ):
        bars = {name: progress.add_task(f"{name:6}", total=share) for name in names}

        def show(tally: Tally) -> None:
            for name, bar in bars.items():
                progress.update(bar, completed=min(share, tally.distinct(name)))
            for violation in tally.outcomes[-1].violations[:1]:
                progress.console.print(f"VIOLATION {violation}", markup=False, soft_wrap=True)

        seconds = None if options.minutes is None else options.minutes * 60
        wanted = dict.fromkeys(names, share)
        tally = run_campaign(workers, wanted, seed, options.workers, show, seconds)
    report(tally, console)
    return 1 if tally.violations else 0


def report(tally: Tally, console: Console) -> None:
    """One line for each filesystem and one for all."""
    for name in tally.wanted:
        own = [o for o in tally.outcomes if o.job.filesystem == name]
        console.print(
            f"{name}: {tally.distinct(name)} distinct states of {len(own)} runs "
            f"({sum(o.writes for o in own)} writes, {sum(o.flushes for o in own)} flushes, "
            f"{sum(o.facts for o in own)} promises), "
            f"{sum(len(o.violations) for o in own)} violations",
            highlight=False,
            soft_wrap=True,
        )
    for outcome in tally.outcomes:
        if outcome.kept:
            console.print(f"kept: {outcome.kept}", highlight=False, soft_wrap=True)
    states = sum(tally.distinct(name) for name in tally.wanted)
    verdict = f"{len(tally.violations)} VIOLATIONS" if tally.violations else "no violation"
    console.print(
        f"power cuts: {states} distinct states in {tally.seconds:.0f} s, {verdict}"
        + ("" if tally.in_time else " (time was up)"),
        highlight=False,
    )


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    console = Console()
    names = list(FILESYSTEMS) if options.fs == "all" else [options.fs]
    lacking = requirements.missing(names)
    if lacking:
        console.print(f"power cuts: skipped, this needs {lacking}", highlight=False)
        return SKIPPED
    try:
        return replay(options.replay, console) if options.replay else run(options, names, console)
    except KeyboardInterrupt:
        console.print("interrupted")
        return 130


if __name__ == "__main__":
    sys.exit(main())
