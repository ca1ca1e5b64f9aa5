"""AppendFile: plain bytes in order, a file object, its options, reopening, and a cut last line."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import stat
import threading
from pathlib import Path

import pytest
from _append_file import open_file
from _faults import Faults
from _processes import check_python

import pydurable
from pydurable import AppendFile, trim_partial_line


@pytest.mark.guarantee("G13")
@pytest.mark.parametrize("ring", [True, False])
@pytest.mark.parametrize("sync", ["none", "interval", "group", "each"])
def test_bytes_come_in_order_and_nothing_is_added(path: Path, sync: str, ring: bool) -> None:
    """Appended, committed and written bytes are in the file in the order of the calls."""
    expected = b""
    with open_file(path, sync=sync, ring=ring) as file:
        for number in range(60):
            data = b"%d " % number * (number % 5 + 1)
            expected += data
            if number % 20 == 0:
                file.commit(data)
                assert path.read_bytes() == expected
            elif number % 9 == 0:
                file.commit_many([data[:2], data[2:]])
            elif number % 5 == 0:
                assert file.write(memoryview(data)) == len(data)
            else:
                file.append(bytearray(data))
        file.append(b"")
        file.commit(b"")
        assert path.read_bytes() == expected
        file.sync()
    assert path.read_bytes() == expected


def test_paranoid_is_refused_in_memory() -> None:
    """Where a flush reaches no medium the strictest target does not open."""
    if not os.path.isdir("/dev/shm"):
        pytest.skip("/dev/shm is not here")
    with pytest.raises(pydurable.UnsafeStorageError):
        AppendFile("/dev/shm/pydurable-refused", sync="paranoid")
    assert not os.path.exists("/dev/shm/pydurable-refused")


def test_an_existing_file_is_appended_to(path: Path) -> None:
    """What was there stays, and a second opener goes on behind the first."""
    path.write_bytes(b"before\n")
    for line in (b"first\n", b"second\n"):
        with open_file(path) as file:
            file.append(line)
    assert path.read_bytes() == b"before\nfirst\nsecond\n"


@pytest.mark.parametrize("sync", ["group", "each"])
def test_commits_share_flushes(path: Path, faults: Faults, sync: str) -> None:
    """commit_many is one write and one flush; each commit under "each" has its own."""
    with open_file(path, sync=sync, method="fdatasync") as file:
        faults.count()
        file.commit_many([b"x"] * 100)
        assert (faults.calls("write"), faults.calls("fdatasync")) == (1, 1)
        for _ in range(5):
            file.commit(b"y")
        assert (faults.calls("write"), faults.calls("fdatasync")) == (6, 6)


@pytest.mark.guarantee("G13")
def test_a_name_is_made_durable(path: Path, faults: Faults) -> None:
    """Opening syncs the directory, so that a new file's name survives with its bytes."""
    faults.count()
    with open_file(path, sync="group", method="fdatasync"):
        assert faults.calls("fsync") == 1


def test_flushes_overlap_and_writes_do_not(path: Path, faults: Faults) -> None:
    """While one batch is forced out the next is written, and all of them stay in order."""
    faults.delay("fdatasync", 2, times=0)
    lines = 40
    with open_file(path, sync="group", method="fdatasync") as file:

        def work(name: int) -> None:
            for serial in range(lines):
                file.commit(b"%d %d\n" % (name, serial))

        workers = [threading.Thread(target=work, args=(name,)) for name in range(6)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert file.stats().batches < 6 * lines
    held = path.read_bytes().splitlines()
    assert len(held) == 6 * lines
    for name in range(6):
        mine = [line for line in held if line.startswith(b"%d " % name)]
        assert mine == [b"%d %d" % (name, serial) for serial in range(lines)]


def test_large_records_are_taken(path: Path) -> None:
    """What is larger than the ring, and than a batch, goes through in its place."""
    large = os.urandom(3 << 20)
    with open_file(path, max_pending_bytes=256 << 10) as file:
        file.append(b"before")
        file.append(large)
        file.append(b"behind")
    assert path.read_bytes() == b"before" + large + b"behind"


def test_it_is_a_file_object(path: Path) -> None:
    """print, csv and json write to it through a text wrapper; the protocol answers."""
    file = open_file(path)
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    print("grüezi", file=text)
    csv.writer(text).writerow([1, "two"])
    json.dump({"three": 3}, text)
    text.flush()
    assert path.read_bytes().decode() == 'grüezi\n1,two\r\n{"three": 3}'
    assert (file.name, file.mode) == (str(path), "ab")
    assert (file.readable(), file.writable(), file.seekable(), file.isatty()) == (
        False,
        True,
        False,
        False,
    )
    assert os.fstat(file.fileno()).st_ino == path.stat().st_ino
    file.writelines([b"a", b"b"])
    with pytest.raises(io.UnsupportedOperation):
        file.read()
    text.close()
    assert file.closed
    for call in (file.append, file.write, file.commit):
        with pytest.raises(ValueError, match="closed"):
            call(b"x")
    for call in (file.flush, file.fileno, file.sync, file.reopen, file.__enter__):
        with pytest.raises(ValueError, match="closed"):
            call()  # type: ignore[operator]
    file.close()
    assert path.read_bytes().endswith(b"}ab")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"sync": "always"}, ValueError),
        ({"sync": 1}, TypeError),
        ({"method": "direct"}, ValueError),
        ({"method": "direct+dsync"}, ValueError),
        ({"method": "barrier", "sync": "group"}, ValueError),
        ({"method": "fsync", "sync": "paranoid"}, ValueError),
        ({"interval": 0}, ValueError),
        ({"interval": float("nan")}, ValueError),
        ({"max_pending_bytes": 1}, ValueError),
        ({"on_full": "wait"}, ValueError),
        ({"mode": "rw"}, TypeError),
        ({"commit_delay": 1}, ValueError),
    ],
)
def test_nonsense_is_refused_before_anything_is_touched(
    path: Path, options: dict[str, object], error: type[Exception]
) -> None:
    """Each wrong option raises, and no file is made."""
    with pytest.raises(error):
        AppendFile(path, **options)  # type: ignore[arg-type]
    assert not path.exists()


def test_text_and_other_types_are_refused(path: Path) -> None:
    """Only what has the buffer protocol is taken."""
    with open_file(path) as file:
        for nonsense in ("text", 1, None):
            with pytest.raises(TypeError):
                file.append(nonsense)
            with pytest.raises(TypeError):
                file.commit(nonsense)
    assert path.read_bytes() == b""


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """Directories, pipes and missing parents end in an OSError with the path."""
    os.mkfifo(tmp_path / "pipe")
    for name, number in [("pipe", errno.EINVAL), (".", errno.EISDIR), ("no/a", errno.ENOENT)]:
        with pytest.raises(OSError, match="opening the file") as caught:
            AppendFile(tmp_path / name)
        assert (caught.value.errno, caught.value.filename) == (number, str(tmp_path / name))


def test_permissions_of_a_new_file(path: Path) -> None:
    """mode is what a new file gets, less the umask."""
    before = os.umask(0o027)
    try:
        with open_file(path, mode=0o664):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize("sync", ["none", "interval", "group"])
def test_reopen_follows_the_name(path: Path, sync: str) -> None:
    """What was appended before reopen is in the file that was moved, the rest in the new one."""
    moved = path.with_name("app.log.1")
    with open_file(path, sync=sync) as file:
        file.append(b"old\n")
        path.rename(moved)
        file.append(b"still old\n")
        file.reopen()
        file.append(b"new\n")
        assert os.fstat(file.fileno()).st_ino == path.stat().st_ino
    assert moved.read_bytes() == b"old\nstill old\n"
    assert path.read_bytes() == b"new\n"


@pytest.mark.guarantee("G13")
@pytest.mark.parametrize("sync", ["none", "interval", "group"])
def test_reopen_syncs_what_it_leaves(path: Path, sync: str) -> None:
    """No later sync() reaches the file that was moved, so reopen makes it durable."""
    with open_file(path, sync=sync) as file:
        file.append(b"old\n")
        before = file.stats().flushes
        path.rename(path.with_name("app.log.1"))
        file.reopen()
        assert file.stats().flushes > before


def test_reopen_that_fails_keeps_the_old_file(path: Path) -> None:
    """No record is lost when the new file cannot be opened."""
    moved = path.with_name("app.log.1")
    with open_file(path) as file:
        path.rename(moved)
        path.mkdir()
        with pytest.raises(IsADirectoryError):
            file.reopen()
        file.commit(b"kept\n")
    assert moved.read_bytes() == b"kept\n"


def test_reopen_beside_commits(path: Path) -> None:
    """Threads that commit while the file is moved away and reopened lose no line."""
    lines, moves = 300, 8
    with open_file(path, sync="none") as file:

        def work(name: int) -> None:
            for serial in range(lines):
                file.commit(b"%d %d\n" % (name, serial))

        workers = [threading.Thread(target=work, args=(name,)) for name in range(3)]
        for worker in workers:
            worker.start()
        for number in range(moves):
            path.rename(path.with_name(f"app.log.{number}"))
            file.reopen()
        for worker in workers:
            worker.join()
    held = b"".join(part.read_bytes() for part in path.parent.iterdir()).splitlines()
    assert sorted(held) == sorted(b"%d %d" % (n, s) for n in range(3) for s in range(lines))


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        (b"", b""),
        (b"whole\n", b"whole\n"),
        (b"whole\nhal", b"whole\n"),
        (b"whole\n\0\0\0", b"whole\n"),
        (b"whole\nhal\0\0", b"whole\n"),
        (b"no newline", b""),
        (b"a\n" + b"x" * 200_000, b"a\n"),
        (b"\0" * 200_000, b""),
    ],
)
def test_a_partial_line_is_cut(path: Path, content: bytes, kept: bytes) -> None:
    """Whatever follows the last newline goes, by the function and by the option at open."""
    path.write_bytes(content)
    assert trim_partial_line(path) == len(content) - len(kept)
    assert path.read_bytes() == kept
    path.write_bytes(content)
    with open_file(path, trim=True) as file:
        file.append(b"next\n")
    assert path.read_bytes() == kept + b"next\n"


def test_a_cut_is_durable(path: Path, faults: Faults) -> None:
    """The file is synced after a cut, and left alone where nothing is to cut."""
    path.write_bytes(b"whole\nhal")
    faults.count()
    trim_partial_line(path)
    assert (faults.calls("truncate"), faults.calls("fsync")) == (1, 1)
    trim_partial_line(path)
    assert (faults.calls("truncate"), faults.calls("fsync")) == (1, 1)
    with pytest.raises(FileNotFoundError):
        trim_partial_line(path.with_name("none"))


CHILD = """
import os, sys
import pydurable
file = pydurable.AppendFile(sys.argv[1], interval=3600.0)
file.append(b"parent before\\n")
child = os.fork()
if child == 0:
    file.append(b"child\\n")
    file.commit(b"child committed\\n")
    file.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
file.append(b"parent behind\\n")
file.close()
"""


def test_a_child_has_a_ring_of_its_own(path: Path) -> None:
    """After fork both append: what the parent had accepted is written once, by the parent."""
    check_python(CHILD, path)
    assert sorted(path.read_bytes().splitlines()) == [
        b"child",
        b"child committed",
        b"parent before",
        b"parent behind",
    ]


def test_an_unclosed_file_warns_and_is_closed(path: Path) -> None:
    """Garbage collection writes what was appended, with a ResourceWarning."""
    file = open_file(path)
    file.append(b"kept\n")
    with pytest.warns(ResourceWarning, match="unclosed"):
        del file
    assert path.read_bytes() == b"kept\n"


def test_rings_leave_nothing_behind(path: Path) -> None:
    """After close neither the folder of the file nor the one for rings has more in it."""
    from pydurable._ring_place import private_folders

    def rings() -> list[str]:
        mine = f"-{os.getpid()}-"
        return [n for f in private_folders() for n in os.listdir(f) if mine in n]

    before = rings()
    with open_file(path) as file:
        file.append(b"x")
        assert len(rings()) == len(before) + bool(private_folders())
    assert rings() == before
    assert os.listdir(path.parent) == [path.name]
