"""AppendFile in programs of several processes: forks, pools, servers, and the ends of programs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from _append_file import open_file
from _processes import check_python, run_python

import pydurable

POOL = """
import multiprocessing, os, sys
import pydurable
if __name__ == "__main__":
    # What a child started anew imports has to lie in a file.
    os.environ["PYTHONPATH"] = os.path.dirname(sys.argv[1])
    sys.path.insert(0, os.path.dirname(sys.argv[1]))
    from _pool_worker import work
    context = multiprocessing.get_context(sys.argv[2])
    file = pydurable.AppendFile(sys.argv[1], interval=3600.0)
    file.append(b"parent before\\n")
    workers = [context.Process(target=work, args=(sys.argv[1], n)) for n in range(3)]
    for worker in workers:
        worker.start()
    file.append(b"parent meanwhile\\n")
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    file.append(b"parent behind\\n")
    file.close()
"""

POOL_WORKER = """
import pydurable
def work(path, name):
    file = pydurable.AppendFile(path, interval=3600.0)
    for number in range(300):
        file.append(b"%d %d\\n" % (name, number))
    # multiprocessing ends a child with os._exit, and no atexit function runs.
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(path: Path, method: str) -> None:
    """Children of each kind append to one file and end without closing it: the next opener has
    every line, each child's in order."""
    path.with_name("_pool_worker.py").write_text(POOL_WORKER)
    check_python(POOL, path, method)
    open_file(path).close()
    lines = path.read_bytes().splitlines()
    parents = [line for line in lines if line.startswith(b"parent")]
    assert parents == [b"parent before", b"parent meanwhile", b"parent behind"]
    for name in range(3):
        mine = [line for line in lines if line.startswith(b"%d " % name)]
        assert mine == [b"%d %d" % (name, number) for number in range(300)]
    assert len(lines) == 3 + 900


PREFORK = """
import os, signal, sys
import pydurable
file = pydurable.AppendFile(sys.argv[1], interval=3600.0)
file.append(b"master starts\\n")
LIVES = 3
def serve(name):
    for number in range(200):
        file.append(b"worker %d request %d\\n" % (name, number))
        if number == 100 and name % 3 == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 100 and name % 3 == 2:
            os._exit(1)
    sys.exit(0)
workers, name = {}, 0
while name < 9 or workers:
    while len(workers) < 3 and name < 9:
        child = os.fork()
        if child == 0:
            serve(name)
        workers[child] = name
        name += 1
    child, status = os.wait()
    file.append(b"master reaps %d\\n" % workers.pop(child))
file.close()
"""


def test_a_pre_fork_server(path: Path) -> None:
    """The master opens the file and forks; workers answer, exit, are killed and are replaced.  No
    line is lost, doubled or mixed with another, the master's are in order."""
    assert check_python(PREFORK, path) == ""
    open_file(path).close()
    lines = path.read_text().splitlines()
    expected = ["master starts", *(f"master reaps {name}" for name in range(9))]
    for name in range(9):
        expected += [
            f"worker {name} request {number}" for number in range(200 if name % 3 == 0 else 101)
        ]
    assert Counter(lines) == Counter(expected)
    assert lines.index("master starts") < lines.index("master reaps 0")
    for name in range(9):
        mine = [line for line in lines if line.startswith(f"worker {name} ")]
        assert mine == sorted(mine, key=lambda line: int(line.split()[-1]))


EARLY_HOOK = """
import os, sys
def hook():
    file.append(b"child, in a hook that runs first\\n")
    file.append(b"x" * 1000 + b"\\n")
os.register_at_fork(after_in_child=hook)
import pydurable
file = pydurable.AppendFile(sys.argv[1], interval=3600.0)
file.append(b"parent before\\n")
child = os.fork()
if child == 0:
    file.append(b"child\\n")
    file.commit(b"child committed\\n")
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
file.append(b"parent behind\\n")
file.close()
"""


def test_a_fork_hook_that_runs_before_ours(path: Path) -> None:
    """What it appends in the child is the child's: the parent's ring is not touched by it, and the
    child goes on with the ring that the hook opened."""
    assert check_python(EARLY_HOOK, path) == ""
    open_file(path).close()
    assert sorted(path.read_bytes().splitlines()) == sorted(
        [
            b"parent before",
            b"parent behind",
            b"child, in a hook that runs first",
            b"x" * 1000,
            b"child",
            b"child committed",
        ]
    )


LOG_HOOK = """
import os, sys
refused = []
def hook():
    try:
        log.append(b"child, in a hook that runs first")
    except pydurable.ForkedError:
        refused.append(True)
os.register_at_fork(after_in_child=hook)
import pydurable
log = pydurable.Log(sys.argv[1], interval=3600.0)
log.append(b"parent before")
child = os.fork()
if child == 0:
    os._exit(0 if refused else 1)
assert os.waitpid(child, 0)[1] == 0
log.append(b"parent behind")
log.close()
"""


def test_such_a_hook_cannot_append_to_a_log(log_path: Path) -> None:
    """A log is the parent's alone, also for the hook that runs first."""
    assert check_python(LOG_HOOK, log_path) == ""
    held = [record.data for record in pydurable.read_log(log_path)]
    assert held == [b"parent before", b"parent behind"]


FORK_IN_SIGNAL = """
import os, signal, sys
import pydurable
file = pydurable.AppendFile(sys.argv[1], interval=3600.0, max_pending_bytes=256 << 10)
children = []
def fork(*_):
    child = os.fork()
    if child == 0:
        file.append(b"child %d\\n" % len(children))
        os._exit(0)
    children.append(child)
    if len(children) < 20:
        signal.setitimer(signal.ITIMER_REAL, 0.001)
signal.signal(signal.SIGALRM, fork)
signal.setitimer(signal.ITIMER_REAL, 0.001)
number = 0
while len(children) < 20:
    file.append(b"parent %d\\n" % number)
    number += 1
for child in children:
    assert os.waitpid(child, 0)[1] == 0
file.close()
print(number)
"""


def test_fork_in_the_middle_of_append(path: Path) -> None:
    """A signal handler forks wherever append is at that moment; all that both accepted is there
    once."""
    number = int(check_python(FORK_IN_SIGNAL, path))
    open_file(path).close()
    lines = path.read_bytes().splitlines()
    parents = [line for line in lines if line.startswith(b"parent")]
    assert parents == [b"parent %d" % n for n in range(number)]
    children = [line for line in lines if line.startswith(b"child")]
    assert sorted(children) == sorted(b"child %d" % n for n in range(20))


EXIT = """
import sys, threading
import pydurable
from pydurable import ClosedError  # a name is looked up when it is first used
make = pydurable.AppendFile if sys.argv[2] == "file" else pydurable.Log
out = make(sys.argv[1], interval=3600.0)
out.append(b"before")
class Late:
    def __del__(self):
        try:
            out.append(b"while everything is taken apart")
        except ClosedError:
            pass
class Noisy:
    def __del__(self):
        with out:
            out.append(b"in a finalizer")
            raise ZeroDivisionError("on purpose")
late = Late()
if sys.argv[3] == "noisy":
    noisy = Noisy()
    del noisy
accepted = threading.Event()
def go_on():
    number = 0
    try:
        while True:
            out.append(b"thread %d\\n" % number)
            number += 1
            if number > 1000:
                accepted.set()
    except ClosedError:
        pass
if sys.argv[3] != "noisy":
    threads = [threading.Thread(target=go_on, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    accepted.wait()
if sys.argv[3] == "closed":
    out.close()
"""


@pytest.mark.parametrize("kind", ["file", "log"])
@pytest.mark.parametrize("how", ["open", "closed"])
def test_threads_append_while_the_interpreter_exits(tmp_path: Path, kind: str, how: str) -> None:
    """With close and without, exit is silent and clean, and nothing that was accepted is lost."""
    path = tmp_path / "target"
    done = run_python(EXIT, path, kind, how)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    if kind == "log":
        data = b"".join(record.data for record in pydurable.read_log(path))
    else:
        data = path.read_bytes()
    assert data.startswith(b"before")
    threads = Counter(line for line in data.removeprefix(b"before").splitlines() if line)
    numbers = sorted(int(line.split()[1]) for line in threads)
    assert numbers == list(range(len(numbers))), "a record that a thread had appended is missing"
    assert len(numbers) > 1000


@pytest.mark.parametrize("kind", ["file", "log"])
def test_an_exception_in_a_finalizer(tmp_path: Path, kind: str) -> None:
    """What was appended before it is in the file; it is reported as Python reports it, once."""
    path = tmp_path / "target"
    done = run_python(EXIT, path, kind, "noisy")
    assert done.returncode == 0
    assert done.stderr.count("Traceback") == 1
    assert "on purpose" in done.stderr
    if kind == "log":
        held = [record.data for record in pydurable.read_log(path)]
        assert held == [b"before", b"in a finalizer"]
    else:
        assert path.read_bytes() == b"beforein a finalizer"
