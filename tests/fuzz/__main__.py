"""Fuzz for a while with libFuzzer, and keep what reaches something new in the corpus.

    python -m tests.fuzz --minutes 30

Needs clang with its fuzzer library (Debian: clang-14 libclang-rt-14-dev).  ``--minutes`` is the CPU
time of both targets together, as long as a core is free for each.
"""

from __future__ import annotations

import argparse
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


def _fuzz(target: str, seconds: int, folder: Path) -> None:
    program = _build(target, folder)
    corpus = HERE / "corpus" / target
    found = folder / f"{target}-found"
    found.mkdir()
    limits = [f"-max_total_time={seconds}", f"-max_len={INPUT_BYTES}", "-print_final_stats=1"]
    subprocess.run([program, *limits, str(found), str(corpus)], check=True, cwd=folder)
    subprocess.run([program, "-merge=1", str(corpus), str(found)], check=True, cwd=folder)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    minutes = parser.parse_args().minutes
    with tempfile.TemporaryDirectory(prefix="pydurable-fuzz-") as name:
        for target, share in SHARE.items():
            _fuzz(target, max(1, round(minutes * 60 * share)), Path(name))


if __name__ == "__main__":
    main()
