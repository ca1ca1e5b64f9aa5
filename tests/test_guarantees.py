"""docs/guarantees.md names the tests of each promise, and those tests name the promise."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "guarantees.md"


def named_in(text: str) -> dict[str, set[str]]:
    """The tests that the document names under each guarantee."""
    parts = re.split(r"^## (G\d+)\. ", text, flags=re.MULTILINE)
    named = {}
    for number, part in zip(parts[1::2], parts[2::2], strict=True):
        # The last one ends where the next heading begins, which is no guarantee.
        body = part.split("\n## ")[0]
        named[number] = set(re.findall(r"`(tests/[\w/]+\.py::\w+)`", body))
    return named


def _numbers(function: ast.FunctionDef) -> list[str]:
    """The guarantees that a test's markers name."""
    numbers: list[str] = []
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func).endswith(
            "mark.guarantee"
        ):
            numbers += [ast.literal_eval(argument) for argument in decorator.args]
    return numbers


def marked_in(sources: dict[str, str]) -> dict[str, set[str]]:
    """The tests that carry each guarantee's number."""
    marked: dict[str, set[str]] = defaultdict(set)
    for name, source in sources.items():
        for node in ast.parse(source).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for number in _numbers(node):
                    marked[number].add(f"{name}::{node.name}")
    return dict(marked)


def test_every_guarantee_and_its_tests_name_each_other() -> None:
    """Every guarantee has tests, all of them exist and refer back, and no other test does."""
    sources = {
        str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
        for path in (ROOT / "tests").rglob("test_*.py")
    }
    named = named_in(DOCUMENT.read_text(encoding="utf-8"))
    assert list(named) == [f"G{number}" for number in range(1, len(named) + 1)]
    assert all(named.values()), "a guarantee without a test"
    assert marked_in(sources) == named


def test_a_test_that_is_gone_would_be_noticed() -> None:
    """The comparison sees a test that is missing and one that names nothing."""
    text = (
        "## G1. One\n\n*Tests:* `tests/test_a.py::test_b`\n\n## What was run\n`tests/test_a.py::c`"
    )
    assert named_in(text) == {"G1": {"tests/test_a.py::test_b"}}
    marked = '@pytest.mark.guarantee("G1", "G2")\ndef test_b(): pass\ndef test_c(): pass'
    assert marked_in({"tests/test_a.py": marked}) == {
        "G1": {"tests/test_a.py::test_b"},
        "G2": {"tests/test_a.py::test_b"},
    }
