"""The demo's progress bar: rich's where it is installed, a plain one where not, none in a pipe."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

# What is being done, and which part of it (0 to 1) is done.
Show = Callable[[str, float], None]

_BAR_WIDTH = 30


@contextlib.contextmanager
def progress() -> Iterator[Show]:
    """A function that shows how far the work is, on standard error if that is a terminal."""
    if not _on_terminal():
        yield lambda label, done: None
        return
    try:
        import rich.progress  # noqa: F401
    except ImportError:
        shown = _plain_bar()
    else:
        shown = _rich_bar()
    with shown as show:
        yield show


def _on_terminal() -> bool:
    # Both: with standard output in a pipe or file the run is somebody's script.
    return all(stream is not None and stream.isatty() for stream in (sys.stdout, sys.stderr))


@contextlib.contextmanager
def _rich_bar() -> Iterator[Show]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (BarColumn(_BAR_WIDTH), TextColumn("{task.percentage:>3.0f}% {task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=1.0)

        def show(label: str, done: float) -> None:
            bar.update(task, description=label, completed=done)

        yield show


@contextlib.contextmanager
def _plain_bar() -> Iterator[Show]:
    written = 0

    def show(label: str, done: float) -> None:
        nonlocal written
        filled = round(done * _BAR_WIDTH)
        line = f"[{'#' * filled:.<{_BAR_WIDTH}}] {done:4.0%} {label}"
        # What is left of a longer line before is overwritten.
        sys.stderr.write(f"\r{line:<{written}}")
        sys.stderr.flush()
        written = len(line)

    try:
        yield show
    finally:
        sys.stderr.write("\r" + " " * written + "\r")
        sys.stderr.flush()
