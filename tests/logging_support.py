"""What the tests of the logging handler share."""

from __future__ import annotations

import contextlib
import gzip
import logging
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydurable.logging import DurableHandler


def record(message: str, level: int = logging.INFO, **fields: Any) -> logging.LogRecord:
    """A record as a logger makes it."""
    made = logging.LogRecord("test", level, __file__, 1, message, (), None)
    made.__dict__.update(fields)
    return made


@contextlib.contextmanager
def logger_with(handler: logging.Handler) -> Iterator[logging.Logger]:
    """A logger for one test, which closes the handler in the end."""
    logger = logging.Logger("test", logging.DEBUG)
    logger.addHandler(handler)
    try:
        yield logger
    finally:
        handler.close()


@contextlib.contextmanager
def durable(path: Path, **options: Any) -> Iterator[tuple[DurableHandler, logging.Logger]]:
    """A handler on a path, and its logger."""
    handler = DurableHandler(path, **options)
    with logger_with(handler) as logger:
        yield handler, logger


def _age(path: Path) -> tuple[str, int]:
    """What the names of files that were set aside are in the order of."""
    stamp, _, number = path.name.removesuffix(".gz").rpartition(".")
    return (stamp, int(number)) if len(number) < 5 else (f"{stamp}.{number}", 0)


def family(path: Path) -> list[Path]:
    """The log file and what was set aside of it or moved, the oldest first."""
    others = [each for each in path.parent.iterdir() if each.name.startswith(path.name + ".")]
    return [*sorted(others, key=_age), *([path] if path.exists() else [])]


def content(path: Path) -> bytes:
    """The bytes of a file, unpacked."""
    data = path.read_bytes()
    return gzip.decompress(data) if path.suffix == ".gz" else data


def lines(path: Path) -> list[str]:
    """All lines of a family; what was packed and is still there plain counts once."""
    files = [f for f in family(path) if not (f.suffix == ".gz" and f.with_suffix("").exists())]
    return [line for file in files for line in content(file).decode().splitlines()]


def assert_each_once(path: Path, expected: list[str]) -> None:
    """The union of the files holds every line once, and nothing else."""
    found, wanted = Counter(lines(path)), Counter(expected)
    lost, extra = wanted - found, found - wanted
    assert not lost, f"{sum(lost.values())} lines lost, such as {sorted(lost)[:3]}"
    assert not extra, f"{sum(extra.values())} lines too many, such as {sorted(extra)[:3]}"


def descriptors() -> int:
    """How many descriptors this process has open."""
    return len(os.listdir("/dev/fd"))
