"""A small closed log, cut at every byte and with every bit flipped: a prefix or an error."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from _scenario import fast_folder, open_log, record

import pydurable
from pydurable import CorruptionError, VersionError, _native

SEGMENT = "0000000000000001.seg"
RECORDS = [b"first", b"", b"third, a little longer", b"4th", b"5th", bytes(range(100))]


def _outcome(path: Path) -> list[bytes] | None:
    """What the log holds, or None if it is damaged; verify, read and recovery must agree."""
    verified = _verify(path)
    read: list[bytes] | None
    try:
        read = [entry.data for entry in pydurable.read_log(path)]
    except (CorruptionError, VersionError):
        read = None
    if verified is None:
        # A reader sees damage only where it comes by; here the whole log is one segment.
        assert read is None
        return None
    assert read == RECORDS[: verified.next_lsn - 1]
    assert verified.records == len(read)
    return read


def _verify(path: Path) -> pydurable.Report | None:
    try:
        return pydurable.verify_log(path)
    except (CorruptionError, VersionError):
        return None


class Damaged:
    """A log in memory's filesystem whose one segment can be given any bytes."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "log"
        with open_log(self.path) as log:
            for data in RECORDS[:3]:
                log.commit(data)
            log.commit_many(RECORDS[3:5])
            log.commit(RECORDS[5])
        report = pydurable.verify_log(self.path)
        assert report.next_lsn == len(RECORDS) + 1
        self.end = report.torn_offset
        self.segment = self.path / SEGMENT
        self.whole = self.segment.read_bytes()
        assert len(self.whole) == 65536

    def closing_batch(self) -> int:
        """Where the closing batch begins, the last thing in the segment."""
        return self.end - 64


@pytest.fixture(scope="module")
def damaged() -> Iterator[Damaged]:
    with fast_folder() as folder:
        yield Damaged(Path(folder))


def _check(damaged: Damaged, what: str) -> list[bytes] | None:
    try:
        outcome = _outcome(damaged.path)
    except BaseException:
        print(f"the damage was: {what}")
        raise
    # The closing batch says that every record was durable: none may be missing without an error.
    assert outcome in (None, RECORDS), what
    return outcome


@pytest.mark.guarantee("G5")
def test_cut_at_every_byte(damaged: Damaged) -> None:
    """Whatever the length a segment is cut to, its records are there or it is damaged; a file
    shorter than its header says is never taken for whole."""
    damaged.segment.write_bytes(damaged.whole)
    for size in [*range(65535, damaged.end + 70, -997), *range(damaged.end + 70, -1, -1)]:
        os.truncate(damaged.segment, size)
        assert _check(damaged, f"cut to {size} bytes") is None
    damaged.segment.write_bytes(damaged.whole)
    assert _check(damaged, "none") == RECORDS


def _flips(damaged: Damaged, offsets: range) -> Iterator[tuple[int, list[bytes] | None]]:
    with damaged.segment.open("r+b", buffering=0) as file:
        for offset in offsets:
            for bit in range(8):
                file.seek(offset)
                file.write(bytes([damaged.whole[offset] ^ 1 << bit]))
                yield offset, _check(damaged, f"bit {bit} of byte {offset} flipped")
            file.seek(offset)
            file.write(damaged.whole[offset : offset + 1])


def test_every_bit_of_the_headers(damaged: Damaged) -> None:
    """Any flipped bit in one copy of the header is survived, thanks to the other copy."""
    damaged.segment.write_bytes(damaged.whole)
    for place in (0, 4096):
        for _, outcome in _flips(damaged, range(place, place + 128)):
            assert outcome == RECORDS


@pytest.mark.guarantee("G5")
def test_every_bit_of_the_batches(damaged: Damaged) -> None:
    """Any flipped bit in a batch that a later one says was durable is damage; in the closing
    batch, which nobody was told about, it is a torn tail; padding carries nothing."""
    damaged.segment.write_bytes(damaged.whole)
    for offset, outcome in _flips(damaged, range(8192, damaged.end)):
        if outcome is not None:
            padding = not damaged.whole[offset]
            assert offset >= damaged.closing_batch() or padding


def test_bits_of_the_zero_tail(damaged: Damaged) -> None:
    """Bits that appear behind the end or between the headers change nothing."""
    damaged.segment.write_bytes(damaged.whole)
    places = [range(128, 4096, 331), range(4224, 8192, 331), range(damaged.end, 65536, 1009)]
    for offsets in places:
        for _, outcome in _flips(damaged, offsets):
            assert outcome == RECORDS


@pytest.mark.parametrize("place", [(0, 4096), (4096, 0)], ids=["first", "second"])
def test_both_headers_gone(damaged: Damaged, place: tuple[int, int]) -> None:
    """One copy of the header zeroed is survived, both are damage."""
    data = bytearray(damaged.whole)
    data[place[0] : place[0] + 128] = bytes(128)
    damaged.segment.write_bytes(data)
    assert _check(damaged, "one header zeroed") == RECORDS
    data[place[1] : place[1] + 128] = bytes(128)
    damaged.segment.write_bytes(data)
    assert _check(damaged, "both headers zeroed") is None


def _opens(path: Path, folder: Path) -> bool:
    """Whether a copy of the log opens for writing; if it does, it takes a record and keeps it."""
    copy = folder / "copy"
    shutil.copytree(path, copy)
    try:
        try:
            with open_log(copy) as log:
                log.commit(b"after the damage")
        except (CorruptionError, VersionError):
            return False
        data = [entry.data for entry in pydurable.read_log(copy)]
        assert data == [*RECORDS, b"after the damage"]
        return True
    finally:
        shutil.rmtree(copy)


Damage = Callable[[bytearray], None]


def _every_kind(damaged: Damaged) -> Iterator[tuple[str, bytes]]:
    for offset in [8192, 8200, 8260, 8300, damaged.end - 200, damaged.end - 60, damaged.end - 1]:
        data = bytearray(damaged.whole)
        data[offset] ^= 0x40
        yield f"byte {offset} changed", bytes(data)
    for size in (0, 100, 4096, 8192, 8300, damaged.end, 40000, 65535):
        yield f"cut to {size}", damaged.whole[:size]
    yield "grown", damaged.whole + bytes(5000)
    yield "zeroed", bytes(65536)
    yield "batches zeroed", damaged.whole[:8192] + bytes(65536 - 8192)


def test_recovery_and_verify_agree(damaged: Damaged, tmp_path: Path) -> None:
    """A log opens for writing exactly where verify_log finds no damage."""
    for what, data in _every_kind(damaged):
        damaged.segment.write_bytes(data)
        verified = _verify(damaged.path) is not None
        if what == "batches zeroed":
            # As after a crash before anything was durable: an empty log, and nobody can tell.
            assert verified
            continue
        assert _opens(damaged.path, tmp_path) == verified, what


def test_repair_makes_it_open_again(damaged: Damaged, tmp_path: Path) -> None:
    """repair_log keeps the prefix before the damage and a copy of all there was, and the log
    takes records again; where nothing can be kept it says so and changes nothing."""
    for serial, (what, data) in enumerate(_every_kind(damaged)):
        path = tmp_path / f"log{serial}"
        path.mkdir()
        (path / SEGMENT).write_bytes(data)
        if _verify(path) is not None:
            assert pydurable.repair_log(path).copy is None, what
            continue
        try:
            done = pydurable.repair_log(path)
        except CorruptionError:
            assert len(data) < 8192 or not any(data[:8192]), what
            assert (path / SEGMENT).read_bytes() == data, what
            continue
        assert isinstance(done.damage, CorruptionError), what
        assert done.copy is not None, what
        assert (Path(done.copy) / SEGMENT).read_bytes() == data, what
        kept = [entry.data for entry in pydurable.read_log(path)]
        assert kept == RECORDS[: len(kept)], what
        assert done.kept == ((1, len(kept)) if kept else None), what
        with open_log(path) as log:
            assert log.commit(b"goes on") == len(kept) + 1, what
        assert pydurable.verify_log(path).clean, what


def test_the_library_under_test_checks_payloads() -> None:
    """The premise of this file: the checksum in use is the Castagnoli one, table or hardware."""
    assert _native.lib.pd_crc32c(0, b"123456789", 9) == 0xE3069283
    assert record(7) == b"record 7;"
