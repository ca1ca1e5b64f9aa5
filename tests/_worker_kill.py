"""A process that is there to be killed: commits and tells of each record once it may.

The test starts this file once; it imports everything and forks a writer for a line of standard
input that holds the settings as JSON.  With the next line, or the end of input, it kills the writer
and answers "ended STATUS" on standard error.  A writer reports on standard output, whose pipe
outlives it: what was reported before the kill is there to be read.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import traceback
from typing import Any

from _history import Durable, Fact, TruncationBegun, TruncationDone, make_record, read_record
from _targets import SEGMENT_BYTES
from _workload import run_writers

from pydurable import Log


def report(fact: Fact) -> None:
    """One short line, written whole: several threads report."""
    if isinstance(fact, Durable):
        (record,) = fact.records
        line = ["durable", fact.first, *read_record(record)]
    else:
        line = ["truncating" if isinstance(fact, TruncationBegun) else "truncated", fact.lsn]
    os.write(1, (" ".join(map(str, line)) + "\n").encode())


def parse(line: str) -> Fact:
    """What :func:`report` has written."""
    name, lsn, *parts = line.split(" ")
    if name == "durable":
        return Durable(int(lsn), (make_record(*map(int, parts)),))
    return {"truncating": TruncationBegun, "truncated": TruncationDone}[name](int(lsn))


def write(settings: dict[str, Any]) -> None:
    """Write until killed, and begin anew with another number of threads now and then."""
    dice = random.Random(settings["seed"])
    number = settings["first_number"]
    while True:
        with Log(
            settings["path"],
            sync=settings["sync"],
            method=settings["method"],
            segment_bytes=SEGMENT_BYTES,
            interval=0.01,
        ) as log:
            threads = dice.choice([1, 1, 4])
            run_writers(
                log,
                report,
                dice,
                threads=threads,
                steps=dice.randrange(200) // threads,
                # What the operating system has survives a kill, whatever the target.
                waits=True,
                first_number=number,
            )
        number += 10


def main() -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                write(json.loads(line))
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
        sys.stdin.readline()
        # Nobody has waited for the child, so that the number is still its own.
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        print(f"ended {os.waitstatus_to_exitcode(status)}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
