"""``pydurable demo``: commit real lines, kill the writer in mid-flight, and look what is left."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence
from typing import NamedTuple

from pydurable import Log, read_log
from pydurable import _cli_output as output
from pydurable._demo_check import Verdict, check_recovery
from pydurable._demo_child import PLAIN_SYNC, Acknowledgement
from pydurable._demo_lines import THREADS, Lines, Origin, load_lines
from pydurable._demo_place import MEMORY_FILESYSTEMS, filesystem_of, workplace
from pydurable._demo_progress import Show, progress
from pydurable._demo_round import run_round

PLAIN_SECONDS = 2.0

# The kill comes at a moment that nobody chose, so that runs differ in what it interrupts.
KILL_SECONDS = (1.0, 2.5)

_POWER_CUT = """\
SIGKILL is not a power cut: the kernel lived on and kept what it had in memory.
This run shows that recovery finds all that was acknowledged, whenever the
writer dies. Whether the disk keeps what it was told to flush it cannot show."""


class Outcome(NamedTuple):
    """What a run of the demo measured and found."""

    plain: list[Acknowledgement]
    durable: list[Acknowledgement]
    sync_method: str
    recovery_seconds: float
    verdict: Verdict


def run_demo(directory: str | None, input_path: str | None) -> int:
    """Run the demo and print what it found; return 0, or 1 where something was lost or damaged."""
    material = load_lines(input_path)
    with workplace(directory) as folder:
        output.emit(_heading(material, folder))
        # The reader may be slow to look, and the run takes seconds.
        output.flush()
        with progress() as show:
            outcome = _run(material.lines, folder, show)
        output.emit_verdict(_result(outcome))
        if directory is not None:
            output.emit_verdict(
                f"\nKept in {folder}; look inside with\n  pydurable dump {_log(folder)}"
            )
    return 0 if outcome.verdict.good else 1


def _log(folder: str) -> str:
    return os.path.join(folder, "log")


def _run(lines: Sequence[bytes], folder: str, show: Show) -> Outcome:
    """Both rounds, recovery, and the check."""
    text = b"".join(lines)
    plain = run_round(
        "plain",
        os.path.join(folder, "plain.log"),
        text,
        PLAIN_SECONDS,
        lambda done: show("plain Python: write and sync each line", done),
    )
    durable = run_round(
        "durable",
        _log(folder),
        text,
        random.uniform(*KILL_SECONDS),
        lambda done: show("pydurable, until the kill", done),
    )
    show("recovery and check", 1.0)
    begin = time.perf_counter()
    with Log(_log(folder), create=False) as log:
        recovery_seconds = time.perf_counter() - begin
        sync_method = log.sync_method
    acknowledged = {report.lsn: Origin(report.thread, report.turn) for report in durable}
    verdict = check_recovery(read_log(_log(folder)), acknowledged, lines)
    return Outcome(plain, durable, sync_method, recovery_seconds, verdict)


def _heading(material: Lines, folder: str) -> str:
    filesystem = filesystem_of(folder)
    heading = (
        f"{len(material.lines):,} lines of {material.source},\n"
        f"committed again and again by {THREADS} threads\n"
        f"to {folder}" + (f" ({filesystem})" if filesystem else "")
    )
    if filesystem in MEMORY_FILESYSTEMS:
        heading += "\nThat is memory, not a disk: the figures say nothing about durable writes."
    return heading + "\n"


def _result(outcome: Outcome) -> str:
    verdict = outcome.verdict
    ratio = _rate(outcome.durable) / _rate(outcome.plain)
    rows = [
        f"{'':<36}{'commits/s':>12}{'p50':>10}{'p99':>10}",
        _speed(f"pydurable, {outcome.sync_method}", outcome.durable),
        _speed(f"plain Python, write + {PLAIN_SYNC}", outcome.plain),
        f"{'':<36}{'x ' + format(ratio, '.1f'):>12}",
        f"(plain Python: {THREADS} threads, one file, one lock; each line its own write and sync)",
        "",
        "The writer was killed with SIGKILL while its threads were committing.",
        f"  {'acknowledged before the kill':<34}{verdict.acknowledged:>10,}",
        f"  {'recovered':<34}{verdict.recovered:>10,}  in {_time(outcome.recovery_seconds)}",
        f"  {'  of them committed, but not told':<34}{verdict.unconfirmed:>10,}",
        f"  {'acknowledged and lost':<34}{verdict.lost:>10,}",
        f"  {'damaged':<34}{verdict.damaged:>10,}",
        f"  {'never submitted':<34}{verdict.invented:>10,}",
        "",
    ]
    if verdict.good:
        rows.append("Nothing was lost: every acknowledged line is there, byte for byte.")
    else:
        rows += ["LOST OR DAMAGED:", *(f"  {example}" for example in verdict.examples)]
    return "\n".join([*rows, "", _POWER_CUT])


def _speed(name: str, reports: Sequence[Acknowledgement]) -> str:
    latencies = sorted(report.end_ns - report.begin_ns for report in reports)
    p50, p99 = (_time(percentile(latencies, percent) / 1e9) for percent in (50, 99))
    return f"{name:<36}{_rate(reports):>12,.0f}{p50:>10}{p99:>10}"


def _rate(reports: Sequence[Acknowledgement]) -> float:
    """Acknowledgements per second, from the first submission to the last acknowledgement."""
    begin_ns = min(report.begin_ns for report in reports)
    return len(reports) / (max(report.end_ns for report in reports) - begin_ns) * 1e9


def percentile(ordered: Sequence[int], percent: int) -> int:
    """The value that ``percent`` of the ordered values do not exceed (nearest rank).

    >>> percentile([10, 20, 30, 40], 50), percentile([10, 20, 30, 40], 99)
    (20, 40)
    """
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def _time(seconds: float) -> str:
    """A duration in the unit that reads best.

    >>> _time(0.00021), _time(0.0042), _time(1.5)
    ('210 us', '4.2 ms', '1.50 s')
    """
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} us"
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"
