"""Going over to the next segment while others are at work on the log."""

from __future__ import annotations

import threading

import pytest
from _faults import Faults
from _patience import wait_until
from _targets import SEGMENT_BYTES

from pydurable import Log, read_log


@pytest.mark.parametrize("call", ["sync", "truncate_before"])
def test_a_sync_that_waits_for_a_rotation_uses_the_new_segment(log_path, faults: Faults, call):
    """A sync that finds the one of a rotation under way does not run on a closed descriptor.

    It has to wait for the whole rotation: the files that it would sync are closed at its end.
    """
    record = b"x" * 30_000
    with Log(log_path, sync="none", method="fdatasync", segment_bytes=SEGMENT_BYTES) as log:
        faults.delay("fdatasync", 100, times=0)
        log.commit(record)
        # The third record does not fit any more: its thread rotates and syncs what is written.
        rotating = threading.Thread(target=lambda: [log.commit(record), log.commit(record)])
        rotating.start()
        wait_until(lambda: faults.calls("fdatasync"), "the rotation syncs")
        if call == "sync":
            log.sync()
        else:
            log.truncate_before(2)
        rotating.join()
        log.sync()
        assert log.durable_lsn == 3
    assert [lsn for lsn, _ in read_log(log_path)] == ([1, 2, 3] if call == "sync" else [2, 3])
