"""What the tests of replacing share: faults in the C core, child processes, a look at a folder."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from _patience import PATIENCE_S

from pydurable import rename
from pydurable._core import lib

HOLD = 1000 * PATIENCE_S
"""For how many milliseconds a call is late that a test holds until it clears the faults."""

OLD = b"old " * 1000
NEW = b"new and longer " * 1000

CALLS = {
    name.removeprefix("PD_CALL_"): getattr(lib, name)
    for name in dir(lib)
    if name.startswith("PD_CALL_") and name not in ("PD_CALL_ANY", "PD_CALL_COUNT")
}


@contextlib.contextmanager
def fault(call: str, code: int, *, nth: int = 1, times: int = 1, mode: str = "ERROR") -> Iterator:
    """Make the nth call of a kind fail in the given way, and leave no trace of that behind."""
    lib.pd_fault_clear()
    number = lib.PD_CALL_ANY if call == "ANY" else CALLS[call]
    lib.pd_fault_set(number, getattr(lib, f"PD_FAULT_{mode}"), code, nth, times)
    try:
        yield
    finally:
        lib.pd_fault_clear()


def counted(operation: Callable[[], object]) -> dict[str, int]:
    """Run the operation and return how often it made each system call of the table."""
    lib.pd_fault_clear()
    lib.pd_fault_count(True)
    try:
        operation()
        made = {name: lib.pd_fault_calls(number) for name, number in CALLS.items()}
    finally:
        lib.pd_fault_clear()
    return {name: count for name, count in made.items() if count}


def leftovers(folder: Path) -> list[str]:
    """Return the names of temporary files below a folder."""
    return [path.name for path in folder.rglob(".pydurable-*")]


def write_ten_old_files(folder: Path) -> None:
    """Write them, and have it found out, which is done once, that directories can be synced."""
    for number in range(10):
        (folder / str(number)).write_bytes(OLD)
    rename(folder / "0", folder / "0")


def descriptors() -> int:
    """Return how many descriptors this process has open."""
    return len(os.listdir("/dev/fd"))


def open_to_all(folder: Path) -> None:
    """Let other users work in a folder, and pass through those above it."""
    folder.chmod(0o777)
    for parent in folder.parents:
        if not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o005)


def run_child(
    script: str, *arguments: object, prefix: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run a Python script in a process of its own and return what became of it."""
    return subprocess.run(
        [*prefix, sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def checked_child(script: str, *arguments: object, prefix: tuple[str, ...] = ()) -> str:
    """Run a script that must succeed and return what it printed."""
    done = run_child(script, *arguments, prefix=prefix)
    assert done.returncode == 0, done.stderr
    return done.stdout


def require_mounts() -> None:
    """Skip where this process may not mount, not even in namespaces of its own."""
    try:
        tried = subprocess.run(
            ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"],
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        pytest.skip("there is no unshare here")
    if tried.returncode:
        pytest.skip("no mounts are permitted here")
