"""What is measured of whole logs, each job in an interpreter of its own.

``python -m bench.log_jobs JOB ARGUMENTS`` prints JSON; the arguments are a JSON object.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

# By name: the first use of pydurable.Log would import it while the clock runs.
from pydurable import Log, read_log, verify_log

BATCH_BYTES = 1 << 20
READ_BYTES = 1 << 20
SINGLE_COMMITS = 200
MANY_RECORDS = 1000

Result = dict[str, object]


def terms(path: str) -> Result:
    """Let pydurable choose for this directory: its method, its block, how long creating took."""
    begin = time.perf_counter()
    with Log(path) as log:
        create_ms = (time.perf_counter() - begin) * 1e3
        method = log.sync_method
    block_bytes = verify_log(path).block_bytes
    return {"method": method, "block_bytes": block_bytes, "create_ms": create_ms}


def open_log(path: str, method: str = "auto") -> Result:
    """Time Log(path) alone: creating the log if it is not there, opening it if it is."""
    begin = time.perf_counter()
    log = Log(path, method=method)
    milliseconds = (time.perf_counter() - begin) * 1e3
    log.close()
    return {"ms": milliseconds}


def fill(path: str, payload_bytes: int, record_bytes: int) -> Result:
    """Write a log of that size in batches of 1 MiB and leave it unclosed, as a crash does."""
    batch = [os.urandom(record_bytes) for _ in range(BATCH_BYTES // record_bytes)]
    log = Log(path)
    for _ in range(payload_bytes // BATCH_BYTES):
        log.commit_many(batch)
    return {"records": log.next_lsn - 1}


def recover(path: str) -> Result:
    """Time the opening of an unclosed log."""
    begin = time.perf_counter()
    log = Log(path, create=False)
    return {"seconds": time.perf_counter() - begin, "records": log.next_lsn - 1}


def read_bytes(path: str, limit: int) -> Result:
    """Time plain reads of the log's segments, up to the limit."""
    buffer = bytearray(READ_BYTES)
    left = limit
    begin = time.perf_counter()
    for segment in sorted(Path(path).glob("*.seg")):
        with open(segment, "rb", buffering=0) as file:
            while left > 0 and (count := file.readinto(buffer)):
                left -= count
    return {"seconds": time.perf_counter() - begin, "bytes": limit - left}


def replay(path: str) -> Result:
    """Time read_log over a whole log."""
    records = size = 0
    begin = time.perf_counter()
    for record in read_log(path):
        records += 1
        size += len(record.data)
    return {"seconds": time.perf_counter() - begin, "records": records, "bytes": size}


def space(path: str, method: str, record_bytes: int) -> Result:
    """Count the bytes of file that a record takes, committed alone and among a thousand."""
    record = os.urandom(record_bytes)
    with Log(path, method=method) as log:
        start = log.stats().written_bytes
        for _ in range(SINGLE_COMMITS):
            log.commit(record)
        single = log.stats().written_bytes
        log.commit_many([record] * MANY_RECORDS)
        many = log.stats().written_bytes
    return {"single": (single - start) / SINGLE_COMMITS, "many": (many - single) / MANY_RECORDS}


JOBS: dict[str, Callable[..., Result]] = {
    job.__name__: job for job in (terms, open_log, fill, recover, read_bytes, replay, space)
}

if __name__ == "__main__":
    print(json.dumps(JOBS[sys.argv[1]](**json.loads(sys.argv[2]))), flush=True)
    # A log that a job left open is to look as after a crash: without the hooks of a normal exit.
    os._exit(0)
