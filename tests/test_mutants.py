"""Tests of the tests: a log that is broken on purpose does not pass them.

Each mutant is a copy of the project in which an exact piece of the C core is replaced.  The piece
has to occur exactly once, so that a mutant which the code has outgrown fails instead of passing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT_S = 120

SUBSET = [
    "tests/test_powercut.py::test_promises_are_kept_on_a_slow_disk[262144]",
    "tests/test_powercut.py::test_promises_are_kept_at_random_moments[group-fdatasync-1]",
    "tests/test_powercut.py::test_a_torn_record_is_never_shown",
]

# What is broken between the log and the event loops, only tasks can see.
ASYNC_SUBSET = [
    "tests/test_async_powercut.py::test_what_tasks_were_told_survives[fdatasync]",
    "tests/test_async.py::test_nothing_is_told_before_its_flush",
]

# What is broken in the ring of appended records, only those who come after a death can see.
RING_SUBSET = [
    "tests/test_append_kill.py::test_a_record_that_was_half_stored",
    "tests/test_append_intent.py::test_every_length_of_a_part",
]

# The process that runs the subset says so if it got hold of another pydurable.
WRONG_COPY = 99
RUN_SUBSET = f"""
import sys, pytest, pydurable._core
if not pydurable._core.__file__.startswith(sys.argv[1]):
    sys.exit({WRONG_COPY})
sys.exit(pytest.main(sys.argv[2:]))
"""


@dataclass(frozen=True)
class Replacement:
    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """What is replaced, and what a test must say when it fails because of that."""

    name: str
    says: str
    replacements: tuple[Replacement, ...]

    def __str__(self) -> str:
        return self.name


# Lost records are missed by the test, or by the log itself when it finds traces of them.
LOST = "acknowledged record|CorruptionError|FileNotFoundError"

NO_SYNC = Mutant(
    "no sync",
    LOST,
    (
        Replacement(
            "csrc/io.c",
            "    switch (data_sync) {\n    case PD_SYNC_FSYNC:\n",
            "    if (data_sync >= 0)\n        return 0;\n"
            "    switch (data_sync) {\n    case PD_SYNC_FSYNC:\n",
        ),
    ),
)

ACK_BEFORE_SYNC = Mutant(
    "ack before sync",
    LOST,
    (
        Replacement(
            "csrc/group.c",
            "    if (written && flushes)\n"
            "        rc = pd_io_sync_often(fd, log->data_sync, log->files.turns);\n",
            "    if (written && flushes) {\n"
            "        pthread_mutex_lock(&log->mutex);\n"
            "        slot->landed = true;\n"
            "        log->lane_busy[lane] = false;\n"
            "        settle_and_wake(log, 0);\n"
            "        pthread_mutex_unlock(&log->mutex);\n"
            "        rc = pd_io_sync_often(fd, log->data_sync, log->files.turns);\n"
            "    }\n",
        ),
        Replacement(
            "csrc/group.c",
            "    else\n        slot->landed = true;\n",
            "    else if (!flushes)\n        slot->landed = true;\n",
        ),
    ),
)

NO_DIRECTORY_SYNC = Mutant(
    "no directory sync",
    LOST,
    (
        Replacement(
            "csrc/io.c",
            "int pd_io_sync_dir(int fd)\n{\n    return pd_io_sync_file(fd);\n",
            "int pd_io_sync_dir(int fd)\n{\n    (void)fd;\n    return 0;\n",
        ),
    ),
)

NO_CRC_CHECK = Mutant(
    "no CRC check",
    # What a record must be, and what was found in its place.
    "a damaged record|a record of the wrong length|an invented record|"
    "Left contains one more item|skips \\d+ for",
    (
        Replacement(
            "csrc/scan.c",
            "    return pd_crc32c(0, payload, batch->payload_bytes) == batch->payload_crc &&\n"
            "           pd_frames_valid(",
            "    return pd_frames_valid(",
        ),
    ),
)


# What a killed process leaves of its write to a plain file.
INTENT_TESTS = "tests/test_append_intent.py"
CUT_TEST = f"{INTENT_TESTS}::test_a_part_is_cut_before_a_living_process_appends"
SAME_BYTES_TEST = f"{INTENT_TESTS}::test_the_same_bytes_of_another_process_are_not_taken_for_it"

NO_INTENT = Replacement(
    "csrc/intent.c",
    "    __atomic_store_n(&page->size, slot->size, __ATOMIC_SEQ_CST);\n",
    "",
)

NO_FORGETTING = Replacement(
    "csrc/intent.c",
    "    if (fd < 0)\n        return;\n    if (pd_io_read(fd, &note,",
    "    if (fd >= 0)\n        return;\n    if (pd_io_read(fd, &note,",
)


ASYNC_ACK_BEFORE_SYNC = Replacement(
    "csrc/async.c",
    "    if (rc >= 0)\n        rc = finish(async->log, request, &ticket);\n",
    "    if (rc >= 0 && request->sync)\n        rc = finish(async->log, request, &ticket);\n",
)


FRAME_UNCHECKED = Replacement(
    "csrc/salvage.c",
    "    return sum == pd_get32(frame + 4) ? PD_RING_FRAME_BYTES + size : 0;\n",
    "    (void)sum;\n    return PD_RING_FRAME_BYTES + size;\n",
)

HEAD_BEFORE_WRITE = Replacement(
    "csrc/ring.c",
    "            pd_group_filling(log)->ring_end = log->ring_copied;\n",
    "            pd_group_filling(log)->ring_end = log->ring_copied;\n"
    "            pd_ring_consume(log, log->ring_copied);\n",
)

UNHEARD_TEST = "tests/test_replace_writeback.py::test_what_cannot_be_written_out_is_an_error"

WRITEBACK_UNHEARD = Replacement(
    "csrc/replace_stage.c",
    "    if (rc >= 0 || pd_is_unsupported(rc))\n        return 0;\n"
    "    return pd_error_os(error, rc, writing, stage->temp);\n",
    "    return 0;\n",
)


def copy_project(target: Path) -> None:
    """What building and testing takes, and nothing that was built before."""
    for folder in ("csrc", "pydurable", "tests"):
        shutil.copytree(
            ROOT / folder,
            target / folder,
            ignore=shutil.ignore_patterns("_core.c", "*.so", "*.pyd", "__pycache__"),
        )
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        if (ROOT / name).exists():
            shutil.copy2(ROOT / name, target / name)


def replace_once(tree: Path, replacement: Replacement) -> None:
    path = tree / replacement.file
    text = path.read_text(encoding="utf-8")
    assert text.count(replacement.old) == 1, (
        f"{replacement.file} has changed: bring this mutant up to date"
    )
    path.write_text(text.replace(replacement.old, replacement.new), encoding="utf-8")


def build(tree: Path) -> None:
    """Build the extension in place; that a mutant does not compile is no catch."""
    # Not optimized, which takes less than half the time.
    replace_once(tree, Replacement("csrc/build_core.py", '"-O2"', '"-O0"'))
    build_again(tree)
    assert list(tree.glob("pydurable/_core*.so"))


def build_again(tree: Path) -> None:
    """Build what was changed since."""
    done = run(tree, "setup.py", "-q", "build_ext", "--inplace")
    assert done.returncode == 0, done.stdout


def run(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python in the tree, apart from the pytest that runs this test."""
    environment = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=tree,
        env=environment | {"PYTHONPATH": os.fspath(tree)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
    )


def run_subset(tree: Path, subset: list[str] = SUBSET) -> subprocess.CompletedProcess[str]:
    own = ("-o", "addopts=", "-p", "no:xdist", "-p", "no:cacheprovider", "-q", "-x")
    done = run(tree, "-c", RUN_SUBSET, os.fspath(tree), *own, *subset)
    assert done.returncode != WRONG_COPY, "another pydurable was tested"
    return done


def run_until_caught(tree: Path, subset: list[str]) -> subprocess.CompletedProcess[str]:
    """The run that catches the mutant, or the last of a few: moments are drawn anew in each."""
    for _ in range(6):
        done = run_subset(tree, subset)
        if done.returncode != pytest.ExitCode.OK:
            break
    return done


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    if not shutil.which("cc"):
        pytest.skip("no C compiler called cc")
    path = tmp_path / "project"
    path.mkdir()
    copy_project(path)
    return path


def test_the_unbroken_log_passes(tree):
    """What the mutants are to fail passes with the code as it is."""
    build(tree)
    done = run_subset(tree)
    assert done.returncode == pytest.ExitCode.OK, done.stdout
    assert f"{len(SUBSET)} passed" in done.stdout


@pytest.mark.guarantee("G1")
@pytest.mark.parametrize(
    "mutant", [NO_SYNC, ACK_BEFORE_SYNC, NO_DIRECTORY_SYNC, NO_CRC_CHECK], ids=str
)
def test_a_broken_log_is_caught(tree, mutant):
    """The first test that fails says what the mutation has broken."""
    for replacement in mutant.replacements:
        replace_once(tree, replacement)
    build(tree)
    done = run_until_caught(tree, SUBSET)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout
    errors = "\n".join(line for line in done.stdout.splitlines() if line.startswith("E  "))
    assert re.search(mutant.says, errors), done.stdout


@pytest.mark.long
def test_tasks_that_are_told_too_early_are_caught(tree):
    """The tests of event loops see it when a task is told of a record that is not durable yet."""
    build(tree)
    done = run_subset(tree, ASYNC_SUBSET)
    assert done.returncode == pytest.ExitCode.OK, done.stdout
    replace_once(tree, ASYNC_ACK_BEFORE_SYNC)
    build_again(tree)
    for test in ASYNC_SUBSET:
        done = run_until_caught(tree, [test])
        assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout


@pytest.mark.long
def test_parts_that_are_not_cut_are_caught(tree):
    """The tests of plain files see it when nobody says what is being written, and when a dead
    process's ring is not told that nothing of its batch is in the file."""
    build(tree)
    done = run_subset(tree, [INTENT_TESTS])
    assert done.returncode == pytest.ExitCode.OK, done.stdout
    source = tree / NO_INTENT.file
    whole = source.read_text(encoding="utf-8")
    for replacement, test in [(NO_INTENT, CUT_TEST), (NO_FORGETTING, SAME_BYTES_TEST)]:
        source.write_text(whole, encoding="utf-8")
        replace_once(tree, replacement)
        build_again(tree)
        done = run_subset(tree, [test])
        assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout


@pytest.mark.long
def test_a_broken_ring_is_caught(tree):
    """The kill tests see it when frames are not checked, and when the ring forgets records before
    they are written."""
    build(tree)
    done = run_subset(tree, RING_SUBSET)
    assert done.returncode == pytest.ExitCode.OK, done.stdout
    for broken, test in zip([FRAME_UNCHECKED, HEAD_BEFORE_WRITE], RING_SUBSET, strict=True):
        replace_once(tree, broken)
        build_again(tree)
        done = run_subset(tree, [test])
        assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout
        replace_once(tree, Replacement(broken.file, broken.new, broken.old))


@pytest.mark.long
def test_a_writeback_that_nobody_hears_is_caught(tree):
    """The tests of streams see it when the error of an early writeback is passed over."""
    build(tree)
    done = run_subset(tree, [UNHEARD_TEST])
    assert done.returncode == pytest.ExitCode.OK, done.stdout
    replace_once(tree, WRITEBACK_UNHEARD)
    build_again(tree)
    done = run_subset(tree, [UNHEARD_TEST])
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout
