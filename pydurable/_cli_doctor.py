"""``pydurable doctor``: what the storage under a path promises, and how fast it is."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any

from pydurable import _cli_output as output
from pydurable._doctor.report import NOT_DURABLE
from pydurable._doctor.text import Line, report_lines
from pydurable.storage import inspect_storage


def run_doctor(path: str, *, as_json: bool, measure: bool) -> int:
    """Inspect the storage under ``path`` and print the report; 1 if it is not durable."""
    report = inspect_storage(path)
    fields: dict[str, Any] = report.as_dict()
    lines = list(report_lines(report))
    if as_json:
        output.emit_verdict(json.dumps(fields))
    else:
        show(lines)
    return 1 if report.verdict == NOT_DURABLE else 0


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
