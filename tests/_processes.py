"""Python in processes of its own, for what must not happen to the one that runs the tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent


def _environment() -> dict[str, str]:
    """One in which the helpers of the tests can be imported."""
    path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path}


def run_python(code: str, *args: object, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; its arguments are in ``sys.argv[1:]``."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, args)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=_environment(),
    )


def check_python(code: str, *args: object, timeout: float = 120) -> str:
    """Run a program that must succeed; what it printed."""
    done = run_python(code, *args, timeout=timeout)
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def start_python(code: str, *args: object) -> subprocess.Popen[str]:
    """Start a program with pipes to its standard input and from its standard output."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=_environment(),
    )
