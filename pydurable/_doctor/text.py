"""The report in words: lines of 80 columns, coloured where a terminal shows them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

from pydurable._doctor.report import (
    DURABLE,
    IF_HONOURED,
    NOT_DURABLE,
    UNKNOWN,
    Layer,
    StorageReport,
)

WIDTH = 80
STYLES = {
    DURABLE: "bold green",
    IF_HONOURED: "bold yellow",
    UNKNOWN: "bold magenta",
    NOT_DURABLE: "bold red",
}

Line = tuple[str, str]
"""A style, as rich names it, and a line of text."""


def printable(text: str) -> str:
    """Text that cannot send anything to a terminal: a mount point may have any name."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode()
        for char in text
    )


def report_lines(report: StorageReport) -> Iterator[Line]:
    """The whole report."""
    style = STYLES[report.verdict]
    yield from _wrapped(style, f"{report.path}: {report.verdict}", "")
    yield from _wrapped("", report.reason, "  ")
    yield "", ""
    for layer in report.layers:
        yield from _layer_lines(layer)
    yield from _list("To change or to check", report.changes)
    yield from _list("Needs root", report.needs_root)


def _layer_lines(layer: Layer) -> Iterator[Line]:
    indent = "  " * (layer.depth + 1) if layer.depth < 10 else "  " * 10
    style = "bold" if layer.verdict == DURABLE else STYLES[layer.verdict]
    yield from _wrapped(style, layer.name, indent)
    yield from _wrapped("", layer.does, indent + "    ")
    facts = ", ".join(_facts(layer.facts))
    if facts:
        yield from _wrapped("dim", facts, indent + "    ")


# The options are long and mostly say nothing of durability; --json has them all.
_NOT_SHOWN = ("options", "model", "bus", "dm_uuid", "upperdir", "backing_file", "dm_name")


def _facts(facts: dict[str, Any]) -> Iterator[str]:
    for name, value in facts.items():
        if name in _NOT_SHOWN:
            continue
        shown = {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
        yield f"{name}: {shown}"


def _list(title: str, items: Iterable[str]) -> Iterator[Line]:
    items = tuple(items)
    if not items:
        return
    yield "", ""
    yield "bold", title
    for item in items:
        yield from _wrapped("", item, "  - ", "    ")


def _wrapped(style: str, text: str, first: str, rest: str | None = None) -> Iterator[Line]:
    lines = textwrap.wrap(
        printable(text),
        WIDTH,
        initial_indent=first,
        subsequent_indent=first if rest is None else rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
    for line in lines:
        yield style, line
