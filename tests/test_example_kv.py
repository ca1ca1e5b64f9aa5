"""examples/kv.py keeps its promise, and the tests see it broken by the classic mistakes."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections import Counter
from pathlib import Path

import pytest
from _powercut import new_seed, scratch
from _processes import start_python
from kv import Store

from pydurable import Log, replace
from pydurable._recording import Recording
from pydurable._simulated_disk import Disk
from pydurable._simulated_replay import Replay

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
CUTS = 2  # for each event of the recorded run
Change = tuple[str, str | None]


class SmallStore(Store):
    """The example with segments that a simulated disk can hold."""

    sync = "group"

    def _open_log(self, path: Path) -> Log:
        return Log(path, sync=self.sync, method="fdatasync", segment_bytes=64 << 10, interval=60)


class FlushIsNotSync(SmallStore):
    """A put that returns when the kernel has it: ``file.flush()`` without ``os.fsync()``."""

    sync = "none"


class PutReturnsEarly(SmallStore):
    """A put that returns when the process has it, to write many of them at once later."""

    def _open_log(self, path: Path) -> Log:
        self._waiting: list[bytes] = []
        return super()._open_log(path)

    def _commit(self, record: bytes) -> int:
        self._waiting.append(record)
        return self._log.next_lsn - 1 + len(self._waiting)

    def close(self) -> None:
        if self._waiting:
            self._log.commit_many(self._waiting)
        super().close()


class SnapshotIsNotSynced(SmallStore):
    """A snapshot that is renamed into place, and trusted, before it is on the medium."""

    def _save(self, snapshot: bytes) -> None:
        replace(self._snapshot, snapshot, durability="none")


class NameIsNotSynced(SmallStore):
    """A snapshot whose bytes are on the medium and whose name is not."""

    def _save(self, snapshot: bytes) -> None:
        replace(self._snapshot, snapshot, durability="data")


class TruncatesFirst(SmallStore):
    """A log that forgets what no snapshot holds yet."""

    def _save(self, snapshot: bytes) -> None:
        self._log.truncate_before(self._log.next_lsn)
        super()._save(snapshot)


def changes() -> list[Change]:
    """What is done to the store: new keys, old ones, and some that go again."""
    dice = random.Random(1)
    return [
        (f"key {dice.randrange(6)}", dice.choice([None, f"value {number}", f"value {number}" * 99]))
        for number in range(24)
    ]


def live(store: Store) -> None:
    """Do all of it, and compact in between."""
    for number, (key, value) in enumerate(changes(), 1):
        if value is None:
            store.delete(key)
        else:
            store.put(key, value)
        if number % 7 == 0:
            store.compact()


def state_after(count: int) -> dict[str, str]:
    """What a store holds after the first changes."""
    state: dict[str, str | None] = dict(changes()[:count])
    return {key: value for key, value in state.items() if value is not None}


def content(store: Store) -> dict[str, str | None]:
    return {key: store.get(key) for key in store}


def recorded(kind: type[SmallStore], root: Path) -> tuple[Disk, Recording[int]]:
    """A life of the store, with a note of each change that was acknowledged."""
    recording: Recording[int] = Recording()
    disk = Disk.holding(root)

    class Noted(kind):  # type: ignore[misc, valid-type]
        done = 0

        def _change(self, key: str, value: str | None) -> None:
            super()._change(key, value)
            self.done += 1
            recording.note(self.done)

    with recording.running():
        with Noted(root) as store:
            live(store)
        with Noted(root) as store:
            assert content(store) == state_after(len(changes()))
    return disk, recording


def cut_everywhere(kind: type[SmallStore], root: Path) -> int:
    """Cut the power after each event; what opens then must be what was promised."""
    root.mkdir()
    disk, recording = recorded(kind, root)
    seed = new_seed()
    print(f"PYDURABLE_SEED={seed}")  # shown if this fails
    dice = random.Random(seed)
    replay = Replay(disk, root)
    promised = states = 0
    with scratch() as place:
        for number, event in enumerate(recording.events):
            replay.apply(event)
            promised = recording.fact(event) or promised
            for _ in range(CUTS):
                states += 1
                after = place / str(states)
                disk.write_after_cut(after, dice)
                check(after, promised, f"cut after event {number} of {len(recording.events)}")
    return states


def check(after: Path, promised: int, moment: str) -> None:
    """Every change that was acknowledged is there, and at most one that was not."""
    try:
        with SmallStore(after) as store:
            found = content(store)
    except Exception as error:
        raise AssertionError(f"{moment}: the store does not open: {error!r}") from error
    allowed = [state_after(promised), state_after(promised + 1)]
    assert found in allowed, f"{moment}: {promised} changes were promised"


def test_a_power_cut_at_any_moment(tmp_path):
    """What was put is there, what was deleted is gone, whatever of the rest the disk has kept."""
    assert cut_everywhere(SmallStore, tmp_path / "store") > 200


@pytest.mark.parametrize(
    "kind",
    [FlushIsNotSync, PutReturnsEarly, SnapshotIsNotSynced, NameIsNotSynced, TruncatesFirst],
)
def test_the_classic_mistakes_lose_data_in_a_power_cut(kind, tmp_path):
    """Each of them fails the test that the example passes."""
    with pytest.raises(AssertionError, match=r"changes were promised|does not open"):
        cut_everywhere(kind, tmp_path / "store")


WRITER = """
import itertools, os, sys, threading
sys.path.insert(0, sys.argv[1])
from test_example_kv import PutReturnsEarly, SmallStore

store = {"SmallStore": SmallStore, "PutReturnsEarly": PutReturnsEarly}[sys.argv[2]](sys.argv[3])

def put(name):
    for number in itertools.count(1):
        store.put(name, str(number))
        os.write(1, f"{name} {number}\\n".encode())  # shorter than PIPE_BUF, so never in parts

for name in "abcd":
    threading.Thread(target=put, args=name, daemon=True).start()
while True:
    store.compact()
"""


def killed(kind: str, directory: Path, reports: int) -> dict[str, int]:
    """Kill a process that puts and compacts; return the last put of each thread that returned."""
    directory.mkdir()
    writer = start_python(WRITER, EXAMPLES, kind, directory)
    assert writer.stdout is not None
    lines = [writer.stdout.readline() for _ in range(reports)]
    writer.kill()
    # What it reported before the kill is in the pipe, or read ahead already.
    lines += writer.stdout.readlines()
    writer.communicate(timeout=60)
    assert writer.returncode == -signal.SIGKILL
    last = Counter[str]()
    for line in lines:
        name, number = line.split()
        last[name] = max(last[name], int(number))
    return last


def found(directory: Path, names: dict[str, int]) -> dict[str, int]:
    with SmallStore(directory) as store:
        return {name: int(store.get(name) or 0) for name in names}


def test_a_kill_while_four_threads_put_and_one_compacts(tmp_path):
    """The last put of each thread is there, or the one after that nobody heard of."""
    for round_number in range(3):
        directory = tmp_path / str(round_number)
        reported = killed("SmallStore", directory, reports=200)
        for name, number in found(directory, reported).items():
            assert number in (reported[name], reported[name] + 1)


def test_a_put_that_returns_early_does_not_survive_a_kill(tmp_path):
    """The mistake that needs no power cut to lose data."""
    directory = tmp_path / "store"
    reported = killed("PutReturnsEarly", directory, reports=200)
    assert any(number < reported[name] for name, number in found(directory, reported).items())


def test_threads_see_their_own_last_put(tmp_path):
    """The index follows the order of the log, whoever comes back first."""
    with SmallStore(tmp_path) as store:

        def put(name: str) -> None:
            for number in range(50):
                store.put(name, f"{number}")
                store.put("shared", f"{name} {number}")
                assert store.get(name) == f"{number}"

        threads = [threading.Thread(target=put, args=name) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        before = content(store)
    assert os.listdir(tmp_path) == ["log"]
    with SmallStore(tmp_path) as store:
        assert content(store) == before
