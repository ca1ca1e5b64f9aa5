"""Where a ring should lie: ``python -m bench.ring_places [--dir DISK] [--seconds N]``.

``append`` stores into a file that is mapped.  In memory (/dev/shm, the runtime directory) a page
once mapped stays writable.  On a disk the kernel writes dirty pages back and protects them while
it does, so that the next store into each takes a fault that may wait for the filesystem's journal.
Each place is timed with 0 and 3 busy Python threads, alone and beside a process that calls sync(2)
ten times a second, as other programs and the kernel's flusher do more or less often.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from . import ROOT, machine, report
from .append import LINE, PERCENTILES, time_calls
from .company import company
from .latency import Histogram

BUSY = (0, 3)
SYNCING = "import os, time\nwhile True: os.sync(); time.sleep(0.1)"
MOST_CALLS = 4_000_000


def places(disk: Path) -> dict[str, Path]:
    """Folders for rings by what they are, as far as this machine has them."""
    found = {"/dev/shm": Path("/dev/shm"), "beside the file": disk}
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        found["runtime directory"] = Path(runtime)
    return {name: path for name, path in found.items() if path.is_dir()}


def measure(place: Path, disk: Path, busy: int, seconds: float) -> Histogram:
    """Time append in this process, to a file on the disk, with its ring at the place."""
    from pydurable import AppendFile

    with ExitStack() as stack:
        rings = stack.enter_context(tempfile.TemporaryDirectory(dir=place, prefix="rings-"))
        folder = stack.enter_context(tempfile.TemporaryDirectory(dir=disk))
        os.environ["PYDURABLE_RING_DIR"] = rings
        file = stack.enter_context(AppendFile(Path(folder, "file"), interval=0.1))
        if not any(Path(rings).iterdir()):
            raise RuntimeError(f"the ring is not in {rings}")
        stack.enter_context(company(busy))
        time_calls(lambda: file.append(LINE), seconds / 10, 1000)
        return Histogram.of(time_calls(lambda: file.append(LINE), seconds, MOST_CALLS))


def in_a_process(place: Path, options: argparse.Namespace, busy: int, syncs: bool) -> Histogram:
    """The same in a process of its own, perhaps beside one that syncs."""
    command = [sys.executable, "-m", "bench.ring_places", "--dir", str(options.dir)]
    command += ["--seconds", str(options.seconds), "--slice", str(place), str(busy)]
    syncing = subprocess.Popen([sys.executable, "-c", SYNCING]) if syncs else None
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    finally:
        if syncing:
            syncing.kill()
            syncing.wait()
    return Histogram({int(bucket): count for bucket, count in json.loads(done.stdout).items()})


def main() -> None:
    """Run the benchmark, or one slice of it."""
    parser = argparse.ArgumentParser(prog="python -m bench.ring_places", description=__doc__)
    parser.add_argument("--dir", type=Path, default=Path(), help="disk to measure (default: here)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of a slice")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slice", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.dir = options.dir.resolve()
    if options.slice:
        place, busy = options.slice
        print(json.dumps(measure(Path(place), options.dir, int(busy), options.seconds).counts))
        return
    cells = [
        (syncs, busy, name)
        for syncs in (False, True)
        for busy in BUSY
        for name in places(options.dir)
    ]
    parts: dict[tuple[bool, int, str], list[Histogram]] = {cell: [] for cell in cells}
    with report.progress(options.rounds * len(cells)) as advance:
        for _ in range(options.rounds):
            for syncs, busy, name in cells:
                advance(f"{name}, {busy} busy")
                found = in_a_process(places(options.dir)[name], options, busy, syncs)
                parts[syncs, busy, name].append(found)
    for name, fact in machine.facts(options.dir).items():
        print(f"{name + ':':12} {fact}")
    heads = (
        "ring",
        "busy threads",
        "another process syncs",
        *(f"{each} us" for each in PERCENTILES),
    )
    lines = [
        (name, str(busy), "yes" if syncs else "no", *_figures(Histogram.pooled(found)))
        for (syncs, busy, name), found in parts.items()
    ]
    report.show(report.Table("append of 100 B by the place of the ring", heads, lines))


def _figures(times: Histogram) -> tuple[str, ...]:
    return tuple(f"{times.percentile_us(percent):,.2f}" for percent in PERCENTILES.values())


if __name__ == "__main__":
    main()
