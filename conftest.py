"""What the examples in the documentation need: a place for their files that goes away again."""

from __future__ import annotations

import atexit
import contextlib
import glob
import os
import shutil
import tempfile
import time
from pathlib import Path

import pytest

# For processes that tests start: a temporary folder may lie in memory, which pydurable warns of.
os.environ["PYTHONWARNINGS"] = ",".join(
    filter(None, [os.environ.get("PYTHONWARNINGS"), "ignore:not durable"])
)

# Its examples are those of the docstrings, and run there.
collect_ignore = ["docs/reference.md", "docs/build_reference.py"]

started = time.time()


def _folder(name: str, parent: str) -> str:
    """A folder of this run, away with it; those of runs that were killed go away now."""
    prefix = os.path.join(parent, f"pydurable-{name}-")
    for left in glob.glob(f"{prefix}*"):
        # The number of the process that has made it.
        owner = left.removeprefix(prefix).partition("-")[0]
        try:
            os.kill(int(owner), 0)
        except ProcessLookupError:
            shutil.rmtree(left, ignore_errors=True)
        except (ValueError, OSError):
            continue
    folder = tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


# What is remembered of filesystems goes nowhere that outlives the tests.
os.environ["XDG_CACHE_HOME"] = _folder("cache", tempfile.gettempdir())

# Nor do the rings of processes that tests kill, which would wait for their files' next openers.
# The workers of a run inherit the folder from the process that starts them, which removes it.
if not os.environ.get("PYTEST_XDIST_WORKER"):
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else tempfile.gettempdir()
    rings = os.environ["PYDURABLE_RING_DIR"] = _folder("rings", memory)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that has left rings for its own files elsewhere."""
    base = getattr(session.config._tmp_path_factory, "_basetemp", None)  # type: ignore[attr-defined]
    if base is None or os.environ.get("PYTEST_XDIST_WORKER"):
        return
    from pydurable._ring_content import read_page
    from pydurable._ring_place import all_rings

    # The names of temporary folders are used again.
    left = []
    for ring in all_rings():
        page = None if ring.startswith(rings) else read_page(ring)
        if page is not None and page.target.startswith(os.path.join(base, "")):
            with contextlib.suppress(FileNotFoundError):
                if os.stat(ring).st_ctime >= started:
                    left.append(ring)
    if left:
        print(f"\nrings of this run were left behind: {', '.join(left)}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(autouse=True)
def _examples_leave_nothing_behind(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if isinstance(request.node, pytest.DoctestItem):
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
