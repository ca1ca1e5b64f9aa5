"""Hours in minutes: one log under threads, kills, faults, full disks, truncation and reopening.

    python -m tests.soak --minutes 10

The log lives on through all rounds.  After each the records that were acknowledged have to be
there; at the end no memory, descriptor, thread or disk space may have leaked.  Latencies of the
first and the last third are reported; how a busy machine schedules threads is no test.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pydurable
from pydurable import testing

SEGMENT_BYTES = 1 << 20
KEPT_RECORDS = 2000
THREADS = 4
ROUND_S = 0.5
TIMED = 20
"""One commit in so many is timed: what the soak itself keeps must not look like a leak."""
RSS_GROWTH_LIMIT = 16 << 20
"""More than the allocator's fragments make, less than one lost buffer in each round."""

CHILD = """
import sys, pydurable
with pydurable.Log(sys.argv[1], method="fdatasync", segment_bytes=int(sys.argv[2])) as log:
    while True:
        lsn = log.next_lsn
        log.commit(b"child %d" % lsn)
        print(lsn, flush=True)
        if lsn % 500 == 0:
            log.truncate_before(max(1, lsn - int(sys.argv[3])))
"""


def _rss() -> int:
    """Bytes of memory that this process holds."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    raise AssertionError("no VmRSS in /proc/self/status")


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def _space(path: Path) -> int:
    """Bytes on disk below a directory."""
    return sum(entry.stat().st_blocks * 512 for entry in path.iterdir())


@dataclass
class Sample:
    """What the process and the directory hold after a round."""

    rss: int
    descriptors: int
    threads: int
    space: int


@dataclass
class Soak:
    """The log, what it has promised, and what was seen after each round."""

    path: Path
    dice: random.Random
    durable: dict[int, bytes] = field(default_factory=dict)
    latencies: list[array[float]] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    rounds: Counter[str] = field(default_factory=Counter)
    commits: int = 0

    def open(self) -> pydurable.Log:
        return pydurable.Log(self.path, method="fdatasync", segment_bytes=SEGMENT_BYTES)

    def promise(self, lsn: int, record: bytes) -> None:
        self.durable[lsn] = record
        self.commits += 1

    def truncate(self, log: pydurable.Log) -> None:
        oldest = max(1, log.next_lsn - KEPT_RECORDS)
        log.truncate_before(oldest)
        for lsn in [lsn for lsn in self.durable if lsn < oldest]:
            del self.durable[lsn]

    def run(self, until: float) -> None:
        kinds = [self.threads, self.threads, self.killed, self.failing, self.full]
        while time.monotonic() < until:
            kind = self.dice.choice(kinds)
            kind()
            self.rounds[kind.__name__] += 1
            self.check()
            self.samples.append(
                Sample(_rss(), _descriptors(), threading.active_count(), _space(self.path))
            )

    def check(self) -> None:
        """Every acknowledged record that was not truncated is there, as it was."""
        with self.open() as log:
            held = {entry.lsn: entry.data for entry in pydurable.read_log(self.path)}
            lost = [lsn for lsn, data in self.durable.items() if held.get(lsn) != data]
            assert not lost, f"acknowledged records are lost or changed: {lost[:10]}"
            self.truncate(log)

    def _commit_for_a_while(self, log: pydurable.Log, number: int, times: array[float]) -> None:
        until = time.monotonic() + ROUND_S
        serial = 0
        while time.monotonic() < until:
            record = b"%d %d " % (number, serial) * (1 + serial % 40)
            begun = time.perf_counter()
            lsn = log.commit(record)
            if serial % TIMED == 0:
                times.append(time.perf_counter() - begun)
            self.promise(lsn, record)
            serial += 1

    def _crowd(self, log: pydurable.Log) -> list[Exception]:
        times = array("f")
        failures: list[Exception] = []

        def work(number: int) -> None:
            try:
                self._commit_for_a_while(log, number, times)
            except OSError as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.latencies.append(times)
        return failures

    def threads(self) -> None:
        """Threads commit at once."""
        with self.open() as log:
            failures = self._crowd(log)
        assert not failures, failures

    def killed(self) -> None:
        """Another process commits and is killed; what it printed was acknowledged."""
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(self.path), str(SEGMENT_BYTES), str(KEPT_RECORDS)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert child.stdout is not None
        assert child.stderr is not None
        with child.stdout, child.stderr:
            for _ in range(self.dice.randrange(1, 400)):
                if not child.stdout.readline():
                    break
            child.send_signal(signal.SIGKILL)
            acknowledged = [int(line) for line in child.stdout.read().splitlines()[:-1] if line]
            problems = child.stderr.read()
        child.wait()
        assert not problems, problems.decode()
        for lsn in acknowledged:
            self.promise(lsn, b"child %d" % lsn)
        with self.open() as log:
            self.truncate(log)

    def failing(self) -> None:
        """A write or a sync fails: the log is poisoned, and opened again."""
        call = self.dice.choice(["write", "fdatasync", "fsync", "open", "allocate"])
        log = self.open()
        with testing.fail(call, errno.EIO, nth=self.dice.randrange(1, 200)):
            self._crowd(log)
        with contextlib.suppress(pydurable.PoisonedError):
            log.close()

    def full(self) -> None:
        """The disk is full for a while: refusals, and no poison."""
        with self.open() as log:
            with testing.full_disk(after_bytes=self.dice.randrange(2 * SEGMENT_BYTES)):
                failures = self._crowd(log)
            for error in failures:
                assert error.errno == errno.ENOSPC, error
            if not any(isinstance(error, pydurable.PoisonedError) for error in failures):
                log.commit(b"there is space again")


def _quantile(times: Iterable[float], share: float) -> float:
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def check_leaks(samples: list[Sample]) -> None:
    """Compare the end with the time after the first tenth, when caches have been filled."""
    begin = samples[len(samples) // 10]
    end = samples[-1]
    assert end.descriptors <= begin.descriptors, f"descriptors: {begin} then {end}"
    assert end.threads <= begin.threads, f"threads: {begin} then {end}"
    assert end.rss - begin.rss < RSS_GROWTH_LIMIT, f"memory: {begin} then {end}"
    most = max(sample.space for sample in samples)
    assert most < 12 * SEGMENT_BYTES, f"disk space: {most} bytes for {KEPT_RECORDS} records"


def report(soak: Soak, seconds: float) -> str:
    third = max(1, len(soak.latencies) // 3)
    parts = {"first": soak.latencies[:third], "last": soak.latencies[-third:]}
    lines = [
        f"{seconds:.0f} s, {sum(soak.rounds.values())} rounds {dict(soak.rounds)}, "
        f"{soak.commits} acknowledged records"
    ]
    for name, groups in parts.items():
        times = [each for group in groups for each in group]
        lines.append(
            f"commit latency, {name} third: p50 {_quantile(times, 0.5) * 1e6:.0f} us, "
            f"p99 {_quantile(times, 0.99) * 1e6:.0f} us"
        )
    begin, end = soak.samples[len(soak.samples) // 10], soak.samples[-1]
    lines.append(
        f"memory {begin.rss >> 10} KiB, then {end.rss >> 10} KiB; descriptors "
        f"{begin.descriptors}, then {end.descriptors}; threads {begin.threads}, then "
        f"{end.threads}; disk at most {max(s.space for s in soak.samples) >> 10} KiB"
    )
    return "\n".join(lines)


def soak_for(seconds: float, seed: int, folder: Path) -> str:
    """Soak a log in the folder for that long, check for leaks, and say how it went."""
    soak = Soak(folder / "log", random.Random(seed))
    soak.open().close()
    begun = time.monotonic()
    soak.run(begun + seconds)
    said = report(soak, time.monotonic() - begun)
    print(said)
    check_leaks(soak.samples)
    return said


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="pydurable-soak-") as name:
        soak_for(options.minutes * 60, options.seed, Path(name))
    print("nothing has leaked, nothing was lost")


if __name__ == "__main__":
    main()
