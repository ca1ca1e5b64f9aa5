"""The demo of the layers: what it shows is so, and it would show a loss."""

from __future__ import annotations

import re
import signal
import sys
from functools import partial
from pathlib import Path

import cli_command as command
import pytest
from _processes import start_python

from pydurable import Log, _demo_layers
from pydurable._cli import main
from pydurable._demo_layers import RECORDS, commit_steps, plain_steps, run_layers

ROWS = """\
write
  file.write(record)   .          0 of 3           0 of 3
  file.write(record)   . .        0 of 3           0 of 3
  file.write(record)   . . .      0 of 3           0 of 3
  file.close()         o o o      3 of 3           0 of 3

write, flush
  file.write(record)   .          0 of 3           0 of 3
  file.flush()         o          1 of 3           0 of 3
  file.write(record)   o .        1 of 3           0 of 3
  file.flush()         o o        2 of 3           0 of 3
  file.write(record)   o o .      2 of 3           0 of 3
  file.flush()         o o o      3 of 3           0 of 3
  file.close()         o o o      3 of 3           0 of 3

write, flush, fsync
  file.write(record)   .          0 of 3           0 of 3
  file.flush()         o          1 of 3           0 of 3
  os.fsync(file)       +          1 of 3           0 of 3
  file.write(record)   + .        1 of 3           0 of 3
  file.flush()         + o        2 of 3           0 of 3
  os.fsync(file)       + +        2 of 3           0 of 3
  file.write(record)   + + .      2 of 3           0 of 3
  file.flush()         + + o      3 of 3           0 of 3
  os.fsync(file)       + + +      3 of 3           0 of 3
  file.close()         + + +      3 of 3           0 of 3
  os.fsync(directory)  # # #      3 of 3           3 of 3

pydurable
  log.commit(record)   #          1 of 3           1 of 3
  log.commit(record)   # #        2 of 3           2 of 3
  log.commit(record)   # # #      3 of 3           3 of 3
"""

STOPPED = """
import sys, time
from pathlib import Path
from pydurable._demo_layers import plain_steps

flush, sync, count = (int(word) for word in sys.argv[2:])
steps = plain_steps(Path(sys.argv[1]), flush=bool(flush), sync=bool(sync))
taken = [next(steps) for _ in range(count)]
print(taken[-1].killed, flush=True)
time.sleep(600)
"""


def test_what_is_drawn():
    """Every step of every way, and at the end what the marks mean."""
    done = command.run("demo", "layers")
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode()
    assert f"\n\n{ROWS}\n  .  only in this process" in text
    assert text.endswith("  #  on the medium: survives a power cut\n")


@pytest.mark.parametrize(
    ("flush", "sync", "steps"),
    [(0, 0, 3), (0, 0, 4), (1, 0, 1), (1, 0, 4), (1, 1, 4), (1, 1, 9)],
)
def test_a_real_kill_leaves_what_the_demo_says(tmp_path, flush, sync, steps):
    """A process that is killed after a step leaves as many records as that step shows."""
    path = tmp_path / "plain"
    child = start_python(STOPPED, path, flush, sync, steps)
    assert child.stdout is not None
    shown = int(child.stdout.readline())
    child.kill()
    child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"".join(RECORDS[:shown])


def test_a_commit_that_does_not_wait_is_seen_to_lose(tmp_path, monkeypatch, capsys):
    """With a target that hands records to the kernel the demo shows a loss, and its code is 1."""
    monkeypatch.setattr(_demo_layers, "Log", partial(Log, sync="none"))
    steps = list(commit_steps(tmp_path))
    assert [(step.killed, step.cut) for step in steps] == [(1, 0), (2, 0), (3, 0)]
    assert run_layers(None, None) == 1
    assert "log.commit(record)   o o o" in capsys.readouterr().out


def test_the_fsync_that_is_left_out_is_missed(tmp_path):
    """Without a sync nothing is on the medium, whatever was flushed."""
    steps = list(plain_steps(tmp_path / "plain", flush=True, sync=False))
    assert {step.cut for step in steps} == {0}
    assert steps[-1].killed == len(RECORDS)


def test_the_folder_is_kept_where_one_was_named(tmp_path):
    """What was written can be looked at afterwards."""
    done = command.run("demo", "layers", tmp_path)
    (folder,) = tmp_path.iterdir()
    assert done.stdout.decode().endswith(f"Kept in {folder}\n")
    assert (folder / "plain" / "flush").read_bytes() == b"".join(RECORDS)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--plot", "x.png"], "unrecognized arguments: --plot"),
        (["layers", "--input", "x"], "unrecognized arguments: --input"),
        (["layers", "somewhere", "else"], "unrecognized arguments: else"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, arguments, why):
    """Wrong usage has code 2 and touches nothing."""
    done = command.run("demo", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert why in done.stderr.decode()
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib_it_says_what_to_install(tmp_path, monkeypatch, capsys):
    """Before anything is written, in one line."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["demo", "layers", "--plot", str(tmp_path / "x.png"), str(tmp_path)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.fullmatch(r"pydurable: .*pip install 'pydurable\[plot\]'\n", printed.err)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_the_picture(tmp_path: Path):
    """A PNG of some size, where matplotlib is installed."""
    pytest.importorskip("matplotlib")
    picture = tmp_path / "layers.png"
    done = command.run("demo", "layers", "--plot", picture)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode().endswith(f"Drawn to {picture}\n")
    data = picture.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(data) > 10_000
