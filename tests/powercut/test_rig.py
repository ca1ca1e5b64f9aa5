"""The rig on the kernel: it finds what is broken, each in its way, and keeps what it finds."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_mutants import (
    ACK_BEFORE_SYNC,
    NO_DIRECTORY_SYNC,
    NO_SYNC,
    Mutant,
    Replacement,
    build,
    copy_project,
    replace_once,
)

from powercut import crew as crews
from powercut import requirements
from powercut.__main__ import main
from powercut.crew import PREFIX, Crew
from powercut.filesystems import FILESYSTEMS
from powercut.laboratory import Job, Outcome
from powercut.requirements import MEMORY
from powercut.session import Setting
from pydurable import _core

pytestmark = pytest.mark.powercut

STATES = 60
ATTEMPTS = 5

LOG, THREADS, REPLACE = "log-group-fdatasync-1", "log-group-fdatasync-8", "replace-full-1"

TRUSTS_THE_CACHE = Mutant(
    "trusts the page cache",
    "",
    (
        Replacement(
            "csrc/recover.c", "            pd_sys_drop_cache(fd);\n", "            (void)0;\n"
        ),
    ),
)

APPENDS_TO_A_FAILED_PAGE = Mutant(
    "appends to a failed page",
    "",
    (Replacement("csrc/file.c", "    pd_sys_drop_cache(files->sync);\n", ""),),
)


PACKS_CARELESSLY = Mutant(
    "packs carelessly",
    "",
    (
        Replacement(
            "pydurable/_rotated.py",
            'open_atomic(path + _PACKED, "wb", permissions=mode) as target',
            'open(path + _PACKED, "wb") as target',
        ),
    ),
)

LEAVES_UNSYNCED = Mutant(
    "leaves a file unsynced",
    "",
    (
        Replacement(
            "csrc/file.c",
            "    if (rc == 0 && log->written_lsn > log->durable_lsn)\n"
            "        rc = pd_group_sync_now(log);\n",
            "",
        ),
    ),
)

FORGETS_THE_FILE = Mutant(
    "renames without a sync",
    "",
    (
        *LEAVES_UNSYNCED.replacements,
        Replacement(
            "pydurable/_rotated.py",
            "rename(self._path, name, overwrite=False)",
            "os.rename(self._path, name)",
        ),
    ),
)


TAKES_NO_TURNS = Mutant(
    "takes no turns",
    "",
    (Replacement("csrc/io.c", "PD_RETRY(turn, pd_sys_take_turn(fd));", "turn = fd < 0;"),),
)


@pytest.fixture(scope="module", autouse=True)
def _machine() -> None:
    lacking = requirements.missing(list(FILESYSTEMS))
    if lacking:
        pytest.skip(f"the power-cut rig needs {lacking}")


@pytest.fixture(scope="module")
def crew() -> Iterator[Crew]:
    with crews.crew(1) as workers:
        yield workers


def run(crew: Crew, filesystem: str, workload: str, setting: Setting | None = None) -> Outcome:
    """Some states of a workload; again, with another seed, as long as nothing is wrong."""
    for seed in range(ATTEMPTS):
        outcome = crew.submit(
            Job(filesystem, workload, seed, STATES, setting=setting or Setting(), first_only=True)
        ).result()
        if outcome.violations:
            break
    return outcome


def broken(tree: Path, mutant: Mutant) -> Setting:
    """Make a broken pydurable in a tree of its own, for the writer to use."""
    copy_project(tree)
    for replacement in mutant.replacements:
        replace_once(tree, replacement)
    if any(replacement.file.startswith("csrc/") for replacement in mutant.replacements):
        build(tree)
    else:
        shutil.copy2(_core.__file__, tree / "pydurable")
    return Setting(core=os.fspath(tree))


@pytest.mark.guarantee("G1", "G10")
@pytest.mark.parametrize("filesystem", FILESYSTEMS)
@pytest.mark.parametrize("workload", [LOG, THREADS, REPLACE])
def test_what_the_controls_break_is_whole(crew, filesystem, workload):
    """The writers that the controls break keep their promises, and flushes reach the disk."""
    outcome = crew.submit(Job(filesystem, workload, 0, STATES)).result()
    assert outcome.violations == []
    assert outcome.states >= STATES // 2
    assert outcome.flushes > 10
    assert outcome.facts > 50


@pytest.mark.guarantee("G1")
@pytest.mark.parametrize(
    ("mutant", "workload"),
    [(NO_SYNC, LOG), (ACK_BEFORE_SYNC, THREADS), (NO_DIRECTORY_SYNC, REPLACE)],
    ids=str,
)
def test_a_broken_core_is_found(crew, tmp_path, mutant, workload):
    """No sync; a sync after the acknowledgement; no sync of the directory after a rename."""
    assert run(crew, "ext4", workload, broken(tmp_path, mutant)).violations


@pytest.mark.parametrize("filesystem", FILESYSTEMS)
def test_a_flush_does_not_cover_a_write_in_flight(crew, filesystem):
    """A group commit that acknowledges what was written while the flush ran loses it."""
    assert run(crew, filesystem, "naive-race").violations


@pytest.mark.guarantee("G1")
@pytest.mark.parametrize("filesystem", FILESYSTEMS)
def test_a_disk_that_drops_flushes_is_found(crew, filesystem):
    """The log cannot help it: nothing that it acknowledged is certain."""
    outcome = run(crew, filesystem, LOG, Setting(orders=("deaf",)))
    assert outcome.violations


def test_a_mount_without_barriers_is_found(crew):
    """With barrier=0 ext4 sends no flush, so that fdatasync promises nothing."""
    assert run(crew, "ext4", LOG, Setting(mount_options="barrier=0")).violations


@pytest.mark.guarantee("G7")
def test_ext4_loses_what_is_written_again_after_an_error(crew):
    """EIO, the same bytes once more, an fdatasync that succeeds: they are gone after the cut."""
    outcome = run(crew, "ext4", "naive-stubborn")
    assert outcome.violations
    assert all("acknowledged bytes are lost" in violation for violation in outcome.violations)


STRUCK = [
    "eio-write-fdatasync",
    "eio-write-direct",
    "eio-flush-fdatasync",
    "eio-some-write",
    "eio-append-write",
]


@pytest.mark.guarantee("G7")
@pytest.mark.parametrize("filesystem", FILESYSTEMS)
@pytest.mark.parametrize("workload", STRUCK)
def test_a_log_opened_after_an_error_believes_the_medium(crew, filesystem, workload):
    """What was acknowledged before and after a failed write or flush is there after the cut.

    Neither a log nor a plain file may take for written what is only in the page cache.
    """
    assert crew.submit(Job(filesystem, workload, 1, STATES)).result().violations == []


@pytest.mark.parametrize(
    ("mutant", "workload", "filesystem"),
    [
        (TRUSTS_THE_CACHE, "eio-flush-fdatasync", "ext4"),
        (TRUSTS_THE_CACHE, "eio-flush-fdatasync", "xfs"),
        (APPENDS_TO_A_FAILED_PAGE, "eio-append-write", "ext4"),
    ],
    ids=str,
)
def test_a_core_that_believes_the_page_cache_is_found(crew, tmp_path, mutant, workload, filesystem):
    """Recovery from the page cache takes the whole log with it at the next cut.

    Appending to a page whose write has failed loses what ext4 then calls written.
    """
    assert run(crew, filesystem, workload, broken(tmp_path, mutant)).violations


ROTATED = ["handler-packed-1", "handler-few-4", "handler-none-4", "handler-moved-4"]


@pytest.mark.guarantee("G16")
@pytest.mark.parametrize("workload", ROTATED)
def test_a_handler_that_rotates_loses_nothing(crew, workload):
    """Each line that was acknowledged is in one of the files, once, packed or not, and in order."""
    outcome = crew.submit(Job("ext4", workload, 0, STATES)).result()
    assert outcome.violations == []
    assert outcome.facts > 50


@pytest.mark.parametrize(
    ("mutant", "workload"),
    [
        (PACKS_CARELESSLY, "handler-packed-1"),
        (FORGETS_THE_FILE, "handler-kept-1"),
        (LEAVES_UNSYNCED, "handler-none-4"),
    ],
    ids=str,
)
def test_a_careless_rotation_is_found(crew, tmp_path, mutant, workload):
    """The original removed before the packed one is durable; a file left, or renamed, unsynced."""
    assert run(crew, "ext4", workload, broken(tmp_path, mutant)).violations


SHARED = "acknowledged pages are lost"
MENDED = "on this kernel a sync waits for another one of the same file"


def test_btrfs_acknowledges_what_another_sync_is_still_writing(crew):
    """Without pydurable: two descriptors, an fdatasync on each, and the one that returns first."""
    outcome = run(crew, "btrfs", "naive-shared")
    if not outcome.violations:
        pytest.skip(MENDED)
    assert all(SHARED in violation for violation in outcome.violations)


@pytest.mark.guarantee("G13", "G16")
@pytest.mark.parametrize("filesystem", FILESYSTEMS)
@pytest.mark.parametrize("workload", ["append-shared", "append-locked"])
def test_what_shares_a_file_syncs_in_turn(crew, filesystem, workload):
    """What one of two AppendFiles has acknowledged is there, whatever the other was syncing.

    A program that has locked the whole file is no reason to wait.
    """
    outcome = crew.submit(Job(filesystem, workload, 0, STATES)).result()
    assert outcome.violations == []
    assert outcome.facts > 5


def test_a_core_that_takes_no_turns_is_found(crew, tmp_path):
    """On btrfs the syncs of one file meet, and the second one promises what is not there."""
    if not run(crew, "btrfs", "naive-shared").violations:
        pytest.skip(MENDED)
    assert run(crew, "btrfs", "append-shared", broken(tmp_path, TAKES_NO_TURNS)).violations


def test_a_kept_state_can_be_replayed(tmp_path, capsys):
    """The first failing state is kept, shows the same problem again, and nothing else is left."""
    job = Job("ext4", LOG, 3, STATES, setting=Setting(orders=("deaf",)))
    with crews.crew(1, tmp_path) as workers:
        outcome = workers.submit(job).result()
    assert outcome.kept is not None
    assert (outcome.kept / "disk.img").stat().st_size == FILESYSTEMS["ext4"].image_bytes
    problem = (outcome.kept / "problem.txt").read_text(encoding="utf-8").splitlines()[1]
    assert main(["--replay", os.fspath(outcome.kept)]) == 1
    # The path of the mount differs from run to run.
    assert problem.partition("'/")[0] in capsys.readouterr().out


def test_the_command_counts_and_cleans_up(capsys):
    """A short run of the command says what it has done and leaves nothing behind."""
    # Beside this process others may be at the same tests.
    own = f"{PREFIX}{os.getpid()}-*"
    before = set(MEMORY.glob(own))
    assert main(["--states", "40", "--fs", "ext4", "--workers", "1", "--seed", "7"]) == 0
    assert "no violation" in capsys.readouterr().out
    assert set(MEMORY.glob(own)) <= before
