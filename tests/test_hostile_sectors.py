"""A log of several segments, each of its sectors zeroed or swapped with another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from _scenario import fast_folder, open_log, record

import pydurable
from pydurable import CorruptionError

SECTOR = 512
SEGMENT_BYTES = 64 << 10
RECORDS = 60
SIZE = 3000


class Victim:
    """A closed log, whose segments can be given other bytes and their own again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with open_log(path) as log:
            for lsn in range(1, RECORDS + 1):
                log.commit(record(lsn, SIZE))
        self.segments = {name: name.read_bytes() for name in sorted(path.glob("*.seg"))}
        report = pydurable.verify_log(path)
        assert len(self.segments) == report.segments >= 3
        assert report.next_lsn == RECORDS + 1
        self.last = max(self.segments)
        self.closing_sectors = set(
            range((report.torn_offset - 64) // SECTOR, (report.torn_offset - 1) // SECTOR + 1)
        )

    def records_with(self, name: Path, data: bytes) -> int | None:
        """How many records the log holds with these bytes in one segment, None if it is damaged."""
        name.write_bytes(data)
        try:
            return pydurable.verify_log(self.path).next_lsn - 1
        except CorruptionError:
            return None
        finally:
            name.write_bytes(self.segments[name])


@pytest.fixture(scope="module")
def victim() -> Iterator[Victim]:
    with fast_folder() as name:
        yield Victim(Path(name) / "log")


def _check(victim: Victim, name: Path, data: bytes, sectors: set[int]) -> int | None:
    found = victim.records_with(name, data)
    if found not in (None, RECORDS):
        # What no format can tell from a crash: the last record together with the closing batch.
        assert name == victim.last
        assert sectors & victim.closing_sectors
        assert found == RECORDS - 1
    return found


@pytest.mark.guarantee("G5")
def test_every_sector_zeroed(victim: Victim) -> None:
    """A zeroed sector is damage or changes nothing, but for the one that holds the end of the
    last record and all that says it was durable."""
    outcomes = []
    for name, whole in victim.segments.items():
        for sector in range(len(whole) // SECTOR):
            at = sector * SECTOR
            data = whole[:at] + bytes(SECTOR) + whole[at + SECTOR :]
            if data != whole:
                outcomes.append(_check(victim, name, data, {sector}))
    assert outcomes.count(None) > 300
    assert sum(found not in (None, RECORDS) for found in outcomes) <= len(victim.closing_sectors)


@pytest.mark.guarantee("G5")
def test_every_sector_swapped(victim: Victim) -> None:
    """Two sectors that have changed places are damage or change nothing, with the same bound."""
    outcomes = []
    for name, whole in victim.segments.items():
        for sector in range(len(whole) // SECTOR - 1):
            at, then = sector * SECTOR, (sector + 1) * SECTOR
            end = then + SECTOR
            data = whole[:at] + whole[then:end] + whole[at:then] + whole[end:]
            if data != whole:
                outcomes.append(_check(victim, name, data, {sector, sector + 1}))
    assert outcomes.count(None) > 300
    short = sum(found not in (None, RECORDS) for found in outcomes)
    assert short <= 2 * len(victim.closing_sectors)
