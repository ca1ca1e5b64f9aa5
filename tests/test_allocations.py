"""Memory that runs out: every allocation of the core fails, one after another."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from _scenario import fast_folder
from test_mutants import Mutant, Replacement, replace_once

ROOT = Path(__file__).resolve().parent.parent
WRAPPED = ["malloc", "calloc", "realloc", "aligned_alloc", "strdup", "free"]

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(sys.platform != "linux", reason="the linker knows no --wrap"),
]

BROKEN = [
    Mutant(
        "uses memory that it has not got",
        "died of SIGSEGV",
        (
            Replacement(
                "csrc/reader.c",
                "    else if (!reader->begins || !reader->ends)\n"
                '        rc = pd_error_os(error, -ENOMEM, "opening the log", "");\n',
                "",
            ),
        ),
    ),
    Mutant(
        "leaks where it gives up",
        "live",
        (
            Replacement(
                "csrc/reader.c",
                "        pd_reader_close(reader);\n        return rc;\n",
                "        return rc;\n",
            ),
        ),
    ),
    Mutant(
        "says something else",
        "rc == -ENOMEM",
        (
            Replacement(
                "csrc/recover.c",
                "        if (!entries)\n            return -ENOMEM;\n",
                "        if (!entries)\n            return -EIO;\n",
            ),
        ),
    ),
]


def run_program(core: Path, scratch: Path) -> subprocess.CompletedProcess[str]:
    """Build alloc.c with the core in this folder, and let its allocations fail."""
    compiler = os.environ.get("CC") or shutil.which("cc")
    if not compiler:
        pytest.skip("no C compiler called cc")
    own = ROOT / "tests" / "c"
    sources = [*core.glob("*.c"), own / "scratch.c", ROOT / "tests/alloc/alloc.c"]
    program = scratch / "alloc"
    # Without the compiler's own ideas of these functions, which leave out some calls.
    flags = ["-std=gnu11", "-O1", "-fno-builtin", "-pthread", f"-I{core}", f"-I{own}"]
    wraps = [f"-Wl,--wrap={name}" for name in WRAPPED]
    command = [*compiler.split(), *flags, *map(str, sources), *wraps, "-o", str(program)]
    subprocess.run(command, check=True)
    with fast_folder() as folder:
        return subprocess.run([program, folder], capture_output=True, text=True, timeout=300)


@pytest.mark.guarantee("G8")
def test_every_allocation_fails(tmp_path: Path) -> None:
    """Each call does its work or returns ENOMEM; nothing acknowledged is lost, nothing leaks."""
    done = run_program(ROOT / "csrc", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout) > 20


@pytest.mark.parametrize("mutant", BROKEN, ids=str)
def test_a_broken_core_is_caught(tmp_path: Path, mutant: Mutant) -> None:
    """One that does not look, one that does not give back, one that tells another errno."""
    shutil.copytree(ROOT / "csrc", tmp_path / "csrc")
    for replacement in mutant.replacements:
        replace_once(tmp_path, replacement)
    done = run_program(tmp_path / "csrc", tmp_path)
    how = "" if done.returncode >= 0 else f"died of {signal.Signals(-done.returncode).name}"
    assert done.returncode != 0
    assert mutant.says in how + done.stderr, done.stderr
