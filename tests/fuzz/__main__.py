"""Fuzz for a while with libFuzzer, and keep what reaches something new in the corpus.

    python -m tests.fuzz --minutes 30

Needs clang with its fuzzer library (Debian: clang-14 libclang-rt-14-dev).  ``--minutes`` is the CPU
time of both targets together, however long it takes on a busy machine.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SOURCES = {
    "recovery": [HERE / name for name in ("fuzz_recovery.c", "program.c", "memory_disk.c")],
    "batch": [HERE / "fuzz_batch.c"],
}
SHARE = {"recovery": 0.85, "batch": 0.15}
"""Of the time: what takes any bytes is done sooner than what builds logs."""

INPUT_BYTES = 512


def _clang() -> str:
    for name in ("clang", *(f"clang-{version}" for version in range(21, 10, -1))):
        if shutil.which(name):
            return name
    sys.exit("no clang here: apt-get install clang-14 libclang-rt-14-dev")


def _build(target: str, folder: Path) -> Path:
    program = folder / target
    flags = ["-g", "-O1", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"]
    sources = [*sorted((ROOT / "csrc").glob("*.c")), *SOURCES[target]]
    include = [f"-I{ROOT / 'csrc'}", f"-I{HERE}"]
    command = [_clang(), *flags, *include, *map(str, sources), "-pthread", "-o", str(program)]
    subprocess.run(command, check=True)
    return program


def _cpu_seconds() -> float:
    """What the programs that have ended took of the processors."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def spend(command: list[str], seconds: float, folder: Path) -> float:
    """Run a fuzzer, several times if need be, until it had this much CPU time; return how much.

    libFuzzer knows only how late it is, so that each run gets the time that is left.
    """
    spent = 0.0
    while seconds - spent >= 0.5:
        before = _cpu_seconds()
        limit = f"-max_total_time={max(1, round(seconds - spent))}"
        subprocess.run([*command[:1], limit, *command[1:]], check=True, cwd=folder)
        spent += _cpu_seconds() - before
    return spent


def _fuzz(target: str, seconds: float, folder: Path) -> float:
    """Fuzz a target and return the CPU time that it took, in seconds."""
    program = str(_build(target, folder))
    corpus = str(HERE / "corpus" / target)
    found = folder / f"{target}-found"
    found.mkdir()
    limits = [f"-max_len={INPUT_BYTES}", "-print_final_stats=1"]
    spent = spend([program, *limits, str(found), corpus], seconds, folder)
    subprocess.run([program, "-merge=1", corpus, str(found)], check=True, cwd=folder)
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    minutes = parser.parse_args().minutes
    with tempfile.TemporaryDirectory(prefix="pydurable-fuzz-") as name:
        for target, share in SHARE.items():
            spent = _fuzz(target, minutes * 60 * share, Path(name))
            print(f"{target}: {spent / 60:.1f} CPU minutes, nothing found", flush=True)


if __name__ == "__main__":
    main()
