"""``pydurable recover``: what dead processes had appended comes into its file."""

from __future__ import annotations

import json
import re
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


@pytest.fixture
def rings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the rings of this test alone."""
    folder = tmp_path / "rings"
    folder.mkdir(0o700)
    monkeypatch.setenv("PYDURABLE_RING_DIR", str(folder))
    monkeypatch.setattr("pydurable._ring_place._SHARED_MEMORY", "/nowhere")
    return folder


def left_by_three(tmp_path: Path) -> list[Path]:
    """A log, a file, and a file that was removed since, each with records that wait."""
    paths = [tmp_path / "a-log", tmp_path / "b-file", tmp_path / "c-gone"]
    for count, path in enumerate(paths, 1):
        done = run_python(DIES, path, "log" if count == 1 else "file", count)
        assert done.returncode == 0
    paths[2].unlink()
    return paths


def test_without_a_path_it_lists(
    tmp_path: Path, rings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Target, records, bytes and process of each, and where what has no target is; no target
    changes."""
    assert main(["recover"]) == 0
    assert capsys.readouterr().out == "nothing to recover\n"
    log, file, gone = left_by_three(tmp_path)
    for _ in range(2):
        assert main(["recover"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert re.fullmatch(rf"{log}: 1 record \(2 bytes\) of process \d+ to recover", lines[0])
        assert re.fullmatch(rf"{file}: 2 records \(4 bytes\) of process \d+ to recover", lines[1])
        kept = re.fullmatch(rf"{gone}: 3 records .*, but .* they are kept in (\S+)", lines[2])
        assert kept is not None
        assert Path(kept[1]).parent == rings
    assert file.read_bytes() == b""


def test_all_of_them(tmp_path: Path, rings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--all recovers those that exist, says what is still kept, and with --json in objects."""
    log, file, gone = left_by_three(tmp_path)
    assert main(["recover", "--all", "--json"]) == 0
    one, two, three = map(json.loads, capsys.readouterr().out.splitlines())
    assert one == {"path": str(log), "recovered_records": 1}
    assert two == {"path": str(file), "recovered_records": 2}
    assert (three["path"], three["exists"], three["held_records"]) == (str(gone), False, 3)
    assert file.read_bytes() == b"0\n1\n"
    gone.touch()
    assert main(["recover", "--all"]) == 0
    assert capsys.readouterr().out == f"{gone}: 3 records recovered, and durable\n"
    assert list(rings.iterdir()) == []


def test_one_that_fails_does_not_stop_the_others(
    tmp_path: Path, rings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A log that somebody has open is named on standard error, and the exit code is 1."""
    log, file, _gone = left_by_three(tmp_path)
    blocked = tmp_path / "0-blocked"
    run_python(DIES, blocked, "file", 1)
    blocked.unlink()
    blocked.mkdir()
    assert main(["recover", "--all"]) == 1
    out, err = capsys.readouterr()
    assert f"{log}: 1 record recovered" in out
    assert f"{file}: 2 records recovered" in out
    assert str(blocked) in err


def test_a_path_and_all_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """One or the other."""
    with pytest.raises(SystemExit) as ended:
        main(["recover", "path", "--all"])
    assert ended.value.code == 2
