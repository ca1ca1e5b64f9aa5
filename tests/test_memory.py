"""Memory is bounded by max_pending_bytes, whatever is committed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PENDING = 8 << 20
TOTAL = 1 << 30

PROGRAM = """
import os, resource, shutil, sys, threading
import pydurable
path, pending, total = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
record = os.urandom(64 << 10)
log = pydurable.Log(path, sync="none", max_pending_bytes=pending)
log.commit(record)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
def write(count, append):
    for i in range(count):
        (log.append if append else log.commit)(record)
        if i % 256 == 0:
            log.truncate_before(max(log.next_lsn - 512, 0))
each = total // len(record) // 4
threads = [threading.Thread(target=write, args=(each, i % 2 == 0)) for i in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
log.sync()
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert log.stats().payload_bytes >= total
print((after - before) * 1024, log.stats().buffer_bytes)
log.close()
"""


def test_committing_a_gibibyte(tmp_path: Path) -> None:
    """1 GiB from four threads, half of it appended, takes no more than max_pending_bytes and what
    an interpreter with four threads needs anyway."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "log"), str(PENDING), str(TOTAL)],
        capture_output=True,
        text=True,
        check=True,
    )
    growth, buffers = map(int, done.stdout.split())
    assert buffers <= 2 * PENDING
    assert growth <= 2 * PENDING, growth
