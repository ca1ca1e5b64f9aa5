"""The report as tables: with rich where it is installed, as plain text otherwise."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from .goals import Outcome

try:
    import rich.console
    import rich.progress
    import rich.table
except ImportError:
    rich = None  # type: ignore[assignment]

WIDTH_IN_A_PIPE = 140


@dataclass(frozen=True)
class Table:
    """A title, the heads of the columns (the first ends left, the others right), and rows."""

    title: str
    heads: tuple[str, ...]
    rows: list[tuple[str, ...]]


class Advance(Protocol):
    """Say what is done next, one step further."""

    def __call__(self, what: str) -> None: ...


@contextmanager
def progress(steps: int) -> Iterator[Advance]:
    """Show how far the benchmark is on a terminal, and nothing in a pipe."""
    if rich is None or not sys.stderr.isatty():
        yield lambda what: None
        return
    console = rich.console.Console(stderr=True)
    with rich.progress.Progress(console=console, transient=True) as bar:
        task = bar.add_task("", total=steps)
        started = False

        def advance(what: str) -> None:
            nonlocal started
            bar.update(task, description=what, advance=1 if started else 0)
            started = True

        yield advance


def show(table: Table) -> None:
    """Print one table."""
    if rich is None:
        _show_plainly(table)
        return
    styled = rich.table.Table(title=table.title, title_justify="left", title_style="bold")
    for i, head in enumerate(table.heads):
        # Only the first column may wrap: broken figures cannot be read.
        styled.add_column(head, justify="right" if i else "left", no_wrap=i > 0)
    for row in table.rows:
        styled.add_row(*row)
    width = None if sys.stdout.isatty() else WIDTH_IN_A_PIPE
    rich.console.Console(width=width, highlight=False).print(styled)


def _show_plainly(table: Table) -> None:
    lines = [table.heads, *table.rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.heads))]
    print(f"\n{table.title}")
    for line in lines:
        cells = [line[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        print("  ".join(cells).rstrip())


def cell_table(title: str, rows: list[dict[str, Any]]) -> Table:
    """Lay out what cell_rows gave for one cell."""
    heads = ("contender", "commits/s", "x floor", "x best Python", "p50 us", "p99 us", "p99.9 us")
    return Table(
        title,
        heads,
        [
            (
                row["contender"],
                f"{row['commits_per_second']:,.0f}",
                spread_text(row["against_floor"]),
                spread_text(row["against_best_python"]),
                *(_time(row[name]) for name in ("p50_us", "p99_us", "p99.9_us")),
            )
            for row in rows
        ],
    )


def log_tables(figures: dict[str, Any]) -> list[Table]:
    """Lay out what was measured of whole logs."""
    tables = []
    rows: list[tuple[str, ...]] = []
    for part, entries in figures.items():
        if part == "space":
            continue
        rows += [(f"{part}: {name}", _figure(value)) for name, value in entries.items()]
    if rows:
        tables.append(Table("Whole logs", ("figure", "median (least to greatest)"), rows))
    if "space" in figures:
        heads = ("method, record", "committed alone", "1,000 in commit_many")
        rows = [
            (name, f"{value['single']:,.1f} B", f"{value['many']:,.1f} B")
            for name, value in figures["space"].items()
        ]
        tables.append(Table("Bytes of file for each record", heads, rows))
    return tables


def goal_table(outcomes: list[Outcome], what: str = "pydurable's group commit") -> Table:
    """Lay out the goals."""
    words = {True: "met", False: "NOT MET", None: "-"}
    rows: list[tuple[str, ...]] = [
        (o.meaning, o.goal, o.reached or "not measured", words[o.met]) for o in outcomes
    ]
    return Table("Goals", (what, "goal", "reached", ""), rows)


def spread_text(spread: dict[str, float] | None) -> str:
    """Write median, least and greatest, or a dash where nothing was measured."""
    if spread is None:
        return "-"
    return f"{spread['median']:.2f} ({spread['min']:.2f}-{spread['max']:.2f})"


def _time(microseconds: float | None) -> str:
    return "-" if microseconds is None else f"{microseconds:,.0f}"


def _figure(value: Any) -> str:
    if isinstance(value, dict):
        return f"{value['median']:,.3f} ({value['min']:,.3f} to {value['max']:,.3f})"
    return f"{value:,.0f}"
