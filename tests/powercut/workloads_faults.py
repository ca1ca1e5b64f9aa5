"""Logs on a disk that fails: what was acknowledged before and after is there after the cut."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from _history import make_group
from _targets import SEGMENT_BYTES
from _workload import run_writers

from pydurable import DurableError, Log

from .workloads import MissedFault, Stage, Workload
from .workloads_log import check_log, write_session

VICTIM = 50
"""The writer whose record meets the fault."""


def _open(stage: Stage, method: str) -> Log:
    return Log(stage.root / "log", method=method, segment_bytes=SEGMENT_BYTES, interval=60)


def _write_on(stage: Stage, method: str, number: int, threads: int, steps: int) -> None:
    with _open(stage, method) as log:
        write_session(stage, log, number, threads, steps)


def _struck_record(stage: Stage, method: str, order: bytes) -> None:
    """The write or the flush of one record fails; the log is poisoned."""
    with contextlib.ExitStack() as ends:
        log = _open(stage, method)
        ends.callback(_close, log)
        write_session(stage, log, 0, threads=1, steps=20)
        (record,) = make_group(VICTIM, 0, [3000])
        stage.order(order + b" " + record[20:40])
        try:
            log.commit(record)
        except DurableError:
            return
        raise MissedFault


def _struck_anywhere(stage: Stage, method: str, order: bytes) -> None:
    """A write or a flush fails that may be the log's or the filesystem's own."""
    log = _open(stage, method)
    try:
        write_session(stage, log, 0, threads=1, steps=20)
        stage.order(order)
        with contextlib.suppress(DurableError, OSError):
            run_writers(
                log, stage.note, stage.dice, threads=4, steps=20, waits=True, first_number=10
            )
    finally:
        _close(log)


def _close(log: Log) -> None:
    with contextlib.suppress(DurableError, OSError):
        log.close()


def fault_workload(strike: Callable[[Stage], None], method: str) -> Workload:
    """Write, be struck, open again and write on, as far as the filesystem still lets us."""

    def write(stage: Stage) -> None:
        strike(stage)
        with contextlib.suppress(OSError):
            _write_on(stage, method, 100, threads=4, steps=10)

    return Workload(write, check_log, goes_on="log-recovered")


def _record(method: str, order: bytes) -> Workload:
    return fault_workload(lambda stage: _struck_record(stage, method, order), method)


def _anywhere(method: str, order: bytes) -> Workload:
    return fault_workload(lambda stage: _struck_anywhere(stage, method, order), method)


FAULT_WORKLOADS = {
    f"eio-{what}-{method}": _record(method, order)
    for what, order in (("write", b"fail-writes 1"), ("flush", b"fail-flushes 1"))
    for method in ("fdatasync", "direct", "dsync")
} | {
    "eio-some-write": _anywhere("fdatasync", b"fail-writes 1"),
    "eio-some-writes-direct": _anywhere("direct", b"fail-writes 3"),
    "eio-some-flush": _anywhere("fdatasync", b"fail-flushes 1"),
    "eio-some-flushes": _anywhere("fdatasync", b"fail-flushes 3"),
}
