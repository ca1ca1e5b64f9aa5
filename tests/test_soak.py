"""A short soak; ``python -m tests.soak --minutes 10`` is the long one."""

from __future__ import annotations

from pathlib import Path

import pytest
import soak
from _powercut import new_seed


@pytest.mark.guarantee("G3", "G14")
@pytest.mark.long
def test_a_short_soak(tmp_path: Path) -> None:
    """Twenty seconds of threads, kills, faults, full disks, truncation and reopening lose no
    acknowledged record and leak no memory, descriptor, thread or disk space."""
    seed = new_seed()
    print(f"PYDURABLE_SEED={seed}")
    said = soak.soak_for(20, seed, tmp_path)
    assert "killed" in said
    assert "failing" in said


@pytest.mark.guarantee("G14")
def test_a_leak_would_be_seen() -> None:
    """One descriptor, thread or buffer too many at the end fails the soak."""
    healthy = soak.Sample(rss=50 << 20, descriptors=9, threads=1, space=3 << 20)
    soak.check_leaks([healthy] * 20)
    for leak in (
        {"rss": 80 << 20},
        {"descriptors": 10},
        {"threads": 2},
        {"space": 40 << 20},
    ):
        with pytest.raises(AssertionError, match=r"memory|descriptors|threads|disk space"):
            soak.check_leaks([healthy] * 19 + [soak.Sample(**{**vars(healthy), **leak})])
