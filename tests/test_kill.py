"""SIGKILL at any moment takes no record that commit has returned for, whatever the target."""

from __future__ import annotations

import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from _history import Promises
from _patience import PATIENCE_S
from _powercut import new_seed, recovered, shown
from _targets import SEGMENT_BYTES, skip_if_refused
from _worker_kill import parse
from _workload import run_writers

from pydurable import Log, verify_log

WORKER = Path(__file__).with_name("_worker_kill.py")
TARGETS = [
    ("group", "fdatasync"),
    ("group", "direct+dsync"),
    ("each", "fdatasync"),
    ("paranoid", "auto"),
    ("interval", "dsync"),
    ("none", "fdatasync"),
]


class Victims:
    """Starts writers and kills them."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, os.fspath(WORKER)],
            # The pydurable that is tested here, wherever it comes from.
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._orders, self._answers = self._process.stdin, self._process.stderr
        self._reports = self._process.stdout.fileno()
        os.set_blocking(self._reports, False)

    def run(self, settings: dict[str, Any], lines: int, seconds: float) -> list[str]:
        """Kill a writer after that many reports or that long; return all that it reported."""
        self._order(json.dumps(settings))
        reports = b""
        end = time.monotonic() + seconds
        while reports.count(b"\n") < lines and (left := end - time.monotonic()) > 0:
            if select.select([self._reports], [], [], left)[0]:
                reports += os.read(self._reports, 1 << 16)
        self._order("kill")
        self._expect(f"ended {-signal.SIGKILL}")
        # Whatever was reported is in the pipe by now.
        while select.select([self._reports], [], [], 0)[0]:
            reports += os.read(self._reports, 1 << 16)
        return reports.decode().splitlines()

    def _order(self, line: str) -> None:
        self._orders.write(line.encode() + b"\n")
        self._orders.flush()

    def _expect(self, answer: str) -> None:
        """Read that answer; a writer that failed has told why before its own."""
        lines = [self._answers.readline().decode()]
        while lines[-1] and not lines[-1].startswith("ended "):
            lines.append(self._answers.readline().decode())
        assert lines == [answer + "\n"], "".join(lines)

    def close(self) -> None:
        self._process.communicate(timeout=PATIENCE_S)


@pytest.fixture
def victims() -> Iterator[Victims]:
    started = Victims()
    yield started
    started.close()


def kill_again_and_again(victims: Victims, path: Path, sync: str, method: str, kills: int) -> None:
    """Generations of writers on one log, each killed; now and then a look, and a few commits."""
    seed = new_seed()
    print(f"PYDURABLE_SEED={seed}")  # shown if this fails
    dice = random.Random(seed)
    promises = Promises()
    options = {"sync": sync, "method": method}
    for generation in range(kills):
        settings = {
            "path": os.fspath(path),
            "seed": dice.random(),
            "first_number": generation * 1000,
            **options,
        }
        # Half of them after so many reports, half after so long: also while the log opens.
        lines, seconds = dice.choice(
            [(dice.randrange(120), PATIENCE_S), (10**6, dice.random() / 20)]
        )
        for line in victims.run(settings, lines, seconds):
            promises.add(parse(line))
        if dice.random() < 0.7 or generation == kills - 1:
            look(path, promises, options, dice, generation * 1000 + 990)


def look(
    path: Path, promises: Promises, options: dict[str, str], dice: random.Random, number: int
) -> None:
    """Open the log, hold it against the promises, and write on."""
    with Log(path, segment_bytes=SEGMENT_BYTES, interval=60, **options) as log:
        promises.check(log.oldest_lsn, recovered(log))
        promises.add(shown(log))
        run_writers(log, promises.add, dice, threads=1, steps=3, waits=True, first_number=number)
    assert verify_log(path).clean


@pytest.mark.guarantee("G3")
@pytest.mark.parametrize(("sync", "method"), TARGETS)
def test_acknowledged_records_survive_a_kill(victims, tmp_path, sync, method):
    """Every record that was acknowledged is there, behind it nothing that was not written.

    Generation after generation, with rotation, truncation and clean closes in between.
    """
    skip_if_refused(tmp_path, sync, method)
    kill_again_and_again(victims, tmp_path / "log", sync, method, kills=25)


@pytest.mark.guarantee("G3")
@pytest.mark.long
@pytest.mark.parametrize(("sync", "method"), TARGETS)
def test_acknowledged_records_survive_many_kills(victims, tmp_path, sync, method):
    """The same, a few hundred times."""
    skip_if_refused(tmp_path, sync, method)
    kill_again_and_again(victims, tmp_path / "log", sync, method, kills=150)
