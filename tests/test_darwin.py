"""The decisions for macOS, run on whatever platform this is over calls that imitate macOS's.

The decisions are the code that a Mac runs (csrc/sys_posix_darwin.c); only the calls below them are
stood in for.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from _darwin import Darwin, imitated
from _faults import CALLS
from _history import Fact, Promises
from _targets import SEGMENT_BYTES
from test_powercut import record_sessions

from pydurable import Log, PoisonedError, read_log, rename, replace, sync_data, sync_file
from pydurable._recording import Recording
from pydurable._simulated_disk import Disk

UNSUPPORTED = [errno.ENOTSUP, errno.EINVAL, errno.ENOTTY]
DURABLE = ["group", "each"]


@pytest.fixture
def darwin() -> Iterator[Darwin]:
    with imitated() as table:
        yield table


def opened(path: Path, **options) -> Log:
    return Log(path, segment_bytes=SEGMENT_BYTES, **options)


def in_order(calls: list[str], *wanted: str) -> bool:
    """Whether the wanted calls are among the calls, in that order."""
    rest = iter(calls)
    return all(any(call.startswith(name) for call in rest) for name in wanted)


@pytest.mark.parametrize("sync", DURABLE)
@pytest.mark.parametrize("method", ["auto", "fdatasync", "fsync", "fullfsync"])
def test_only_the_full_sync_will_do(darwin: Darwin, log_path: Path, sync: str, method: str) -> None:
    """Under a target that waits it is F_FULLFSYNC, by whatever name one asks for a sync."""
    recording: Recording[None] = Recording()
    with recording.running(), opened(log_path, sync=sync, method=method) as log:
        assert log.sync_method == "fullfsync"
        log.commit(b"one")
    assert in_order(darwin.calls(), "F_FULLFSYNC", "ftruncate", "F_FULLFSYNC")
    called = {event.call for event in recording.events}
    assert CALLS["fullfsync"] in called
    assert not called & {CALLS["fdatasync"], CALLS["fsync"]}
    assert [record.data for record in read_log(log_path)] == [b"one"]


def test_a_write_comes_before_its_full_sync(darwin: Darwin, log_path: Path) -> None:
    """On the descriptor of a commit: the write begins and ends, then the sync begins and ends."""
    recording: Recording[None] = Recording()
    with opened(log_path) as log, recording.running():
        log.commit(b"marked" * 5)
    write = next(event for event in recording.events if b"marked" * 5 in event.data)
    on_it = [
        event for event in recording.events if event.a == write.a and event.number >= write.number
    ]
    assert [event.call for event in on_it[:4]] == [CALLS["write"]] * 2 + [CALLS["fullfsync"]] * 2


@pytest.mark.parametrize("code", UNSUPPORTED)
def test_fallback_is_decided_at_open(darwin: Darwin, log_path: Path, code: int) -> None:
    """Where the filesystem has no F_FULLFSYNC the log says fsync, and asks for it no more."""
    darwin.refuse("F_FULLFSYNC", code)
    with opened(log_path) as log:
        assert log.sync_method == "fsync"
        recording: Recording[None] = Recording()
        with recording.running():
            for _ in range(3):
                log.commit(b"x")
        log.sync()
    written = {event.a for event in recording.events if event.call == CALLS["write"]}
    syncs = [event.call for event in recording.events if event.a in written and event.b == 0]
    assert syncs.count(CALLS["fsync"]) >= 3
    assert CALLS["fullfsync"] not in syncs
    with opened(log_path) as log:
        assert log.sync_method == "fsync"
    darwin.refuse("F_FULLFSYNC", 0)
    with opened(log_path) as log:
        assert log.sync_method == "fullfsync"
        assert log.commit(b"y") == 4


def test_an_error_of_the_disk_is_no_reason_to_fall_back(darwin: Darwin, log_path: Path) -> None:
    """EIO from F_FULLFSYNC comes up as it is, at open as well as later, and no fsync follows it."""
    with opened(log_path) as log:
        log.commit(b"one")
    darwin.refuse("F_FULLFSYNC", errno.EIO)
    darwin.calls()
    with pytest.raises(OSError, match="Input/output error") as caught:
        opened(log_path)
    assert caught.value.errno == errno.EIO
    assert "fsync" not in darwin.calls()
    darwin.refuse("F_FULLFSYNC", 0)
    log = opened(log_path)
    darwin.calls()
    darwin.refuse("F_FULLFSYNC", errno.EIO)
    with pytest.raises(PoisonedError):
        log.commit(b"two")
    assert "fsync" not in darwin.calls()
    with pytest.raises(PoisonedError):
        log.close()


def test_unsupported_after_open_is_an_error(darwin: Darwin, log_path: Path) -> None:
    """What a commit means does not change under way: ENOTSUP from a commit's sync poisons."""
    log = opened(log_path)
    darwin.refuse("F_FULLFSYNC", errno.ENOTSUP)
    with pytest.raises(PoisonedError):
        log.commit(b"x")
    with pytest.raises(PoisonedError):
        log.close()


@pytest.mark.parametrize(
    ("sync", "method", "call"),
    [
        ("group", "fullfsync", "F_FULLFSYNC"),
        ("interval", "barrier", "F_BARRIERFSYNC"),
    ],
)
def test_a_named_method_is_refused(
    darwin: Darwin, log_path: Path, sync: str, method: str, call: str
) -> None:
    """Who names a method gets it or an error that says which call is missing, and no log."""
    darwin.refuse(call, errno.ENOTSUP)
    with pytest.raises(OSError, match=f"does not support {call}") as caught:
        opened(log_path, sync=sync, method=method)
    assert caught.value.errno == errno.ENOTSUP
    assert not list(log_path.glob("*.seg"))


def test_here_those_methods_are_refused_as_well(log_path: Path) -> None:
    """Where the platform has neither call the same error comes at open, not with a commit."""
    if os.uname().sysname == "Darwin":
        pytest.skip("this platform has both")
    for sync, method in [("group", "fullfsync"), ("none", "barrier")]:
        with pytest.raises(OSError, match="does not support F_"):
            opened(log_path, sync=sync, method=method)


def test_space_contiguous_or_not(darwin: Darwin, log_path: Path) -> None:
    """Contiguous space is asked for first, then any; the end of the file moves after that."""
    darwin.refuse("F_PREALLOCATE F_ALLOCATECONTIG", errno.ENOSPC)
    with opened(log_path) as log:
        log.commit(b"x")
    calls = darwin.calls()
    size = f" {SEGMENT_BYTES}"
    first = calls.index("F_PREALLOCATE F_ALLOCATECONTIG" + size)
    assert calls[first + 1 : first + 3] == [
        "F_PREALLOCATE F_ALLOCATEALL" + size,
        "ftruncate" + size,
    ]


def test_no_space(darwin: Darwin, log_path: Path) -> None:
    """A full disk is an error before the end of the file has moved."""
    darwin.refuse("F_PREALLOCATE F_ALLOCATECONTIG", errno.ENOSPC)
    darwin.refuse("F_PREALLOCATE F_ALLOCATEALL", errno.ENOSPC)
    with pytest.raises(OSError, match="No space left") as caught:
        opened(log_path)
    assert caught.value.errno == errno.ENOSPC
    assert not in_order(darwin.calls(), "F_PREALLOCATE F_ALLOCATEALL", "ftruncate")


def test_no_preallocation(darwin: Darwin, log_path: Path) -> None:
    """A filesystem that cannot reserve space gets its segments written instead."""
    darwin.refuse("F_PREALLOCATE F_ALLOCATECONTIG", errno.ENOTSUP)
    darwin.refuse("F_PREALLOCATE F_ALLOCATEALL", errno.ENOTSUP)
    with opened(log_path) as log:
        assert log.commit(b"x") == 1


@pytest.mark.parametrize("method", ["direct", "direct+dsync"])
def test_direct(darwin: Darwin, log_path: Path, method: str) -> None:
    """There is no O_DIRECT: the open file is told F_NOCACHE, blocks are whole pages, and the
    commit ends in F_FULLFSYNC all the same."""
    with opened(log_path, method=method) as log:
        calls = darwin.calls()
        assert any(pair == ("openat", "F_NOCACHE") for pair in pairwise(calls))
        recording: Recording[None] = Recording()
        with recording.running():
            log.commit(b"x")
        assert log.sync_method == method
    begun = [event for event in recording.events if event.call == CALLS["write"] and event.data]
    assert begun
    assert all(event.b % 4096 == 0 and len(event.data) % 4096 == 0 for event in begun)
    assert "F_FULLFSYNC" in darwin.calls()


def test_direct_refused(darwin: Darwin, log_path: Path) -> None:
    """A file that does not take F_NOCACHE is closed again, and the errno comes up."""
    darwin.refuse("F_NOCACHE", errno.EPERM)
    with pytest.raises(PermissionError):
        opened(log_path, method="direct")
    assert in_order(darwin.calls(), "openat", "F_NOCACHE", "close")


def test_paranoid_never_falls_back(darwin: Darwin, log_path: Path) -> None:
    """Under "paranoid" a filesystem without F_FULLFSYNC is refused, for the fsync would not do."""
    darwin.refuse("F_FULLFSYNC", errno.ENOTSUP)
    with pytest.raises(OSError, match=r"F_FULLFSYNC|paranoid"):
        opened(log_path, sync="paranoid")


@pytest.mark.parametrize("method", ["fdatasync", "fsync"])
def test_fdatasync_is_not_called(darwin: Darwin, log_path: Path, method: str) -> None:
    """Under a target that does not wait, and for a file of one's own, fdatasync is fsync: macOS has
    it to link with, and documents it nowhere."""
    with opened(log_path, sync="none", method=method) as log:
        assert log.sync_method == method
        log.commit(b"x")
        log.sync()
    assert "fsync" in darwin.calls()


def test_a_log_from_elsewhere(log_path: Path) -> None:
    """What was measured on one platform is not taken over on another."""
    with opened(log_path) as log:
        at_home = log.sync_method
        log.commit(b"one")
    with imitated(), opened(log_path) as log:
        assert log.sync_method == "fullfsync"
        log.commit(b"two")
    with opened(log_path) as log:
        assert log.sync_method in ("fdatasync", "direct", "direct+dsync", "dsync", at_home)
        assert log.commit(b"three") == 3
    assert [record.data for record in read_log(log_path)] == [b"one", b"two", b"three"]


def test_replace_and_syncs(darwin: Darwin, tmp_path: Path) -> None:
    """A replaced file, its directory, and files of one's own: all take the full sync."""
    path = tmp_path / "file"
    replace(path, b"old")  # the first in a directory tries whether that can be synced
    darwin.calls()
    replace(path, b"new")
    assert [call for call in darwin.calls() if "SYNC" in call.upper()] == ["F_FULLFSYNC"] * 2
    for sync in (sync_file, sync_data):
        with path.open("rb") as file:
            sync(file.fileno())
        assert darwin.calls() == ["F_FULLFSYNC"]
        darwin.refuse("F_FULLFSYNC", errno.ENOTSUP)
        with path.open("rb") as file:
            sync(file.fileno())
        assert darwin.calls() == ["F_FULLFSYNC", "fsync"]
        darwin.refuse("F_FULLFSYNC", errno.EIO)
        with path.open("rb") as file, pytest.raises(OSError, match="Input/output"):
            sync(file.fileno())
        assert darwin.calls() == ["F_FULLFSYNC"]
        darwin.refuse("F_FULLFSYNC", 0)


def test_rename_that_may_not_overwrite(darwin: Darwin, tmp_path: Path) -> None:
    """The name is taken by renameatx_np with RENAME_EXCL, and an old file stays."""
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"old")
    rename(old, new, overwrite=False)
    assert "renameatx_np RENAME_EXCL" in darwin.calls()
    old.write_bytes(b"second")
    with pytest.raises(FileExistsError):
        rename(old, new, overwrite=False)
    assert new.read_bytes() == b"old"


def only_full_syncs(recording: Recording[Fact]) -> None:
    """On this drive fsync moves data into a cache that a power cut empties."""
    weak = {CALLS["fsync"], CALLS["fdatasync"]}
    recording.events = [event for event in recording.events if event.call not in weak]


@pytest.mark.parametrize("threads", [1, 4])
def test_power_cuts_with_a_drive_that_caches(laboratory, root, threads) -> None:
    """With a drive that keeps nothing but what F_FULLFSYNC forced out every promise is kept."""
    with imitated():
        recording = record_sessions(root, laboratory.dice, "group", "auto", threads)
    only_full_syncs(recording)
    laboratory.cut_at_random(Disk(), root, recording, Promises(), cuts=50)


def test_that_drive_finds_out_a_log_that_trusts_fsync(laboratory, root) -> None:
    """The same drive loses what a log that fell back to fsync has promised: the test can fail."""
    with imitated() as darwin:
        darwin.refuse("F_FULLFSYNC", errno.ENOTSUP)
        recording = record_sessions(root, laboratory.dice, "group", "auto", 1)
    only_full_syncs(recording)
    with pytest.raises(AssertionError, match="cut after"):
        laboratory.cut_at_random(Disk(), root, recording, Promises(), cuts=200)
