"""Fixtures that every test file shares."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from _faults import Faults


@pytest.fixture
def log_path(tmp_path: Path) -> Path:
    """Where a log may be made; nothing is there yet."""
    return tmp_path / "log"


@pytest.fixture
def faults() -> Iterator[Faults]:
    """The faulty table of system calls, clear before the test and after it."""
    table = Faults()
    table.clear()
    yield table
    table.clear()
