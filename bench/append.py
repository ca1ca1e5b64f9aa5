"""What ``append`` costs a Python thread: ``python -m bench.append [--quick]``.

Each row is timed call by call with 0, 1 and 3 busy Python threads in the background, in a process
of its own, in rounds that take turns.  An empty call shows what the clock costs, which each row
contains; a memory copy is the floor: a call that stores the line and nothing else.  More rows go
into ROWS: a name, and what makes a call of a folder.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import logging.handlers
import os
import queue
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from .company import company
from .latency import Histogram
from .machine import facts

LINE = b"x" * 99 + b"\n"
TEXT = LINE[:-1].decode()
BUSY = (0, 1, 3)
PERCENTILES = {"p50": 50.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}

Call = Callable[[], object]


class Row(NamedTuple):
    """A call to time, and how to end what it writes to."""

    call: Call
    close: Call


def _nothing() -> None:
    pass


def _empty(folder: Path) -> Row:
    return Row(_nothing, _nothing)


def _copy(folder: Path) -> Row:
    memory = memoryview(bytearray(len(LINE)))
    return Row(partial(memory.__setitem__, slice(None), LINE), _nothing)


def _os_write(folder: Path) -> Row:
    descriptor = os.open(folder / "file", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    return Row(partial(os.write, descriptor, LINE), partial(os.close, descriptor))


def _append_file(folder: Path) -> Row:
    from pydurable import AppendFile

    file = AppendFile(folder / "file", interval=0.1)
    return Row(partial(file.append, LINE), file.close)


def _append_file_commit(folder: Path) -> Row:
    from pydurable import AppendFile

    file = AppendFile(folder / "file", sync="group")
    return Row(partial(file.commit, LINE), file.close)


def _append_log(folder: Path) -> Row:
    from pydurable import Log

    log = Log(folder / "log", sync="interval", interval=0.1)
    return Row(partial(log.append, LINE), log.close)


def _logger(handler: logging.Handler) -> logging.Logger:
    logger = logging.Logger("bench")
    logger.addHandler(handler)
    return logger


def _file_handler(folder: Path) -> Row:
    handler = logging.FileHandler(folder / "file")
    logger = _logger(handler)
    return Row(partial(logger.info, TEXT), handler.close)


def _queue_handler(folder: Path) -> Row:
    handler = logging.FileHandler(folder / "file")
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
    listener = logging.handlers.QueueListener(waiting, handler)  # type: ignore[arg-type]
    listener.start()
    logger = _logger(logging.handlers.QueueHandler(waiting))  # type: ignore[arg-type]

    def close() -> None:
        listener.stop()
        handler.close()

    return Row(partial(logger.info, TEXT), close)


def _picologging(folder: Path) -> Row:
    import picologging

    handler = picologging.FileHandler(str(folder / "file"))
    logger = picologging.Logger("bench", picologging.INFO)
    logger.addHandler(handler)
    return Row(partial(logger.info, TEXT), handler.close)


def _loguru(folder: Path) -> Row:
    from loguru import logger

    logger.remove()
    sink = logger.add(folder / "file", format="{message}")
    return Row(partial(logger.info, TEXT), partial(logger.remove, sink))


ROWS: dict[str, Callable[[Path], Row]] = {
    "an empty call": _empty,
    "memory copy (floor)": _copy,
    "AppendFile.append": _append_file,
    "Log.append": _append_log,
    "AppendFile.commit, group": _append_file_commit,
    "os.write": _os_write,
    "logging.FileHandler": _file_handler,
    "logging.QueueHandler": _queue_handler,
    "picologging": _picologging,
    "loguru": _loguru,
}
NEEDS = {"picologging": "picologging", "loguru": "loguru"}


def time_calls(call: Call, seconds: float, most: int) -> list[int]:
    """Nanoseconds of each call, about as many as fit into the time."""
    clock = time.perf_counter_ns
    times = []
    end = clock() + int(seconds * 1e9)
    now = clock()
    while now < end and len(times) < most:
        call()
        after = clock()
        times.append(after - now)
        # A program does other things between two lines.
        now = clock()
    return times


def measure(name: str, busy: int, seconds: float) -> Histogram:
    """One row beside so many busy threads, in this process."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_FOLDER")) as folder:
        row = ROWS[name](Path(folder))
        with company(busy):
            time_calls(row.call, seconds / 10, 1000)
            times = time_calls(row.call, seconds, 400_000)
        row.close()
    return Histogram.of(times)


def sustain(seconds: float) -> dict[str, float]:
    """Lines of 100 bytes a second from append to the file, the last of them included."""
    from pydurable import AppendFile

    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_FOLDER")) as folder:
        path = Path(folder, "file")
        lines, append_end = 0, time.perf_counter() + seconds
        begun = time.perf_counter()
        with AppendFile(path, sync="none") as file:
            append = file.append
            while time.perf_counter() < append_end:
                for _ in range(1000):
                    append(LINE)
                lines += 1000
            file.flush()
            rate = lines / (time.perf_counter() - begun)
            memory = file.stats().buffer_bytes
        assert path.stat().st_size == lines * len(LINE)
    return {"lines_per_second": rate, "buffer_bytes": memory}


def in_a_process(arguments: list[str]) -> Any:
    command = [sys.executable, "-m", "bench.append", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


class Goal(NamedTuple):
    text: str
    row: str
    busy: int
    percentile: str
    most_us: float


GOALS = (
    Goal("append of 100 B", "AppendFile.append", 0, "p50", 0.6),
    Goal("append, 3 busy threads", "AppendFile.append", 3, "p99", 2.0),
    Goal("append, 3 busy threads", "AppendFile.append", 3, "p99.9", 20.0),
    Goal("Log.append of 100 B", "Log.append", 0, "p50", 0.6),
    Goal("Log.append, 3 busy threads", "Log.append", 3, "p99", 2.0),
    Goal("Log.append, 3 busy threads", "Log.append", 3, "p99.9", 20.0),
)
RATE_GOAL = 1_000_000


def run(names: list[str], seconds: float, rounds: int) -> dict[str, Any]:
    """Time every row in rounds; the rows take turns so that noise falls on all of them."""
    pooled: dict[tuple[str, int], list[Histogram]] = {}
    for _ in range(rounds):
        for name in names:
            for busy in BUSY:
                counts = in_a_process(["--row", name, str(busy), str(seconds)])
                part = Histogram({int(bucket): count for bucket, count in counts.items()})
                pooled.setdefault((name, busy), []).append(part)
    rows: dict[str, dict[str, dict[str, float]]] = {}
    for (name, busy), parts in pooled.items():
        whole = Histogram.pooled(parts)
        rows.setdefault(name, {})[str(busy)] = {
            label: whole.percentile_us(percent) for label, percent in PERCENTILES.items()
        }
    rates = [in_a_process(["--sustain", str(seconds * 3)]) for _ in range(rounds)]
    return {"rows_us": rows, "sustained": max(rates, key=lambda rate: rate["lines_per_second"])}


def report(results: dict[str, Any]) -> str:
    """The table, and the goals with met or not met."""
    lines = [f"{'microseconds':<26}" + "".join(f"{f'{busy} busy':>40}" for busy in BUSY)]
    lines.append(" " * 26 + "".join(f"{label:>10}" for _ in BUSY for label in PERCENTILES))
    for name, cells in results["rows_us"].items():
        values = [cells[str(busy)][label] for busy in BUSY for label in PERCENTILES]
        lines.append(f"{name:<26}" + "".join(f"{value:>10,.2f}" for value in values))
    sustained = results["sustained"]
    rate = sustained["lines_per_second"]
    lines += [
        f"{rate:,.0f} lines of 100 B a second to the file, "
        f"{sustained['buffer_bytes'] / (1 << 20):.1f} MiB of memory for them",
        "",
    ]
    for goal in GOALS:
        if goal.row in results["rows_us"]:
            value = results["rows_us"][goal.row][str(goal.busy)][goal.percentile]
            verdict = "met" if value <= goal.most_us else "NOT MET"
            figure = f"{goal.percentile} {value:,.2f} us, {goal.most_us:g} or less"
            lines.append(f"{goal.text}: {figure}: {verdict}")
    verdict = "met" if rate >= RATE_GOAL else "NOT MET"
    lines.append(f"sustained: {rate:,.0f} lines/s, {RATE_GOAL:,} or more: {verdict}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.append", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter rounds, for a first look")
    parser.add_argument("--json", metavar="FILE", default="bench/results/append.json")
    parser.add_argument("--row", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--sustain", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.row:
        name, busy, seconds = arguments.row
        print(json.dumps(measure(name, int(busy), float(seconds)).counts))
        return
    if arguments.sustain:
        print(json.dumps(sustain(arguments.sustain)))
        return
    names = [
        name
        for name in ROWS
        if name not in NEEDS or importlib.util.find_spec(NEEDS[name]) is not None
    ]
    results = run(names, *((0.5, 1) if arguments.quick else (2.0, 5)))
    results["machine"] = facts(Path(os.environ.get("BENCH_FOLDER") or tempfile.gettempdir()))
    target = Path(arguments.json)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(report(results))
    print(f"\nfigures: {target}")


if __name__ == "__main__":
    main()
