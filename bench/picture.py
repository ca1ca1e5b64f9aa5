"""Pictures of a run: how latencies are distributed, and throughput over threads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

KINDS = (".png", ".svg")
COLOURS = {"pydurable": "tab:blue", "floor": "black"}


def check(target: str) -> None:
    """Say what is missing before a minute is spent on measuring."""
    from .command import Usage

    if Path(target).suffix not in KINDS:
        raise Usage(f"--plot takes a file that ends in {' or '.join(KINDS)}, not {target}")
    if not Path(target).absolute().parent.is_dir():
        raise Usage(f"there is no directory for {target}")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise Usage("--plot needs matplotlib: pip install 'pydurable[plot]'") from error


def draw(document: dict[str, Any], target: str) -> None:
    """Draw both pictures, one above the other, into one file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 10), layout="constrained")
    above, below = figure.subplots(2, 1)
    entries = document["cells"]
    alone = [e for e in entries if e["cell"]["threads"] == 1 and not e["cell"]["busy"]]
    company = [e for e in entries if e["cell"]["busy"]]
    _latencies(above, [*alone, *company])
    _throughput(below, [e for e in entries if not e["cell"]["busy"]])
    facts = document["facts"]
    figure.suptitle(
        f"pydurable bench, {facts['date']}\n{facts['processor']}; {facts['kernel']}\n"
        f"{facts['filesystem'].split(' (')[0]}; {facts['device']}; {facts['python']}",
        fontsize=8,
    )
    figure.savefig(target, dpi=150)


def _latencies(axes: Any, entries: list[dict[str, Any]]) -> None:
    """The share of commits that take longer than a time: both axes logarithmic."""
    for entry in entries:
        for row in entry["contenders"]:
            counts = {int(time): count for time, count in row["latencies_ns"].items()}
            total = sum(counts.values())
            if not total:
                continue
            times, shares, above = [], [], total
            for time in sorted(counts):
                times.append(time / 1e3)
                shares.append(above / total)
                above -= counts[time]
            name = row["contender"] + (" beside a busy thread" if entry["cell"]["busy"] else "")
            axes.plot(times, shares, label=name, **_style(row["contender"], entry["cell"]["busy"]))
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="microseconds for a commit of 64 bytes, one thread",
        ylabel="share that takes longer",
        title="Latency",
    )
    _finish(axes)


def _throughput(axes: Any, entries: list[dict[str, Any]]) -> None:
    """Commits a second over threads, for all that wait for the disk, with the floor as a line."""
    lines: dict[str, dict[int, float]] = {}
    for entry in entries:
        for row in entry["contenders"]:
            if row["contender"] not in ("pydurable-none", "pydurable-interval"):
                rates = lines.setdefault(row["contender"], {})
                rates[entry["cell"]["threads"]] = row["commits_per_second"]
    for name, rates in lines.items():
        threads = sorted(rates)
        axes.plot(threads, [rates[n] for n in threads], marker="o", label=name, **_style(name))
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="threads",
        ylabel="durable commits/s",
        title="Throughput; the floor is one thread of C",
    )
    ticks = sorted({n for rates in lines.values() for n in rates})
    axes.set_xticks(ticks, [str(n) for n in ticks])
    axes.set_xticks([], minor=True)
    _finish(axes)


def _finish(axes: Any) -> None:
    """A grid, and beside the axes what each line is."""
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))


def _style(name: str, busy: bool = False) -> dict[str, Any]:
    kind = "-" if name.startswith("pydurable") else "--"
    style: dict[str, Any] = {"linestyle": ":" if busy else kind}
    if name in COLOURS:
        style["color"] = COLOURS[name]
    if name == "pydurable-group":
        style["linewidth"] = 2.5
    return style
