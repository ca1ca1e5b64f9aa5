"""Print the README's table from a run: ``python -m bench.readme [RESULTS.json] [--write]``.

Without a file it takes the newest of bench/results; ``--write`` puts the table into README.md,
between its two marker comments.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from . import ROOT
from .cells import Cell, size_text

BEGIN, END = "<!-- speed: begin (python -m bench.readme --write) -->\n", "<!-- speed: end -->\n"
SIZE = 64
COLUMNS = {
    "1 thread": Cell(1, SIZE),
    "8 threads": Cell(8, SIZE),
    "64 threads": Cell(64, SIZE),
    "64, and one that computes": Cell(64, SIZE, busy=True),
}
ROWS = {
    "pydurable-group": "**pydurable**",
    "floor": "a bare loop in C, the same bytes and method",
    "fdatasync": "Python: `os.write`, `os.fdatasync` each",
    "python-group": "Python: the best group commit",
    "python-1ms": "Python: the tutorials' 1 ms group commit",
    "sqlite3": "SQLite",
    "plyvel": "LevelDB (plyvel)",
    "lmdb": "LMDB",
    "rocksdict": "RocksDB (rocksdict)",
}


def rates(document: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Commits per second by row and column, as far as they were measured."""
    cells = {Cell(**entry["cell"]): entry["contenders"] for entry in document["cells"]}
    found: dict[str, dict[str, float]] = {}
    for column, cell in COLUMNS.items():
        for row in cells.get(cell, []):
            measured = found.setdefault(row["contender"], {})
            measured[column] = row["commits_per_second"]
    return found


def markdown(document: dict[str, Any]) -> str:
    """The table, and what it was measured on."""
    found = rates(document)
    if "pydurable-group" not in found:
        raise ValueError("these results have no figures of pydurable with records of 64 bytes")
    columns = [column for column in COLUMNS if any(column in row for row in found.values())]
    lines = [
        f"| durable commits/s, records of {size_text(SIZE)} | " + " | ".join(columns) + " |",
        "|---|" + "---:|" * len(columns),
    ]
    for contender, name in ROWS.items():
        if contender in found:
            figures = [found[contender].get(column) for column in columns]
            texts = ["-" if figure is None else f"{figure:,.0f}" for figure in figures]
            if contender == "pydurable-group":
                texts = [f"**{text}**" for text in texts]
            lines.append(f"| {name} | " + " | ".join(texts) + " |")
    facts, terms = document["facts"], document["terms"]
    lines += [
        "",
        f"{facts['date']}; {facts['processor']}; {facts['kernel']}; {facts['filesystem']}; "
        f"{facts['python']}; {facts['versions']}; pydurable chose `{terms['method']}`. "
        "Every row waits for the disk at every commit; medians of rounds in which all take turns.",
    ]
    return "\n".join(lines) + "\n"


def written_into(readme: str, table: str) -> str:
    """The README with the table between its markers, which must be there once."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("README.md has no place for the table: its marker comments are missing")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def main(arguments: list[str] | None = None) -> int:
    """Print or write the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.readme", description=__doc__)
    parser.add_argument(
        "results", type=Path, nargs="?", help="default: the newest of bench/results"
    )
    parser.add_argument("--write", action="store_true", help="put it into README.md")
    options = parser.parse_args(arguments)
    path = options.results
    if path is None:
        known = sorted((ROOT / "bench" / "results").glob("????-??-??.json"))
        if not known:
            parser.error("there are no results yet: run python -m bench first")
        path = known[-1]
    try:
        table = markdown(json.loads(path.read_text(encoding="utf-8")))
        if options.write:
            readme = ROOT / "README.md"
            text = written_into(readme.read_text(encoding="utf-8"), table)
            readme.write_text(text, encoding="utf-8")
        else:
            print(table, end="")
    except (OSError, ValueError, KeyError) as error:
        print(f"{path}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
