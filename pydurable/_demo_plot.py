"""The picture of ``pydurable demo layers``, drawn by matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydurable._demo_layers import Way

_COLOURS = {".": "#d73027", "o": "#fdae61", "+": "#ffffbf", "#": "#1a9850"}


def require_matplotlib() -> None:
    """Raise a ValueError that says what to install, before anything is done."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ValueError(
            "--plot draws with matplotlib, which is not installed: pip install 'pydurable[plot]'"
        ) from None


def draw(ways: list[Way], path: str) -> None:
    """Draw a panel for each way, a row for each call, a square for each record."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    from pydurable._demo_layers import MEANINGS, RECORDS

    heights = [len(way.steps) for way in ways]
    figure = Figure(figsize=(8, 0.26 * sum(heights) + 2.2), layout="constrained")
    FigureCanvasAgg(figure)
    panels: Any = figure.subplots(len(ways), 1, height_ratios=heights, squeeze=False)
    for way, panel in zip(ways, panels[:, 0], strict=True):
        for row, step in enumerate(way.steps):
            for column, state in enumerate(step.records):
                if state != " ":
                    panel.barh(row, 0.9, 0.8, column - 0.45, color=_COLOURS[state], ec="black")
        panel.set_title(way.name, loc="left", fontsize="medium")
        panel.set_yticks(range(len(way.steps)), [step.call for step in way.steps])
        panel.set_xticks(range(len(RECORDS)), [f"record {n}" for n in range(1, len(RECORDS) + 1)])
        panel.set_xlim(-0.5, len(RECORDS) - 0.5)
        panel.set_ylim(len(way.steps) - 0.5, -0.5)
    handles = [
        Patch(facecolor=_COLOURS[state], edgecolor="black", label=text)
        for state, text in MEANINGS.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", fontsize="small")
    figure.savefig(path, format="png", dpi=110)
