"""``pydurable bench``: its options, its figures, the comparison of two runs, and its end."""

from __future__ import annotations

import copy
import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from _patience import PATIENCE_S, wait_until
from cli_command import one_line, run, start

from pydurable import inspect_storage

CONTENDERS = ("floor", "pydurable-group", "pydurable-each", "fdatasync", "python-1ms")


def _document(rate: float = 1000.0) -> dict[str, Any]:
    """A run as --json writes it."""

    def row(name: str, scale: float) -> dict[str, Any]:
        rounds = [rate * scale, rate * scale * 1.1, rate * scale * 0.9]
        return {
            "contender": name,
            "commits_per_second": rate * scale,
            "rounds": rounds,
            "against_floor": {"median": scale, "min": scale, "max": scale},
            "against_best_python": None,
            "p50_us": 100.0,
            "p99_us": 200.0,
            "p99.9_us": 300.0,
            "latencies_ns": {"100000": 90, "200000": 9, "300000": 1},
        }

    names = list(enumerate(CONTENDERS, 1))
    return {
        "format": 1,
        "quick": False,
        "facts": {
            "date": "2026-11-28",
            "processor": "A processor",
            "kernel": "Linux",
            "filesystem": "ext4 on /dev/vda (rw)",
            "device": "vda",
            "python": "CPython",
        },
        "terms": {"method": "direct", "block_bytes": 512, "zeroed": True},
        "cells": [
            {
                "cell": {"threads": threads, "size": 64, "busy": busy},
                "contenders": [row(name, float(n)) for n, name in names],
            }
            for threads, busy in ((1, False), (8, False), (1, True))
        ],
        "replace": [
            {
                "what": "replace",
                "seconds_per_file": None,
                "rounds": [1 / rate, 1.1 / rate],
                "files_at_once": 1,
                "times_faster": {"median": 1.0, "min": 0.9, "max": 1.1},
            }
        ],
        "skipped": {},
        "failures": {},
    }


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Three runs: one, one that is a tenth slower, and one that is half as fast."""
    found = {}
    for name, rate in (("whole", 1000.0), ("tenth", 900.0), ("half", 500.0)):
        found[name] = tmp_path / f"{name}.json"
        found[name].write_text(json.dumps(_document(rate)))
    return found


@pytest.mark.parametrize(
    ("new", "options", "code"),
    [
        ("whole", (), 0),
        ("tenth", (), 0),
        ("tenth", ("--limit", 5), 1),
        ("half", (), 1),
        ("half", ("--limit", 60), 0),
    ],
)
def test_comparing_two_runs(
    files: dict[str, Path], new: str, options: tuple[object, ...], code: int
) -> None:
    """Ratios with their spread are printed; beyond the limit the exit code is 1."""
    done = run("bench", "--load", files[new], "--compare", files["whole"], *options)
    assert done.stderr == b""
    assert done.returncode == code
    ratio = {"whole": "1.00", "tenth": "0.90", "half": "0.50"}[new]
    assert re.search(rf"{ratio} \(\d+\.\d+-\d+\.\d+\)", done.stdout.decode())
    assert ("SLOWER" in done.stdout.decode()) == bool(code)


def test_the_others_do_not_count(files: dict[str, Path]) -> None:
    """What is not pydurable's own may become slower as it likes."""
    document = copy.deepcopy(_document())
    for entry in document["cells"]:
        for row in entry["contenders"]:
            if not row["contender"].startswith("pydurable"):
                row["rounds"] = [rate / 10 for rate in row["rounds"]]
    files["tenth"].write_text(json.dumps(document))
    done = run("bench", "--load", files["tenth"], "--compare", files["whole"])
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_a_picture(files: dict[str, Path], tmp_path: Path, kind: str) -> None:
    """A file of the kind that its name says, with machine and date in it."""
    pytest.importorskip("matplotlib")
    target = tmp_path / f"picture.{kind}"
    done = run("bench", "--load", files["whole"], "--plot", target)
    assert (done.returncode, done.stderr) == (0, b"")
    data = target.read_bytes()
    assert data.startswith(b"\x89PNG" if kind == "png" else b"<?xml")
    assert kind == "png" or b"2026-11-28" in data


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("/no/such/place",), "not a directory"),
        (("--load", "/no/such.json"), "No such file"),
        (("--plot", "picture.gif"), ".png or .svg"),
        (("--limit", "200"), "between 0 and 100"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], says: str, tmp_path: Path) -> None:
    """An error that names what is wrong, before anything is measured."""
    done = run("bench", *arguments, cwd=tmp_path)
    assert done.returncode in (1, 2)
    assert says in done.stderr.decode()
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_run(tmp_path: Path) -> None:
    """Anything else than a run is refused in one line."""
    for content in ("", "{}", "[1]", '{"format": 99}'):
        (tmp_path / "x.json").write_text(content)
        done = run("bench", "--load", tmp_path / "x.json")
        assert done.returncode == 2
        assert "x.json" in one_line(done.stderr)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A directory on a disk, which is what the benchmark wants."""
    if inspect_storage(tmp_path).filesystem in ("tmpfs", "ramfs"):
        pytest.skip(f"{tmp_path} is in memory")
    return tmp_path


def test_ctrl_c_leaves_nothing(disk: Path) -> None:
    """Code 130, and the files that were measured on are gone."""
    with start("bench", disk, "--quick", "--json", disk / "x.json") as process:
        wait_until(lambda: process.poll() is not None or list(disk.iterdir()), "the beginning")
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 130
    assert list(disk.iterdir()) == []


@pytest.mark.long
def test_a_quick_run(disk: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """--quick measures, writes JSON that --load and --compare take, and leaves nothing else."""
    target = tmp_path_factory.mktemp("out") / "x.json"
    done = run("bench", disk, "--quick", "--json", target)
    assert (done.returncode, done.stderr) == (0, b"")
    assert list(disk.iterdir()) == []
    document = json.loads(target.read_text())
    assert document["failures"] == {}
    assert {"replace", "replace_many"} <= {line["what"] for line in document["replace"]}
    measured = [row["contender"] for entry in document["cells"] for row in entry["contenders"]]
    assert "pydurable-append" in measured
    again = run("bench", "--load", target, "--compare", target)
    assert (again.returncode, again.stderr) == (0, b"")
