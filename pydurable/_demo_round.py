"""One round of the demo: a child process commits lines until a SIGKILL, and we keep the reports."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pydurable
from pydurable._demo_child import REPORT, Acknowledgement

# How long the child may take to come up and have its first record acknowledged.
START_SECONDS = 20.0

# Bounds the memory of the parent and the time of the check on a very fast disk.
MAX_ACKNOWLEDGEMENTS = 200_000

_READ_BYTES = 64 << 10


def run_round(
    kind: str, path: str, text: bytes, seconds: float, show: Callable[[float], None]
) -> list[Acknowledgement]:
    """Let a child of ``kind`` commit the lines of ``text`` to ``path``, kill it, say what it told.

    The kill comes ``seconds`` after the first acknowledgement, or when there are enough of them.
    Raises ChildProcessError where the child ends by itself or has nothing acknowledged in time.
    """
    command = [sys.executable, "-m", "pydurable._demo_child", kind, path]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=_environment(),
        # Ctrl-C is for the parent, which kills the child.
        start_new_session=True,
    ) as child:
        try:
            assert child.stdin is not None
            assert child.stdout is not None
            # A child that ended early is found out when its reports are read.
            with contextlib.suppress(BrokenPipeError), child.stdin as pipe:
                pipe.write(text)
            reports = _collect(child.stdout.fileno(), seconds, show)
        finally:
            child.kill()
        # What it wrote before the kill is still in the pipe.
        while chunk := os.read(child.stdout.fileno(), _READ_BYTES):
            reports += chunk
    whole = len(reports) // REPORT.size * REPORT.size
    return [Acknowledgement(*fields) for fields in REPORT.iter_unpack(reports[:whole])]


def _environment() -> dict[str, str]:
    """The child is to import this very package, also where it is not installed."""
    home = str(Path(pydurable.__file__).resolve().parents[1])
    inherited = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": home + (os.pathsep + inherited if inherited else "")}


def _collect(descriptor: int, seconds: float, show: Callable[[float], None]) -> bytearray:
    """Read reports until it is time for the kill."""
    reports = bytearray()
    limit = MAX_ACKNOWLEDGEMENTS * REPORT.size
    begin = time.monotonic()
    allowed = START_SECONDS
    while (elapsed := time.monotonic() - begin) < allowed and len(reports) < limit:
        if reports:
            show(max(elapsed / allowed, len(reports) / limit))
        if not select.select([descriptor], [], [], min(0.1, allowed - elapsed))[0]:
            continue
        chunk = os.read(descriptor, _READ_BYTES)
        if not chunk:
            raise ChildProcessError("the demo's writer ended by itself")
        if not reports:
            begin, allowed = time.monotonic(), seconds
        reports += chunk
    if not reports:
        raise ChildProcessError(f"no line became durable within {START_SECONDS:g} s")
    return reports
