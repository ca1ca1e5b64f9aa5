"""pydurable.testing: each fault strikes where it says, is over with its block, and nothing else."""

from __future__ import annotations

import errno
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from _patience import PATIENCE_S, wait_until

import pydurable
from pydurable import testing

SMALL = 64 << 10


def _log(path: Path, **options: object) -> pydurable.Log:
    return pydurable.Log(path, method="fdatasync", segment_bytes=SMALL, **options)  # type: ignore[arg-type]


@pytest.fixture
def log(log_path: Path):
    with _log(log_path) as opened:
        yield opened


@pytest.mark.parametrize("nth", [1, 2, 5])
def test_the_nth_call_fails(log_path: Path, nth: int) -> None:
    """The commits before the nth sync are acknowledged, that one gets the errno, and no other
    call is touched."""
    with testing.fail("fdatasync", errno.EDQUOT, nth=nth) as fault:
        log = _log(log_path)
        for _ in range(nth - 1):
            log.commit(b"x")
        with pytest.raises(pydurable.PoisonedError) as caught:
            log.commit(b"x")
        with pytest.raises(pydurable.PoisonedError):
            log.close()
    assert caught.value.errno == errno.EDQUOT
    assert fault.hits == 1


def test_a_fault_ends_with_its_block(tmp_path: Path) -> None:
    """Also when the block ends by an exception, and also if it never struck."""
    target = tmp_path / "target"
    with pytest.raises(ZeroDivisionError), testing.fail("any", times=None):
        raise ZeroDivisionError
    pydurable.replace(target, b"works")
    with testing.fail("any", nth=10**6) as fault:
        pydurable.replace(target, b"works again")
    assert fault.hits == 0
    assert target.read_bytes() == b"works again"


def test_for_ever_and_a_number_of_times(tmp_path: Path) -> None:
    """times=None strikes every call, times=2 two of them."""
    target = tmp_path / "target"
    with testing.fail("open", errno.EMFILE, times=None) as fault:
        for _ in range(5):
            with pytest.raises(OSError, match="Too many open files"):
                pydurable.replace(target, b"x")
    assert fault.hits >= 5
    with testing.fail("open", errno.EMFILE, times=2) as fault:
        for _ in range(2):
            with pytest.raises(OSError, match="Too many open files"):
                pydurable.replace(target, b"x")
        pydurable.replace(target, b"x")
    assert fault.hits == 2


def test_faults_are_nested_and_end_by_themselves(tmp_path: Path) -> None:
    """The inner block takes its own fault away and leaves the outer one."""
    target = tmp_path / "target"
    with testing.fail("rename", errno.EACCES, times=None) as outer:
        with testing.fail("write", errno.ENOSPC) as inner, pytest.raises(OSError, match="No space"):
            pydurable.replace(target, b"x")
        with pytest.raises(PermissionError):
            pydurable.replace(target, b"x")
    assert (inner.hits, outer.hits) == (1, 1)
    pydurable.replace(target, b"x")


def test_many_faults_at_once_are_refused(tmp_path: Path) -> None:
    """There is a bound, and who meets it is told."""
    faults = testing.Faults()

    def set_very_many() -> None:
        for _ in range(1000):
            faults.fail("open", nth=10**6)

    with pytest.raises(RuntimeError, match="too many"):
        set_very_many()
    faults.clear()
    with testing.fail("open", errno.EMFILE), pytest.raises(OSError, match="Too many open files"):
        pydurable.replace(tmp_path / "target", b"x")


def test_a_call_that_works_and_reports_failure(tmp_path: Path) -> None:
    """afterwards=True: the rename has happened when its failure is reported."""
    target = tmp_path / "target"
    with testing.fail("rename", errno.EIO, afterwards=True), pytest.raises(OSError, match="error"):
        pydurable.replace(target, b"new")
    assert target.read_bytes() == b"new"


def test_sync_and_rename_stand_for_whatever_is_used(tmp_path: Path) -> None:
    """The names for groups of calls strike each member, whichever method a log has."""
    for method in ("fdatasync", "fsync"):
        log = pydurable.Log(tmp_path / method, method=method, segment_bytes=SMALL)
        with testing.fail("sync"), pytest.raises(pydurable.PoisonedError):
            log.commit(b"x")
        with pytest.raises(pydurable.PoisonedError):
            log.close()
    pydurable.replace(tmp_path / "a", b"")
    for overwrite in (True, False):
        with testing.fail("rename", errno.EIO), pytest.raises(OSError, match="error"):
            pydurable.rename(tmp_path / "a", tmp_path / "b", overwrite=overwrite)


def test_delay_strikes_and_changes_nothing(log: pydurable.Log) -> None:
    """A slow sync is a sync."""
    with testing.delay("sync", 0.002) as slow:
        assert [log.commit(b"x") for _ in range(3)] == [1, 2, 3]
    assert slow.hits == 3


def test_a_delay_ends_with_its_block(log: pydurable.Log) -> None:
    """A call that is late when the block ends goes on at once."""
    with testing.delay("fdatasync", 3600) as slow:
        thread = threading.Thread(target=log.commit, args=(b"x",), daemon=True)
        thread.start()
        wait_until(lambda: slow.hits, "the sync began")
        assert log.durable_lsn == 0
    thread.join(PATIENCE_S)
    assert log.durable_lsn == 1


@pytest.mark.parametrize("method", ["fdatasync", "direct"])
def test_short_transfers_change_nothing(tmp_path: Path, method: str) -> None:
    """Logs written and read in halves hold what they would hold, direct I/O included."""
    path = tmp_path / "log"
    try:
        log = pydurable.Log(path, method=method, segment_bytes=SMALL)
    except OSError as error:
        pytest.skip(f"not on this filesystem: {error}")
    records = [bytes([n]) * (n * 37 + 1) for n in range(60)]
    with testing.short_writes() as writes, testing.short_reads() as reads:
        with log:
            for record in records:
                log.commit(record)
        assert [entry.data for entry in pydurable.read_log(path)] == records
    assert writes.hits > 20
    assert reads.hits > 0


@pytest.mark.guarantee("G9")
@pytest.mark.parametrize("space", [0, 1, 999, 1000, 5000])
def test_replacing_on_a_full_disk(tmp_path: Path, space: int) -> None:
    """What fits is written, what does not is ENOSPC, and the old content stays."""
    target = tmp_path / "target"
    target.write_bytes(b"old")
    with testing.full_disk(after_bytes=space) as full:
        if space >= 1000:
            pydurable.replace(target, b"n" * 1000)
        else:
            with pytest.raises(OSError, match="No space"):
                pydurable.replace(target, b"n" * 1000)
    assert (full.hits > 0) is (space < 1000)
    assert target.read_bytes() == (b"n" * 1000 if space >= 1000 else b"old")
    assert [entry.name for entry in tmp_path.iterdir()] == ["target"]


def test_the_space_is_shared_by_all_files(tmp_path: Path) -> None:
    """after_bytes is the growth of all files together."""
    with testing.full_disk(after_bytes=2500):
        pydurable.replace(tmp_path / "one", b"x" * 1000)
        pydurable.replace(tmp_path / "two", b"x" * 1000)
        with pytest.raises(OSError, match="No space left"):
            pydurable.replace(tmp_path / "three", b"x" * 1000)


def fill(log: pydurable.Log) -> None:
    """Commit more than one segment holds."""
    for _ in range(SMALL // 1000):
        log.commit(b"y" * 1000)


@pytest.mark.guarantee("G9")
def test_a_log_on_a_full_disk_goes_on_when_there_is_space(log_path: Path) -> None:
    """A log that cannot prepare a segment refuses and stays healthy; space it has needs no more."""
    with _log(log_path) as log:
        with testing.full_disk():
            log.commit(b"fits into the segment")
            with pytest.raises(OSError, match="No space") as caught:
                fill(log)
            assert caught.value.errno == errno.ENOSPC
            assert not isinstance(caught.value, pydurable.PoisonedError)
        assert log.commit(b"goes on") == log.durable_lsn


def test_counts_are_exact_and_stay(log: pydurable.Log) -> None:
    """One write and one sync for each lone commit; calls after the block are not counted."""
    with testing.count_syscalls() as calls:
        for _ in range(4):
            log.commit(b"x")
        assert calls["write"] == 4
    log.commit(b"x")
    assert (calls["write"], calls["fdatasync"], calls["sync"], calls["rename"]) == (4, 4, 4, 0)
    assert calls["any"] == 8
    assert set(calls) == set(testing.CALLS)
    assert len(calls) == len(testing.CALLS)
    assert repr(calls) == "Syscalls({'fdatasync': 4, 'write': 4})"
    with pytest.raises(KeyError):
        calls["fdatasync "]


def test_counts_are_nested(log: pydurable.Log) -> None:
    """An inner count neither ends nor resets the outer one, and faulty calls count as well."""
    with testing.count_syscalls() as outer:
        log.commit(b"x")
        with testing.count_syscalls() as inner, testing.short_writes():
            log.commit(b"x" * 100)
        log.commit(b"x")
    assert outer["fdatasync"] == 3
    assert inner["fdatasync"] == 1
    assert inner["write"] > 1


def test_other_threads_are_concerned(log: pydurable.Log) -> None:
    """Faults and counts are the process's, not the thread's."""
    with testing.count_syscalls() as calls:
        thread = threading.Thread(target=log.commit, args=(b"x",))
        thread.start()
        thread.join()
    assert calls["write"] == 1


@pytest.mark.parametrize(
    "nonsense",
    [
        lambda: testing.fail("fdatasink"),
        lambda: testing.fail("write", nth=0),
        lambda: testing.fail("write", times=0),
        lambda: testing.delay("write", -1),
        lambda: testing.full_disk(after_bytes=-1),
    ],
)
def test_nonsense_is_refused(nonsense) -> None:
    """ValueError at once, with nothing set."""
    with pytest.raises(ValueError, match=r"named|from 1|at least|negative"):
        nonsense()


def test_a_fault_is_set_once(tmp_path: Path) -> None:
    """Entering a fault twice is an error; using it again after its end is not."""
    fault = testing.fail("open", errno.EMFILE)
    for _ in range(2):
        with fault, pytest.raises(OSError, match="Too many open"):
            pydurable.replace(tmp_path / "target", b"x")
    with fault, pytest.raises(RuntimeError), fault:
        pass


PLUGIN_TEST = """
    import errno
    import pytest
    import pydurable

    def test_faults(pydurable_faults, tmp_path):
        pydurable_faults.full_disk(after_bytes=10)
        pydurable_faults.fail("rename", errno.EACCES)
        pydurable_faults.delay("read", 0.001)
        pydurable_faults.short_writes()
        pydurable_faults.short_reads()
        with pytest.raises(OSError, match="No space"):
            pydurable.replace(tmp_path / "target", b"x" * 11)

    def test_they_are_over(pydurable_syscalls, tmp_path):
        pydurable.replace(tmp_path / "target", b"x" * 11)
        assert pydurable_syscalls["rename"] == 1
        assert pydurable_syscalls["write"] == 1
"""


def test_the_plugin_brings_fixtures(tmp_path: Path) -> None:
    """One line in conftest.py, and the faults of one test are over in the next."""
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["pydurable.testing"]\n')
    (tmp_path / "test_it.py").write_text(textwrap.dedent(PLUGIN_TEST))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--fixtures-per-test",
    ]
    for extra in ([], ["--fixtures"]):
        done = subprocess.run(
            [*command, *extra], capture_output=True, text=True, cwd=tmp_path, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert "pydurable_syscalls" in done.stdout


def test_importing_it_does_not_import_pytest() -> None:
    """A program may use pydurable.testing without pytest."""
    script = "import sys, pydurable.testing; sys.exit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == 0
