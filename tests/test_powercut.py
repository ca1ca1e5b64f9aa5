"""After a power cut at any moment every promise of the log is kept.

Real runs of the log are recorded call by call; pydurable/_simulated_disk.py says what a cut may
leave at each moment.  A failure names its seed and keeps the state; PYDURABLE_SEED repeats the
dice, though not the scheduling of threads.
"""

from __future__ import annotations

import copy
import random
import shutil
from pathlib import Path

import pytest
from _faults import Faults
from _history import Fact, Promises
from _powercut import Laboratory, open_after_cut, recovered, scratch, shown
from _targets import SEGMENT_BYTES, WAITING, skip_if_refused
from _workload import run_writers

from pydurable import Log, read_log
from pydurable._recording import Recording
from pydurable._simulated_disk import Disk
from pydurable._simulated_replay import Replay

WORKLOADS = [
    ("group", "fdatasync", 1),
    ("group", "fdatasync", 4),
    ("group", "fsync", 4),
    ("group", "dsync", 4),
    ("group", "direct", 1),
    ("group", "direct", 4),
    ("group", "direct+dsync", 4),
    ("each", "fdatasync", 4),
    ("each", "direct+dsync", 1),
    ("paranoid", "auto", 4),
    ("none", "fdatasync", 1),
    ("none", "direct", 4),
    ("interval", "fdatasync", 1),
    ("interval", "dsync", 4),
]


def record_sessions(
    root: Path,
    dice: random.Random,
    sync: str,
    method: str,
    threads: int,
    *,
    sessions: int = 2,
    steps: int = 160,
    segment_bytes: int = SEGMENT_BYTES,
) -> Recording[Fact]:
    """Record a log that is made, written to, closed, opened again and written on."""
    recording: Recording[Fact] = Recording()
    with recording.running():
        for session in range(sessions):
            with Log(
                root / "log",
                sync=sync,
                method=method,
                segment_bytes=segment_bytes,
                # Under "interval" syncs are to happen; else the keeper's watermarks are.
                interval=0.005,
            ) as log:
                recording.note(shown(log))
                run_writers(
                    log,
                    recording.note,
                    dice,
                    threads=threads,
                    steps=steps // threads,
                    waits=sync in WAITING,
                    first_number=session * 10,
                )
    return recording


@pytest.mark.guarantee("G1")
@pytest.mark.parametrize(("sync", "method", "threads"), WORKLOADS)
def test_promises_are_kept_at_random_moments(laboratory, root, tmp_path, sync, method, threads):
    """What commit, sync and truncate_before promised is there after a cut at any moment.

    What comes back besides is a prefix of what was written, with each group whole.
    """
    skip_if_refused(tmp_path, sync, method)
    recording = record_sessions(root, laboratory.dice, sync, method, threads)
    laboratory.cut_at_random(Disk(), root, recording, Promises(), cuts=50)


@pytest.mark.guarantee("G1")
@pytest.mark.long
@pytest.mark.parametrize("repetition", range(3))
@pytest.mark.parametrize(("sync", "method", "threads"), WORKLOADS)
def test_promises_are_kept_at_many_moments(
    laboratory, root, tmp_path, sync, method, threads, repetition
):
    """The same as above, more often."""
    skip_if_refused(tmp_path, sync, method)
    recording = record_sessions(root, laboratory.dice, sync, method, threads)
    laboratory.cut_at_random(Disk(), root, recording, Promises(), cuts=400)


@pytest.mark.guarantee("G1")
def test_promises_are_kept_after_every_event(laboratory, root):
    """The same for a short run, from the making of the directory to the end."""
    recording = record_sessions(root, laboratory.dice, "group", "fdatasync", 1, steps=30)
    laboratory.cut_everywhere(Disk(), root, recording, Promises())


@pytest.mark.guarantee("G1")
@pytest.mark.parametrize("segment_bytes", [SEGMENT_BYTES, 4 * SEGMENT_BYTES])
def test_promises_are_kept_on_a_slow_disk(laboratory, root, faults: Faults, segment_bytes):
    """Nobody is told anything before the flush that it depends on has ended, however long it takes.

    The delay lets many commits share a flush, and lets others run while it lasts.
    """
    faults.delay("fdatasync", 3, times=0)
    recording = record_sessions(
        root,
        laboratory.dice,
        "group",
        "fdatasync",
        4,
        sessions=1,
        steps=60,
        segment_bytes=segment_bytes,
    )
    laboratory.cut_at_random(Disk(), root, recording, Promises(), cuts=120)


def stop_at(
    disk: Disk, root: Path, recording: Recording[Fact], moment: int, promises: Promises
) -> None:
    """Let the run happen up to a moment, and add what it has promised by then."""
    replay = Replay(disk, root)
    for event in recording.events[:moment]:
        replay.apply(event)
        fact = recording.fact(event)
        if fact is not None:
            promises.add(fact)


def record_recovery(root: Path, number: int, steps: int) -> Recording[Fact]:
    """Record how a log opens, what it shows then, and how it goes on."""
    recording: Recording[Fact] = Recording()
    with recording.running(), open_after_cut(root / "log") as log:
        recording.note(shown(log))
        run_writers(
            log,
            recording.note,
            random.Random(number),
            threads=1,
            steps=steps,
            waits=True,
            first_number=number,
        )
    return recording


@pytest.mark.guarantee("G4")
@pytest.mark.parametrize("threads", [1, 4])
def test_recovery_may_be_cut_as_well(laboratory, root, tmp_path, threads):
    """A cut during recovery, or after it, loses no more than the first cut did.

    And what recovery has shown stays.
    """
    recording = record_sessions(root, laboratory.dice, "group", "fdatasync", threads)
    for attempt in range(4):
        disk = Disk()
        moment = laboratory.dice.randrange(len(recording.events))
        promises = Promises()
        stop_at(disk, root, recording, moment, promises)
        crashed = tmp_path / f"crashed-{attempt}"
        disk.write_after_cut(crashed, laboratory.dice)
        survived = Disk.holding(crashed)
        recovery = record_recovery(crashed, 1000 + attempt, steps=4)
        laboratory.cut_everywhere(survived, crashed, recovery, copy.deepcopy(promises))
        shutil.rmtree(crashed)


@pytest.mark.guarantee("G4")
@pytest.mark.parametrize("sync", ["group", "none"])
def test_a_cut_after_a_kill_takes_nothing_that_recovery_has_shown(laboratory, root, tmp_path, sync):
    """What a killed writer left in the page cache is made durable before anybody sees it."""
    recording = record_sessions(root, laboratory.dice, sync, "fdatasync", 1)
    for attempt in range(8):
        disk = Disk()
        moment = laboratory.dice.randrange(len(recording.events))
        promises = Promises()
        stop_at(disk, root, recording, moment, promises)
        disk.end_process()
        killed = tmp_path / f"killed-{attempt}"
        disk.write_cached(killed)
        recovery = record_recovery(killed, 1000 + attempt, steps=100)
        laboratory.cut_at_random(disk, killed, recovery, promises, cuts=25)
        shutil.rmtree(killed)


def record_anything(
    root: Path, dice: random.Random, promises: Promises, number: int
) -> Recording[Fact]:
    """Record a session with options at random, after holding the log against the promises."""
    sync = dice.choice(["none", "interval", "group", "group", "each"])
    recording: Recording[Fact] = Recording()
    with (
        recording.running(),
        Log(
            root / "log",
            sync=sync,
            method=dice.choice(["fdatasync", "fdatasync", "fsync", "dsync"]),
            interval=dice.choice([0.002, 60]),
            segment_bytes=dice.choice([1, 1, 2]) * SEGMENT_BYTES,
            max_pending_bytes=dice.choice([256 << 10, 8 << 20]),
            commit_delay=dice.choice([0, 0, 0.0005]),
            lanes=dice.choice([1, 2]),
        ) as log,
    ):
        promises.check(log.oldest_lsn, recovered(log))
        recording.note(shown(log))
        threads = dice.choice([1, 1, 2, 4, 8])
        run_writers(
            log,
            recording.note,
            dice,
            threads=threads,
            steps=dice.randrange(200) // threads,
            waits=sync in WAITING,
            first_number=number,
        )
    return recording


def live_through_cuts(laboratory: Laboratory, place: Path, generations: int) -> None:
    """One log, whose every session ends with a kill or a cut at a random moment."""
    dice = laboratory.dice
    print(f"PYDURABLE_SEED={laboratory.seed}")  # shown if this fails
    disk, promises = Disk(), Promises()
    root = place / "life-0"
    root.mkdir()
    for generation in range(generations):
        recording = record_anything(root, dice, promises, generation * 10)
        stop_at(disk, root, recording, dice.randrange(len(recording.events)), promises)
        shutil.rmtree(root)
        root = place / f"life-{generation + 1}"
        if dice.random() < 0.5:
            # Killed: what is pending stays so, and a later cut may still take it.
            disk.end_process()
            disk.write_cached(root)
        else:
            disk.write_after_cut(root, dice)
            disk = Disk.holding(root)


@pytest.mark.guarantee("G1")
def test_a_log_lives_through_cuts_and_kills(laboratory, tmp_path):
    """The same log keeps its promises from session to session, with whatever options."""
    live_through_cuts(laboratory, tmp_path, generations=25)


@pytest.mark.long
@pytest.mark.parametrize("repetition", range(4))
def test_a_log_lives_long(laboratory, tmp_path, repetition):
    """The same for some hundred sessions."""
    live_through_cuts(laboratory, tmp_path, generations=200)


@pytest.mark.guarantee("G2")
def test_a_torn_record_is_never_shown(log_path, tmp_path):
    """A last batch that lacks any one of its sectors is no batch, whatever its header says."""
    whole, torn = random.Random(1).randbytes(100), random.Random(2).randbytes(6000)
    with Log(log_path, method="fdatasync", segment_bytes=SEGMENT_BYTES) as log:
        log.commit(whole)
        log.commit(torn)
        (segment,) = log_path.glob("*.seg")
        content = segment.read_bytes()
    begin = content.index(torn)
    with scratch() as place:
        for sector in range(begin // 512, (begin + len(torn)) // 512 + 1):
            state = place / f"log-{sector}"
            state.mkdir()
            lost = max(begin, sector * 512)
            end = min(begin + len(torn), (sector + 1) * 512)
            damaged = content[:lost] + bytes(end - lost) + content[end:]
            (state / segment.name).write_bytes(damaged)
            with open_after_cut(state) as log:
                assert [data for _, data in read_log(state)] == [whole]
                assert log.torn_bytes > 0
