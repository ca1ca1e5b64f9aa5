"""Several laboratories at once, each in a process with mounts of its own.

The kernel takes the mounts away with the process and the loop devices with the mounts, however the
process ends.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import tempfile
import warnings
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from pydurable import DurabilityWarning

from . import kernel, session
from .laboratory import Job, Laboratory, Outcome, State
from .requirements import MEMORY

PREFIX = "pydurable-powercut-"
"""Of a crew's directory; the number of its process follows."""

_laboratory: Laboratory | None = None
_place: Path | None = None


def _start(scratch: Path, keep: Path | None) -> None:
    global _laboratory, _place
    kernel.die_with_parent()
    # Ctrl-C is for the parent, which ends us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    kernel.own_mounts()
    # The states lie in memory, as they should.
    warnings.simplefilter("ignore", DurabilityWarning)
    _place = scratch / f"worker-{os.getpid()}"
    _place.mkdir()
    os.environ["PYDURABLE_RING_DIR"] = os.fspath(_place / "rings")
    _laboratory = Laboratory(scratch / "program", _place, keep)


def _run(job: Job) -> Outcome:
    assert _laboratory is not None
    return _laboratory.run(job)


def _check(state: State) -> str | None:
    assert _place is not None
    return state.check(_place)


class Crew:
    """Processes that run jobs."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def submit(self, job: Job) -> Future[Outcome]:
        return self._pool.submit(_run, job)

    def check(self, state: State) -> str | None:
        """Mount one state and check it."""
        return self._pool.submit(_check, state).result()


def _sweep() -> None:
    """Remove what a crew has left whose process was killed."""
    for path in MEMORY.glob(f"{PREFIX}*"):
        pid = path.name.removeprefix(PREFIX).partition("-")[0]
        if not Path("/proc", pid).exists():
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def crew(size: int, keep: Path | None = None) -> Iterator[Crew]:
    """A crew for the time of the block, and nothing left of it behind, whatever happens."""
    _sweep()
    scratch = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=MEMORY))
    try:
        session.compile_disk(scratch / "program")
        pool = ProcessPoolExecutor(
            size,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start,
            initargs=(scratch, keep),
        )
        try:
            yield Crew(pool)
        except BaseException:
            for process in list(pool._processes.values()):
                process.kill()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
