"""The group commit as a model, checked in every interleaving by spin."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

MODEL = Path(__file__).resolve().parent / "model" / "group.pml"
DEPTH = 100_000


def explored(folder: Path, broken: str | None) -> str:
    """What the checker that spin generates says of the model, whole or broken on purpose."""
    if not shutil.which("spin") or not shutil.which("cc"):
        pytest.skip("needs spin and a C compiler")
    define = [f"-D{broken}"] if broken else []
    subprocess.run(["spin", *define, "-a", str(MODEL)], cwd=folder, check=True)
    compiler = ["cc", "-O2", "-w", "-DSAFETY", "-DCOLLAPSE", "-o", "pan", "pan.c"]
    subprocess.run(compiler, cwd=folder, check=True)
    command = ["./pan", f"-m{DEPTH}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    assert "Search not completed" not in done.stdout or broken
    return done.stdout


@pytest.mark.long
@pytest.mark.guarantee("G1")
def test_three_committers_in_every_interleaving(tmp_path: Path) -> None:
    """Nobody is told before the flush of its batch and of all before it, and everybody is told."""
    said = explored(tmp_path, None)
    assert "errors: 0" in said, said
    states = re.search(r"([\d.e+]+) states, stored", said)
    assert states is not None
    assert float(states[1]) > 1e6


@pytest.mark.long
@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ("ACK_BEFORE_FLUSH", "assertion violated"),
        ("ACK_OUT_OF_ORDER", "assertion violated"),
        ("LOST_WAKE_UP", "invalid end state"),
        ("NOBODY_WATCHES", "invalid end state"),
        ("TWO_LOOKS", "invalid end state"),
    ],
)
def test_a_broken_model_is_caught(tmp_path: Path, broken: str, says: str) -> None:
    """Acknowledging early or out of order, a lost wake-up and a hold without an end are found."""
    said = explored(tmp_path, broken)
    assert "errors: 1" in said, said
    assert says in said
