"""Many threads that commit, and how often the operating system has to switch between them."""

from __future__ import annotations

import os
import resource
import sys
import threading
from pathlib import Path

import pytest

import pydurable

THREADS = 64
COMMITS = 50
ROUNDS = 10
SWITCHES_MAX = 2.6
"""For each commit; 1.2 on an idle machine, and 3.6 if each thread sleeps over the GIL as well."""


def _cores() -> int:
    """How many there are for this process, which may have been given fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _switches(log: pydurable.Log) -> float:
    """Voluntary context switches of the process for each commit, while all threads commit."""

    def work() -> None:
        for _ in range(COMMITS):
            log.commit(b"x" * 64)

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
    return (after - before) / (THREADS * COMMITS)


@pytest.mark.skipif(sys.platform != "linux", reason="threads take turns on Linux alone")
@pytest.mark.skipif(_cores() < 2, reason="on one core no core goes idle meanwhile")
def test_threads_do_not_sleep_over_the_interpreter_lock(tmp_path: Path) -> None:
    """Threads that a flush sends home find the GIL free, one after the other.

    Other programs disturb that, so one undisturbed round of a few is enough.
    """
    with pydurable.Log(tmp_path / "log", method="fdatasync") as log:
        assert min(_switches(log) for _ in range(ROUNDS)) < SWITCHES_MAX
