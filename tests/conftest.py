"""Fixtures that every test file shares."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from _faults import Faults
from _powercut import Laboratory, new_seed, scratch

# An example that takes long on a machine that others keep busy is no failure of what it shows.
hypothesis.settings.register_profile(
    "patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("patient")

# A shell starts what runs in the background with SIGINT ignored, and children inherit that; some
# tests are about Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def log_path(tmp_path: Path) -> Path:
    """Where a log may be made; nothing is there yet."""
    return tmp_path / "log"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a plain file may be made; nothing is there yet."""
    return tmp_path / "app.log"


@pytest.fixture
def faults() -> Iterator[Faults]:
    """The faulty table of system calls, clear before the test and after it."""
    table = Faults()
    table.clear()
    yield table
    table.clear()


@pytest.fixture
def laboratory(tmp_path: Path) -> Iterator[Laboratory]:
    """Where the power is cut, with a seed of this test's own."""
    with scratch() as place:
        yield Laboratory(place, tmp_path, new_seed())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The parent of the recorded log, on the real disk."""
    path = tmp_path / "root"
    path.mkdir()
    return path
