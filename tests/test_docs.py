"""The documentation: links lead somewhere, nothing is missing, and what is generated is current."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

pytestmark = pytest.mark.skipif(
    not (ROOT / "docs" / "index.md").exists(), reason="the documentation is not here"
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    """Each relative link of a page names a file that is there."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)#\s]+)", text)
    missing = [
        target for target in targets if "://" not in target and not (page.parent / target).exists()
    ]
    assert missing == []


def test_the_index_lists_every_page():
    """A page that nobody finds might as well not be there."""
    text = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert {page for page in pages if f"({page})" not in text} == set()


def test_the_readme_has_its_two_commands_and_a_place_for_the_figures():
    """CI takes the test command from there, and python -m bench.readme writes the table there."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    setup = "python3 -m venv .venv && .venv/bin/pip install -q -e"
    assert f"{setup} '.[cli]' && .venv/bin/pydurable demo\n" in text
    assert f"{setup} '.[test]' && .venv/bin/pytest\n" in text
    assert text.count("<!-- speed: begin") == text.count("<!-- speed: end") == 1


RESULTS = {
    "cells": [
        {
            "cell": {"threads": threads, "size": 64, "busy": False},
            "contenders": [
                {"contender": "pydurable-group", "commits_per_second": 1234.5 * threads},
                {"contender": "sqlite3", "commits_per_second": 99.0},
            ],
        }
        for threads in (1, 8)
    ],
    "facts": dict.fromkeys(
        ("date", "processor", "kernel", "filesystem", "python", "versions"), "told"
    ),
    "terms": {"method": "direct"},
}


def test_the_readme_table_comes_from_the_results(monkeypatch):
    """Figures are those of the run, columns those that were measured, and writing twice is once."""
    monkeypatch.syspath_prepend(ROOT)
    readme = pytest.importorskip("bench.readme")
    table = readme.markdown(RESULTS)
    assert "| 1 thread | 8 threads |\n|---|---:|---:|\n" in table
    assert "| **pydurable** | **1,234** | **9,876** |\n| SQLite | 99 | 99 |\n" in table
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    once = readme.written_into(text, table)
    assert table in once
    assert readme.written_into(once, table) == once
    with pytest.raises(ValueError, match="no place for the table"):
        readme.written_into("# pydurable\n", table)
    with pytest.raises(ValueError, match="no figures of pydurable"):
        readme.markdown({**RESULTS, "cells": []})


def test_the_reference_is_current():
    """docs/reference.md says what the docstrings say; otherwise: make generate."""
    program = (
        "import runpy, sys; names = runpy.run_path(sys.argv[1]); "
        "sys.exit(names['TARGET'].read_text() != names['reference']())"
    )
    command = [sys.executable, "-c", program, str(ROOT / "docs" / "build_reference.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"run: make generate\n{done.stderr}"
