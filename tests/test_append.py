"""append: no system call, no release of the GIL, and a ring that wraps, fills and overflows."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from _faults import Faults
from _processes import check_python
from _scenario import open_log, record

import pydurable

PENDING = 256 << 10
RING = 64 << 10
"""What a log with the smallest max_pending_bytes has for appended records."""


def read_all(path: Path) -> list[bytes]:
    return [entry.data for entry in pydurable.read_log(path)]


def test_appended_records_come_in_order(log_path: Path) -> None:
    """Appended and committed records of one thread are in the log in the order of the calls."""
    expected = []
    with open_log(log_path) as log:
        for number in range(500):
            data = b"%d" % number
            expected.append(data)
            if number % 7 == 0:
                assert log.commit(data) == number + 1
            elif number % 50 == 1:
                log.commit_many([data])
            else:
                log.append(data)
            if number % 100 == 99:
                assert log.sync() == number + 1
    assert read_all(log_path) == expected


def test_append_makes_no_call_through_the_table(log_path: Path, faults: Faults) -> None:
    """Not one of the core's system calls happens on append's way."""
    with open_log(log_path) as log:
        log.append(b"the first one starts a thread")
        log.sync()
        faults.count()
        for _ in range(1000):
            log.append(b"x" * 50)
        assert faults.calls() == 0
        assert log.sync() == 1001
        assert faults.calls() > 0


TRACED = """
import os, sys, time
from _scenario import *
log = open_log(sys.argv[1])
log.append(b"the first one starts a thread")
time.sleep(0.2)  # for that thread to come to rest
data = b"x" * 50
os.getppid()
for _ in range(500):
    log.append(data)
os.getppid()
log.close()
"""


def test_append_makes_no_system_call_at_all(log_path: Path, tmp_path: Path) -> None:
    """As the kernel sees it: between two marks five hundred appends leave no trace."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    trace = tmp_path / "trace"
    # Without -f the calls are those of the main thread.
    command = ["strace", "-o", str(trace), sys.executable, "-c", TRACED, str(log_path)]
    tests = str(Path(__file__).parent)
    done = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": tests})
    if "ptrace" in done.stderr:
        pytest.skip(f"strace may not trace here: {done.stderr.strip()[-200:]}")
    assert done.returncode == 0, done.stderr
    calls = [line.split("(")[0] for line in trace.read_text().splitlines()]
    first, last = (at for at, call in enumerate(calls) if call == "getppid")
    # The interpreter may give the GIL back or ask for memory on its own account.
    others = [call for call in calls[first + 1 : last] if call not in ("futex", "brk", "mmap")]
    assert others == []
    assert last - first < 50
    assert sum(1 for _ in pydurable.read_log(log_path)) == 501


SWITCHES = """
import sys, threading
from _scenario import *
log = open_log(sys.argv[1])
log.append(b"the first one starts a thread")
sys.setswitchinterval(1000)  # no thread is made to give up the GIL
ran = 0
def spin():
    global ran
    while ran >= 0:
        ran += 1
        log.stats()  # gives the GIL back, so that the main thread goes on at all
other = threading.Thread(target=spin)
other.start()
while not ran:
    log.stats()
before = ran
for _ in range(200):
    log.append(b"x")
print(ran - before)
before = ran
for _ in range(200):
    log.commit(b"x")
print(ran - before)
ran = -10**9
other.join()
log.close()
"""


def test_append_does_not_release_the_gil(log_path: Path) -> None:
    """A thread that waits for the GIL does not get it while another one appends; commit, for
    comparison, lets it run."""
    appended, committed = map(int, check_python(SWITCHES, log_path).split())
    assert appended == 0
    assert committed > 0


@pytest.mark.parametrize("seed", range(3))
def test_the_ring_wraps_around(log_path: Path, seed: int) -> None:
    """Records of all sizes, many times around the ring, with every way to come to its end."""
    chance = random.Random(seed)
    expected = []
    with open_log(log_path, max_pending_bytes=PENDING, segment_bytes=4 << 20) as log:
        for number in range(3000):
            size = chance.choice([0, 1, 2, 3, 4, 5, 100, 1000, 10_000, RING // 2 - 4])
            data = record(number, size)[:size]
            log.append(data)
            expected.append(data)
            if chance.random() < 0.01:
                log.sync()
    assert read_all(log_path) == expected


@pytest.mark.parametrize("left", range(9))
def test_every_way_to_end_the_ring(log_path: Path, left: int) -> None:
    """With a few bytes left at the ring's end, from none to more than a length takes, the next
    record begins at the front."""
    expected = [b"a" * (RING // 2 - 4), b"b" * (RING // 2 - 4 - left), b"c" * 100, b"d" * 100]
    with open_log(log_path, max_pending_bytes=PENDING) as log:
        log.append(expected[0])
        log.sync()
        for data in expected[1:]:
            log.append(data)
    assert read_all(log_path) == expected


def test_a_full_ring_waits_for_the_file(log_path: Path, faults: Faults) -> None:
    """Appending faster than the disk takes waits for it: nothing is lost, and no more memory is
    taken than was asked for."""
    faults.delay("fdatasync", 5, times=0)
    with open_log(log_path, max_pending_bytes=PENDING, segment_bytes=16 << 20) as log:
        for number in range(300):
            log.append(record(number, 10_000))
        assert log.stats().buffer_bytes <= PENDING + 4 * 4096
    assert read_all(log_path) == [record(number, 10_000) for number in range(300)]


def test_a_record_larger_than_the_ring(log_path: Path) -> None:
    """What does not go through the ring is handed over at once, in its place in the order."""
    large = bytes(range(256)) * 1000
    with open_log(log_path, max_pending_bytes=PENDING, segment_bytes=1 << 20) as log:
        log.append(b"before")
        log.append(large)
        log.append(b"behind")
    assert read_all(log_path) == [b"before", large, b"behind"]


def test_many_threads_append(log_path: Path) -> None:
    """Threads that append at once mix their records and lose none; each one's stay in order."""
    threads, each = 8, 2000
    with open_log(log_path, max_pending_bytes=PENDING, segment_bytes=1 << 20) as log:

        def append(name: int) -> None:
            for serial in range(each):
                log.append(b"%d %d" % (name, serial))
                if serial % 500 == 0:
                    log.commit(b"-")

        workers = [threading.Thread(target=append, args=(name,)) for name in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    held = [data for data in read_all(log_path) if data != b"-"]
    assert len(held) == threads * each
    for name in range(threads):
        mine = [data for data in held if data.startswith(b"%d " % name)]
        assert mine == [b"%d %d" % (name, serial) for serial in range(each)]


MEMORY = """
import re, sys
from _scenario import *
def resident(kind):
    return int(re.search(kind + r":\\s+(\\d+) kB", open("/proc/self/status").read())[1]) << 10
pending, total, size, threads = 8 << 20, int(sys.argv[2]), int(sys.argv[3]), 4
data = bytes(size)
import threading
log = open_log(sys.argv[1], sync="none", segment_bytes=64 << 20, max_pending_bytes=pending)
log.commit(data)
log.truncate_before(log.next_lsn)
before = resident("VmRSS")
def work():
    done = 0
    while done < total // threads:
        for _ in range(16):
            log.append(data)
        lsn = log.commit(data)
        done += 17 * size
        if lsn % 64 == 0:
            log.truncate_before(lsn)
workers = [threading.Thread(target=work) for _ in range(threads)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
print(resident("VmHWM") - before)
assert log.stats().payload_bytes >= total
log.close()
"""


def _memory_growth(path: Path, total: int, size: int) -> int:
    if not Path("/proc/self/status").exists():
        pytest.skip("peak memory is read from /proc, which is not here")
    return int(re.findall(r"\d+", check_python(MEMORY, path, total, size, timeout=600))[-1])


@pytest.mark.guarantee("G14")
@pytest.mark.parametrize("size", [1000, 60_000])
def test_memory_stays_bounded(log_path: Path, size: int) -> None:
    """Committing 128 MiB takes no more memory than max_pending_bytes and a few threads' own."""
    assert _memory_growth(log_path, 128 << 20, size) < (8 << 20) + (8 << 20)


@pytest.mark.long
def test_memory_stays_bounded_over_a_gigabyte(log_path: Path) -> None:
    """The same for 1 GiB: the bound does not depend on how much is written."""
    assert _memory_growth(log_path, 1 << 30, 16_000) < (8 << 20) + (8 << 20)
