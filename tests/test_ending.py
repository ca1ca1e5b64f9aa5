"""How a log and a file end: by with, by hand, with the interpreter; the same for both."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from _faults import Faults
from _processes import run_python

import pydurable

KINDS: dict[str, Callable[[Path], Any]] = {
    "log": lambda path: pydurable.Log(path, method="fdatasync"),
    "file": lambda path: pydurable.AppendFile(path, sync="group", method="fdatasync"),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def end_badly(it: Any, faults: Faults, error: Exception | None = None) -> None:
    """Use it in a with block whose close finds a disk that fails."""
    with it:
        it.append(b"never synced\n")
        faults.fail("fdatasync", errno.EIO)
        if error:
            raise error


def test_the_first_error_leaves_a_with_block(kind: str, tmp_path: Path, faults: Faults) -> None:
    """An error inside the block is the one that comes out, not that of the close behind it."""
    it = KINDS[kind](tmp_path / "it")
    with pytest.raises(KeyError, match="the first"):
        end_badly(it, faults, KeyError("the first"))
    assert it.closed


def test_a_with_block_tells_what_its_close_met(kind: str, tmp_path: Path, faults: Faults) -> None:
    """Without another error that of the close comes out, and closing again does nothing."""
    it = KINDS[kind](tmp_path / "it")
    with pytest.raises(pydurable.PoisonedError):
        end_badly(it, faults)
    assert it.closed
    it.close()


def test_what_is_closed_says_so_by_its_name(kind: str, tmp_path: Path) -> None:
    """Entering and appending behind close() raise ClosedError, which names the kind."""
    it = KINDS[kind](tmp_path / "it")
    it.close()
    for call in (it.__enter__, lambda: it.append(b"late")):
        with pytest.raises(pydurable.ClosedError, match=f"the {kind} is closed"):
            call()


EXIT = """
import sys
from pydurable import AppendFile, Log

class Bad(AppendFile):
    def close(self):
        was_open = not self.closed
        super().close()
        if was_open:
            raise OSError("this one cannot be closed")

log = Log(sys.argv[1] + "/log")
files = [AppendFile(sys.argv[1] + "/file"), *(Bad(sys.argv[1] + f"/bad{i}") for i in range(3))]
for each in (log, *files):
    each.append(b"kept\\n")
"""


def test_the_interpreter_closes_what_it_can(tmp_path: Path) -> None:
    """At exit one that cannot be closed keeps none of the others from it, and is reported."""
    done = run_python(EXIT, tmp_path)
    assert "this one cannot be closed" in done.stderr
    assert (tmp_path / "file").read_bytes() == b"kept\n"
    assert [entry.data for entry in pydurable.read_log(tmp_path / "log")] == [b"kept\n"]
