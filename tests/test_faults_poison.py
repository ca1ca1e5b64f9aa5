"""A log whose write or sync failed, and a log that finds no room for its next segment."""

from __future__ import annotations

import contextlib
import errno
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from _faults import Faults
from _patience import wait_until
from _scenario import LARGE, SEGMENT_BYTES, open_log, record

import pydurable
from pydurable import Log, PoisonedError


def _commit_up_to(log: Log, lsn: int) -> None:
    while log.next_lsn <= lsn:
        log.commit(record(log.next_lsn, LARGE))


def _calls_of(log: Log) -> list[Callable[[], object]]:
    """Every call that a log in service answers."""
    return [
        lambda: log.commit(b"x"),
        lambda: log.commit_many([b"x", b"y"]),
        lambda: log.append(b"x"),
        log.sync,
        lambda: log.truncate_before(log.next_lsn),
    ]


@pytest.mark.guarantee("G7")
@pytest.mark.parametrize("call", ["write", "fdatasync"])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_poison_is_for_good_and_tells_the_first_errno(
    log_path: Path, faults: Faults, call: str, code: int
) -> None:
    """After a failed write or sync every later call raises with the first errno and the segment's
    name, close included, also once the disk works again; the durable LSN stays where it was."""
    log = open_log(log_path)
    log.commit(record(1))
    faults.fail(call, code)
    faults.fail(call, errno.ENXIO)  # a second failure would show by its errno
    with pytest.raises(PoisonedError) as caught:
        log.commit(record(2))
    for attempt in _calls_of(log):
        with pytest.raises(PoisonedError) as again:
            attempt()
        assert again.value.errno == caught.value.errno == code
        assert again.value.filename == str(log_path / "0000000000000001.seg")
    assert log.durable_lsn == 1
    with pytest.raises(PoisonedError):
        log.close()
    log.close()
    faults.clear()
    assert [r.data for r in pydurable.read_log(log_path)][:1] == [record(1)]


@pytest.mark.guarantee("G7")
def test_a_failed_sync_is_never_tried_again(log_path: Path, faults: Faults) -> None:
    """No sync of any kind, and no write, follows a failed one: a second fdatasync would report
    success for pages that the kernel dropped."""
    log = open_log(log_path)
    log.commit(record(1))
    faults.fail("fdatasync", errno.EIO)
    with pytest.raises(PoisonedError):
        log.commit(record(2))
    counted = {call: faults.calls(call) for call in ("fdatasync", "fsync", "write")}
    faults.count()
    for attempt in [*_calls_of(log), log.close]:
        with pytest.raises(PoisonedError):
            attempt()
    assert {call: faults.calls(call) for call in counted} == counted
    assert counted["fdatasync"] == 1


@pytest.mark.guarantee("G7")
@pytest.mark.parametrize("lanes", [1, 2])
def test_every_waiter_gets_the_first_errno(log_path: Path, faults: Faults, lanes: int) -> None:
    """Those that wait for the batch that failed, and those behind it, all get PoisonedError, and
    none of them was told that its record is durable."""
    log = open_log(log_path, lanes=lanes)
    log.commit(record(1))
    faults.delay("fdatasync", 100)
    faults.fail("fdatasync", errno.EIO, nth=2, times=0)
    with ThreadPoolExecutor(24) as pool:
        futures = [pool.submit(log.commit, record(i)) for i in range(24)]
        outcomes = [future.exception() for future in futures]
    poisoned = [error for error in outcomes if error is not None]
    assert poisoned
    assert all(isinstance(error, PoisonedError) for error in poisoned)
    assert {error.errno for error in poisoned} == {errno.EIO}
    promised = [future.result() for future in futures if future.exception() is None]
    assert max(promised, default=1) == log.durable_lsn
    with pytest.raises(PoisonedError):
        log.close()
    faults.clear()
    assert len(list(pydurable.read_log(log_path))) >= log.durable_lsn


def test_batches_are_acknowledged_in_order(log_path: Path, faults: Faults) -> None:
    """With two batches in flight and the first of them failing, the second is not acknowledged
    though it landed: a record never counts as durable without those before it."""
    log = open_log(log_path, lanes=2)
    log.commit(record(1))
    faults.delay("write", 300)
    faults.fail("fdatasync", errno.EIO, nth=2)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(log.commit, record(2))
        wait_until(lambda: log.next_lsn == 3, "the first is on its way")
        second = pool.submit(log.commit, record(3))
        outcomes = [first.exception(), second.exception()]
    # Whichever sync was the one to fail: if the first batch's failed, neither is acknowledged.
    assert any(isinstance(error, PoisonedError) for error in outcomes)
    if outcomes[0] is not None:
        assert outcomes[1] is not None
        assert log.durable_lsn == 1
    with pytest.raises(PoisonedError):
        log.close()


@pytest.mark.parametrize("target", ["none", "interval"])
def test_a_failed_sync_poisons_whoever_asked(log_path: Path, faults: Faults, target: str) -> None:
    """Under "none" and "interval" commits need no sync, and one that fails poisons all the same;
    what is durable does not move."""
    log = open_log(log_path, sync=target)
    assert log.commit(record(1)) == 1
    assert log.durable_lsn == 0
    faults.fail("fdatasync", errno.EIO)
    with pytest.raises(PoisonedError):
        log.sync()
    with pytest.raises(PoisonedError):
        log.commit(record(2))
    assert log.durable_lsn == 0
    with pytest.raises(PoisonedError):
        log.close()


def test_the_background_sync_poisons(log_path: Path, faults: Faults) -> None:
    """A sync that fails with nobody waiting for it is told to whoever comes next."""
    log = open_log(log_path, sync="interval", interval=0.01)
    faults.fail("fdatasync", errno.EIO)
    log.commit(record(1))
    wait_until(lambda: faults.calls("fdatasync"), "the background sync")

    def poisoned() -> bool:
        try:
            log.commit(record(2))
        except PoisonedError:
            return True
        return False

    wait_until(poisoned, "the log knows")
    assert log.durable_lsn == 0
    with pytest.raises(PoisonedError):
        log.close()


def test_directory_sync_at_rotation_poisons(log_path: Path, faults: Faults) -> None:
    """A segment whose name may not be on the disk takes no records: the failed sync of the
    directory poisons, and what was promised before is there."""
    log = open_log(log_path)
    _commit_up_to(log, 4)
    faults.fail("fsync", errno.EIO, times=0)
    with pytest.raises(OSError, match="Input/output error") as caught:
        _commit_up_to(log, 30)
    promised = log.durable_lsn
    assert caught.value.errno == errno.EIO
    faults.clear()
    if isinstance(caught.value, PoisonedError):
        with pytest.raises(PoisonedError):
            log.close()
    else:
        log.close()
    assert len(list(pydurable.read_log(log_path))) >= promised >= 4


@pytest.mark.guarantee("G7")
def test_reopening_is_the_way_back(log_path: Path, faults: Faults) -> None:
    """A new Log on a poisoned one's directory recovers into a new segment and goes on."""
    log = open_log(log_path)
    log.commit(record(1))
    faults.afterwards("fdatasync", errno.EIO)
    with pytest.raises(PoisonedError):
        log.commit(record(2))
    with pytest.raises(PoisonedError):
        log.close()
    faults.clear()
    with open_log(log_path) as again:
        assert again.next_lsn in (2, 3)
        lsn = again.commit(record(again.next_lsn))
    assert [r.data for r in pydurable.read_log(log_path)] == [record(i) for i in range(1, lsn + 1)]
    assert (log_path / "0000000000000002.seg").exists()


def _fill(log: Log) -> int:
    """Commit until there is no room for a further segment; the last LSN."""
    with pytest.raises(OSError, match="No space left") as caught:
        _commit_up_to(log, log.next_lsn + 40)
    assert not isinstance(caught.value, PoisonedError)
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename.startswith(log.path)
    return log.next_lsn - 1


@pytest.mark.guarantee("G9")
def test_no_room_for_the_next_segment(log_path: Path, faults: Faults) -> None:
    """ENOSPC for the next segment is refused before anything is accepted: the log stays healthy,
    refuses again, takes what still fits, and goes on once there is room."""
    log = open_log(log_path)
    faults.fail("allocate", errno.ENOSPC, times=0)
    last = _fill(log)
    assert log.durable_lsn == last
    assert _fill(log) == last
    assert log.commit(b"small") == last + 1
    assert log.sync() == last + 1
    faults.clear()
    assert log.commit(record(last + 2, LARGE)) == last + 2
    log.close()
    assert [r.lsn for r in pydurable.read_log(log_path)] == list(range(1, last + 3))
    assert not list(log_path.glob("prepare.tmp"))


@pytest.mark.parametrize("call", ["allocate", "open", "fsync", "rename"])
def test_any_failure_to_prepare_leaves_the_log_healthy(
    log_path: Path, faults: Faults, call: str
) -> None:
    """Preparing a segment touches nothing that was promised, so its failure harms nothing."""
    log = open_log(log_path)
    log.commit(record(1, LARGE))
    faults.fail(call, errno.ENOSPC, times=0)
    last = _fill(log)
    faults.clear()
    assert log.commit(record(last + 1, LARGE)) == last + 1
    log.close()
    assert len(list(pydurable.read_log(log_path))) == last + 1


def _fill_to_the_last_block(log: Log) -> None:
    """Leave room for nothing but the closing batch in the segment."""
    used = 8192
    while SEGMENT_BYTES - used > 20000:
        log.commit(record(log.next_lsn, LARGE))
        used += (64 + 4 + LARGE + 7) // 8 * 8
    log.commit(bytes(SEGMENT_BYTES - used - 64 - 64 - 4))


def test_a_full_segment_can_be_closed_on_a_full_disk(log_path: Path, faults: Faults) -> None:
    """The block that each segment keeps free takes the closing batch: no new segment is needed."""
    log = open_log(log_path)
    faults.fail("allocate", errno.ENOSPC, times=0)
    _fill_to_the_last_block(log)
    last = log.next_lsn - 1
    log.close()
    faults.clear()
    report = pydurable.verify_log(log_path)
    assert report.clean
    assert report.next_lsn == last + 1


def test_close_says_that_there_was_no_room_for_what_was_appended(
    log_path: Path, faults: Faults
) -> None:
    """Appended records that find no room are an OSError with ENOSPC from close, which gives the
    lock back all the same; they wait in the ring, and the next opener writes them."""
    log = open_log(log_path)
    faults.fail("allocate", errno.ENOSPC, times=0)
    last = _fill(log)
    for _ in range(3):
        log.append(bytes(LARGE))
    with pytest.raises(OSError, match="No space left") as caught:
        log.close()
    assert caught.value.errno == errno.ENOSPC
    faults.clear()
    with open_log(log_path) as again:
        assert again.recovered_records == 3
        assert again.next_lsn == last + 4


@pytest.mark.parametrize("call", ["allocate", "rename"])
def test_truncation_that_failed_can_be_repeated(log_path: Path, faults: Faults, call: str) -> None:
    """truncate_before that fails, for want of room for its mark or in taking a segment away,
    gives the space back when it is called again."""
    log = open_log(log_path)
    _commit_up_to(log, 14)
    faults.fail("allocate", errno.ENOSPC, times=0)
    _fill(log)
    faults.clear()
    faults.fail("allocate", errno.ENOSPC, times=0)
    faults.fail(call, errno.ENOSPC, times=0)
    lsn = log.next_lsn
    used = sum(1 for _ in log_path.glob("*.seg"))
    with contextlib.suppress(OSError):
        log.truncate_before(lsn)
    faults.clear()
    log.truncate_before(lsn)
    log.commit(record(lsn, LARGE))
    assert log.oldest_lsn == lsn
    assert sum(1 for _ in log_path.glob("*.seg")) < used
    log.close()
    assert [r.lsn for r in pydurable.read_log(log_path)] == [lsn]


def test_an_idle_log_on_a_full_disk_is_quiet(log_path: Path, faults: Faults) -> None:
    """A log that wants to note that all is durable and finds no room does not try without end."""
    while True:
        log = open_log(log_path, interval=1.0)
        faults.fail("allocate", errno.ENOSPC, times=0)
        try:
            _fill_to_the_last_block(log)
            break
        except OSError:  # the first interval was over, and its watermark has taken the room
            faults.clear()
            log.close()
            log_path = log_path.with_name(log_path.name + "x")
    threading.Event().wait(2.5)
    assert faults.calls("allocate") < 50  # a few an interval, and far from a busy loop
    faults.clear()
    log.close()
