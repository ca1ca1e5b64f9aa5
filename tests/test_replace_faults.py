"""Every system call of every operation fails, at every step, in every way."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from replace_support import (
    CALLS,
    NEW,
    OLD,
    checked_child,
    counted,
    descriptors,
    fault,
    leftovers,
)

from pydurable import (
    NotDurableError,
    PartlyReplacedError,
    open_atomic,
    rename,
    replace,
    replace_many,
)
from pydurable._core import lib


@dataclass
class Operation:
    """Something that replaces files: how its folder is prepared, and which files it concerns."""

    run: Callable[[Path], object]
    prepare: Callable[[Path], object]
    files: tuple[str, ...] = ("target",)
    old: bytes | None = OLD


def one_file(folder: Path) -> None:
    (folder / "target").write_bytes(OLD)


def no_file(folder: Path) -> None:
    pass


def file_with_attributes(folder: Path) -> None:
    one_file(folder)
    os.chmod(folder / "target", 0o640)
    if os.geteuid() == 0:
        os.chown(folder / "target", 123, 456)
    try:
        os.setxattr(folder / "target", "user.first", b"1")
        os.setxattr(folder / "target", "user.second", b"2" * 5000)
    except (AttributeError, OSError):
        pass  # a filesystem without attributes still has all the other calls


def linked_file(folder: Path) -> None:
    (folder / "real").mkdir()
    (folder / "real" / "target").write_bytes(OLD)
    (folder / "link").symlink_to("real/target")


def a_draft(folder: Path) -> None:
    one_file(folder)
    (folder / "drafts").mkdir()
    (folder / "drafts" / "draft").write_bytes(NEW)


def two_folders(folder: Path) -> None:
    for name in ("one", "two"):
        (folder / name).mkdir()
        for number in range(3):
            (folder / name / str(number)).write_bytes(OLD)


MANY = tuple(f"{name}/{number}" for number in range(3) for name in ("one", "two"))


def stream(folder: Path, **options) -> None:
    with open_atomic(folder / "target", "wb", **options) as f:
        f.write(NEW)


OPERATIONS = {
    "replace": Operation(lambda at: replace(at / "target", NEW), one_file),
    "make": Operation(lambda at: replace(at / "target", NEW), no_file, old=None),
    "no clobber": Operation(
        lambda at: replace(at / "target", NEW, overwrite=False), no_file, old=None
    ),
    "data only": Operation(lambda at: replace(at / "target", NEW, durability="data"), one_file),
    "atomic only": Operation(lambda at: replace(at / "target", NEW, durability="none"), one_file),
    "preserve all": Operation(
        lambda at: replace(at / "target", NEW, preserve="all"), file_with_attributes
    ),
    "preserve strict": Operation(
        lambda at: replace(at / "target", NEW, preserve="strict"), file_with_attributes
    ),
    "symlink": Operation(lambda at: replace(at / "link", NEW), linked_file, ("real/target",)),
    "open_atomic": Operation(stream, one_file),
    "direct": Operation(lambda at: stream(at, direct=True), one_file),
    "rename": Operation(lambda at: rename(at / "drafts/draft", at / "target"), a_draft),
    "replace_many": Operation(
        lambda at: replace_many([(at / name, NEW) for name in MANY], workers=1), two_folders, MANY
    ),
}

# What may fail without anybody being told, because nothing depends on it: an old file that is not
# held is freed a little earlier; of the closes only the first of a written file could report a
# loss, which is tested by itself.
HARMLESS = {"HOLD", "CLOSE"}

# The calls that change something and so can have done it when they report a failure.
CHANGES = {
    *("WRITE", "TRUNCATE", "FSYNC", "UNLINK", "LOCK"),
    *("MOVE", "MOVE_NEW", "CHOWN", "CHMOD", "XATTR_SET", "ACL_COPY", "DIRECT", "WRITEBACK"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder on a filesystem that is known to sync directories: that is tried only once."""
    replace(tmp_path / "known", b"")
    (tmp_path / "known").unlink()
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder"


def prepared(operation: Operation, folder: Path) -> Path:
    """Empty the folder and set the operation's scene."""
    shutil.rmtree(folder)
    folder.mkdir()
    operation.prepare(folder)
    return folder


def content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def steps(operation: Operation, folder: Path) -> list[tuple[str, int]]:
    """Return each call that the operation makes and its number among its kind."""
    made = counted(lambda: operation.run(prepared(operation, folder)))
    return [(call, nth) for call, count in made.items() for nth in range(1, count + 1)]


def attempt(operation: Operation, folder: Path) -> Exception | None:
    try:
        operation.run(folder)
    except OSError as error:
        return error
    return None


def check(operation: Operation, folder: Path, error: Exception | None, sure: bool) -> None:
    """Whole old or whole new, and which of the two, as far as the error tells."""
    found = [content(folder / name) for name in operation.files]
    assert all(each in (operation.old, NEW) for each in found)
    if error is None or isinstance(error, NotDurableError):
        assert all(each == NEW for each in found)
    elif isinstance(error, PartlyReplacedError):
        done = len(error.replaced)
        assert found[:done] == [NEW] * done
        if sure:
            assert found[done:] == [operation.old] * (len(found) - done)
    elif sure:
        assert found == [operation.old] * len(found)


@pytest.mark.guarantee("G8")
@pytest.mark.parametrize("name", OPERATIONS)
def test_each_call_fails_once(folder: Path, name: str) -> None:
    """Each call, refused once: the error comes out, nothing is torn, nothing is left, no leak."""
    operation = OPERATIONS[name]
    found = steps(operation, folder)
    assert len(found) > 5
    for call, nth in found:
        prepared(operation, folder)
        before = descriptors()
        with fault(call, errno.EIO, nth=nth):
            error = attempt(operation, folder)
        where = f"{call} {nth}"
        if call not in HARMLESS:
            assert error is not None, where
            assert error.errno == errno.EIO, where
        check(operation, folder, error, sure=True)
        assert not leftovers(folder), where
        assert descriptors() == before, where


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_call_works_and_reports_a_failure(folder: Path, name: str) -> None:
    """A call that did its work and says it did not: nothing is torn and nothing is left."""
    operation = OPERATIONS[name]
    for call, nth in steps(operation, folder):
        if call not in CHANGES:
            continue
        prepared(operation, folder)
        with fault(call, errno.EIO, nth=nth, mode="AFTERWARDS"):
            error = attempt(operation, folder)
        if call not in HARMLESS:
            assert error is not None, f"{call} {nth}"
        check(operation, folder, error, sure=False)
        assert not leftovers(folder), f"{call} {nth}"


@pytest.mark.parametrize("name", OPERATIONS)
def test_everything_fails_from_some_call_on(folder: Path, name: str) -> None:
    """A disk that goes away for good: an error, and nothing torn."""
    operation = OPERATIONS[name]
    for nth in range(1, len(steps(operation, folder)) + 1):
        prepared(operation, folder)
        with fault("ANY", errno.EIO, nth=nth, times=0):
            error = attempt(operation, folder)
        check(operation, folder, error, sure=True)


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_call_is_interrupted(folder: Path, name: str) -> None:
    """EINTR is never seen: the call is made again, but for close, which must not be."""
    operation = OPERATIONS[name]
    for call, nth in steps(operation, folder):
        prepared(operation, folder)
        with fault(call, errno.EINTR, nth=nth):
            operation.run(folder)
        check(operation, folder, None, sure=True)
        assert not leftovers(folder)


@pytest.mark.parametrize("name", ["replace", "direct", "replace_many"])
def test_short_writes_are_completed(folder: Path, name: str) -> None:
    """Writes that move half of what they were asked to publish the whole."""
    operation = OPERATIONS[name]
    prepared(operation, folder)
    with fault("WRITE", 0, times=3 if name == "direct" else 10, mode="SHORT"):
        error = attempt(operation, folder)
    # Half of a direct write may be no whole number of blocks: then it is refused, not torn.
    assert error is None or name == "direct"
    check(operation, folder, error, sure=True)


@pytest.mark.parametrize("name", ["replace", "open_atomic", "replace_many"])
def test_a_loss_that_close_reports_is_an_error(folder: Path, name: str) -> None:
    """Some filesystems tell only at the close that data is lost: that is before the rename."""
    operation = OPERATIONS[name]
    prepared(operation, folder)
    with fault("CLOSE", errno.EDQUOT, nth=3 if name == "replace_many" else 1, times=6):
        error = attempt(operation, folder)
    assert error is not None
    assert error.errno == errno.EDQUOT
    check(operation, folder, error, sure=True)
    assert not leftovers(folder)


@pytest.mark.parametrize("name", ["replace", "make", "no clobber", "open_atomic", "symlink"])
def test_a_failed_directory_sync_is_not_durable(folder: Path, name: str) -> None:
    """After the rename the content is there, and the error says that it may not stay."""
    operation = OPERATIONS[name]
    prepared(operation, folder)
    with fault("FSYNC", errno.EIO, nth=2):
        error = attempt(operation, folder)
    assert isinstance(error, NotDurableError)
    assert isinstance(error, OSError)
    assert error.errno == errno.EIO
    assert error.replaced is True
    assert error.filename is not None
    check(operation, folder, error, sure=True)


def test_a_sync_is_not_tried_again(folder: Path) -> None:
    """A second fsync might succeed after the first lost the data: there is none."""
    one_file(folder)

    def failing() -> None:
        fault_also("FSYNC", errno.EIO)
        with pytest.raises(OSError, match="syncing"):
            replace(folder / "target", NEW)

    assert counted(failing)["FSYNC"] == 1
    assert content(folder / "target") == OLD


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
def test_no_clobber_where_the_kernel_has_no_such_rename(folder: Path, code: int) -> None:
    """Without renameat2 a link does it: it does not overwrite either, and no name is left."""
    target = folder / "target"
    with fault("MOVE_NEW", code):
        replace(target, NEW, overwrite=False)
    assert os.listdir(folder) == ["target"]
    assert target.stat().st_nlink == 1
    with fault("MOVE_NEW", code), fault_also("LOOK", errno.ENOENT), pytest.raises(FileExistsError):
        replace(target, OLD, overwrite=False)
    assert content(target) == NEW
    assert not leftovers(folder)


def fault_also(call: str, code: int) -> contextlib.AbstractContextManager[None]:
    """Add a fault to the one that is set, which also ends it."""
    lib.pd_fault_set(CALLS[call], lib.PD_FAULT_ERROR, code, 1, 1)
    return contextlib.nullcontext()


def test_no_clobber_of_a_file_that_appears_meanwhile(folder: Path) -> None:
    """The rename itself refuses, where the look before it saw nothing."""
    one_file(folder)
    with fault("LOOK", errno.ENOENT), pytest.raises(FileExistsError):
        replace(folder / "target", NEW, overwrite=False)
    assert content(folder / "target") == OLD
    assert not leftovers(folder)


def test_each_call_of_the_link_fallback_fails(folder: Path) -> None:
    """Link and unlink fail too: the file is old or new, and what remains is said."""
    target = folder / "target"
    with fault("MOVE_NEW", errno.ENOSYS):
        fault_also("LINK", errno.EIO)
        with pytest.raises(OSError, match="replacing"):
            replace(target, NEW, overwrite=False)
    assert not os.listdir(folder)
    with fault("MOVE_NEW", errno.ENOSYS):
        fault_also("UNLINK", errno.EIO)
        with pytest.raises(NotDurableError, match="second name"):
            replace(target, NEW, overwrite=False)
    assert content(target) == NEW


def test_a_filesystem_that_cannot_sync_directories(folder: Path) -> None:
    """It is found out before anything is changed, and the message names what works."""
    one_file(folder)
    script = """
import errno, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import pydurable
from replace_support import fault
target = Path(sys.argv[1], "target")
for attempt in (lambda: pydurable.replace(target, b"new"),
                lambda: pydurable.replace_many({target: b"new"}),
                lambda: pydurable.open_atomic(target),
                lambda: pydurable.rename(target, target.with_name("other"))):
    with fault("FSYNC", errno.EINVAL, times=0):
        try:
            attempt()
        except pydurable.NotDurableError:
            print("too late")
        except OSError as error:
            print(error.errno, error)
    assert os.listdir(sys.argv[1]) == ["target"], os.listdir(sys.argv[1])
pydurable.replace(target, b"new", durability="data")
"""
    out = checked_child(script, folder, Path(__file__).parent).splitlines()
    assert len(out) == 4
    for line in out:
        assert line.startswith(f"{errno.EINVAL} ")
        assert 'durability="data"' in line
    assert content(folder / "target") == b"new"


def test_a_filesystem_without_locks(folder: Path) -> None:
    """A temporary file that cannot be locked is written all the same."""
    one_file(folder)
    for code in (errno.ENOLCK, errno.ENOTSUP):
        with fault("LOCK", code):
            replace(folder / "target", NEW)
    assert content(folder / "target") == NEW


def test_a_filesystem_without_direct_io(folder: Path) -> None:
    """direct=True writes through the page cache there, and says so."""
    with fault("DIRECT", errno.EINVAL), open_atomic(folder / "target", "wb", direct=True) as f:
        assert not f.direct
        f.write(NEW)
    assert content(folder / "target") == NEW


def stream_with_alarm(folder: Path) -> None:
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    stream(folder)


def test_interrupted_by_a_signal_while_syncing(folder: Path) -> None:
    """KeyboardInterrupt is raised after the call, which is either over or taken back."""
    one_file(folder)
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        with fault("FSYNC", 300, mode="DELAY"), pytest.raises(KeyboardInterrupt):
            stream_with_alarm(folder)
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert content(folder / "target") in (OLD, NEW)
    assert not leftovers(folder)
