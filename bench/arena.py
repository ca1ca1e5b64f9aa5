"""The place where contenders run: a temporary directory, processes, and their end."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import ROOT

TIMEOUT_SECONDS = 120


class JobError(Exception):
    """A job did not end well; the message is the last line of what it said."""


class Arena:
    """A temporary directory on the disk that is measured, removed whatever happens."""

    def __init__(self, parent: Path) -> None:
        self.path = parent.resolve() / f"bench-{secrets.token_hex(8)}"

    def __enter__(self) -> Arena:
        try:
            self.path.mkdir(0o700)
        except BaseException:  # Ctrl-C as soon as it is there, too
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    @contextlib.contextmanager
    def fresh(self) -> Iterator[Path]:
        """Lend an empty directory, then remove it and wait until the disk is done with that."""
        path = Path(tempfile.mkdtemp(dir=self.path))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)
            # The journal commit that frees the space, and discards it where the mount says so,
            # belongs to this contender and not to the next one's time.
            fd = os.open(self.path, os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)

    def run(self, module: str, *arguments: str) -> Any:
        """Run a module of the benchmark in a new interpreter and return the JSON it prints."""
        process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.{module}", *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the parent, which ends the whole group
        )
        try:
            out, err = process.communicate(timeout=TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            raise JobError(f"not done after {TIMEOUT_SECONDS} s") from None
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if process.returncode != 0:
            lines = err.strip().splitlines()
            raise JobError(lines[-1] if lines else f"exit code {process.returncode}")
        return json.loads(out)

    def run_job(self, name: str, **arguments: object) -> Any:
        """Run one of bench.log_jobs."""
        return self.run("log_jobs", name, json.dumps(arguments))
