"""The contenders that are programs: the C floor, the engine under C threads, and fio."""

from __future__ import annotations

import json
import shutil
import subprocess
from array import array
from collections.abc import Callable
from pathlib import Path

from . import ROOT
from .cells import Slice, Terms
from .latency import Histogram

FLAGS = ("-std=c11", "-O2", "-UNDEBUG", "-pthread", "-Icsrc")
HERE = Path(__file__).resolve().parent
CORE = ROOT / "csrc"  # not there where the benchmark was installed
SOURCES = {
    "floor": [HERE / "floor.c", HERE / "measure.c"],
    "engine": [HERE / "engine.c", HERE / "measure.c", *sorted(CORE.glob("*.c"))],
}
ONE_LANE = "engine-lanes1"  # the engine's program, told so
FIO_FILE_BYTES = 8 << 20  # overwritten again and again


def build(
    directory: Path, names: tuple[str, ...] = tuple(SOURCES)
) -> tuple[dict[str, str], dict[str, str]]:
    """Compile the programs, or some of them, and find fio.

    Returns the paths of what there is and, for what there is not, the reason.
    """
    programs: dict[str, str] = {}
    missing: dict[str, str] = {}
    compiler = shutil.which("cc")
    for name, paths in SOURCES.items():
        if name not in names:
            continue
        if compiler is None:
            missing[name] = "no C compiler (cc) found"
            continue
        if name == "engine" and not CORE.is_dir():
            missing[name] = "it takes the sources of pydurable"
            continue
        sources = [str(path) for path in paths]
        target = directory / name
        command = [compiler, *FLAGS, *sources, "-o", str(target)]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if result.returncode == 0:
            programs[name] = str(target)
        else:
            missing[name] = "does not compile: " + _first_error(result.stderr)
    for found in (programs, missing):
        if "engine" in found:
            found[ONE_LANE] = found["engine"]
    fio = shutil.which("fio")
    for name in ("fio", "fio-direct"):
        if fio is not None:
            programs[name] = fio
        else:
            missing[name] = "fio is not installed (Debian: apt-get install fio)"
    return programs, missing


def run(task: Slice) -> tuple[float, Histogram]:
    """Run the program for one slice and return its commits/s and latencies."""
    return _RUNNERS[task.contender](task)


def _floor(task: Slice) -> tuple[float, Histogram]:
    folder = Path(task.directory)
    command = floor_command(task.programs["floor"], task.terms, task.cell.size, folder)
    times = folder / "times"
    return _sampled([*command, str(task.warm_seconds), str(task.seconds), str(times)], times)


def floor_command(program: str, terms: Terms, size: int, folder: Path) -> list[str]:
    """As it is when the floor puts a record on disk for each byte that it is sent."""
    command = [program, terms.method, str(size), str(terms.block_bytes)]
    return [*command, str(int(terms.zeroed)), str(folder / "file")]


def _engine(task: Slice) -> tuple[float, Histogram]:
    times = Path(task.directory, "times")
    lanes = 1 if task.contender == ONE_LANE else 2
    command = [task.programs[task.contender], task.terms.method, str(lanes), str(task.cell.threads)]
    command += [str(task.cell.size), str(task.warm_seconds), str(task.seconds)]
    return _sampled([*command, str(Path(task.directory, "log")), str(times)], times)


def _sampled(command: list[str], times: Path) -> tuple[float, Histogram]:
    """Run a program that reports as measure.h says."""
    rate = float(_output(command))
    return rate, Histogram.of(array("Q", times.read_bytes()))


def _fio(task: Slice) -> tuple[float, Histogram]:
    command = [task.programs[task.contender], "--name=floor", "--thread", "--ioengine=psync"]
    command += ["--rw=write", "--bs=4k", "--fdatasync=1", "--overwrite=1"]
    command += [f"--direct={int(task.contender == 'fio-direct')}", f"--size={FIO_FILE_BYTES}"]
    command += [f"--directory={task.directory}", "--time_based"]
    command += [f"--runtime={round(task.seconds * 1000)}ms", "--output-format=json"]
    job = json.loads(_output(command))["jobs"][0]
    # fio times the write and the sync apart, which gives no percentiles of both together.
    return job["write"]["iops"], Histogram()


_RUNNERS: dict[str, Callable[[Slice], tuple[float, Histogram]]] = {
    "floor": _floor,
    "engine": _engine,
    ONE_LANE: _engine,
    "fio": _fio,
    "fio-direct": _fio,
}


def _output(command: list[str]) -> str:
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(f"{Path(command[0]).name}: {result.stderr.strip()}")
    return result.stdout


def _first_error(messages: str) -> str:
    errors = [line for line in messages.splitlines() if "error" in line]
    return (errors or messages.splitlines() or ["no message"])[0]
