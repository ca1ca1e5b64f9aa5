"""Writers that use a log in every way it offers and note what it promises on return."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from _history import Durable, Fact, TruncationBegun, TruncationDone, make_group

from pydurable import Log


@dataclass
class Writer:
    """One thread's way through a log.

    ``alone`` says that nobody else writes, so that the LSNs of appended records are known;
    ``waits`` that the target's commit returns when the record is durable.
    """

    log: Log
    number: int
    note: Callable[[Fact], None]
    dice: random.Random
    alone: bool
    waits: bool
    largest: int = 6000
    serial: int = 0
    unsynced: list[tuple[int, bytes]] = field(default_factory=list)
    appended: list[bytes] = field(default_factory=list)

    def run(self, steps: int) -> None:
        """Take that many random steps."""
        actions = [self.commit] * 10 + [self.commit_many] * 3 + [self.sync]
        if self.alone:
            actions += [self.append] * 6
        if self.alone or self.number % 10 == 0:
            actions += [self.truncate]
        for _ in range(steps):
            self.dice.choice(actions)()

    def _records(self, count: int) -> list[bytes]:
        sizes = [
            self.dice.choice([0, self.dice.randrange(200), self.dice.randrange(self.largest)])
            for _ in range(count)
        ]
        first = self.serial
        self.serial += count
        return make_group(self.number, first, sizes)

    def _accepted(self, first: int, records: list[bytes]) -> None:
        """Commit has returned; what was appended before lies just below."""
        before = self.appended
        self.appended = []
        self.unsynced += enumerate(before + records, first - len(before))
        if self.waits:
            self._promise()

    def _promise(self) -> None:
        for lsn, record in self.unsynced:
            self.note(Durable(lsn, (record,)))
        self.unsynced.clear()

    def commit(self) -> None:
        (record,) = self._records(1)
        self._accepted(self.log.commit(record), [record])

    def commit_many(self) -> None:
        records = self._records(self.dice.randint(1, 5))
        first, last = self.log.commit_many(records)
        assert last - first + 1 == len(records)
        self._accepted(first, records)

    def append(self) -> None:
        (record,) = self._records(1)
        self.log.append(record)
        self.appended.append(record)

    def sync(self) -> None:
        durable = self.log.sync()
        if self.alone:
            self._accepted(durable + 1, [])
        self._promise()

    def truncate(self) -> None:
        lsn = max(1, self.log.next_lsn - self.dice.randrange(60))
        self.note(TruncationBegun(lsn))
        self.log.truncate_before(lsn)
        self.note(TruncationDone(lsn))


def run_writers(
    log: Log,
    note: Callable[[Fact], None],
    dice: random.Random,
    *,
    threads: int,
    steps: int,
    waits: bool,
    first_number: int = 0,
) -> None:
    """Let that many threads take that many steps each, and pass on what goes wrong in them."""
    writers = [
        Writer(log, first_number + i, note, random.Random(dice.random()), threads == 1, waits)
        for i in range(threads)
    ]
    if threads == 1:
        writers[0].run(steps)
        return
    failures: list[BaseException] = []

    def run(writer: Writer) -> None:
        try:
            writer.run(steps)
        except BaseException as error:
            failures.append(error)

    running = [threading.Thread(target=run, args=(writer,)) for writer in writers]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    if failures:
        raise failures[0]
