"""Filesystems of this machine's kernel: what fsync means on each, and what lies below them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

from pydurable._doctor import blocks
from pydurable._doctor.mounts import Mount
from pydurable._doctor.report import DURABLE, IF_HONOURED, NOT_DURABLE, UNKNOWN
from pydurable._doctor.walk import Walk
from pydurable._storage import (
    MEMORY,
    NO_BARRIER,
    VOLATILE,
    memory_reason,
    no_barrier_reason,
    volatile_reason,
)

_READ_ONLY = ("squashfs", "erofs", "iso9660", "cramfs", "romfs")

# Those that sit on one block device and need no more said than this.
_PLAIN = {
    "f2fs": "fsync writes the file and its node, then flushes the device",
    "jfs": "fsync commits the journal and flushes the device",
    "reiserfs": "fsync commits the journal and flushes the device",
    "nilfs2": "fsync writes a segment of the log and flushes the device",
    "bcachefs": "copy on write; fsync commits the journal and flushes the device",
    "ocfs2": "fsync commits the journal and flushes the device",
    "gfs2": "fsync writes the log and flushes the device",
    "ntfs3": "fsync writes the file and flushes the device; its log is not replayed on Linux",
    "vfat": "fsync writes the file and flushes the device; there is no journal",
    "exfat": "fsync writes the file and flushes the device; there is no journal",
    "hfsplus": "fsync writes the file and flushes the device; the journal is not used",
    "udf": "fsync writes the file and flushes the device; there is no journal",
}
_DATA_MODES = {
    "data=ordered": "data before the journal commit that refers to it",
    "data=journal": "data and metadata both through the journal",
    "data=writeback": "no order between data and journal: what was not synced may show old blocks",
}


def examine(walk: Walk, mount: Mount, path: str, depth: int) -> None:
    """Add the filesystem of a mount and what is below it."""
    if mount.kind in MEMORY:
        why = memory_reason(mount)
        change = "use a directory on a disk"
        does = "keeps files in memory: fsync does nothing"
        name = f"{mount.point} ({mount.kind})"
        walk.findings.add(
            "filesystem", name, depth, does, verdict=NOT_DURABLE, why=why, change=change
        )
    elif mount.kind in _READ_ONLY:
        why = f"{mount.point} is {mount.kind}, which cannot be written to"
        name = f"{mount.point} ({mount.kind})"
        walk.findings.add("filesystem", name, depth, why, verdict=UNKNOWN, why=why)
    else:
        _EXAMINERS.get(mount.kind, _plain)(walk, mount, path, depth)


def _add(walk: Walk, mount: Mount, depth: int, does: str, **more: Any) -> None:
    """A filesystem on block devices: without barriers nothing below it can help."""
    option = mount.first(*NO_BARRIER)
    name = f"{mount.point} ({mount.kind} on {mount.source})"
    facts = {"options": ",".join(sorted(mount.options)), **more}
    if option:
        why = no_barrier_reason(mount, option)
        change = f"mount {mount.point} without {option}"
        walk.findings.add(
            "filesystem",
            name,
            depth,
            does,
            verdict=NOT_DURABLE,
            why=why,
            change=change,
            facts=facts,
        )
    else:
        walk.findings.add("filesystem", name, depth, does, facts=facts)
    for key in ("logdev", "rtdev"):  # XFS: the log and the real-time data may be elsewhere
        device = mount.value(key)
        below = blocks.name_of_source(walk, device) if device else None
        if below:
            blocks.examine(walk, below, depth + 1)


def _below(walk: Walk, mount: Mount, depth: int) -> None:
    """The block device of the mount."""
    name = blocks.name_of(walk, mount.device)
    if name is None and mount.source.startswith("/"):
        name = blocks.name_of_source(walk, mount.source)
    if name:
        blocks.examine(walk, name, depth + 1)
    else:
        why = f"it cannot be read which device {mount.point} is on"
        walk.findings.add("device", mount.source, depth + 1, why, verdict=UNKNOWN, why=why)


def _plain(walk: Walk, mount: Mount, path: str, depth: int) -> None:
    does = _PLAIN.get(mount.kind)
    if does:
        _add(walk, mount, depth, does)
        _below(walk, mount, depth)
        return
    why = f"{mount.point} is {mount.kind}, of which nothing is known here"
    name = f"{mount.point} ({mount.kind} on {mount.source})"
    change = f"look in the documentation of {mount.kind} for what fsync promises"
    walk.findings.add("filesystem", name, depth, why, verdict=UNKNOWN, why=why, change=change)
    if blocks.name_of(walk, mount.device):
        _below(walk, mount, depth)


def _ext(walk: Walk, mount: Mount, path: str, depth: int) -> None:
    """ext4, and ext2 and ext3, which the same driver mounts."""
    device = blocks.name_of(walk, mount.device) or os.path.basename(mount.source)
    # /proc lists every option in force; the mount table only those that are not the default.
    listed = walk.facts.text(f"/proc/fs/ext4/{device}/options") or ""
    mount = mount._replace(options=mount.options | frozenset(listed.split()))
    task = walk.facts.line(f"/sys/fs/ext4/{device}/journal_task")
    journal = None if task is None else task != "<none>"
    mode = mount.first(*_DATA_MODES)
    said = []
    if journal is False:
        said.append(
            "without a journal: fsync writes the file and its directories and flushes the device; "
            "after a power cut the rest needs e2fsck"
        )
        walk.findings.changes.append(
            f"give {mount.point} a journal (tune2fs -O has_journal {mount.source}, not mounted)"
        )
    else:
        said.append("fsync commits the journal and flushes the device")
        said.append(_DATA_MODES[mode] if mode else "data=ordered unless the superblock says else")
    if "journal_async_commit" in mount.options:
        said.append("journal_async_commit: one flush after the commit block instead of one before")
    stats = walk.facts.text(f"/proc/fs/ext4/{device}/fc_info") or ""
    commits = next((line.split()[0] for line in stats.splitlines() if "commits" in line), "0")
    fast = True if commits.isascii() and commits.isdigit() and commits.strip("0") else None
    if fast:
        said.append("fast_commit: small changes are committed by a short record")
    elif journal is not False:
        walk.findings.needs_root.append(
            f"dumpe2fs -h {mount.source}: fast_commit and an external journal"
        )
    _add(walk, mount, depth, "; ".join(said), journal=journal, data=mode, fast_commit=fast)
    _below(walk, mount, depth)


def _xfs(walk: Walk, mount: Mount, path: str, depth: int) -> None:
    does = "fsync forces the log and flushes the device"
    if "wsync" in mount.options:
        does += "; wsync: names are durable at once too"
    _add(walk, mount, depth, does)
    _below(walk, mount, depth)


def _btrfs(walk: Walk, mount: Mount, path: str, depth: int) -> None:
    nocow = walk.facts.no_copy_on_write(path)
    whole = mount.first("nodatacow")
    does = "copy on write; fsync writes the log tree and flushes every device"
    if whole or nocow:
        who = "the mount" if whole else "this path"
        does += f"; {who} is nodatacow: data are overwritten in place, without checksums"
    _add(walk, mount, depth, does, nodatacow=True if whole else nocow)
    source = blocks.name_of_source(walk, mount.source)
    members = next(
        (
            names
            for fsid in walk.facts.names("/sys/fs/btrfs")
            if source in (names := walk.facts.names(f"/sys/fs/btrfs/{fsid}/devices"))
        ),
        [source] if source else [],
    )
    for member in members:
        blocks.examine(walk, member, depth + 1)
    if not members:
        why = f"it cannot be read which devices {mount.point} is on"
        walk.findings.add("device", mount.source, depth + 1, why, verdict=UNKNOWN, why=why)


def _zfs_property(walk: Walk, dataset: str) -> str | None:
    """The property sync, where the zfs command is there and may be asked."""
    if not walk.facts.live or not shutil.which("zfs"):
        return None
    command = ["zfs", "get", "-H", "-o", "value", "sync", dataset]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=3, check=False)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def _zfs(walk: Walk, mount: Mount, path: str, depth: int) -> None:
    parameters = "/sys/module/zfs/parameters"
    held_back = walk.facts.number(f"{parameters}/zfs_nocacheflush")
    intent = walk.facts.number(f"{parameters}/zil_nocacheflush")
    sync = _zfs_property(walk, mount.source)
    name = f"{mount.point} (zfs, {mount.source})"
    does = "copy on write; fsync writes the intent log and flushes its devices"
    verdict, why, change = IF_HONOURED, "the drives of the pool are told to flush", ""
    if held_back or intent:
        which = "zfs_nocacheflush" if held_back else "zil_nocacheflush"
        verdict, why = NOT_DURABLE, f"{which} is set, so that ZFS sends no flushes"
        change = f"write 0 to {parameters}/{which}"
    elif sync == "disabled":
        verdict, why = NOT_DURABLE, f"{mount.source} has sync=disabled, so that fsync does nothing"
        change = f"zfs set sync=standard {mount.source}"
    elif sync is None:
        verdict, why = UNKNOWN, f"the property sync of {mount.source} could not be read"
        change = f"check that zfs get sync {mount.source} does not say disabled"
    root = f"zpool status {mount.source.split('/')[0]}: the drives of the pool"
    walk.findings.add(
        "filesystem",
        name,
        depth,
        does,
        verdict=verdict,
        why=why,
        change=change,
        root=root,
        facts={"sync": sync, "zfs_nocacheflush": held_back, "zil_nocacheflush": intent},
    )


def _overlay(walk: Walk, mount: Mount, path: str, depth: int) -> None:
    upper = mount.value("upperdir")
    name = f"{mount.point} ({mount.kind})"
    volatile = mount.first(*VOLATILE)
    facts: dict[str, Any] = {"upperdir": upper, "volatile": bool(volatile)}
    add = walk.findings.add
    if volatile:
        why = volatile_reason(mount, volatile)
        change = f"mount {mount.point} without {volatile}, or write to a volume"
        add(
            "filesystem", name, depth, why, verdict=NOT_DURABLE, why=why, change=change, facts=facts
        )
    elif upper:
        does = "writes go to the upper directory, fsync as well; the first change copies a file up"
        add("filesystem", name, depth, does, facts=facts)
    else:
        why = f"{mount.point} is an overlay without an upper directory: it is read-only"
        add("filesystem", name, depth, why, verdict=UNKNOWN, why=why, facts=facts)
    if not upper:
        return
    if walk.facts.live and not walk.facts.exists(upper):
        # In a container: the upper directory is the host's, and its name means nothing here.
        why = f"the upper directory of {mount.point} is outside of this container"
        change = "write to a volume (a bind mount), and ask about that"
        add("filesystem", upper, depth + 1, why, verdict=UNKNOWN, why=why, change=change)
        return
    walk.descend(walk, upper, depth + 1)


def _stacked(walk: Walk, mount: Mount, path: str, depth: int) -> None:
    """eCryptfs: a filesystem over a directory."""
    does = "encrypts files of another directory; fsync goes to them"
    walk.findings.add("filesystem", f"{mount.point} ({mount.kind})", depth, does, verdict=DURABLE)
    walk.descend(walk, mount.source, depth + 1)


_EXAMINERS: dict[str, Callable[[Walk, Mount, str, int], None]] = {
    "ext2": _ext,
    "ext3": _ext,
    "ext4": _ext,
    "xfs": _xfs,
    "btrfs": _btrfs,
    "zfs": _zfs,
    "overlay": _overlay,
    "overlayfs": _overlay,
    "ecryptfs": _stacked,
}
