"""One slice of logging calls in an interpreter of its own: ``python -m bench.logging_jobs SLICE``.

SLICE is a JSON object: contender, directory, busy, seconds.  What is timed is the whole call, as a
program makes it: ``logger.info("user %d bought %s", number, "a duck")``.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import os
import queue
import sys
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .company import company
from .latency import Histogram

LINE = "%(asctime)s %(levelname)s %(name)s: %(message)s"
WARM_SECONDS = 0.1
# Samples are kept in memory, and a fast call on a fast machine makes many of them.
MOST_SAMPLES = 2_000_000

Call = Callable[[int], object]
Closer = Callable[[], object]
Opened = tuple[Call, Closer]


def _through_logging(handler: logging.Handler, close: Closer | None = None) -> Opened:
    handler.setFormatter(logging.Formatter(LINE))
    logger = logging.Logger("shop", logging.INFO)
    logger.addHandler(handler)
    info = logger.info
    return lambda number: info("user %d bought %s", number, "a duck"), close or handler.close


class FormattingFloor(logging.Handler):
    """What every handler has to do before it writes: format, and encode."""

    def emit(self, record: logging.LogRecord) -> None:
        """Format the record and drop it."""
        (self.format(record) + "\n").encode("utf-8", "backslashreplace")


class UnlockedFloor(FormattingFloor):
    """The same without the lock that handlers of the standard library hold."""

    def handle(self, record: logging.LogRecord) -> bool:
        """Emit without a lock."""
        self.emit(record)
        return True


def floor(path: Path) -> Opened:
    """Format, encode, drop."""
    return _through_logging(UnlockedFloor())


def floor_locked(path: Path) -> Opened:
    """Format, encode, drop, under the handler's lock."""
    return _through_logging(FormattingFloor())


def durable(path: Path) -> Opened:
    """DurableHandler as it comes."""
    from pydurable.logging import DurableHandler

    return _through_logging(DurableHandler(path))


def durable_rotating(path: Path) -> Opened:
    """The same with rotation by size and by time; rotations are among the calls."""
    from pydurable.logging import DurableHandler

    return _through_logging(
        DurableHandler(path, max_bytes=10_000_000, backup_count=3, when="midnight")
    )


def file_handler(path: Path) -> Opened:
    """The standard library's FileHandler."""
    return _through_logging(logging.FileHandler(path))


def rotating(path: Path) -> Opened:
    """The standard library's RotatingFileHandler."""
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=10_000_000, backupCount=3)
    return _through_logging(handler)


def queued(path: Path) -> Opened:
    """A QueueHandler before a QueueListener with a FileHandler."""
    records: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    file = logging.FileHandler(path)
    listener = logging.handlers.QueueListener(records, file)  # type: ignore[arg-type]
    listener.start()

    def close() -> None:
        listener.stop()
        file.close()

    handler = logging.handlers.QueueHandler(records)  # type: ignore[arg-type]
    return _through_logging(handler, close)


def pico(path: Path) -> Opened:
    """picologging's logger and FileHandler."""
    import picologging

    handler = picologging.FileHandler(str(path))
    handler.setFormatter(picologging.Formatter(LINE))
    logger = picologging.Logger("shop", picologging.INFO)
    logger.addHandler(handler)
    return lambda number: logger.info("user %d bought %s", number, "a duck"), handler.close


def guru(path: Path) -> Opened:
    """loguru's file sink."""
    from loguru import logger

    logger.remove()
    sink = logger.add(str(path), format="{time} {level} {name}: {message}")
    return (
        lambda number: logger.info("user {} bought {}", number, "a duck"),
        lambda: logger.remove(sink),
    )


def struct(path: Path) -> Opened:
    """structlog's BytesLogger, which flushes each line to an ordinary file."""
    import structlog

    file = path.open("ab")
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            lambda logger, name, event: json.dumps(event).encode(),
        ],
        logger_factory=structlog.BytesLoggerFactory(file),
        cache_logger_on_first_use=True,
    )
    logger = structlog.get_logger().bind()
    return lambda number: logger.info("bought", user=number, what="a duck"), file.close


def concurrent(path: Path) -> Opened:
    """concurrent-log-handler, for several processes on one file."""
    from concurrent_log_handler import ConcurrentRotatingFileHandler

    return _through_logging(ConcurrentRotatingFileHandler(str(path), "a", 10_000_000, 3))


CONTENDERS: dict[str, tuple[str, Callable[[Path], Opened]]] = {
    "floor": ("", floor),
    "floor-locked": ("", floor_locked),
    "DurableHandler": ("pydurable.logging", durable),
    "DurableHandler-rotating": ("pydurable.logging", durable_rotating),
    "FileHandler": ("", file_handler),
    "RotatingFileHandler": ("", rotating),
    "QueueHandler": ("", queued),
    "picologging": ("picologging", pico),
    "loguru": ("loguru", guru),
    "structlog": ("structlog", struct),
    "concurrent-log-handler": ("concurrent_log_handler", concurrent),
}
"""Each with the module that it needs."""


def measure(call: Call, seconds: float) -> array[int]:
    """Call as often as the time allows, and note how long each took in nanoseconds."""
    clock = time.perf_counter_ns
    times = array("Q")
    note = times.append
    end = clock() + int(WARM_SECONDS * 1e9)
    number = 0
    while clock() < end:
        call(number)
        number += 1
    end = clock() + int(seconds * 1e9)
    now = clock()
    while now < end and number < MOST_SAMPLES:
        call(number)
        then, now = now, clock()
        note(now - then)
        number += 1
    return times


def run(task: dict[str, Any]) -> dict[str, Any]:
    """Open, measure and close one contender."""
    _, opener = CONTENDERS[task["contender"]]
    call, close = opener(Path(task["directory"], "app.log"))
    with company(task["busy"]):
        times = measure(call, task["seconds"])
    close()
    return {"latencies": Histogram.of(times).counts, "max_ns": max(times)}


if __name__ == "__main__":
    print(json.dumps(run(json.loads(sys.argv[1]))), flush=True)
    # Queues and threads of the contenders are no concern of the measurement any more.
    os._exit(0)
