"""Logs under every target that promises something, killed and recovered and written on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _history import Promises
from _powercut import check_reopened, open_after_cut, shown
from _targets import SEGMENT_BYTES, WAITING
from _workload import run_writers

from pydurable import Log, read_log
from pydurable._demo_check import check_recovery
from pydurable._demo_child import REPORT
from pydurable._demo_lines import Origin, load_lines

from .workloads import Stage, Workload

STEPS = 160
"""Of all threads together: some segments are filled, truncated and used again."""

DEMO_TURNS = 30
DEMO_LINES = 500


def check_log(root: Path, facts: Sequence[Any], dice: random.Random) -> None:
    """The log opens and keeps every promise; one in four is also verified and written on."""
    promises = Promises()
    for fact in facts:
        promises.add(fact)
    check_reopened(root / "log", promises, thorough=dice.random() < 0.25)


def write_session(
    stage: Stage, log: Log, number: int, threads: int, steps: int, waits: bool = True
) -> None:
    """What recovery shows is a promise; then each thread takes its steps, from ``number`` on."""
    stage.note(shown(log))
    run_writers(
        log,
        stage.note,
        stage.dice,
        threads=threads,
        steps=steps,
        waits=waits,
        first_number=number,
    )


def log_workload(sync: str, method: str, threads: int, sessions: int = 2) -> Workload:
    """Sessions of threads that commit, append, sync and truncate at random."""

    def write(stage: Stage) -> None:
        for session in range(sessions):
            with Log(
                stage.root / "log",
                sync=sync,
                method=method,
                segment_bytes=SEGMENT_BYTES,
                # Under "interval" syncs are to happen; else the keeper's watermarks are.
                interval=0.005,
            ) as log:
                write_session(stage, log, session * 10, threads, STEPS // threads, sync in WAITING)

    return Workload(write, check_log, goes_on="log-recovered")


def write_on(stage: Stage) -> None:
    """Recover what a power cut or a kill has left, and commit a little."""
    with open_after_cut(stage.root / "log") as log:
        threads = stage.dice.choice([1, 4])
        write_session(stage, log, 1000 * stage.dice.randrange(1, 1 << 20), threads, steps=8)


def write_killed(stage: Stage) -> None:
    """A writer is killed at some moment; what the kernel holds of it is recovered, then cut."""
    child = os.fork()
    if child == 0:
        try:
            log_workload("group", "fdatasync", 8, sessions=1).write(stage)
        finally:
            os._exit(0)
    until = time.monotonic() + stage.dice.uniform(0.05, 0.4)
    while time.monotonic() < until:
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    write_on(stage)


def write_demo(stage: Stage) -> None:
    """The writer of ``pydurable demo``, which reports to the disk itself, and dies without a close.

    Its segments are made small enough for the disk under test.
    """
    code = (
        "import os, sys, threading, pydurable\n"
        "import pydurable._demo_child as child\n"
        f"child.MAX_TURNS = {DEMO_TURNS}\n"
        "log = pydurable.Log(sys.argv[1], segment_bytes=1 << 20)\n"
        "child.KINDS['durable'] = lambda path: log.commit\n"
        "child.main('durable', sys.argv[1])\n"
        "for thread in threading.enumerate()[1:]:\n"
        "    if thread.name.startswith('Thread-'):\n"
        "        thread.join()\n"
        "os._exit(0)\n"
    )
    subprocess.run(
        [sys.executable, "-c", code, os.fspath(stage.root / "log")],
        input=b"".join(line for line in load_lines(None).lines[:DEMO_LINES]),
        stdout=stage.ack,
        check=True,
    )


def check_demo(root: Path, facts: Sequence[bytes], dice: random.Random) -> None:
    """The demo's own judgement of what it wrote."""
    reports = [REPORT.unpack(fact) for fact in facts]
    acknowledged = {lsn: Origin(thread, turn) for thread, turn, lsn, _, _ in reports}
    with open_after_cut(root / "log", create=not acknowledged) as log:
        records = list(read_log(log.path))
    verdict = check_recovery(records, acknowledged, load_lines(None).lines[:DEMO_LINES])
    assert verdict.good, f"{verdict.lost} lost: {verdict.examples}"


LOG_WORKLOADS = {
    f"log-{sync}-{method}-{threads}": log_workload(sync, method, threads)
    for sync, method, threads in [
        ("group", "fdatasync", 1),
        ("group", "fdatasync", 8),
        ("group", "fsync", 8),
        ("group", "dsync", 8),
        ("group", "direct", 1),
        ("group", "direct", 8),
        ("group", "direct+dsync", 8),
        ("each", "fdatasync", 1),
        ("each", "fdatasync", 8),
        ("each", "direct", 8),
        ("paranoid", "auto", 1),
        ("paranoid", "auto", 8),
        ("interval", "fdatasync", 1),
        ("none", "fdatasync", 1),
    ]
} | {
    "log-recovered": Workload(write_on, check_log, goes_on="log-recovered"),
    "log-killed": Workload(write_killed, check_log, goes_on="log-recovered"),
    "demo": Workload(write_demo, check_demo),
}
