"""replace(): what it does, to which paths, and what it refuses."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from replace_support import NEW, OLD, descriptors, leftovers

import pydurable
from pydurable import replace

ROOT = os.geteuid() == 0


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A file with old content."""
    path = tmp_path / "target"
    path.write_bytes(OLD)
    return path


def test_it_makes_a_file(tmp_path: Path) -> None:
    """A path without a file gets one."""
    replace(tmp_path / "new", NEW)
    assert (tmp_path / "new").read_bytes() == NEW
    assert os.listdir(tmp_path) == ["new"]


def test_it_replaces_a_file(target: Path) -> None:
    """The old file is another inode than the new one, and nothing else is left in the folder."""
    inode = target.stat().st_ino
    with open(target, "rb") as reader:
        assert replace(target, NEW) is None
        assert reader.read() == OLD
    assert target.read_bytes() == NEW
    assert target.stat().st_ino != inode
    assert os.listdir(target.parent) == ["target"]


@pytest.mark.parametrize("durability", ["full", "data", "none"])
@pytest.mark.parametrize("preserve", ["none", "mode", "all", "strict"])
@pytest.mark.parametrize("kind", [str, os.fsencode, Path])
def test_every_kind_of_path_and_option(target: Path, durability, preserve, kind) -> None:
    """str, bytes and path-like paths do with every durability and every preserve."""
    replace(kind(target), NEW, durability=durability, preserve=preserve)
    assert target.read_bytes() == NEW
    assert not leftovers(target.parent)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        bytearray(NEW),
        memoryview(NEW),
        memoryview(NEW)[::3],
        memoryview(bytes(400)).cast("I"),
    ],
    ids=["empty", "bytes", "bytearray", "memoryview", "strided", "of ints"],
)
def test_every_kind_of_data(target: Path, data) -> None:
    """Whatever has the buffer protocol is written as its bytes."""
    replace(target, data)
    assert target.read_bytes() == bytes(data)


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    old=st.none() | st.binary(max_size=9000),
    new=st.binary(max_size=200_000),
    name=st.text(
        st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=60
    ),
    options=st.fixed_dictionaries(
        {},
        optional={
            "durability": st.sampled_from(["full", "data", "none"]),
            "preserve": st.sampled_from(["none", "mode", "all", "strict"]),
            "permissions": st.none() | st.sampled_from([0o600, 0o644, 0o400, 0o755]),
            "follow_symlinks": st.booleans(),
        },
    ),
)
def test_any_content_under_any_name_with_any_options(
    tmp_path: Path, old, new, name, options
) -> None:
    """The content is what was given, the mode what was asked for, and nothing else is there."""
    path = tmp_path / name
    if name in (".", ".."):
        with pytest.raises(IsADirectoryError):
            replace(path.parent / name, new, **options)
        return
    if old is not None:
        path.write_bytes(old)
        path.chmod(0o640)
    replace(path, new, **options)
    assert path.read_bytes() == new
    mode = stat.S_IMODE(path.stat().st_mode)
    if options.get("permissions") is not None:
        assert mode == options["permissions"]
    elif old is not None and options.get("preserve") != "none":
        assert mode == 0o640
    assert [entry.name for entry in tmp_path.iterdir()] == [name]
    path.unlink()


def test_a_name_of_255_bytes(tmp_path: Path) -> None:
    """The longest name works, because the temporary name does not grow with it."""
    path = tmp_path / ("n" * 255)
    replace(path, OLD)
    replace(path, NEW)
    assert path.read_bytes() == NEW
    with pytest.raises(OSError, match="File name too long") as caught:
        replace(tmp_path / ("n" * 256), NEW)
    assert caught.value.errno == errno.ENAMETOOLONG


def test_a_path_without_a_directory(target: Path, monkeypatch) -> None:
    """A bare name means the working directory."""
    monkeypatch.chdir(target.parent)
    replace("target", NEW)
    assert target.read_bytes() == NEW


def test_no_descriptor_is_left_open(target: Path) -> None:
    """Neither success nor failure leaks a descriptor."""
    before = descriptors()
    replace(target, NEW)
    for bad in (target.parent, target / "below", target.parent / "no" / "where"):
        with pytest.raises(OSError, match=r"looking|opening"):
            replace(bad, NEW)
    assert descriptors() == before


def test_dir_fd_is_where_a_relative_path_starts(target: Path) -> None:
    """dir_fd holds for relative paths and not for absolute ones, as in the os module."""
    (target.parent / "sub").mkdir()
    fd = os.open(target.parent / "sub", os.O_RDONLY)
    try:
        replace("inner", NEW, dir_fd=fd)
        replace("../target", NEW, dir_fd=fd)
        replace(target.parent / "absolute", NEW, dir_fd=fd)
    finally:
        os.close(fd)
    assert (target.parent / "sub" / "inner").read_bytes() == NEW
    assert target.read_bytes() == NEW
    assert (target.parent / "absolute").read_bytes() == NEW


# Symlinks


def test_a_symlink_stays_and_leads_to_the_new_content(target: Path) -> None:
    """The file that a chain of links leads to is replaced, in its own directory."""
    elsewhere = target.parent / "elsewhere"
    elsewhere.mkdir()
    first, second = target.parent / "first", elsewhere / "second"
    second.symlink_to("../target")
    first.symlink_to("elsewhere/second")
    replace(first, NEW)
    assert first.is_symlink()
    assert second.is_symlink()
    assert not target.is_symlink()
    assert target.read_bytes() == NEW
    assert not leftovers(target.parent)


def test_an_absolute_symlink(target: Path) -> None:
    """A link may name its goal from the root."""
    link = target.parent / "link"
    link.symlink_to(target)
    replace(link, NEW)
    assert link.is_symlink()
    assert target.read_bytes() == NEW


def test_a_dangling_symlink_gets_its_file(tmp_path: Path) -> None:
    """As with open(path, "w"), the file that the link lacks is made."""
    link = tmp_path / "link"
    link.symlink_to("missing")
    replace(link, NEW)
    assert link.is_symlink()
    assert (tmp_path / "missing").read_bytes() == NEW


def test_a_dangling_symlink_into_nowhere(tmp_path: Path) -> None:
    """A link into a directory that is not there is a missing parent."""
    link = tmp_path / "link"
    link.symlink_to("no/where")
    with pytest.raises(FileNotFoundError):
        replace(link, NEW)
    assert os.listdir(tmp_path) == ["link"]


def test_a_symlink_loop_is_refused(tmp_path: Path) -> None:
    """A loop ends with ELOOP and not never."""
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="symlink") as caught:
        replace(tmp_path / "a", NEW)
    assert caught.value.errno == errno.ELOOP


def test_without_following_the_symlink_itself_is_replaced(target: Path) -> None:
    """The goal keeps its content; the new file has the mode of a new file, not a link's 0777."""
    link = target.parent / "link"
    link.symlink_to("target")
    replace(link, NEW, follow_symlinks=False)
    assert not link.is_symlink()
    assert link.read_bytes() == NEW
    assert target.read_bytes() == OLD
    (target.parent / "fresh").write_bytes(b"")
    assert link.stat().st_mode == (target.parent / "fresh").stat().st_mode


@pytest.mark.skipif(not ROOT, reason="only root can make files of other users")
def test_another_users_symlink_in_a_shared_directory_is_not_followed(target: Path) -> None:
    """What protected_symlinks does for open() holds here: no writing through planted links."""
    shared = target.parent / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    link = shared / "link"
    link.symlink_to(target)
    os.lchown(link, 12345, 12345)
    with pytest.raises(PermissionError):
        replace(link, NEW)
    assert target.read_bytes() == OLD


# overwrite=False


def test_no_clobber(target: Path) -> None:
    """With overwrite=False an existing file is refused, and a missing one is made."""
    with pytest.raises(FileExistsError):
        replace(target, NEW, overwrite=False)
    assert target.read_bytes() == OLD
    replace(target.parent / "other", NEW, overwrite=False)
    assert (target.parent / "other").read_bytes() == NEW
    assert not leftovers(target.parent)


def test_no_clobber_of_a_symlink_that_is_not_followed(tmp_path: Path) -> None:
    """A symlink, dangling or not, is something that exists."""
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(FileExistsError):
        replace(tmp_path / "link", NEW, overwrite=False, follow_symlinks=False)


def test_everything_is_exported() -> None:
    """The names of the documentation are there."""
    for name in (
        "replace",
        "open_atomic",
        "replace_many",
        "rename",
        "sync_file",
        "sync_data",
        "sync_directory",
        "find_stale",
        "remove_stale",
        "AlignedBuffer",
        "NotDurableError",
        "PartlyReplacedError",
    ):
        assert name in pydurable.__all__
        assert hasattr(pydurable, name)
