"""What the tests of the command share: running it, and hurting a log."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from _patience import PATIENCE_S

COMMAND = [sys.executable, "-m", "pydurable"]

# With python -u there would be less to flush at exit, which hides what can go wrong there.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


def run(*arguments: object, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run the command to its end, with its output as bytes."""
    options.setdefault("stdout", subprocess.PIPE)
    options.setdefault("env", ENVIRONMENT)
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], stderr=subprocess.PIPE, timeout=PATIENCE_S, **options
    )


@contextlib.contextmanager
def start(*arguments: object, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """The command as a running process with pipes; killed when the block ends, if not before."""
    for name in ("stdin", "stdout", "stderr"):
        options.setdefault(name, subprocess.PIPE)
    options.setdefault("env", ENVIRONMENT)
    process = subprocess.Popen([*COMMAND, *map(str, arguments)], bufsize=0, **options)
    try:
        yield process
    finally:
        process.kill()
        process.wait(PATIENCE_S)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def stream(pipe: IO[bytes] | None) -> IO[bytes]:
    """A pipe that is surely there."""
    assert pipe is not None
    return pipe


def read_exactly(pipe: IO[bytes] | None, size: int) -> bytes:
    """So many bytes, or all that come before the end."""
    data = b""
    while len(data) < size and (chunk := os.read(stream(pipe).fileno(), size - len(data))):
        data += chunk
    return data


def ended_quietly(process: subprocess.Popen[bytes]) -> int:
    """Wait for the end, make sure that nothing was said on standard error, return the code."""
    code = process.wait(PATIENCE_S)
    assert stream(process.stderr).read() == b""
    return code


def tee(log: Path, data: bytes) -> None:
    """Commit data with the command, line by line."""
    done = run("tee", log, input=data)
    assert (done.returncode, done.stdout, done.stderr) == (0, data, b"")


def raw(log: Path) -> bytes:
    """All records of the log as the command gives them back."""
    done = run("dump", log, "--format", "raw")
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout


def overwrite(log: Path, old: bytes, new: bytes) -> None:
    """Change bytes of a log's files behind its back, wherever ``old`` is."""
    assert len(old) == len(new)
    changed = 0
    for file in (path for path in log.iterdir() if path.is_file()):
        content = file.read_bytes()
        if old in content:
            file.write_bytes(content.replace(old, new))
            changed += 1
    assert changed


def one_line(message: bytes) -> str:
    """A message on standard error: one line, with the command's name, and no traceback."""
    text = message.decode()
    assert text.startswith("pydurable: ")
    assert text.count("\n") == 1
    assert text.endswith("\n")
    return text
