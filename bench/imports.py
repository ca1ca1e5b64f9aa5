"""Measure what importing costs: ``python -m bench.imports [--rounds N]``.

Interpreters are started in shuffled order, bare ones among them, without site, so that an editable
installation costs nothing.  Printed is the processor time over a bare interpreter's, the median of
the rounds and the least; the time of the clock is given beside it.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import sysconfig
import time
from statistics import median

from . import ROOT

GOAL_MS = 15
BARE = "pass"
STATEMENTS = (
    BARE,
    "import pydurable",
    "from pydurable import Log",
    "from pydurable import replace, open_atomic",
    "import typing",
    "import json",
    "import dataclasses",
)


def start_ms(statement: str) -> tuple[float, float]:
    """Processor and clock time of an interpreter that does this, in milliseconds."""
    places = [str(ROOT), sysconfig.get_path("platlib")]
    program = f"import sys; sys.path[:0] = {places!r}; {statement}"
    begin = time.perf_counter()
    pid = os.posix_spawn(sys.executable, [sys.executable, "-S", "-c", program], os.environ)
    _, status, usage = os.wait4(pid, 0)
    elapsed = time.perf_counter() - begin
    if status:
        raise ChildProcessError(f"{statement!r} failed")
    return (usage.ru_utime + usage.ru_stime) * 1e3, elapsed * 1e3


def main() -> int:
    """Measure and print; 1 if ``import pydurable`` takes more than the goal."""
    parser = argparse.ArgumentParser(prog="python -m bench.imports", description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    rounds = parser.parse_args().rounds
    taken: dict[str, list[tuple[float, float]]] = {statement: [] for statement in STATEMENTS}
    for _ in range(rounds):
        for statement in random.sample(STATEMENTS, len(STATEMENTS)):
            taken[statement].append(start_ms(statement))
    over = {}
    print(f"{'over a bare interpreter, ms':<44}{'median':>8}{'least':>8}{'clock':>8}")
    for statement, times in taken.items():
        cpu, clock = ([each[i] for each in times] for i in (0, 1))
        bare_cpu, bare_clock = ([each[i] for each in taken[BARE]] for i in (0, 1))
        over[statement] = median(cpu) - median(bare_cpu)
        figures = (over[statement], min(cpu) - min(bare_cpu), median(clock) - median(bare_clock))
        if statement == BARE:
            figures = median(cpu), min(cpu), median(clock)
            statement = "(a bare interpreter by itself)"
        print(f"{statement:<44}" + "".join(f"{figure:8.1f}" for figure in figures))
    met = over["import pydurable"] <= GOAL_MS
    print(f"goal: import pydurable within {GOAL_MS} ms: {'reached' if met else 'not reached'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
