"""What a replaced file takes over from the old one: mode, owner, ACL, extended attributes."""

from __future__ import annotations

import errno
import os
import stat
import struct
from pathlib import Path

import pytest
from replace_support import NEW, OLD, checked_child, fault, leftovers

from pydurable import open_atomic, replace

ROOT = os.geteuid() == 0
only_root = pytest.mark.skipif(not ROOT, reason="only root can set this up")
OTHER = 12345

ACL = "system.posix_acl_access"
DEFAULT_ACL = "system.posix_acl_default"


def acl(*entries: tuple[int, int, int]) -> bytes:
    """Return a POSIX ACL as the kernel takes it: entries of tag, permissions and id (acl(5))."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


NOBODY_IN_PARTICULAR = 0xFFFFFFFF
# user::rw-, user:12345:r--, group::---, mask::r--, other::---
NAMED_READER = acl(
    (0x01, 6, NOBODY_IN_PARTICULAR),
    (0x02, 4, OTHER),
    (0x04, 0, NOBODY_IN_PARTICULAR),
    (0x10, 4, NOBODY_IN_PARTICULAR),
    (0x20, 0, NOBODY_IN_PARTICULAR),
)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A file with old content and the mode 0640."""
    path = tmp_path / "target"
    path.write_bytes(OLD)
    path.chmod(0o640)
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def set_attribute(path: Path, name: str, value: bytes) -> None:
    """Set an extended attribute, or skip where the filesystem has none."""
    if not hasattr(os, "setxattr"):
        pytest.skip("this Python has no extended attributes")
    try:
        os.setxattr(path, name, value)
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.EPERM):
            pytest.skip(f"no {name} here: {error}")
        raise


def attributes(path: Path) -> dict[str, bytes]:
    return {name: os.getxattr(path, name) for name in os.listxattr(path)}


# Modes


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
@pytest.mark.parametrize("call", ["replace", "open_atomic", "replace_many"])
def test_a_new_file_has_the_mode_that_umask_leaves(tmp_path: Path, umask: int, call: str) -> None:
    """The same mode as open(path, "w") gives, by the kernel: umask is never called."""
    script = f"""
import os, sys
os.chdir(sys.argv[1])
import pydurable
os.umask({umask})
open("reference", "w").close()
if "{call}" == "replace":
    pydurable.replace("file", b"new")
elif "{call}" == "replace_many":
    pydurable.replace_many({{"file": b"new"}})
else:
    with pydurable.open_atomic("file") as f:
        f.write("new")
assert os.umask(0) == {umask}
assert os.stat("file").st_mode == os.stat("reference").st_mode
"""
    checked_child(script, tmp_path)
    assert mode(tmp_path / "file") == 0o666 & ~umask


@pytest.mark.parametrize("old", [0o600, 0o640, 0o644, 0o666, 0o755, 0o700])
def test_the_mode_is_kept(target: Path, old: int) -> None:
    """The permission bits are the old file's, whatever the umask is."""
    target.chmod(old)
    replace(target, NEW)
    assert mode(target) == old


def test_no_mode_is_kept_with_none(target: Path) -> None:
    """preserve="none" gives the mode of a new file."""
    target.chmod(0o600)
    replace(target, NEW, preserve="none")
    (target.parent / "fresh").write_bytes(b"")
    assert mode(target) == mode(target.parent / "fresh")


@pytest.mark.parametrize("preserve", ["mode", "all"])
def test_set_id_bits_are_never_passed_on(target: Path, preserve: str) -> None:
    """New content does not run with the rights that somebody gave to the old."""
    target.chmod(0o6755)
    replace(target, NEW, preserve=preserve)
    assert mode(target) == 0o755


def test_permissions_are_exact(target: Path) -> None:
    """permissions win over the old mode and over the umask, for new files as well."""
    replace(target, NEW, permissions=0o604)
    assert mode(target) == 0o604
    replace(target.parent / "fresh", NEW, permissions=0o666)
    assert mode(target.parent / "fresh") == 0o666
    with open_atomic(target, permissions=0o606) as f:
        f.write("x")
    assert mode(target) == 0o606


def test_a_tight_file_is_never_open_to_others(target: Path) -> None:
    """While it is written the temporary file has no more rights than the old one."""
    target.chmod(0o600)
    with open_atomic(target) as f:
        (temporary,) = leftovers(target.parent)
        assert mode(target.parent / temporary) == 0o600
        f.write("secret")
    assert mode(target) == 0o600


def test_a_setgid_directory_gives_its_group(tmp_path: Path) -> None:
    """The temporary file is made in the directory itself, so that its group is inherited."""
    folder = tmp_path / "shared"
    folder.mkdir()
    if ROOT:
        os.chown(folder, -1, OTHER)
    folder.chmod(0o2775)
    replace(folder / "file", OLD)
    replace(folder / "file", NEW)
    assert (folder / "file").stat().st_gid == folder.stat().st_gid
    assert not mode(folder / "file") & stat.S_ISGID


# Owners


@only_root
@pytest.mark.parametrize(("preserve", "kept"), [("mode", False), ("all", True), ("strict", True)])
def test_the_owner(target: Path, preserve: str, kept: bool) -> None:
    """Owner and group are kept with "all" and "strict", and not with "mode"."""
    os.chown(target, OTHER, OTHER)
    replace(target, NEW, preserve=preserve)
    facts = target.stat()
    assert (facts.st_uid == OTHER, facts.st_gid == OTHER) == (kept, kept)
    assert mode(target) == 0o640


def refuse_owner(target: Path, preserve: str) -> None:
    with fault("CHOWN", errno.EPERM, times=2):
        replace(target, NEW, preserve=preserve)


@only_root
def test_an_owner_that_is_not_permitted(target: Path) -> None:
    """Somebody else's file: "all" goes on without, "strict" refuses before the swap."""
    os.chown(target, OTHER, OTHER)
    with pytest.raises(PermissionError, match="owner"):
        refuse_owner(target, "strict")
    assert target.read_bytes() == OLD
    assert not leftovers(target.parent)
    refuse_owner(target, "all")
    assert target.read_bytes() == NEW
    assert mode(target) == 0o640


@only_root
def test_a_group_that_is_permitted_without_the_owner(target: Path) -> None:
    """A member of the file's group who may not give files away keeps at least the group."""
    os.chown(target, OTHER, OTHER)
    with fault("CHOWN", errno.EPERM):
        replace(target, NEW, preserve="all")
    assert target.stat().st_gid == OTHER
    assert target.stat().st_uid != OTHER


# Extended attributes and ACLs


@pytest.mark.parametrize(("preserve", "kept"), [("mode", False), ("all", True), ("strict", True)])
def test_extended_attributes(target: Path, preserve: str, kept: bool) -> None:
    """Attributes are copied with "all" and "strict", small, large and empty ones."""
    given = {"user.one": b"1", "user.empty": b"", "user.large": bytes(range(256)) * 10}
    for name, value in given.items():
        set_attribute(target, name, value)
    replace(target, NEW, preserve=preserve)
    found = {name: value for name, value in attributes(target).items() if name in given}
    assert found == (given if kept else {})


def test_many_attributes(target: Path) -> None:
    """A list of names that is longer than one page is copied whole."""
    names = [f"user.{'n' * 200}{number}" for number in range(15)]
    for name in names:
        set_attribute(target, name, b"")
    with fault("XATTR_LIST", errno.ERANGE):
        replace(target, NEW, preserve="strict")
    assert set(names) <= set(attributes(target))


@pytest.mark.parametrize("call", ["XATTR_SET", "XATTR_GET", "XATTR_LIST"])
def test_attributes_that_fail(target: Path, call: str) -> None:
    """A refusal stops "strict" only; a broken disk stops "all" too."""
    set_attribute(target, "user.one", b"1")
    with fault(call, errno.EIO), pytest.raises(OSError, match="attributes"):
        replace(target, NEW, preserve="all")
    with fault(call, errno.EACCES), pytest.raises(PermissionError, match="attributes"):
        replace(target, NEW, preserve="strict")
    assert target.read_bytes() == OLD
    assert not leftovers(target.parent)
    if call != "XATTR_LIST":
        with fault(call, errno.EACCES):
            replace(target, NEW, preserve="all")
        assert target.read_bytes() == NEW


def test_an_attribute_that_vanishes(target: Path) -> None:
    """One that is removed between the list and the look is no failure."""
    set_attribute(target, "user.one", b"1")
    with fault("XATTR_GET", errno.ENODATA):
        replace(target, NEW, preserve="strict")
    assert target.read_bytes() == NEW


def test_the_acl_is_kept(target: Path) -> None:
    """An access ACL comes along with "all", and its mask with it."""
    set_attribute(target, ACL, NAMED_READER)
    before = mode(target)
    replace(target, NEW, preserve="strict")
    assert os.getxattr(target, ACL) == NAMED_READER
    assert mode(target) == before
    replace(target, OLD, preserve="mode")
    assert ACL not in os.listxattr(target)


def test_a_default_acl_applies_to_a_new_file(tmp_path: Path) -> None:
    """A file that is made gets what any new file in its directory gets."""
    set_attribute(tmp_path, DEFAULT_ACL, NAMED_READER)
    (tmp_path / "reference").write_bytes(b"")
    replace(tmp_path / "file", NEW)
    assert os.getxattr(tmp_path / "file", ACL) == os.getxattr(tmp_path / "reference", ACL)
    assert mode(tmp_path / "file") == mode(tmp_path / "reference")


def test_a_default_acl_does_not_stick_to_a_file_without_one(target: Path) -> None:
    """With "all" the new file has the old one's ACL, which may be none."""
    set_attribute(target.parent, DEFAULT_ACL, NAMED_READER)
    replace(target, NEW, preserve="all")
    assert ACL not in os.listxattr(target)
    assert mode(target) == 0o640


@only_root
@pytest.mark.skipif(not hasattr(os, "setxattr"), reason="Linux")
def test_capabilities_are_never_passed_on(target: Path) -> None:
    """The right to open low ports belonged to the old program: "strict" refuses to lose it."""
    capability = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
    set_attribute(target, "security.capability", capability)
    with pytest.raises(PermissionError, match=r"security\.capability"):
        replace(target, NEW, preserve="strict")
    assert target.read_bytes() == OLD
    replace(target, NEW, preserve="all")
    assert "security.capability" not in attributes(target)


# strict


def test_strict_refuses_hard_links(target: Path) -> None:
    """Another name would keep the old content: said before anything is created."""
    os.link(target, target.parent / "other")
    with pytest.raises(OSError, match="hard links") as caught:
        replace(target, NEW, preserve="strict")
    assert caught.value.errno == errno.EMLINK
    assert target.read_bytes() == OLD
    replace(target, NEW, preserve="all")
    assert (target.parent / "other").read_bytes() == OLD


@pytest.mark.parametrize("bits", [0o4755, 0o2755])
def test_strict_refuses_set_id_bits(target: Path, bits: int) -> None:
    """They would be lost; with permissions given it is the caller who says so."""
    target.chmod(bits)
    with pytest.raises(PermissionError, match="set-id"):
        replace(target, NEW, preserve="strict")
    assert target.read_bytes() == OLD
    replace(target, NEW, preserve="strict", permissions=0o755)
    assert mode(target) == 0o755


def test_a_target_that_vanishes_before_it_is_copied_from(target: Path) -> None:
    """ "all" has nothing to copy then; "strict" says that it could not."""
    with fault("OPEN", errno.ENOENT, nth=3):
        replace(target, NEW, preserve="all")
    assert target.read_bytes() == NEW
    with fault("OPEN", errno.ENOENT, nth=3), pytest.raises(FileNotFoundError):
        replace(target, OLD, preserve="strict")
    assert target.read_bytes() == NEW
