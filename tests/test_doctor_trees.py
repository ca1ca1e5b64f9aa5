"""The doctor over recorded machines: each has the verdict that its layers give it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from _tree import Tree, trees

from pydurable import inspect_storage
from pydurable._doctor.report import VERDICTS
from pydurable._doctor.text import WIDTH, report_lines

TREES = trees()


@pytest.mark.parametrize("tree", TREES, ids=[tree.name for tree in TREES])
def test_the_verdict_of_a_recorded_machine(tree: Tree, tmp_path: Path) -> None:
    """Verdict and words are those that the tree expects, on lines of 80 columns."""
    tree.unpack(tmp_path)
    (path,) = tree.expected("path")
    report = inspect_storage(path, root=tmp_path)
    assert [report.verdict] == tree.expected("verdict")
    assert report.verdict in VERDICTS
    lines = [line for _, line in report_lines(report)]
    assert all(len(line) <= WIDTH for line in lines if " " in line.strip())
    words = " ".join(" ".join(lines).split()) + json.dumps(report.as_dict())
    assert tree.expected("says")
    for text in tree.expected("says"):
        assert text in words
