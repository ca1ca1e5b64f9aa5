"""A segment that truncate_before gives up is used again only where it is as good as a new one."""

from __future__ import annotations

import shutil
from pathlib import Path

from _targets import SEGMENT_BYTES

from pydurable import Log, read_log

RECORD = b"x" * 10_000


def crash(log: Log, copy: Path) -> Path:
    """What a SIGKILL would leave behind now."""
    shutil.copytree(log.path, copy)
    return copy


def test_a_whole_segment_is_used_again(log_path):
    """The ordinary case: nothing is allocated anew."""
    with Log(log_path, method="fdatasync", segment_bytes=SEGMENT_BYTES) as log:
        # Five to a segment; behind the middle of the second a spare would be made.
        for _ in range(7):
            log.commit(RECORD)
        log.truncate_before(log.next_lsn)
        assert log.stats().segments_recycled == 1


def test_a_segment_that_recovery_cut_short_is_not_used_again(log_path, tmp_path):
    """Recovery gives the space behind a torn place back, so that the file is short for ever.

    Used again, a crash would leave a segment shorter than its header says: damage.
    """
    with Log(log_path, method="fdatasync", segment_bytes=SEGMENT_BYTES) as log:
        log.commit(RECORD)
        second = crash(log, tmp_path / "second")
    with Log(second, method="fdatasync", segment_bytes=SEGMENT_BYTES) as log:
        log.commit(RECORD)
        log.truncate_before(2)
        for _ in range(6):
            log.commit(RECORD)
        third = crash(log, tmp_path / "third")
    with Log(third, segment_bytes=SEGMENT_BYTES) as log:
        assert [lsn for lsn, _ in read_log(third)] == list(range(2, 9))


def test_a_segment_of_another_size_is_not_used_again(log_path, tmp_path):
    """A log that is opened with larger segments does not take the small ones for them."""
    with Log(log_path, method="fdatasync", segment_bytes=SEGMENT_BYTES) as log:
        log.commit(RECORD)
    with Log(log_path, method="fdatasync", segment_bytes=2 * SEGMENT_BYTES) as log:
        log.commit(RECORD)
        log.truncate_before(2)
        for _ in range(12):
            log.commit(RECORD)
        copy = crash(log, tmp_path / "copy")
    with Log(copy, segment_bytes=2 * SEGMENT_BYTES) as log:
        assert [lsn for lsn, _ in read_log(copy)] == list(range(2, 15))
