"""Whole segments lost, doubled, renamed, swapped, stale, forged or made of noise."""

from __future__ import annotations

import contextlib
import random
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from _scenario import LARGE, fast_folder, open_log, record

import pydurable
from pydurable import CorruptionError, VersionError
from pydurable._core import lib

REFUSALS = (CorruptionError, VersionError)


def _name(number: int) -> str:
    return f"{number:016x}.seg"


@pytest.fixture
def folder() -> Iterator[Path]:
    with fast_folder() as name:
        yield Path(name)


def make_log(path: Path, records: int = 40) -> int:
    """A closed log of several segments; how many."""
    with open_log(path) as log:
        for lsn in range(1, records + 1):
            log.commit(record(lsn, LARGE))
    count = len(list(path.glob("*.seg")))
    assert count >= 5
    return count


def read_prefix(path: Path) -> list[int] | None:
    """The LSNs that a reader gets, each record as it was written; None if it is refused."""
    lsns = []
    try:
        for entry in pydurable.read_log(path):
            assert entry.data == record(entry.lsn, LARGE)
            lsns.append(entry.lsn)
    except REFUSALS:
        return None
    return lsns


def refused(path: Path) -> bool:
    """Whether the log is damaged; verify and opening for writing agree on that."""
    try:
        pydurable.verify_log(path)
        verdict = False
    except REFUSALS:
        verdict = True
    try:
        open_log(path).close()
        opened = True
    except REFUSALS:
        opened = False
    assert opened is not verdict
    return verdict


@pytest.mark.guarantee("G5")
@pytest.mark.parametrize("which", ["first", "second", "middle", "last but one"])
def test_a_lost_segment(folder: Path, which: str) -> None:
    """A segment that is missing is damage, for readers too: what they yield first is a prefix."""
    path = folder / "log"
    count = make_log(path)
    number = {"first": 1, "second": 2, "middle": count // 2 + 1, "last but one": count - 1}[which]
    (path / _name(number)).unlink()
    seen: list[int] = []
    with pytest.raises(CorruptionError):
        seen.extend(entry.lsn for entry in pydurable.read_log(path))
    assert seen == list(range(1, len(seen) + 1))
    assert refused(path)


@pytest.mark.guarantee("G5")
def test_a_lost_last_segment_cannot_be_known(folder: Path) -> None:
    """Without its last segment a log ends as after a crash at that moment: what is left is a
    prefix, whole and in order."""
    path = folder / "log"
    count = make_log(path)
    (path / _name(count)).unlink()
    lsns = read_prefix(path)
    assert lsns is None or lsns == list(range(1, len(lsns) + 1))


def test_no_segment_left(folder: Path) -> None:
    """A folder without a segment holds no log: FileNotFoundError for readers."""
    path = folder / "log"
    make_log(path)
    for segment in path.glob("*.seg"):
        segment.unlink()
    for use in (pydurable.verify_log, pydurable.read_log, lambda p: pydurable.Log(p, create=False)):
        with pytest.raises(FileNotFoundError):
            use(path)


Meddling = Callable[[Path, int], None]


def _double(path: Path, count: int) -> None:
    shutil.copy(path / _name(2), path / _name(count + 1))


def _double_last(path: Path, count: int) -> None:
    shutil.copy(path / _name(count), path / _name(count + 1))


def _rename(path: Path, count: int) -> None:
    (path / _name(2)).rename(path / _name(count + 5))


def _swap(path: Path, count: int) -> None:
    (path / _name(2)).rename(path / "aside")
    (path / _name(3)).rename(path / _name(2))
    (path / "aside").rename(path / _name(3))


def _replace_by_older(path: Path, count: int) -> None:
    shutil.copy(path / _name(1), path / _name(3))


def _other_log(path: Path, count: int) -> None:
    make_log(path.parent / "other")
    shutil.copy(path.parent / "other" / _name(3), path / _name(3))


def _other_logs_last(path: Path, count: int) -> None:
    make_log(path.parent / "other")
    shutil.copy(path.parent / "other" / _name(count), path / _name(count))


def _noise(path: Path, count: int) -> None:
    (path / _name(count + 1)).write_bytes(random.Random(1).randbytes(65536))


def _empty(path: Path, count: int) -> None:
    (path / _name(count + 1)).write_bytes(b"")


def _noise_within(path: Path, count: int) -> None:
    (path / _name(3)).write_bytes(random.Random(2).randbytes(65536))


def _stale_batches(path: Path, count: int) -> None:
    """The batches of one segment in the body of another."""
    with (path / _name(3)).open("r+b") as file:
        body = (path / _name(2)).read_bytes()[8192:]
        file.seek(8192)
        file.write(body)


@pytest.mark.guarantee("G5")
@pytest.mark.parametrize(
    "meddle",
    [
        _double,
        _double_last,
        _rename,
        _swap,
        _replace_by_older,
        _other_log,
        _other_logs_last,
        _noise,
        _empty,
        _noise_within,
        _stale_batches,
    ],
)
def test_segments_out_of_place(folder: Path, meddle: Meddling) -> None:
    """Segments that are doubled, renamed, swapped, foreign or noise are damage to everybody, and
    repair ends the log before them."""
    path = folder / "log"
    count = make_log(path)
    meddle(path, count)
    assert refused(path)
    lsns = read_prefix(path)
    assert lsns is None
    done = pydurable.repair_log(path)
    assert isinstance(done.damage, REFUSALS)
    kept = read_prefix(path)
    assert kept == list(range(1, len(kept or []) + 1))
    assert not refused(path)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_repair_after_a_lost_segment(folder: Path, number: int) -> None:
    """Repair keeps the records before the hole, or begins behind it if nothing is before it."""
    path = folder / "log"
    make_log(path)
    (path / _name(number)).unlink()
    done = pydurable.repair_log(path)
    assert done.kept is not None
    first, last = done.kept
    assert (first == 1) is (number > 1)
    lsns = [entry.lsn for entry in pydurable.read_log(path)]
    assert lsns == list(range(first, last + 1))
    with open_log(path) as log:
        assert log.oldest_lsn == first
        assert log.commit(record(last + 1, LARGE)) == last + 1
    assert done.copy is not None
    assert not (Path(done.copy) / _name(number)).exists()


def test_files_that_are_no_segments_are_left_alone(folder: Path) -> None:
    """Other names in the folder are neither read nor removed."""
    path = folder / "log"
    make_log(path)
    others = ["notes.txt", "1.seg", "0000000000000001.seg.bak", "000000000000000A.seg", ".hidden"]
    for name in others:
        (path / name).write_bytes(b"not a segment")
    assert not refused(path)
    assert all((path / name).read_bytes() == b"not a segment" for name in others)


def test_what_a_dead_writer_left_half_made_is_removed(folder: Path) -> None:
    """Spares and half-prepared files of an earlier writer go when the log is opened."""
    path = folder / "log"
    make_log(path)
    (path / "prepare.tmp").write_bytes(b"x")
    (path / "spare.0000000000000007").write_bytes(bytes(65536))
    open_log(path).close()
    assert not (path / "prepare.tmp").exists()
    assert not list(path.glob("spare.*"))


FIELDS = [(8, 4), (16, 4), (20, 4), *[(at, 8) for at in range(24, 96, 8)], (96, 4), (104, 8)]
FIELDS += [(112, 8)]
VALUES = [0, 1, 2, 7, 8, 4096, 8192, 65535, 65536, 2**31, 2**32 - 1, 2**63, 2**64 - 1]


def _forge(segment: Path, at: int, size: int, value: int) -> None:
    """Set a field of the segment's header, with a checksum that is right."""
    with segment.open("r+b") as file:
        header = bytearray(file.read(128))
        header[at : at + size] = (value % (1 << 8 * size)).to_bytes(size, "little")
        header[12:16] = bytes(4)
        header[12:16] = struct.pack("<I", lib.pd_crc32c(0, bytes(header), 128))
        for place in (0, 4096):
            file.seek(place)
            file.write(header)


@pytest.mark.guarantee("G6")
@pytest.mark.parametrize("number", [1, 3, 6], ids=["first", "middle", "last"])
def test_forged_headers(folder: Path, number: int) -> None:
    """Whatever a header says under a right checksum: no crash, no hang, no record that was never
    written, and a log that opens keeps what it then commits."""
    original = folder / "original"
    make_log(original)
    path = folder / "log"
    for at, size in FIELDS:
        for value in VALUES:
            shutil.copytree(original, path)
            _forge(path / _name(number), at, size, value)
            try:
                _use(path)
            except BaseException:
                print(f"the field at {at} of segment {number} was set to {value}")
                raise
            shutil.rmtree(path)


def _use(path: Path) -> None:
    """Verify, read and open: each may refuse; what is read was written."""
    with contextlib.suppress(*REFUSALS):
        pydurable.verify_log(path)
    read_prefix(path)
    try:
        with open_log(path) as log:
            lsn = log.commit(b"afterwards")
    except REFUSALS:
        return
    assert [entry.data for entry in pydurable.read_log(path, start=lsn)] == [b"afterwards"]


@pytest.mark.guarantee("G2", "G6")
@pytest.mark.parametrize("seed", range(8))
def test_noise_in_random_places(folder: Path, seed: int) -> None:
    """Random bytes over random stretches of random segments: a prefix or an error."""
    chance = random.Random(seed)
    original = folder / "original"
    count = make_log(original)
    for serial in range(12):
        path = folder / f"log{serial}"
        shutil.copytree(original, path)
        for _ in range(chance.randint(1, 3)):
            with (path / _name(chance.randint(1, count))).open("r+b") as file:
                file.seek(chance.randrange(65536))
                file.write(chance.randbytes(chance.choice([1, 8, 64, 4096, 20000])))
        lsns = read_prefix(path)
        if not refused(path):
            # Only damage that took the last batches with all that says they were durable, the
            # closing one included, leaves no trace; it cannot reach beyond the last segment.
            assert lsns is not None, (seed, serial)
            assert lsns == list(range(1, len(lsns) + 1)), (seed, serial)
            assert len(lsns) >= 36, (seed, serial)
        shutil.rmtree(path)
