"""Tests of the simulated disk itself: it keeps what POSIX promises and loses everything else."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from _faults import CALLS

from pydurable import _native_record
from pydurable._native_record import Event
from pydurable._simulated_disk import Directory, Disk, File, Mood
from pydurable._simulated_replay import Replay

LOSE = Mood(survives=0.0, torn=0.0, name_survives=0.0)
KEEP = Mood(survives=1.0, torn=0.0, name_survives=1.0)
TEAR = Mood(survives=1.0, torn=1.0, name_survives=1.0)
DIRECTORY, FILE = 3, 4


class Script:
    """Events by hand, on a disk whose directory ``d`` is durable."""

    def __init__(self) -> None:
        self.disk = Disk()
        self.directory = Directory()
        self.disk.root.base["d"] = self.directory
        self._replay = Replay(self.disk, Path("/r"))
        self._number = 0
        self.do("open", DIRECTORY, -100, os.O_DIRECTORY, b"/r/d")

    def do(self, call: str, a: int, b: int = 0, c: int = 0, data: bytes = b"") -> int:
        self._number += 1
        self._replay.apply(Event(CALLS[call], a, b, c, self._number, data))
        return self._number

    def create(self, name: str, extra: int = 0) -> File:
        self.do("open", FILE, DIRECTORY, os.O_RDWR | os.O_CREAT | extra << 32, name.encode())
        node = self.directory.names()[name]
        assert isinstance(node, File)
        return node

    def write(self, data: bytes, offset: int = 0) -> None:
        begun = self.do("write", FILE, offset, 0, data)
        self.do("write", FILE, len(data), begun)

    def sync(self, call: str, fd: int = FILE) -> None:
        begun = self.do(call, fd)
        self.do(call, fd, 1, begun)

    def names(self, mood: Mood) -> list[str]:
        return sorted(self.directory.names_after_cut(random.Random(0), mood))


def after_cut(file: File, mood: Mood) -> bytes:
    return file.after_cut(random.Random(0), mood)


def test_an_unsynced_write_may_be_lost_or_kept():
    """Without a sync both outcomes are possible."""
    script = Script()
    file = script.create("f")
    script.write(b"abc")
    assert after_cut(file, LOSE) == b""
    assert after_cut(file, KEEP) == b"abc"


@pytest.mark.parametrize("call", ["fsync", "fdatasync", "fullfsync"])
def test_a_sync_keeps_what_was_written_before_it(call):
    """Each kind of sync makes earlier writes durable, and not later ones."""
    script = Script()
    file = script.create("f")
    script.write(b"abc")
    script.sync(call)
    script.write(b"XY", offset=1)
    assert after_cut(file, LOSE) == b"abc"
    assert after_cut(file, KEEP) == b"aXY"


def test_a_barrier_keeps_nothing():
    """F_BARRIERFSYNC orders writes and does not make them durable."""
    script = Script()
    file = script.create("f")
    script.write(b"abc")
    script.sync("barrier")
    assert after_cut(file, LOSE) == b""


def test_a_sync_does_not_cover_a_write_that_is_under_way():
    """What has not ended when a sync begins may be lost although it ends before the sync does."""
    script = Script()
    file = script.create("f")
    write = script.do("write", FILE, 0, 0, b"abc")
    sync = script.do("fdatasync", FILE)
    script.do("write", FILE, 3, write)
    script.do("fdatasync", FILE, 1, sync)
    assert after_cut(file, LOSE) == b""


def test_a_write_under_way_may_be_on_the_disk():
    """Before the call returns its data may have survived."""
    script = Script()
    file = script.create("f")
    script.do("write", FILE, 0, 0, b"abc")
    assert after_cut(file, KEEP) == b"abc"


def test_a_sync_that_fails_keeps_nothing():
    """A sync without an end makes nothing durable."""
    script = Script()
    file = script.create("f")
    script.write(b"abc")
    script.do("fdatasync", FILE)
    assert after_cut(file, LOSE) == b""


def test_a_write_through_dsync_is_durable_at_its_end():
    """O_DSYNC covers its own write alone."""
    script = Script()
    file = script.create("f", extra=_native_record.OPEN_DSYNC)
    write = script.do("write", FILE, 0, 0, b"abc")
    assert after_cut(file, LOSE) == b""
    script.do("write", FILE, 3, write)
    assert after_cut(file, LOSE) == b"abc"


def test_a_short_write_is_as_long_as_it_says():
    """Only the bytes that the call reported exist."""
    script = Script()
    file = script.create("f")
    write = script.do("write", FILE, 0, 0, b"abcd")
    script.do("write", FILE, 2, write)
    assert after_cut(file, KEEP) == b"ab"


def test_a_torn_write_keeps_whole_sectors():
    """Tearing happens between sectors of 512 bytes, in every combination."""
    script = Script()
    file = script.create("f")
    script.write(bytes(1536))
    script.sync("fsync")
    script.write(b"x" * 1000, offset=100)
    seen = {file.after_cut(random.Random(seed), TEAR) for seed in range(50)}
    new, old = b"x" * 412, bytes(412)
    begins = {content[100:512] for content in seen}
    assert begins == {new, old}
    assert {content[512:1024] for content in seen} == {b"x" * 512, bytes(512)}
    assert len(seen) == 8


def test_fdatasync_leaves_sizes_alone():
    """Space that was allocated is durable after fsync, and not after fdatasync."""
    script = Script()
    file = script.create("f")
    script.do("allocate", FILE, 100)
    script.sync("fdatasync")
    assert after_cut(file, LOSE) == b""
    script.sync("fsync")
    assert after_cut(file, LOSE) == bytes(100)


def test_a_pending_truncation_may_be_lost():
    """A shorter size needs an fsync as well."""
    script = Script()
    file = script.create("f")
    script.write(b"abcd")
    script.sync("fsync")
    script.do("truncate", FILE, 1)
    assert after_cut(file, LOSE) == b"abcd"
    assert after_cut(file, KEEP) == b"a"


def test_a_name_needs_a_sync_of_its_directory():
    """The sync of a file does not keep its name; that of the directory does."""
    script = Script()
    script.create("f")
    script.sync("fsync")
    assert script.names(LOSE) == []
    script.sync("fsync", DIRECTORY)
    assert script.names(LOSE) == ["f"]


def test_renames_and_removals_are_lost_one_by_one():
    """Each pending change of a name may survive without the others, and none by half."""
    script = Script()
    script.create("a")
    script.create("b")
    script.sync("fsync", DIRECTORY)
    script.do("rename", DIRECTORY, data=b"a\0c")
    script.do("unlink", DIRECTORY, data=b"b")
    either = Mood(survives=1.0, torn=0.0, name_survives=0.5)
    seen = {
        tuple(sorted(script.directory.names_after_cut(random.Random(seed), either)))
        for seed in range(50)
    }
    assert seen == {("a", "b"), ("a",), ("b", "c"), ("c",)}


def test_a_killed_process_leaves_its_writes_to_a_later_sync():
    """What the page cache holds of a dead process is pending until somebody syncs the file."""
    script = Script()
    file = script.create("f")
    script.do("write", FILE, 0, 0, b"abc")
    script.disk.end_process()
    assert after_cut(file, LOSE) == b""
    file.sync(begun=1, sizes=False)
    assert after_cut(file, LOSE) == b"abc"
