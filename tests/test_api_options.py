"""What the log refuses before it touches the disk."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from _patience import wait_until

import pydurable
from pydurable import Log

WRONG_TYPES = [
    {"sync": 1},
    {"sync": None},
    {"method": b"direct"},
    {"interval": "1"},
    {"interval": True},
    {"segment_bytes": 1e6},
    {"segment_bytes": True},
    {"max_pending_bytes": "8M"},
    {"commit_delay": None},
    {"lanes": 1.0},
]

WRONG_VALUES = [
    {"sync": "often"},
    {"method": "sync_file_range"},
    {"interval": 0},
    {"interval": -1.0},
    {"interval": float("nan")},
    {"interval": float("inf")},
    {"segment_bytes": 0},
    {"segment_bytes": (64 << 10) - 4096},
    {"segment_bytes": (64 << 10) + 1},
    {"segment_bytes": (1 << 30) + 4096},
    {"max_pending_bytes": 0},
    {"max_pending_bytes": 2 << 30},
    {"commit_delay": -0.001},
    {"commit_delay": 0.2},
    {"commit_delay": float("nan")},
    {"lanes": 0},
    {"lanes": 3},
    {"method": "barrier"},
    {"sync": "paranoid", "method": "fdatasync"},
]


@pytest.mark.parametrize("options", WRONG_TYPES, ids=str)
def test_wrong_types(log_path: Path, options: dict[str, Any]) -> None:
    """A wrong type is a TypeError that names the option, and no directory is made."""
    with pytest.raises(TypeError, match=next(iter(options))):
        Log(log_path, **options)
    assert not log_path.exists()


@pytest.mark.parametrize("options", WRONG_VALUES, ids=str)
def test_wrong_values(log_path: Path, options: dict[str, Any]) -> None:
    """A wrong value is a ValueError that names the option, and no directory is made."""
    with pytest.raises(ValueError, match=list(options)[-1]):
        Log(log_path, **options)
    assert not log_path.exists()


@pytest.mark.parametrize("path", [None, 7, b"log"], ids=repr)
def test_wrong_paths(path: Any) -> None:
    """A path that is neither str nor os.PathLike of str is a TypeError."""
    with pytest.raises(TypeError):
        Log(path)


@pytest.mark.parametrize("data", ["text", None, 7, [1, 2], 3.5], ids=repr)
def test_data_without_a_buffer(log_path: Path, data: Any) -> None:
    """What has no buffer is a TypeError in every call, and nothing is accepted."""
    with Log(log_path, segment_bytes=1 << 20) as log:
        for use in (log.commit, log.append, lambda record: log.commit_many([b"fine", record])):
            with pytest.raises(TypeError):
                use(data)
        assert log.commit(b"the first") == 1


def test_every_kind_of_buffer(log_path: Path) -> None:
    """bytes, bytearray, memoryview (also with steps) and array are taken as their bytes."""
    from array import array

    kinds = [b"bytes", bytearray(b"array"), memoryview(b"view"), memoryview(b"s.t.e.p.")[::2]]
    expected = [bytes(kind) for kind in kinds] + [array("H", [1, 2]).tobytes(), b""]
    with Log(log_path, segment_bytes=1 << 20) as log:
        for kind in [*kinds, array("H", [1, 2]), b""]:
            log.commit(kind)
            log.append(kind)
        log.sync()
    data = [record.data for record in pydurable.read_log(log_path)]
    assert data == [each for each in expected for _ in range(2)]


def test_a_buffer_that_changes_afterwards(log_path: Path) -> None:
    """What was committed or appended is what the buffer held at that moment."""
    buffer = bytearray(b"before")
    with Log(log_path, segment_bytes=1 << 20) as log:
        log.commit(buffer)
        log.append(buffer)
        buffer[:] = b"after!"
        log.sync()
    assert [record.data for record in pydurable.read_log(log_path)] == [b"before"] * 2


@pytest.mark.parametrize("method", ["fdatasync", "direct"])
def test_the_largest_record(log_path: Path, method: str) -> None:
    """A record of max_record_bytes works, one byte more is a ValueError that names the limit."""
    with Log(log_path, segment_bytes=1 << 20, method=method) as log:
        limit = log.max_record_bytes
        for call in (log.commit, log.append, lambda data: log.commit_many([data])):
            with pytest.raises(ValueError, match=str(limit)):
                call(bytes(limit + 1))
            call(b"\xa5" * limit)
        log.sync()
    records = list(pydurable.read_log(log_path))
    assert [len(record.data) for record in records] == [limit] * 3
    assert all(record.data == b"\xa5" * limit for record in records)


def test_commit_many_of_nothing(log_path: Path) -> None:
    """There is no batch without a record."""
    with Log(log_path, segment_bytes=1 << 20) as log:
        with pytest.raises(ValueError, match="at least one"):
            log.commit_many([])
        assert log.next_lsn == 1


@pytest.mark.parametrize("lsn", [-1, 3])
def test_truncating_where_nothing_is(log_path: Path, lsn: int) -> None:
    """An LSN below zero or above the next one is a ValueError."""
    with Log(log_path, segment_bytes=1 << 20) as log:
        log.commit(b"x")
        with pytest.raises(ValueError, match="between 0 and 2"):
            log.truncate_before(lsn)
        with pytest.raises(TypeError):
            log.truncate_before(1.0)  # type: ignore[arg-type]
        log.truncate_before(2)
        assert log.oldest_lsn == 2


@pytest.mark.parametrize("start", [-1, "1", True, None], ids=repr)
def test_reading_from_nowhere(log_path: Path, start: Any) -> None:
    """A start that is no LSN is refused when read_log is called, not later."""
    Log(log_path, segment_bytes=1 << 20).close()
    with pytest.raises((TypeError, ValueError), match="start"):
        pydurable.read_log(log_path, start)


@pytest.mark.parametrize("sync", ["none", "interval", "group", "each"])
@pytest.mark.parametrize(
    "method", ["auto", "fdatasync", "fsync", "dsync", "direct", "direct+dsync"]
)
def test_every_target_with_every_method(log_path: Path, sync: str, method: str) -> None:
    """Each pair writes, says which method it uses, and reads back."""
    with Log(log_path, sync=sync, method=method, segment_bytes=1 << 20) as log:
        assert log.commit(b"one") == 1
        log.append(b"two")
        assert log.sync() == 2
        assert log.sync_method != "auto"
        assert method in ("auto", log.sync_method)
    assert [record.data for record in pydurable.read_log(log_path)] == [b"one", b"two"]


def test_what_was_measured_is_remembered(log_path: Path) -> None:
    """A log that measured its method keeps it, also across a writer that does not wait."""
    with Log(log_path, segment_bytes=1 << 20) as log:
        chosen = log.sync_method
    with Log(log_path, segment_bytes=1 << 20, sync="none") as log:
        assert log.sync_method == "fdatasync"
    with Log(log_path, segment_bytes=1 << 20) as log:
        assert log.sync_method == chosen


def test_group_commit_shares_flushes(log_path: Path) -> None:
    """Under "each" every commit has a flush of its own; one commit_many has one."""
    with Log(log_path, sync="each", segment_bytes=1 << 20) as log:
        for _ in range(5):
            log.commit(b"x")
        assert log.stats().flushes == 5
        log.commit_many([b"y"] * 100)
        stats = log.stats()
        assert stats.flushes == 6
        assert stats.commits == 105
        assert stats.payload_bytes == 105
        assert 0 < stats.flush_p50_us <= stats.flush_p99_us <= stats.flush_p999_us


def test_a_delay_gathers_commits(log_path: Path) -> None:
    """With commit_delay two commits that meet share a batch; without it the first one is alone,
    because it is written at once."""
    with (
        Log(log_path, commit_delay=0.1, method="fdatasync", segment_bytes=1 << 20) as log,
        ThreadPoolExecutor(2) as pool,
    ):
        for _ in range(100):  # on a busy machine two threads may miss each other
            before = log.stats().batches
            assert len(set(pool.map(log.commit, [b"one", b"two"]))) == 2
            if log.stats().batches == before + 1:
                return
    pytest.fail("no two commits shared a batch")


def test_the_interval_makes_durable_on_its_own(log_path: Path) -> None:
    """Under "interval" a committed record is durable after a while without any other call; under
    "none" nothing is flushed until somebody asks."""
    options: dict[str, Any] = {"segment_bytes": 1 << 20, "interval": 0.01}
    with Log(log_path, sync="interval", **options) as log:
        log.commit(b"x")
        wait_until(lambda: log.durable_lsn == 1, "the record is durable")
        assert log.stats().flushes == 1
    with Log(log_path, sync="none", **options) as log:
        log.commit(b"y")
        time.sleep(0.1)
        assert log.stats().flushes == 0
        assert log.sync() == 2
        assert log.stats().flushes == 1
