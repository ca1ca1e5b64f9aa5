"""The Python tests on a core that is built with the address and undefined sanitizers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_mutants import (
    RUN_SUBSET,
    WRONG_COPY,
    Replacement,
    build_again,
    copy_project,
    replace_once,
)

SANITIZE = '"-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"'
RUNTIMES = ("libasan.so", "libubsan.so")
TIMEOUT_S = 300

SUBSET = [
    "tests/test_append.py::test_appended_records_come_in_order",
    "tests/test_append.py::test_the_ring_wraps_around",
    "tests/test_rotation.py",
    "tests/test_recycle.py",
    "tests/test_writer.py",
    "tests/test_waiter.py",
    "tests/test_async.py",
    "tests/test_append_file.py::test_bytes_come_in_order_and_nothing_is_added",
    "tests/test_append_intent.py::test_every_length_of_a_part",
    "tests/test_append_kill.py::test_a_record_that_was_half_stored",
    "tests/test_append_kill.py::test_damaged_rings_do_no_harm",
    "tests/test_hostile_segments.py::test_segments_out_of_place",
    "tests/test_hostile_segments.py::test_repair_after_a_lost_segment",
    "tests/test_replace_many.py::test_any_batch",
    "tests/test_replace.py::test_any_content_under_any_name_with_any_options",
]

READS_TOO_FAR = Replacement(
    "csrc/group.c",
    "memcpy(at + prefix, data, size);",
    "{ uint8_t sum = 0; "
    "for (size_t i = 0; i < size + 40; i++) sum ^= ((const volatile uint8_t *)data)[i]; "
    "(void)sum; } memcpy(at + prefix, data, size);",
)


def _runtimes() -> str:
    """The sanitizers' libraries, to be loaded before Python, which was built without them."""
    compiler = shutil.which("gcc")
    if not compiler or sys.platform != "linux":
        pytest.skip("needs gcc, whose libasan can be loaded before Python")
    found = []
    for name in RUNTIMES:
        answer = subprocess.run(
            [compiler, f"-print-file-name={name}"], capture_output=True, text=True
        )
        if not os.path.isabs(answer.stdout.strip()):
            pytest.skip(f"gcc has no {name} here")
        found.append(answer.stdout.strip())
    return ":".join(found)


@pytest.fixture
def sanitized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project whose core is sanitized; what runs Python from now on can load it."""
    runtimes = _runtimes()
    tree = tmp_path / "project"
    tree.mkdir()
    copy_project(tree)
    monkeypatch.setenv("CC", "gcc")
    recipe = "csrc/build_core.py"
    replace_once(tree, Replacement(recipe, '"-O2"', f'"-O1", {SANITIZE}'))
    replace_once(
        tree,
        Replacement(recipe, 'link_args=["-pthread"]', f'link_args=["-pthread", {SANITIZE}]'),
    )
    build_again(tree)
    # Python's own leaks at exit are no concern, and its small blocks shall be seen one by one.
    monkeypatch.setenv("ASAN_OPTIONS", "detect_leaks=0")
    monkeypatch.setenv("PYTHONMALLOC", "malloc")
    monkeypatch.setenv("SANITIZERS", runtimes)
    return tree


def _run(tree: Path, *subset: str) -> subprocess.CompletedProcess[str]:
    # A report goes to the standard error as the process ends, so nothing may be captured there.
    own = ("-s", "-o", "addopts=", "-p", "no:xdist", "-p", "no:cacheprovider", "-q", "-x")
    environment = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    environment |= {"PYTHONPATH": os.fspath(tree), "LD_PRELOAD": environment["SANITIZERS"]}
    done = subprocess.run(
        [sys.executable, "-c", RUN_SUBSET, os.fspath(tree), *own, *subset],
        cwd=tree,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode != WRONG_COPY, "another pydurable was tested"
    return done


@pytest.mark.guarantee("G14")
@pytest.mark.long
def test_python_tests_under_the_sanitizers(sanitized: Path) -> None:
    """Log, append, recovery and replace touch no memory that is not theirs, on data from Python;
    a core that reads beyond a record is caught by the first of these tests."""
    done = _run(sanitized, *SUBSET)
    assert done.returncode == pytest.ExitCode.OK, done.stdout[-5000:]
    replace_once(sanitized, READS_TOO_FAR)
    build_again(sanitized)
    done = _run(sanitized, SUBSET[0])
    assert done.returncode != pytest.ExitCode.OK
    assert "AddressSanitizer: heap-buffer-overflow" in done.stdout, done.stdout[-5000:]
