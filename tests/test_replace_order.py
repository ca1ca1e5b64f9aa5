"""The order of system calls, as the kernel sees it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from replace_support import OLD


def traced(folder: Path, statement: str) -> list[str]:
    """Run a statement under strace and return the calls that it made, in order."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    script = f"""
import os, sys
import pydurable
os.chdir({str(folder)!r})
pydurable.replace("known", b"")
os.write(2, b"BEGIN")
{statement}
os.write(2, b"END")
"""
    calls = "openat,write,pwrite64,fsync,fdatasync,close,rename,renameat,renameat2,fchmod,flock"
    log = folder / "trace"
    subprocess.run(
        ["strace", "-fy", "-e", f"trace={calls}", "-o", log, sys.executable, "-c", script],
        check=True,
        capture_output=True,
    )
    lines = [line.split(maxsplit=1)[1] for line in log.read_text().splitlines()]
    begin = next(at for at, line in enumerate(lines) if '"BEGIN"' in line)
    end = next(at for at, line in enumerate(lines) if '"END"' in line)
    return lines[begin + 1 : end]


def position(lines: list[str], *parts: str) -> int:
    """Return where the one call stands that has all of these parts."""
    (found,) = [at for at, line in enumerate(lines) if all(part in line for part in parts)]
    return found


@pytest.mark.parametrize(
    "statement",
    [
        'pydurable.replace("target", b"new")',
        'with pydurable.open_atomic("target", "wb") as f: f.write(b"new")',
        'pydurable.replace_many({"target": b"new"})',
    ],
    ids=["replace", "open_atomic", "replace_many"],
)
def test_the_order_of_system_calls(tmp_path: Path, statement: str) -> None:
    """Create, lock, write, mode, sync and close the file, rename it, sync the directory."""
    (tmp_path / "target").write_bytes(OLD)
    lines = traced(tmp_path, statement)
    temp = ".pydurable-"
    create = position(lines, "openat(", temp, "O_CREAT")
    for flag in ("O_EXCL", "O_NOFOLLOW", "O_CLOEXEC", "0600"):
        assert flag in lines[create]
    lock = position(lines, "flock(", temp)
    write = position(lines, "write", temp, '"new"')
    mode = position(lines, "fchmod(", temp)
    sync = position(lines, "fsync(", temp)
    close = min(at for at, line in enumerate(lines) if "close(" in line and temp in line)
    swap = position(lines, "rename", temp, '"target"')
    directory = position(lines, "fsync(", f"<{tmp_path}>")
    assert create < lock < write < mode < sync < close < swap < directory


def test_the_syncs_of_a_batch_come_before_its_first_rename(tmp_path: Path) -> None:
    """Nothing is published before everything is on the medium, and the directory comes last."""
    items = {str(number): b"new" for number in range(7)}
    lines = traced(tmp_path, f"pydurable.replace_many({items!r})")
    syncs = [at for at, line in enumerate(lines) if "fsync(" in line and ".pydurable-" in line]
    swaps = [at for at, line in enumerate(lines) if line.startswith("rename")]
    names = [lines[at].split('"')[3] for at in swaps]
    assert len(syncs) >= 7
    assert max(syncs) < min(swaps)
    assert names == list(items)
    assert position(lines, "fsync(", f"<{tmp_path}>") > max(swaps)
