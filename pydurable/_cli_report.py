"""``pydurable verify`` and ``pydurable repair``: what a log holds, on lines of 80 columns."""

from __future__ import annotations

import dataclasses
import json
import os
import textwrap
from typing import Any

from pydurable import CorruptionError, RepairReport, Report, repair_log, verify_log
from pydurable import _cli_output as output
from pydurable._cli_path import require_log


def run_verify(path: str, *, as_json: bool) -> int:
    """Check the log at ``path`` and print what was found; return 0, or 1 where it is damaged."""
    require_log(path)
    try:
        report = verify_log(path)
    except CorruptionError as error:
        fields = damage_fields(error)
        output.emit_verdict(json.dumps(fields) if as_json else damage_text(path, error))
        return 1
    fields = {"damaged": False, **dataclasses.asdict(report)}
    output.emit(json.dumps(fields) if as_json else report_text(path, report))
    return 0


def run_repair(path: str, *, as_json: bool) -> int:
    """Copy the log at ``path`` aside, keep what is good of it, print what that is; return 0.

    A log without damage is left as it is.
    """
    require_log(path)
    repair = repair_log(path)
    output.emit(json.dumps(repair_fields(repair)) if as_json else repair_text(path, repair))
    return 0


def report_text(path: str, report: Report) -> str:
    """The report of a log without damage."""
    rows = [
        ("records", _records(report)),
        ("data", f"{_bytes(report.bytes)} in {_count(report.batches, 'batch', 'batches')}"),
        ("files", _count(report.segments, "segment", "segments")),
        ("state", _state(report)),
        ("torn tail", _torn_tail(report)),
        ("method", f"{report.sync_method}, blocks of {report.block_bytes} bytes"),
        ("uuid", str(report.uuid)),
    ]
    return f"{path}: good\n" + _table(rows)


def damage_text(path: str, error: CorruptionError) -> str:
    """What is known of the damage, and what can be done."""
    rows = [
        ("file", os.fsdecode(error.filename or path)),
        ("offset", f"{error.offset:,}"),
        ("lost", _lost(error)),
        ("what", error.strerror or str(error)),
    ]
    return (
        f"{path}: DAMAGED\n{_table(rows)}\n"
        "Records that were acknowledged are damaged or gone. Nothing was changed.\n"
        f"  pydurable dump {path}\n      prints the records before the damage\n"
        f"  pydurable repair {path}\n      copies the log aside, and keeps those records"
    )


def damage_fields(error: CorruptionError) -> dict[str, Any]:
    """The damage as ``verify --json`` prints it."""
    return {
        "damaged": True,
        "error": error.strerror or str(error),
        "filename": os.fsdecode(error.filename) if error.filename else None,
        "offset": error.offset,
        "first_lsn": error.first_lsn,
        "last_lsn": error.last_lsn,
    }


def repair_text(path: str, repair: RepairReport) -> str:
    """What a repair kept, and where the log is as it was."""
    if repair.copy is None:
        return f"{path}: nothing to repair, nothing was changed\n{report_text(path, repair.report)}"
    kept = "nothing" if repair.kept is None else "records {:,} to {:,}".format(*repair.kept)
    rows = [("kept", kept), ("as it was", repair.copy)]
    return f"{path}: repaired\n{_table(rows)}\n{report_text(path, repair.report)}"


def repair_fields(repair: RepairReport) -> dict[str, Any]:
    """The repair as ``repair --json`` prints it."""
    return {
        "repaired": repair.copy is not None,
        "kept": repair.kept,
        "copy": repair.copy,
        "damage": None if repair.damage is None else damage_fields(repair.damage),
        "report": dataclasses.asdict(repair.report),
    }


def _records(report: Report) -> str:
    kept = report.next_lsn - report.oldest_lsn
    if kept == 0:
        return f"none, the next is number {report.next_lsn:,}"
    return f"{kept:,}, numbers {report.oldest_lsn:,} to {report.next_lsn - 1:,}"


def _state(report: Report) -> str:
    if report.writer_alive:
        return "a writer has it open"
    return "closed" if report.clean else "no writer has it open, the last one did not close it"


def _torn_tail(report: Report) -> str:
    if not report.torn_bytes:
        return "none"
    return (
        f"{_bytes(report.torn_bytes)} at offset {report.torn_offset:,} of segment "
        f"{report.torn_segment} (never acknowledged, so nothing is lost; no damage)"
    )


def _lost(error: CorruptionError) -> str:
    first, last = error.first_lsn, error.last_lsn
    if not first:
        return "it is not known which records"
    if not last or last < first:
        return f"records from {first:,} on, it is not known how many"
    return f"record {first:,}" if first == last else f"records {first:,} to {last:,}"


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _bytes(number: int) -> str:
    """A number of bytes, and where it is long also in a unit that is easy to read."""
    exact = _count(number, "byte", "bytes")
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if number >= 10 * size:
            return f"{exact} ({number / size:,.1f} {unit})"
    return exact


def _table(rows: list[tuple[str, str]]) -> str:
    """Names on the left, values on the right, wrapped; a path is never cut."""
    width = max(len(name) for name, _ in rows)
    return "\n".join(
        textwrap.fill(
            value,
            80,
            initial_indent=f"  {name:<{width}}  ",
            subsequent_indent=" " * (width + 4),
            break_long_words=False,
            break_on_hyphens=False,
        )
        for name, value in rows
    )
