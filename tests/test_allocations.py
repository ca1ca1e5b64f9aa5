"""Memory that runs out: every allocation of the core fails, one after another."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from _scenario import fast_folder

ROOT = Path(__file__).resolve().parent.parent
WRAPPED = ["malloc", "calloc", "realloc", "aligned_alloc", "strdup", "free"]


@pytest.mark.long
@pytest.mark.guarantee("G8")
@pytest.mark.skipif(sys.platform != "linux", reason="the linker knows no --wrap")
def test_every_allocation_fails(tmp_path: Path) -> None:
    """Each call does its work or returns ENOMEM; nothing acknowledged is lost, nothing leaks."""
    compiler = os.environ.get("CC") or shutil.which("cc")
    if not compiler:
        pytest.skip("no C compiler called cc")
    folders = [ROOT / "csrc", ROOT / "tests" / "c"]
    sources = [*folders[0].glob("*.c"), folders[1] / "scratch.c", ROOT / "tests/alloc/alloc.c"]
    program = tmp_path / "alloc"
    # Without the compiler's own ideas of these functions, which leave out some calls.
    flags = ["-std=gnu11", "-O1", "-fno-builtin", "-pthread"]
    wraps = [f"-Wl,--wrap={name}" for name in WRAPPED]
    command = [*compiler.split(), *flags, *(f"-I{folder}" for folder in folders)]
    subprocess.run([*command, *map(str, sources), *wraps, "-o", str(program)], check=True)
    with fast_folder() as folder:
        done = subprocess.run([program, folder], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout) > 20
