"""One slice in an interpreter of its own: ``python -m bench.worker SLICE`` prints JSON."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from array import array
from pathlib import Path

from . import native
from .cells import Slice
from .company import company
from .contenders import BY_NAME, Committer
from .latency import Histogram


class Window:
    """The time that counts, in nanoseconds, and the gate that lets the threads go."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.begin = 0
        self.end = 0

    def open(self, warm_seconds: float, seconds: float) -> None:
        """Let the threads go, and let the time begin that many seconds from now."""
        self.begin = time.perf_counter_ns() + int(warm_seconds * 1e9)
        self.end = self.begin + int(seconds * 1e9)
        self.gate.set()


class CommittingThread(threading.Thread):
    """Commit one record after the other and note how long each took."""

    def __init__(self, committer: Committer, record: bytes, window: Window) -> None:
        super().__init__()
        self.committer = committer
        self.record = record
        self.window = window
        self.times_ns = array("Q")
        self.commits = 0  # those that ended inside the window
        self.error: BaseException | None = None

    def run(self) -> None:
        """Commit until the window closes; the first error is kept for the main thread."""
        self.window.gate.wait()
        try:
            self._commit()
        except BaseException as error:
            self.error = error

    def _commit(self) -> None:
        commit, record, window = self.committer.commit, self.record, self.window
        clock, note = time.perf_counter_ns, self.times_ns.append
        begin, end = window.begin, window.end
        now = clock()
        while now < begin:
            commit(record)
            now = clock()
        first = now
        going = True
        while going:  # at least once: a commit that outlasts the window is not to be lost
            commit(record)
            then, now = now, clock()
            note(now - then)
            going = now < end
        # The commit that ended at first counts, the one that outlasted the window does not.
        self.commits = len(self.times_ns) if first < end else 0


def run_python(task: Slice, committer: Committer) -> tuple[float, Histogram]:
    """Commit from as many threads as the cell says; return commits/s and latencies."""
    window = Window()
    record = os.urandom(task.cell.size)
    threads = [CommittingThread(committer, record, window) for _ in range(task.cell.threads)]
    for thread in threads:
        thread.start()
    window.open(task.warm_seconds, task.seconds)
    # Company comes late: beside it the threads would need 5 ms each only to get going.
    with company(task.cell.busy):
        for thread in threads:
            thread.join()
    for thread in threads:
        if thread.error is not None:
            raise thread.error
    rate = sum(thread.commits for thread in threads) / task.seconds
    return rate, Histogram.of(time_ns for thread in threads for time_ns in thread.times_ns)


def run_slice(task: Slice) -> dict[str, object]:
    """Open, measure and close one contender."""
    opener = BY_NAME[task.contender].opener
    if opener is None:
        with company(task.cell.busy):
            rate, latencies = native.run(task)
    else:
        committer = opener(Path(task.directory), task.terms)
        try:
            rate, latencies = run_python(task, committer)
        finally:
            committer.close()
    return {"rate": rate, "latencies": latencies.counts}


if __name__ == "__main__":
    print(json.dumps(run_slice(Slice.from_json(json.loads(sys.argv[1])))))
