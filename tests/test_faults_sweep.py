"""Fail every system call in the life of a log, one after another, and look what is left."""

from __future__ import annotations

import contextlib
import errno
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from _faults import Faults
from _scenario import Life, check_aftermath, check_resources, fast_folder, live, resources

import pydurable

SLACK = 40
"""Calls that a life may make beyond those of the one counted: the background thread decides."""

# What reaches C as EINTR from a call that a signal interrupts (the man pages' ERRORS sections).
INTERRUPTIBLE = ["open", "close", "read", "write", "fsync", "fdatasync", "allocate"]

# Without these nothing can be promised, so that no failure of them may be passed over.
ESSENTIAL = ["open", "read", "write", "fsync", "fdatasync", "allocate", "rename", "stat", "mkdir"]
ESSENTIAL += ["lock", "map", "list", "random"]


@pytest.fixture
def fast_path() -> Iterator[Path]:
    with fast_folder() as folder:
        yield Path(folder)


def _attempt(life: Life, code: int) -> bool:
    """Live until something fails; whether it did, after a look at the error."""
    failure = None
    try:
        live(life)
    except OSError as error:
        failure = error
    if failure is None:
        return False
    assert failure.errno == code, failure
    assert failure.strerror
    assert str(failure.filename).startswith(str(life.path))
    return True


def _count_calls(folder: Path, faults: Faults) -> int:
    faults.clear()
    faults.count()
    live(Life(folder / "counted"))
    return faults.calls() + SLACK


def _sweep(folder: Path, faults: Faults, code: int, inject: Callable[[int], None]) -> int:
    """A life for each call, with a fault injected there; how many of them saw an error."""
    raised = 0
    calls = _count_calls(folder, faults)
    for nth in range(1, calls + 1):
        life = Life(folder / f"log{nth}")
        faults.clear()
        before = resources()
        inject(nth)
        try:
            raised += _attempt(life, code)
            faults.clear()
            check_resources(before)
            check_aftermath(life)
        except BaseException:
            print(f"the fault was at call {nth} of {calls}")
            raise
        shutil.rmtree(life.path, ignore_errors=True)
    return raised


@pytest.mark.guarantee("G8")
@pytest.mark.parametrize("times", [1, 0], ids=["once", "forever"])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
def test_every_call_fails(fast_path: Path, faults: Faults, code: int, times: int) -> None:
    """Whichever call fails: the error says errno and file, nothing promised is lost, and no
    descriptor, thread or lock stays behind."""
    raised = _sweep(fast_path, faults, code, lambda nth: faults.fail("any", code, nth, times))
    assert raised > 100


@pytest.mark.parametrize("call", ["any", "write", "fsync", "fdatasync"])
def test_every_call_fails_afterwards(fast_path: Path, faults: Faults, call: str) -> None:
    """A call that does its work and then reports an error is a failed call all the same."""
    code = errno.EIO
    raised = _sweep(fast_path, faults, code, lambda nth: faults.afterwards(call, code, nth))
    assert raised > 5


@pytest.mark.long
@pytest.mark.parametrize("times", [1, 0], ids=["once", "forever"])
def test_every_call_fails_on_disk(tmp_path: Path, faults: Faults, times: int) -> None:
    """The same on the filesystem of the temporary folder, where zeros are written ahead."""
    code = errno.EIO
    raised = _sweep(tmp_path, faults, code, lambda nth: faults.fail("any", code, nth, times))
    assert raised > 100


@pytest.mark.parametrize("call", ESSENTIAL)
def test_an_essential_call_that_never_works_is_an_error(
    fast_path: Path, faults: Faults, call: str
) -> None:
    """No failure of a call that a promise rests on is passed over."""
    faults.fail(call, errno.EIO, times=0)
    life = Life(fast_path / "log")
    assert _attempt(life, errno.EIO)
    faults.clear()
    check_aftermath(life)


@pytest.mark.guarantee("G8")
@pytest.mark.parametrize("call", ["read", "write"])
def test_short_transfers_change_nothing(fast_path: Path, faults: Faults, call: str) -> None:
    """Whichever read or write is cut short, and if all are, a life is what it would have been."""
    for nth in range(1, 60):
        faults.clear()
        faults.short(call, nth)
        life = Life(fast_path / f"log{nth}")
        live(life)
        check_aftermath(life)
    faults.clear()
    faults.short(call, times=0)
    live(Life(fast_path / "log"))


@pytest.mark.parametrize("call", INTERRUPTIBLE)
def test_interrupted_calls_change_nothing(fast_path: Path, faults: Faults, call: str) -> None:
    """Whichever call a signal interrupts, a life is what it would have been."""
    faults.count()
    live(Life(fast_path / "counted"))
    calls = faults.calls(call)
    assert calls > 0
    for nth in range(1, calls + 1):
        faults.clear()
        before = resources()
        faults.fail(call, errno.EINTR, nth)
        life = Life(fast_path / f"log{nth}")
        live(life)
        check_resources(before)
        check_aftermath(life)


def test_a_write_that_moves_nothing_is_an_error(fast_path: Path, faults: Faults) -> None:
    """pwrite returning 0 is EIO, and no endless loop."""
    log = pydurable.Log(fast_path / "log", method="fdatasync")
    assert log.commit(b"before") == 1
    faults.fail("write", 0)
    for call in (lambda: log.commit(b"never"), log.close):
        with pytest.raises(pydurable.PoisonedError) as caught:
            call()
        assert caught.value.errno == errno.EIO


@pytest.mark.parametrize("call", ["open", "allocate", "write", "fdatasync", "fsync"])
def test_measuring_the_methods_fails(tmp_path: Path, faults: Faults, call: str) -> None:
    """A call that fails while methods are measured is an error, leaves nothing behind, and the
    log can be made once the fault is gone."""
    faults.count()
    with pydurable.Log(tmp_path / "counted"):
        calls = faults.calls(call)
    seen = 0
    for nth in range(1, calls + 1, max(1, calls // 12)):
        faults.clear()
        before = resources()
        faults.fail(call, errno.EIO, nth)
        path = tmp_path / f"log{nth}"
        with contextlib.suppress(OSError), pydurable.Log(path) as log:
            log.commit(b"x")
            seen += 1
        faults.clear()
        check_resources(before)
        with pydurable.Log(path) as log:
            log.commit(b"y")
        assert not list(path.glob("probe.*"))
    assert seen < len(range(1, calls + 1, max(1, calls // 12)))
