"""The log against a plain list: Hypothesis looks for steps after which they disagree."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from _targets import SEGMENT_BYTES, WAITING, skip_if_refused
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from pydurable import Log, read_log, verify_log

TARGETS = ["none", "interval", "group", "each", "paranoid"]

# Short ones for what is between records, and some of which a segment holds few.
records = st.one_of(
    st.binary(max_size=40),
    st.builds(lambda size, byte: bytes([byte]) * size, st.integers(0, 40_000), st.integers(0, 255)),
)


class LogAgainstList(RuleBasedStateMachine):
    """``kept`` is what the log must hold from LSN ``oldest`` on.

    ``appended`` are records that were accepted and are not handed over yet: a crash loses them.
    No background flush comes in between, because the interval is longer than any run.
    """

    sync: str
    method = "fdatasync"

    @initialize()
    def make(self) -> None:
        self.place = Path(tempfile.mkdtemp(prefix="pydurable-"))
        self.generation = 0
        self.kept: list[bytes] = []
        self.appended: list[bytes] = []
        self.oldest = 1
        self.log = self.open()

    @property
    def next_lsn(self) -> int:
        return self.oldest + len(self.kept)

    @property
    def path(self) -> Path:
        return self.place / f"log-{self.generation}"

    def open(self) -> Log:
        return Log(
            self.path,
            sync=self.sync,
            method="auto" if self.sync == "paranoid" else self.method,
            segment_bytes=SEGMENT_BYTES,
            max_pending_bytes=64 << 20,  # a ring that is never handed over for want of room
            interval=3600,
        )

    def hand_over(self, *more: bytes) -> None:
        self.kept += [*self.appended, *more]
        self.appended = []

    @rule(data=records)
    def append(self, data: bytes) -> None:
        self.log.append(data)
        self.appended.append(data)
        # A full ring, or a record too large for it, hands over what lies before.
        handed_over = self.log.next_lsn - self.next_lsn
        self.kept += self.appended[:handed_over]
        del self.appended[:handed_over]

    @rule(data=records)
    def commit(self, data: bytes) -> None:
        lsn = self.log.commit(data)
        self.hand_over(data)
        assert lsn == self.next_lsn - 1

    @rule(group=st.lists(records.filter(lambda data: len(data) < 10_000), min_size=1, max_size=5))
    def commit_many(self, group: list[bytes]) -> None:
        first, last = self.log.commit_many(iter(group))
        self.hand_over(*group)
        assert (first, last) == (self.next_lsn - len(group), self.next_lsn - 1)

    @rule()
    def force(self) -> None:
        durable = self.log.sync()
        self.hand_over()
        assert durable == self.log.durable_lsn == self.next_lsn - 1

    @rule(data=st.data())
    def truncate_before(self, data: st.DataObject) -> None:
        end = self.next_lsn + len(self.appended)
        lsn = data.draw(st.integers(0, end), label="lsn")
        self.log.truncate_before(lsn)
        self.hand_over()
        del self.kept[: max(0, lsn - self.oldest)]
        self.oldest = max(self.oldest, lsn)

    @rule()
    def truncate_beyond_the_end(self) -> None:
        with pytest.raises(ValueError, match="the next one"):
            self.log.truncate_before(self.next_lsn + len(self.appended) + 1)
        self.hand_over()

    @rule(excess=st.integers(1, 9000))
    def commit_too_much(self, excess: int) -> None:
        with pytest.raises(ValueError, match="more than a segment can hold"):
            self.log.commit(bytes(self.log.max_record_bytes + excess))

    @rule()
    def commit_as_much_as_there_can_be(self) -> None:
        self.commit(bytes(self.log.max_record_bytes))

    @rule()
    def reopen(self) -> None:
        self.log.close()
        self.hand_over()
        assert verify_log(self.path).clean
        self.log = self.open()
        assert self.log.torn_bytes == 0

    @rule()
    def crash(self) -> None:
        """The directory as it is: what a killed process leaves behind."""
        before = self.path
        self.generation += 1
        copy_as_it_is(before, self.path)
        self.log.close()
        shutil.rmtree(before)
        self.appended = []
        self.log = self.open()

    @invariant()
    def holds_what_the_list_holds(self) -> None:
        assert self.log.oldest_lsn == self.oldest
        assert self.log.next_lsn == self.next_lsn
        if self.sync in WAITING:
            assert self.log.durable_lsn == self.next_lsn - 1
        # A reader beside a living writer sees what is durable, all of it and no more.
        durable = self.log.durable_lsn
        found = list(read_log(self.path))
        assert [lsn for lsn, _ in found] == list(range(self.oldest, durable + 1))
        assert [data for _, data in found] == self.kept[: len(found)]

    def teardown(self) -> None:
        self.log.close()
        self.hand_over()
        assert [data for _, data in read_log(self.path)] == self.kept
        shutil.rmtree(self.place)


def copy_as_it_is(source: Path, target: Path) -> None:
    """Copy a log that is open; what is being prepared may change its name meanwhile."""
    target.mkdir()
    for name in os.listdir(source):
        try:
            shutil.copyfile(source / name, target / name)
        except FileNotFoundError:
            assert not name.endswith(".seg")


def run_machine(sync: str, method: str, examples: int, steps: int) -> None:
    machine = type("Machine", (LogAgainstList,), {"sync": sync, "method": method})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.guarantee("G2")
@pytest.mark.parametrize("sync", TARGETS)
def test_a_log_is_a_list(sync, tmp_path):
    """Whatever the order of calls, crashes and reopenings, the log holds what a list would."""
    skip_if_refused(tmp_path, sync, "auto")
    run_machine(sync, "fdatasync", examples=20, steps=30)


@pytest.mark.long
@pytest.mark.parametrize("method", ["fdatasync", "dsync", "direct", "direct+dsync"])
@pytest.mark.parametrize("sync", TARGETS)
def test_a_log_is_a_list_after_many_steps(sync, method, tmp_path):
    """The same with each method, longer."""
    skip_if_refused(tmp_path, sync, "auto" if sync == "paranoid" else method)
    run_machine(sync, method, examples=60, steps=50)
