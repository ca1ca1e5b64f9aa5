"""The rig's model of a disk, without a kernel: what a power cut may leave and what it may not."""

from __future__ import annotations

import os
import random
import struct
from pathlib import Path

import pytest

from powercut.recording import SECTOR, Entry, Image, Kind, Recording, parse_log
from powercut.states import (
    Cut,
    Fingerprints,
    Piece,
    Write,
    draw_states,
    tear,
    write_state,
)
from powercut.workloads_append import line
from powercut.workloads_logging import Said, Settings, check_handler
from powercut.workloads_replace import Fact, check_renames, check_replaced, content

EMPTY = Image(16 << 10, ())


def begin(request: int, sector: int, data: bytes) -> Entry:
    return Entry(Kind.WRITE_BEGIN, request, sector * SECTOR, 0, data)


def end(request: int, result: int = 0) -> Entry:
    return Entry(Kind.WRITE_END, request, 0, result, b"")


def flush_begin(request: int) -> Entry:
    return Entry(Kind.FLUSH_BEGIN, request, 0, 0, b"")


def flush_end(request: int, result: int = 0) -> Entry:
    return Entry(Kind.FLUSH_END, request, 0, result, b"")


def sectors(letter: str, count: int = 1) -> bytes:
    return letter.encode() * (SECTOR * count)


def cut_after(*entries: Entry) -> Cut:
    cut = Cut(Recording(EMPTY, entries))
    cut.advance(len(entries))
    return cut


def durable(cut: Cut) -> list[bytes]:
    return [write.data[:1] for write in cut.durable]


def test_a_flush_covers_what_had_ended_when_it_began():
    """A write in flight when the flush began is not certain, though both have ended since."""
    cut = cut_after(
        begin(1, 0, sectors("a")),
        end(1),
        begin(2, 1, sectors("b")),
        flush_begin(3),
        end(2),
        begin(4, 2, sectors("c")),
        end(4),
        flush_end(3),
    )
    assert durable(cut) == [b"a"]
    assert sorted(write.data[:1] for write in cut.pending.values()) == [b"b", b"c"]


def test_a_flush_that_has_not_ended_covers_nothing():
    """Until the disk answers a flush it may have done any part of it."""
    assert durable(cut_after(begin(1, 0, sectors("a")), end(1), flush_begin(2))) == []


def test_flushes_may_overlap():
    """What the first of two flushes to end covers is certain, whenever the other one ends."""
    cut = cut_after(
        begin(1, 0, sectors("a")),
        end(1),
        flush_begin(2),
        begin(3, 1, sectors("b")),
        end(3),
        flush_begin(4),
        flush_end(4),
        flush_end(2),
    )
    assert durable(cut) == [b"a", b"b"]


def test_what_failed_is_no_promise():
    """A failed write has changed nothing, and a failed flush covers nothing; a later one does."""
    entries = [
        begin(1, 0, sectors("a")),
        end(1, -5),
        begin(2, 1, sectors("b")),
        end(2),
        flush_begin(3),
        flush_end(3, -5),
    ]
    cut = cut_after(*entries)
    assert durable(cut) == []
    assert list(cut.pending) == [2]
    assert durable(cut_after(*entries, flush_begin(4), flush_end(4))) == [b"b"]


def test_a_state_is_what_is_certain_and_any_part_of_the_rest(tmp_path: Path):
    """Each draw has all that is certain, of the rest sectors as they were written, in order."""
    cut = cut_after(
        begin(1, 0, sectors("a", 4)),
        end(1),
        flush_begin(2),
        flush_end(2),
        begin(3, 2, sectors("b", 4)),
        end(3),
        begin(4, 5, sectors("c", 2)),
    )
    dice = random.Random(1)
    seen = set()
    for _ in range(500):
        with (tmp_path / "state").open("wb") as file:
            write_state(file.fileno(), EMPTY, cut.disk(cut.draw(dice)))
        raw = (tmp_path / "state").read_bytes()
        assert len(raw) == EMPTY.size
        found = raw[: 7 * SECTOR]
        assert not any(raw[7 * SECTOR :])
        letters = [found[i : i + SECTOR] for i in range(0, len(found), SECTOR)]
        assert all(sector == sector[:1] * SECTOR for sector in letters), "torn within a sector"
        seen.add(bytes(sector[0] for sector in letters).decode().replace("\0", "."))
    # By sectors: a, a, a or b, a or b, b or nothing, nothing or b or c, nothing or c.
    allowed = {
        "aa" + x + y + z + v + w
        for x in "ab"
        for y in "ab"
        for z in ".b"
        for v in ".bc"
        for w in ".c"
    }
    assert seen <= allowed
    assert {"aaaa...", "aabbbb.", "aabbbcc", "aaaa.cc"} <= seen
    assert len(seen) > len(allowed) / 2


def test_superblocks_are_not_torn():
    """Of a page that a filesystem trusts to be whole, all sectors are kept or none."""
    write = Write(0, 4096 - SECTOR, sectors("a", 10))
    dice = random.Random(2)
    counts = set()
    for _ in range(500):
        kept = {piece.offset for piece in tear(write, dice, frozenset([1]))}
        counts.add(sum(4096 <= offset < 8192 for offset in kept))
    assert counts == {0, 8}


def test_facts_hold_from_their_mark_on():
    """A cut before a mark knows nothing of it, one after it does, and inherited facts are first."""
    mark = Entry(Kind.MARK, 0, 0, 0, b"as it is")
    cut = Cut(Recording(EMPTY, [begin(1, 0, sectors("a")), mark], ["before"]))
    cut.advance(1)
    assert cut.facts == ["before"]
    cut.advance(2)
    assert cut.facts == ["before", b"as it is"]


def test_fingerprints_tell_states_apart():
    """By content: two ways to the same disk are one state, and what was there is no change."""
    base = Image(EMPTY.size, ((0, sectors("o", 8)),))
    prints = Fingerprints(base)
    two = [Piece(1, 0, sectors("a")), Piece(1, SECTOR, sectors("b"))]
    one = [Piece(0, 0, sectors("x")), Piece(2, 0, sectors("a") + sectors("b"))]
    assert prints.of(two) == prints.of(one)
    assert prints.of(two) != prints.of(two[:1])
    assert prints.of([Piece(3, 0, sectors("o"))]) == prints.of([])


def test_what_is_settled_is_in_each_fingerprint():
    """As it comes, in whatever order; a drawn piece counts unless a later write is settled."""
    settled, drawn = Fingerprints(EMPTY), Fingerprints(EMPTY)
    pieces = [Piece(1, 0, sectors("a", 2)), Piece(2, SECTOR, sectors("b", 2))]
    for piece in reversed(pieces):
        settled.settle(Write(piece.number, piece.offset, piece.data))
    assert settled.of([]) == drawn.of(pieces)
    assert settled.of([Piece(0, 0, sectors("x"))]) == drawn.of(pieces)
    assert settled.of([Piece(3, 0, sectors("x"))]) != drawn.of(pieces)
    assert settled.of([Piece(3, 0, bytes(3 * SECTOR))]) == drawn.of([])


def test_what_was_written_over_as_a_whole_is_left_out():
    """The last write to a place is the one that counts, in whatever order flushes cover them."""
    cut = cut_after(
        begin(1, 0, sectors("a")),
        begin(2, 0, sectors("b")),
        end(2),
        flush_begin(3),
        flush_end(3),
        end(1),
        flush_begin(4),
        flush_end(4),
    )
    assert durable(cut) == [b"b"]


def test_states_are_drawn_once_and_late():
    """No two of them are the same, and each is of the last moment that may leave it."""
    mark = Entry(Kind.MARK, 0, 0, 0, b"as it is")
    entries = [
        entry
        for n in range(20)
        for entry in (begin(2 * n, n, sectors("a")), end(2 * n), mark, mark)
    ]
    entries += [flush_begin(99), flush_end(99), mark]
    recording = Recording(EMPTY, entries)
    drawings = draw_states(recording, (), 40, random.Random(3))
    assert [d.position for d in drawings] == sorted(d.position for d in drawings)
    prints = Fingerprints(EMPTY)
    cut = Cut(recording, (), prints.settle)
    found = []
    for drawing in drawings:
        cut.advance(drawing.position)
        found.append(prints.of(drawing.pieces))
    assert len(set(found)) == len(found) == 40
    everything = draw_states(recording, (), 10_000, random.Random(3))[-1]
    assert (everything.position, everything.pieces) == (len(entries), [])


def test_a_recording_notices_what_it_lacks():
    """Base and log have to be the disk, byte for byte; failed writes are not in it."""
    recording = Recording(
        EMPTY,
        [begin(1, 0, sectors("a")), end(1), begin(2, 1, sectors("b")), end(2, -5)],
    )
    live = bytearray(EMPTY.size)
    live[:SECTOR] = sectors("a")
    recording.check_against(bytes(live))
    live[-1] = 1
    with pytest.raises(AssertionError, match="lacks something"):
        recording.check_against(bytes(live))


def test_a_log_that_ends_within_an_entry_is_refused():
    """A disk that died has recorded nothing that could be trusted."""
    entry = struct.pack("=IIQQq", Kind.MARK, 3, 0, 0, 0) + b"abc"
    assert [e.data for e in parse_log(entry * 2)] == [b"abc", b"abc"]
    for size in (1, 20, len(entry) - 1):
        with pytest.raises(ValueError, match="ends within"):
            list(parse_log(entry + entry[:size]))


def test_images_keep_what_is_not_zero(tmp_path: Path):
    """Reading an image and writing it gives the same bytes over whatever was there."""
    raw = bytearray(10 * 4096)
    raw[4096 * 3 + 7] = raw[4096 * 4] = raw[-1] = 1
    path = tmp_path / "image"
    path.write_bytes(raw)
    image = Image.read(path)
    assert [(offset, len(data)) for offset, data in image.extents] == [(12288, 8192), (36864, 4096)]
    assert image.whole() == raw
    path.write_bytes(b"x" * 50_000)
    with path.open("r+b") as file:
        image.write_to(file.fileno())
    assert path.read_bytes() == raw


FULL = [Fact("f", 1, "full", False), Fact("f", 1, "full", True), Fact("f", 2, "full", False)]


@pytest.mark.parametrize(
    ("found", "facts", "says"),
    [
        (content("f", 1), FULL, None),
        (content("f", 2), FULL, None),
        (None, FULL, "has version 0"),
        (content("f", 1), [*FULL, Fact("f", 2, "full", True)], "has version 1"),
        (content("f", 3), FULL, "has version 3"),
        (content("f", 2)[:-1], FULL, "damaged"),
        (b"\0" * 100, FULL, "nobody wrote"),
        (b"\0" * 100, [*FULL, Fact("f", 3, "none", False)], None),
        (content("f", 1), [*FULL, Fact("f", 2, "data", True)], None),
    ],
)
def test_replaced_files_are_judged(tmp_path: Path, found, facts, says):
    """Old or new before the acknowledgement, new after it, and nothing else ever."""
    (tmp_path / "files").mkdir()
    if found is not None:
        (tmp_path / "files" / "f").write_bytes(found)
    if says is None:
        check_replaced(tmp_path, facts, random.Random(0))
    else:
        with pytest.raises(AssertionError, match=says):
            check_replaced(tmp_path, facts, random.Random(0))


@pytest.mark.parametrize(
    ("step", "done", "draft", "final", "good"),
    [
        ("write", True, 2, 1, True),
        ("write", True, 0, 1, False),
        ("rename", False, 0, 2, True),
        ("rename", False, 2, 1, True),
        ("rename", False, 0, 1, False),
        ("rename", True, 2, 1, False),
        ("rename", True, 0, 2, True),
    ],
)
def test_renamed_files_are_judged(tmp_path: Path, step, done, draft, final, good):
    """A version is at its old place or at its new one, and at the new one once that was said."""
    for folder, version in (("drafts", draft), ("files", final)):
        (tmp_path / folder).mkdir()
        if version:
            (tmp_path / folder / "f").write_bytes(content("f", version))
    try:
        check_renames(tmp_path, [Fact("f", 2, step, done)], random.Random(0))
    except AssertionError:
        assert not good
    else:
        assert good


def test_marks_are_written_at_once(tmp_path: Path):
    """A note is one write, so that it is one mark."""
    from powercut.workloads import Stage

    read, write = os.pipe()
    try:
        Stage(tmp_path, write, tmp_path, random.Random(0)).note(("a", 1))
        assert Entry(Kind.MARK, 0, 0, 0, os.read(read, 1000)).fact() == ("a", 1)
    finally:
        os.close(read)
        os.close(write)


class Thorough(random.Random):
    """Dice by which every check is a thorough one."""

    def random(self) -> float:
        return 0.0


@pytest.mark.parametrize("compress", [None, "gzip"])
def test_handlers_are_judged(tmp_path: Path, compress):
    """A sector that is torn away is no loss unless what stands behind it was promised."""
    said = [
        Said(0, 0, begun=True),
        Said(0, 0, begun=False, durable=True),
        Said(0, 1, begun=True),
        Said(0, 1, begun=False),
    ]
    (tmp_path / "app.log").write_bytes(line(0, 0) + bytes(SECTOR) + b"x\n0 1")
    settings = Settings(compress=compress)
    check_handler(tmp_path, said, Thorough(), settings)
    promised = [*said, Said(1, 0, begun=True), Said(1, 0, begun=False, durable=True)]
    with pytest.raises(AssertionError, match="line 1 is lost after 0"):
        check_handler(tmp_path, promised, Thorough(), settings)
    with pytest.raises(AssertionError, match="invented"):
        check_handler(tmp_path, [], Thorough(), settings)
