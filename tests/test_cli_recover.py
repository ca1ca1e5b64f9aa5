"""``pydurable recover``: what dead processes had appended comes into its file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from _processes import run_python

import pydurable
from pydurable.__main__ import main

DIES = """
import os, sys
import pydurable
out = pydurable.AppendFile(sys.argv[1]) if sys.argv[2] == "file" else pydurable.Log(sys.argv[1])
for number in range(int(sys.argv[3])):
    out.append(b"%d\\n" % number)
os._exit(0)
"""


@pytest.mark.parametrize("kind", ["file", "log"])
def test_it_says_how_many(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    """The first run recovers and counts, the second finds nothing; both succeed."""
    path = tmp_path / "target"
    run_python(DIES, path, kind, 1200)
    assert main(["recover", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}: 1,200 records recovered, and durable\n"
    assert main(["recover", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}: nothing to recover\n"
    expected = [b"%d\n" % number for number in range(1200)]
    if kind == "log":
        assert [record.data for record in pydurable.read_log(path)] == expected
    else:
        assert path.read_bytes() == b"".join(expected)


def test_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--json prints one object."""
    path = tmp_path / "target"
    run_python(DIES, path, "file", 1)
    assert main(["recover", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"path": str(path), "recovered_records": 1}


def test_what_is_not_there_is_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A path that does not exist, or a directory that is no log, is an error and stays as it is."""
    for path in (tmp_path / "none", tmp_path):
        assert main(["recover", str(path)]) == 1
        assert str(path) in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
