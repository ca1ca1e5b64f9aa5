"""Each file of a log of several segments deleted, doubled, renamed, cut; bits flipped anywhere.

The log was closed, so that its last batch says that every record is durable.  The verdict on each
damage is held against the one that there must be.
"""

from __future__ import annotations

import math
import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from _patience import wait_until
from _powercut import new_seed
from _scenario import LARGE, fast_folder, open_log, record

import pydurable
from pydurable import CorruptionError, VersionError

SECTOR = 512
RECORDS = 40
BOUND_S = 30
"""Of the test of all bits, which says how far it came."""


def _name(number: int) -> str:
    return f"{number:016x}.seg"


class Victim:
    """A log of several segments with batches of many sizes and watermarks within."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with open_log(path, interval=0.001) as log:
            for lsn in range(1, RECORDS + 1):
                flushes = log.stats().flushes
                log.commit(record(lsn, LARGE if lsn % 4 else 0))
                if lsn == RECORDS // 2:
                    self._await_watermark(log, flushes + 2)
        self.files = {file.name: file.read_bytes() for file in path.glob("*.seg")}
        self.count = len(self.files)
        self.last = _name(self.count)
        report = pydurable.verify_log(path)
        assert report.clean
        assert report.next_lsn == RECORDS + 1
        assert self.count >= 4
        self.held = {
            name: self._held_before(number) for number, name in enumerate(sorted(self.files), 1)
        }

    def _await_watermark(self, log: pydurable.Log, flushes: int) -> None:
        """A quiet log writes an empty batch, which says that all before it is durable."""
        wait_until(lambda: log.stats().flushes >= flushes, "the watermark")

    def _held_before(self, number: int) -> int:
        """The last LSN before a segment begins, as a log without what follows shows it."""
        copy = self.path.parent / "before"
        copy.mkdir()
        for name in sorted(self.files)[: number - 1]:
            (copy / name).write_bytes(self.files[name])
        lsn = pydurable.verify_log(copy).next_lsn - 1 if number > 1 else 0
        shutil.rmtree(copy)
        return lsn

    def restore(self) -> None:
        for file in self.path.iterdir():
            if file.name not in self.files:
                file.unlink()
        for name, data in self.files.items():
            (self.path / name).write_bytes(data)

    def outcome(self) -> int | None:
        """The last LSN of what the log holds, None where it is damaged; what is read is right."""
        try:
            last = pydurable.verify_log(self.path).next_lsn - 1
        except FileNotFoundError:
            return 0
        except (CorruptionError, VersionError):
            return None
        read = list(pydurable.read_log(self.path))
        assert [entry.lsn for entry in read] == list(range(1, last + 1))
        assert all(entry.data == record(entry.lsn, LARGE if entry.lsn % 4 else 0) for entry in read)
        return last


@pytest.fixture(scope="module")
def victim() -> Iterator[Victim]:
    with fast_folder() as folder:
        yield Victim(Path(folder) / "log")


def _outcomes(
    victim: Victim, damages: Iterator[tuple[str, Callable[[], object]]]
) -> dict[str, int | None]:
    found = {}
    for what, damage in damages:
        damage()
        try:
            found[what] = victim.outcome()
        except BaseException:
            print(f"the damage was: {what}")
            raise
        finally:
            victim.restore()
    return found


@pytest.mark.guarantee("G5")
def test_every_file_deleted(victim: Victim) -> None:
    """Each missing segment is damage, but for the last: without it the log ends where that began,
    as after a crash at that moment, and nobody can tell."""
    damages = ((name, (victim.path / name).unlink) for name in sorted(victim.files))
    found = _outcomes(victim, damages)
    assert found.pop(victim.last) in (None, victim.held[victim.last])
    assert set(found.values()) == {None}


@pytest.mark.guarantee("G5")
def test_every_file_doubled_and_renamed(victim: Victim) -> None:
    """A segment under the name of any other, or of one behind them all, as a copy or moved there,
    is damage.  Segments count from 1: to the number 0 the rules of other names apply."""
    numbers = range(victim.count + 3)

    def damages() -> Iterator[tuple[str, Callable[[], object]]]:
        for name in sorted(victim.files):
            for number in numbers:
                target = victim.path / _name(number)
                source = victim.path / name
                if target != source:
                    yield f"copy {name} {number}", lambda s=source, t=target: shutil.copy(s, t)
                    yield f"move {name} {number}", lambda s=source, t=target: os.replace(s, t)

    found = _outcomes(victim, damages())
    print(f"{len(found)} copies and moves, {list(found.values()).count(None)} reported")
    for what, last in found.items():
        kind, name, number = what.split()
        if int(number):
            assert last is None, what
        elif kind == "copy":
            assert last == RECORDS, what
        else:
            missed = victim.held[name] if name == victim.last else None
            assert last in (None, missed), what


@pytest.mark.guarantee("G5")
def test_every_file_under_a_name_of_no_segment(victim: Victim) -> None:
    """Renamed to what is no segment's name a file is missing, and the rule of deleted ones holds;
    a copy there changes nothing."""
    others = ("x.seg", "1.seg", ".seg", "spare.0000000000000001", "{}.bak", "prepare.tmp")

    def damages() -> Iterator[tuple[str, Callable[[], object]]]:
        for name in sorted(victim.files):
            for other in others:
                source, target = victim.path / name, victim.path / other.format(name)
                yield f"copy {name}", lambda s=source, t=target: shutil.copy(s, t)
                yield f"move {name}", lambda s=source, t=target: os.replace(s, t)

    for what, last in _outcomes(victim, damages()).items():
        kind, name = what.split()
        if kind == "copy":
            assert last == RECORDS, what
        else:
            assert last in ((None, victim.held[name]) if name == victim.last else (None,)), what


@pytest.mark.guarantee("G5")
def test_every_file_cut_at_every_sector(victim: Victim) -> None:
    """Cut short, the last segment is damage wherever that was; an earlier one may lose of the
    zeros behind its last batch, which hold nothing."""

    def damages() -> Iterator[tuple[str, Callable[[], object]]]:
        for name, data in sorted(victim.files.items()):
            for size in range(0, len(data), SECTOR):
                yield f"{name} to {size}", lambda n=name, s=size: os.truncate(victim.path / n, s)

    found = _outcomes(victim, damages())
    whole = [what for what, last in found.items() if last is not None]
    print(f"{len(found)} cuts, {len(whole)} without effect")
    for what in whole:
        name, _, size = what.split()
        assert found[what] == RECORDS, what
        assert name != victim.last, what
        assert not any(victim.files[name][int(size) :]), what


def _flip(victim: Victim, name: str, offset: int, bit: int) -> int | None:
    """The outcome with one bit of a segment flipped."""
    data = victim.files[name]
    with (victim.path / name).open("r+b", buffering=0) as file:
        file.seek(offset)
        file.write(bytes([data[offset] ^ 1 << bit]))
        try:
            return victim.outcome()
        except BaseException:
            print(f"bit {bit} of byte {offset} of {name} was flipped")
            raise
        finally:
            file.seek(offset)
            file.write(data[offset : offset + 1])


def _flip_all(victim: Victim, bits: Iterator[tuple[str, int, int]], bound: float) -> Counter[str]:
    told: Counter[str] = Counter()
    until = time.monotonic() + bound
    for name, offset, bit in bits:
        outcome = _flip(victim, name, offset, bit)
        # The closing batch holds no record, and without it every record is still there.
        assert outcome in (None, RECORDS), (name, offset, bit)
        told["damage" if outcome is None else "no effect"] += 1
        if time.monotonic() > until:
            break
    return told


@pytest.mark.guarantee("G5")
def test_a_sample_of_all_bits(victim: Victim) -> None:
    """A flipped bit anywhere in several segments is damage or changes no record."""
    dice = random.Random(new_seed())
    names = sorted(victim.files)
    sample = (
        (dice.choice(names), dice.randrange(len(victim.files[names[0]])), dice.randrange(8))
        for _ in range(300)
    )
    told = _flip_all(victim, sample, bound=600)
    assert told["damage"] > 100


@pytest.mark.guarantee("G5")
@pytest.mark.long
def test_all_bits_in_random_order(victim: Victim) -> None:
    """All bits of all segments, in an order that is drawn anew, for as long as the bound allows."""
    seed = new_seed()
    print("seed", seed)
    dice = random.Random(seed)
    names = sorted(victim.files)
    size = len(victim.files[names[0]]) * 8
    total = size * len(names)
    step, number = 0, dice.randrange(total)
    while math.gcd(step, total) > 1:
        step = dice.randrange(1, total)

    def bits() -> Iterator[tuple[str, int, int]]:
        """Each bit once: the step has no divisor in common with their number."""
        for index in range(total):
            which, place = divmod((number + index * step) % total, size)
            yield names[which], place // 8, place % 8

    told = _flip_all(victim, bits(), BOUND_S)
    print(f"{sum(told.values())} of {total} bits: {dict(told)}")
    assert told["damage"] > told["no effect"]
