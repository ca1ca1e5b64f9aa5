"""Cutting the power at moments of a recorded run, and checking what comes back."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from _history import Durable, Fact, Promises
from _targets import SEGMENT_BYTES

from pydurable import Log, Record, read_log, verify_log
from pydurable._recording import Recording
from pydurable._simulated_disk import Disk
from pydurable._simulated_replay import Replay

MEMORY = Path("/dev/shm")

RING_BYTES = 256 << 10


def new_seed() -> int:
    """The seed of this test's dice: another one each time, unless PYDURABLE_SEED gives it."""
    return int(os.environ.get("PYDURABLE_SEED") or random.randrange(1 << 32))


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory for crash states: in memory where there is such a place, since they are many."""
    memory = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="pydurable-", dir=memory) as name:
        yield Path(name)


def open_after_cut(path: Path, create: bool = True) -> Log:
    """Open a crash state; memory filesystems may know no direct I/O.

    The ring is as small as it gets: making a large one takes longer than all the rest.
    """
    return Log(
        path,
        create=create,
        method="fdatasync",
        segment_bytes=SEGMENT_BYTES,
        interval=60,
        max_pending_bytes=RING_BYTES,
    )


def recovered(log: Log) -> list[Record]:
    return list(read_log(log.path, log.oldest_lsn))


class Laboratory:
    """Cuts the power in ``place``, checks what comes back, and counts the cuts.

    With a failure it keeps the state in ``keep`` and says which seed, moment and cut it was.
    """

    def __init__(self, place: Path, keep: Path, seed: int) -> None:
        self._place = place
        self._keep = keep
        self.seed = seed
        self.dice = random.Random(seed)
        self.states = 0

    def cut_at_random(
        self, disk: Disk, root: Path, recording: Recording[Fact], promises: Promises, cuts: int
    ) -> None:
        """Replay a run on the disk and cut it that many times, at random moments."""
        moments = [self.dice.randrange(len(recording.events)) for _ in range(cuts)]
        self._cut_at(moments, disk, root, recording, promises)

    def cut_everywhere(
        self, disk: Disk, root: Path, recording: Recording[Fact], promises: Promises
    ) -> None:
        """Replay a run on the disk and cut it after each of its events."""
        self._cut_at(list(range(len(recording.events))), disk, root, recording, promises)

    def _cut_at(
        self,
        moments: list[int],
        disk: Disk,
        root: Path,
        recording: Recording[Fact],
        promises: Promises,
    ) -> None:
        replay = Replay(disk, root)
        for index, event in enumerate(recording.events):
            replay.apply(event)
            fact = recording.fact(event)
            if fact is not None:
                promises.add(fact)
            for _ in range(moments.count(index)):
                self._cut(disk, promises, f"event {index + 1} of {len(recording.events)}")

    def _cut(self, disk: Disk, promises: Promises, moment: str) -> None:
        """Cut the power now, open what that leaves, and hold it against the promises."""
        self.states += 1
        state = self._place / "state"
        dice_before = self.dice.getstate()
        disk.write_after_cut(state, self.dice)
        try:
            # Writing on and reading again takes its time: one state in four.
            thorough = self.dice.random() < 0.25
            check_reopened(state / "log", promises, thorough)
        except Exception as error:
            # Recovery may have changed the state; the same dice make the same one again.
            self.dice.setstate(dice_before)
            disk.write_after_cut(self._keep / "failed", self.dice)
            raise AssertionError(
                f"seed {self.seed}, state {self.states}, cut after {moment}, "
                f"kept in {self._keep / 'failed'}: {type(error).__name__}: {error}"
            ) from error
        shutil.rmtree(state)


def check_reopened(path: Path, promises: Promises, thorough: bool) -> None:
    """Open what a cut has left of a log and hold it against the promises.

    ``thorough`` verifies it before, writes on and reads again.
    """
    report = verify_log(path) if thorough and any(path.glob("*.seg")) else None
    with open_after_cut(path, create=not promises.durable) as log:
        records = recovered(log)
        promises.check(log.oldest_lsn, records)
        if report is not None:
            assert (report.oldest_lsn, report.next_lsn) == (log.oldest_lsn, log.next_lsn)
        if thorough:
            lsn = log.oldest_lsn + len(records)
            assert log.commit(b"after the cut") == lsn
    if thorough:
        assert verify_log(path).clean
        assert list(read_log(path)) == [*records, Record(lsn, b"after the cut")]


def shown(log: Log) -> Durable:
    """What a log shows after recovery is a promise too: nobody may unsee it."""
    records = recovered(log)
    return Durable(log.oldest_lsn, tuple(record.data for record in records))
