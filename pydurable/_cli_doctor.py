"""``pydurable doctor``: what the storage under a path promises, and how fast it is."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from pydurable import _cli_output as output
from pydurable._demo_progress import progress
from pydurable._doctor.measure import WRITERS, Cell, Measurement, measured, ranking
from pydurable._doctor.report import NOT_DURABLE
from pydurable._doctor.text import Line, printable, report_lines
from pydurable.storage import inspect_storage


def run_doctor(path: str, *, as_json: bool, measure: bool) -> int:
    """Inspect the storage under ``path`` and print the report; 1 if it is not durable."""
    report = inspect_storage(path)
    fields: dict[str, Any] = report.as_dict()
    lines = list(report_lines(report))
    if measure:
        folder = path if os.path.isdir(path) else os.path.dirname(path) or "."
        with progress() as show_progress:
            result = measured(report, folder, show_progress)
        fields["measured"] = result.as_dict()
        lines += measurement_lines(result)
    if as_json:
        output.emit_verdict(json.dumps(fields))
    else:
        show(lines)
    return 1 if report.verdict == NOT_DURABLE else 0


def measurement_lines(result: Measurement) -> Iterator[Line]:
    """A table for each kind of space, what auto takes, and what cannot be true."""
    for space, title in (("append", "Appending"), ("zeroed", "Overwriting zeros")):
        cells = [cell for cell in result.cells if cell.space == space]
        if cells:
            yield "", ""
            yield (
                "bold",
                f"{title}, {result.size_bytes} bytes and a flush: p50 and p99, microseconds",
            )
            yield from _table(cells)
    yield "", ""
    auto = result.auto
    yield "bold", f'method="auto" would take {auto.method}, into {auto.space} space'
    for line in ranking(auto):
        yield "", f"  {line.method:<13} {line.space:<10} {line.median_us:>10,.1f} us"
    yield "dim", f"  found out in {auto.seconds:.2f} s"
    for text in result.warnings:
        yield "bold red", printable(f"Warning: {text}")


def _table(cells: list[Cell]) -> Iterator[Line]:
    heads = "".join(f"{f'{n} at once' if n > 1 else 'alone':>14}" for n in WRITERS)
    yield "dim", f"  {'':<20}{heads}"
    for way in dict.fromkeys(cell.way for cell in cells):
        row = f"  {way:<20}"
        for writers in WRITERS:
            cell = next((c for c in cells if c.way == way and c.writers == writers), None)
            row += f"{f'{_short(cell.p50_us)} {_short(cell.p99_us)}' if cell else '-':>14}"
        yield "", row


def _short(us: float) -> str:
    """Microseconds in at most six columns."""
    return f"{us:,.0f}" if us < 9_999.5 else f"{us / 1e3:,.0f}ms"


def show(lines: Iterable[Line]) -> None:
    """Print lines: with rich on a terminal, plainly into anything else."""
    if sys.stdout is not None and sys.stdout.isatty():
        try:
            from rich.console import Console
            from rich.text import Text
        except ImportError:
            pass
        else:
            console = Console(highlight=False)
            for style, line in lines:
                console.print(Text(line, style=style), soft_wrap=True)
            return
    for _, line in lines:
        output.emit(line)
