"""CPU-bound Python threads beside what is measured."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def company(busy: int) -> Iterator[None]:
    """Keep so many CPU-bound Python threads going beside the block."""
    over = False

    def spin() -> None:
        count = 0
        while not over:
            count += 1

    spinners = [threading.Thread(target=spin) for _ in range(busy)]
    for spinner in spinners:
        spinner.start()
    try:
        yield
    finally:
        over = True
        for spinner in spinners:
            spinner.join()
