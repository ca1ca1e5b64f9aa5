"""Every public operation, every system call that it makes, every errno that the man pages allow.

The calls of an operation are counted in a clean run; then each is made to fail, once and for ever,
with each errno.  The default run takes a sample with dice of its own; the whole is a long test.
"""

from __future__ import annotations

import errno
import random
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import pytest
from _errnos import ERRNOS, FALSE_ANSWERS
from _fault_operations import SCENES, Make, Scene, Templates
from _fault_tasks import TASK_SCENES
from _powercut import new_seed
from _scenario import check_resources, fast_folder, resources

from pydurable import LockedError, testing

OPERATIONS = {**SCENES, **TASK_SCENES}

SAMPLE = 24
"""How many faults of each operation the default run tries."""

HANG_S = 60


@dataclass(frozen=True)
class Case:
    """The nth call of a name reports an errno, once or for ever."""

    call: str
    nth: int
    code: int
    once: bool

    def __str__(self) -> str:
        how = "once" if self.once else "for ever"
        return f"{self.call} {self.nth} fails with {errno.errorcode[self.code]} {how}"


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with fast_folder() as name:
        yield Path(name)


@pytest.fixture(scope="module")
def templates(place: Path) -> Templates:
    (place / "templates").mkdir()
    return Templates(place / "templates")


def _fresh(place: Path) -> Path:
    folder = place / "scene"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def _cases(make: Make, place: Path, templates: Templates) -> list[Case]:
    scene = make(_fresh(place), templates)
    with testing.count_syscalls() as calls:
        scene.run()
    scene.finish(None, once=True)
    cases = []
    for call in ERRNOS:
        for nth in range(1, calls[call] + 1):
            for code in ERRNOS[call]:
                if (call, code) in FALSE_ANSWERS:
                    continue
                cases.append(Case(call, nth, code, once=True))
                # A call that is interrupted for ever is tried for ever, as it has to be.
                if nth == 1 and code != errno.EINTR:
                    cases.append(Case(call, nth, code, once=False))
    unknown = {call for call in calls if calls[call]} - {*ERRNOS, "any", "sync", "rename"}
    assert not unknown, "calls without a list of errnos"
    return cases


def _hung(signum: int, frame: FrameType | None) -> None:
    raise AssertionError(f"it hangs: more than {HANG_S} s")


def _suffer(scene: Scene, case: Case) -> Exception | None:
    """Run the operation under the fault: the error, after a look at it."""
    failure = None
    try:
        with testing.fail(case.call, case.code, nth=case.nth, times=1 if case.once else None):
            scene.run()
    except OSError as error:
        failure = error
    if failure is not None:
        assert failure.strerror
        assert failure.filename is not None
        # The ring of what is appended is a file of its own, in another place; names are synced
        # with the directory that they are in.
        named = str(failure.filename)
        below = named.startswith(str(scene.path)) or named.endswith(".ring")
        assert below or scene.path.is_relative_to(named)
        assert failure.errno == case.code or isinstance(failure, LockedError)
    return failure


def _try(make: Make, place: Path, templates: Templates, case: Case) -> bool:
    """Whether the operation failed."""
    scene = make(_fresh(place), templates)
    signal.alarm(HANG_S)
    try:
        error = _suffer(scene, case)
        scene.finish(error, case.once)
    finally:
        signal.alarm(0)
    return error is not None


def _try_all(name: str, place: Path, templates: Templates, cases: list[Case]) -> tuple[int, int]:
    make = OPERATIONS[name]
    before = resources()
    previous = signal.signal(signal.SIGALRM, _hung)
    failed = 0
    try:
        for case in cases:
            try:
                failed += _try(make, place, templates, case)
                check_resources(before)
            except BaseException:
                print(f"{name}: {case}")
                raise
    finally:
        signal.signal(signal.SIGALRM, previous)
    return failed, len(cases)


@pytest.mark.guarantee("G8")
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_sample_of_all_faults(place: Path, templates: Templates, name: str) -> None:
    """Errno and path are told, nothing acknowledged is lost, and no descriptor, thread, temporary
    file or lock is left; where no error comes, the operation has done its work."""
    seed = new_seed()
    print(f"PYDURABLE_SEED={seed}")
    cases = _cases(OPERATIONS[name], place, templates)
    dice = random.Random(seed)
    failed, tried = _try_all(name, place, templates, dice.sample(cases, min(SAMPLE, len(cases))))
    assert failed > 0
    assert tried <= SAMPLE


@pytest.mark.guarantee("G8")
@pytest.mark.long
@pytest.mark.parametrize("name", OPERATIONS)
def test_all_faults(place: Path, templates: Templates, name: str) -> None:
    """The same for every call and every errno."""
    cases = _cases(OPERATIONS[name], place, templates)
    failed, tried = _try_all(name, place, templates, cases)
    print(f"{name}: {tried} faults, {failed} of them errors")
    assert failed > 0
