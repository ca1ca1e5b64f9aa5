"""replace_many(): the outcome, the failures, the bounds."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from replace_support import (
    HOLD,
    NEW,
    OLD,
    checked_child,
    counted,
    descriptors,
    fault,
    leftovers,
    write_ten_old_files,
)

from pydurable import (
    NotDurableError,
    PartlyReplacedError,
    find_stale,
    replace,
    replace_many,
)
from pydurable._core import lib


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with ten old files, on a filesystem that is known to sync directories."""
    write_ten_old_files(tmp_path)
    return tmp_path


def contents(folder: Path, count: int = 10) -> list[bytes]:
    return [(folder / str(number)).read_bytes() for number in range(count)]


@pytest.mark.parametrize("workers", [None, 1, 2, 64])
@pytest.mark.parametrize("durability", ["full", "data", "none"])
def test_all_are_replaced(folder: Path, workers, durability) -> None:
    """Each file has its own new content, and the folder nothing else."""
    items = {folder / str(number): b"%d" % number for number in range(10)}
    assert replace_many(items, durability=durability, workers=workers) is None
    assert contents(folder) == list(items.values())
    assert len(os.listdir(folder)) == 10


def test_pairs_and_nothing(folder: Path) -> None:
    """Pairs do as well as a mapping, also from a generator; no items are no work."""
    replace_many((folder / str(number), bytearray(NEW)) for number in range(10))
    assert contents(folder) == [NEW] * 10
    replace_many([])
    replace_many({})


def test_the_last_of_two_for_one_path_wins(folder: Path) -> None:
    """The order is that of the items."""
    replace_many([(folder / "0", b"first"), (folder / "1", b"x"), (folder / "0", b"second")])
    assert contents(folder, 2) == [b"second", b"x"]
    assert not leftovers(folder)


def test_the_options_are_those_of_replace(folder: Path) -> None:
    """Modes are kept, symlinks followed, existing files refused with overwrite=False."""
    (folder / "0").chmod(0o600)
    (folder / "link").symlink_to("1")
    fd = os.open(folder, os.O_RDONLY)
    try:
        replace_many({"0": NEW, "link": NEW, "fresh": NEW}, dir_fd=fd, permissions=None)
    finally:
        os.close(fd)
    assert (folder / "0").stat().st_mode & 0o777 == 0o600
    assert (folder / "link").is_symlink()
    assert contents(folder, 2) == [NEW, NEW]
    with pytest.raises(FileExistsError) as caught:
        replace_many([(folder / "brand new", NEW), (folder / "0", OLD)], overwrite=False)
    assert caught.value.filename == str(folder / "0")
    assert not (folder / "brand new").exists()


def test_wrong_items_are_refused_before_anything(folder: Path) -> None:
    """A single str or a wrong path among good items stops all of them."""
    with pytest.raises(TypeError, match="open_atomic"):
        replace_many([(folder / "0", NEW), (folder / "1", "text")])
    with pytest.raises(ValueError, match="null byte"):
        replace_many([(folder / "0", NEW), ("a\0b", NEW)])
    with pytest.raises(ValueError, match="workers"):
        replace_many([(folder / "0", NEW)], workers=0)
    with pytest.raises(IsADirectoryError) as caught:
        replace_many([(folder / "0", NEW), (folder, NEW)])
    assert caught.value.filename == str(folder)
    assert contents(folder) == [OLD] * 10
    assert len(os.listdir(folder)) == 10


@pytest.mark.parametrize("workers", [1, 8])
@pytest.mark.parametrize("call", ["OPEN", "WRITE", "CHMOD", "FSYNC"])
def test_a_failure_while_staging_publishes_nothing(folder: Path, call: str, workers: int) -> None:
    """Whichever file it is that fails, none is replaced and no temporary file is left."""
    for nth in (12, 15, 19) if call == "OPEN" else (1, 5, 10):
        before = descriptors()
        items = [(folder / str(number), NEW) for number in range(10)]
        with (
            fault(call, errno.ENOSPC, nth=nth),
            pytest.raises(OSError, match=r"temp|attr") as caught,
        ):
            replace_many(items, workers=workers)
        assert caught.value.errno == errno.ENOSPC
        assert caught.value.filename in [str(path) for path, _ in items]
        assert not isinstance(caught.value, PartlyReplacedError)
        assert contents(folder) == [OLD] * 10
        assert len(os.listdir(folder)) == 10
        assert descriptors() == before


@pytest.mark.parametrize("nth", [1, 4, 10])
def test_a_failed_rename_stops_and_tells(folder: Path, nth: int) -> None:
    """Those before it are replaced, and durable; those from it on are as they were."""
    paths = [str(folder / str(number)) for number in range(10)]

    def failing() -> None:
        with pytest.raises(PartlyReplacedError) as caught:
            replace_many([(path, NEW) for path in paths])
        assert caught.value.errno == errno.EBUSY
        assert caught.value.filename == paths[nth - 1]
        assert caught.value.replaced == tuple(paths[: nth - 1])
        assert caught.value.pending == tuple(paths[nth - 1 :])

    with fault("MOVE", errno.EBUSY, nth=nth):
        failing()
    assert contents(folder) == [NEW] * (nth - 1) + [OLD] * (11 - nth)
    assert not leftovers(folder)


def test_what_was_renamed_before_a_failure_is_synced(folder: Path) -> None:
    """The directory's sync is not skipped because a later rename failed."""
    items = [(folder / str(number), NEW) for number in range(10)]

    def failing() -> None:
        lib.pd_fault_set(lib.PD_CALL_MOVE, lib.PD_FAULT_ERROR, errno.EBUSY, 5, 1)
        with pytest.raises(PartlyReplacedError):
            replace_many(items)

    assert counted(failing)["FSYNC"] == 10 + 1


def test_a_failed_directory_sync(folder: Path) -> None:
    """All are replaced, none is sure to stay: NotDurableError has the paths."""
    paths = [str(folder / str(number)) for number in range(10)]
    with fault("FSYNC", errno.EIO, nth=11), pytest.raises(NotDurableError) as caught:
        replace_many([(path, NEW) for path in paths])
    assert caught.value.replaced == tuple(paths)
    assert caught.value.pending == ()
    assert contents(folder) == [NEW] * 10


def test_one_sync_for_each_directory(tmp_path: Path) -> None:
    """Files are synced each, directories once, however many names change in them."""
    folders = [tmp_path / name for name in "abc"]
    for each in folders:
        each.mkdir()
    items = [(each / str(number), NEW) for number in range(20) for each in folders]
    replace_many(items)
    assert counted(lambda: replace_many(items))["FSYNC"] == 60 + 3
    assert counted(lambda: replace_many(items, durability="data"))["FSYNC"] == 60
    assert "FSYNC" not in counted(lambda: replace_many(items, durability="none"))


FEW_DESCRIPTORS = """
import os, resource, sys
import pydurable
os.chdir(sys.argv[1])
for name in range(50):
    os.mkdir(f"d{name}")
    os.symlink(f"../d{name}/real", f"d{name}/link")
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
items = [(f"d{name}/{kind}", b"%d" % name) for kind in ("new", "link") for name in range(50)]
for workers in (1, 8):
    for options in ({}, {"durability": "data"}, {"permissions": 0o444}):
        for name in range(50):
            for kind in ("new", "real"):
                if os.path.exists(f"d{name}/{kind}"):
                    os.unlink(f"d{name}/{kind}")
        pydurable.replace_many(items, workers=workers, **options)
        for path, data in items:
            assert open(path, "rb").read() == data
for name in range(50):
    os.unlink(f"d{name}/new")
pydurable.replace_many([(p, d) for p, d in items if "new" in p], overwrite=False)
assert not [name for _, _, names in os.walk(".") for name in names if "pydurable" in name]
assert os.path.islink("d7/link")
"""


def test_descriptors_are_bounded(tmp_path: Path) -> None:
    """A hundred files in fifty directories with forty descriptors: the promise is the same."""
    checked_child(FEW_DESCRIPTORS, tmp_path)


def test_a_directory_that_moves_meanwhile(tmp_path: Path) -> None:
    """Beyond the bound a directory is found again by its path, and must be the same one."""
    script = """
import os, resource, sys, threading
sys.path.insert(0, sys.argv[2])
import pydurable
from pydurable._core import lib
from replace_support import HOLD, fault
os.chdir(sys.argv[1])
for name in range(10):
    os.mkdir(f"d{name}")
pydurable.sync_directory(".")
pydurable.replace("d0/file", b"old")
resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
def move():
    while not lib.pd_fault_calls(lib.PD_CALL_FSYNC):
        pass
    os.rename("d9", "moved")
    os.mkdir("d9")
    lib.pd_fault_clear()
mover = threading.Thread(target=move)
try:
    with fault("FSYNC", HOLD, mode="DELAY"):
        mover.start()
        pydurable.replace_many([(f"d{n}/file", b"new") for n in range(10)], workers=1)
except pydurable.PartlyReplacedError as error:
    print(error.errno, len(error.replaced), error.pending)
except OSError as error:
    print(error.errno, "nothing")
mover.join()
print(os.listdir("d9"))
"""
    out = checked_child(script, tmp_path, Path(__file__).parent).splitlines()
    assert out[0] in (f"{errno.ESTALE} 9 ('d9/file',)", f"{errno.ESTALE} nothing")
    assert out[1] == "[]"


def test_a_large_batch_is_alive_while_it_lasts(folder: Path) -> None:
    """find_stale() takes no file of a running batch for dead, also those already closed."""
    batch = [(folder / str(number), NEW) for number in range(400)]
    with ThreadPoolExecutor(1) as pool, fault("MOVE", HOLD, mode="DELAY"):
        replacing = pool.submit(replace_many, batch)
        while not lib.pd_fault_calls(lib.PD_CALL_MOVE):
            assert find_stale(folder) == []
        # All are staged, and nothing is renamed yet.
        assert len(leftovers(folder)) == len(batch)
        assert find_stale(folder) == []
        lib.pd_fault_clear()
        replacing.result()


@settings(
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    batch=st.lists(st.tuples(st.sampled_from("abcdef"), st.binary(max_size=9000)), max_size=12),
    workers=st.integers(1, 4),
)
def test_any_batch(tmp_path: Path, batch, workers) -> None:
    """The outcome is that of the same replacements one after another."""
    replace_many([(tmp_path / name, data) for name, data in batch], workers=workers)
    for name, data in dict(batch).items():
        assert (tmp_path / name).read_bytes() == data
    assert not leftovers(tmp_path)


def test_a_directory_that_cannot_be_synced_is_named(tmp_path: Path) -> None:
    """The error's path lies in the directory that failed, whichever of them that is."""
    names = [tmp_path / folder / "file" for folder in ("one", "two", "three")]
    for name in names:
        name.parent.mkdir()
        replace(name, OLD)
    for which, name in enumerate(names):
        with (
            fault("FSYNC", errno.EIO, nth=len(names) + 1 + which),
            pytest.raises(NotDurableError, match="syncing the directory") as caught,
        ):
            replace_many([(each, NEW) for each in names], workers=1)
        assert caught.value.filename == str(name)
        assert caught.value.replaced == tuple(map(str, names))
