"""Two runs of ``pydurable bench`` side by side: ratios with their spread, and a limit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

from . import report
from .cells import Cell


@dataclass(frozen=True)
class Change:
    """How much faster something became: 1.1 is a tenth faster, 0.9 a tenth slower."""

    what: str
    ours: bool
    median: float
    least: float
    greatest: float


def _change(what: str, ours: bool, old: list[float], new: list[float]) -> Change | None:
    """Compare rates: the spread is what the extremes of both runs allow."""
    if not old or not new or min(*old, *new) <= 0:
        return None
    return Change(what, ours, median(new) / median(old), min(new) / max(old), max(new) / min(old))


def _rates(document: dict[str, Any]) -> dict[str, list[float]]:
    """What is comparable in a run, as rates by name."""
    found: dict[str, list[float]] = {}
    for entry in document["cells"]:
        for row in entry["contenders"]:
            found[f"{Cell(**entry['cell'])}: {row['contender']}"] = row["rounds"]
    for line in document["replace"]:
        # The same number of files at once, or it is something else.
        found[f"{line['what']}, {line['files_at_once']} at once"] = [
            1 / seconds for seconds in line["rounds"] if seconds > 0
        ]
    return found


def changes(old: dict[str, Any], new: dict[str, Any]) -> Iterator[Change]:
    """Everything that both runs measured."""
    before, after = _rates(old), _rates(new)
    for what, rates in after.items():
        ours = "pydurable-" in what or what.startswith("replace")
        change = _change(what, ours, before.get(what, []), rates)
        if change:
            yield change


def show(old: dict[str, Any], new: dict[str, Any], limit_percent: float) -> int:
    """Print the ratios; return how many of pydurable's own fell by more than the limit."""
    rows = []
    worse = 0
    for change in changes(old, new):
        is_worse = change.ours and change.median < 1 - limit_percent / 100
        worse += is_worse
        ratio = {"median": change.median, "min": change.least, "max": change.greatest}
        rows.append((change.what, report.spread_text(ratio), "SLOWER" if is_worse else ""))
    title = f"Against the run of {old['facts'].get('date', 'an unknown date')}: rate, new by old"
    report.show(report.Table(title, ("what", "median (least-greatest)", ""), rows))
    for name in ("processor", "kernel", "filesystem", "python"):
        if old["facts"].get(name) != new["facts"].get(name):
            print(f"the {name} is another one: {old['facts'].get(name)}")
    print(f"{worse} of pydurable's own figures fell by more than {limit_percent:g} %")
    return worse
