"""The fixtures of pydurable.testing; imported by pytest alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pydurable import testing


@pytest.fixture
def pydurable_faults() -> Iterator[testing.Faults]:
    """Faults that end with the test: the methods are the functions of pydurable.testing."""
    faults = testing.Faults()
    yield faults
    faults.clear()


@pytest.fixture
def pydurable_syscalls() -> Iterator[testing.Syscalls]:
    """How often each system call was made since the test began."""
    with testing.count_syscalls() as calls:
        yield calls
