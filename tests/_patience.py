"""Waiting for what will come, however busy the machine is; no test relies on anything sooner."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 60
"""How long anything may take that ends by itself."""


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Come back as soon as the condition holds; fail if it never does."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"not within {PATIENCE_S} s: {what}"
        time.sleep(0.001)
