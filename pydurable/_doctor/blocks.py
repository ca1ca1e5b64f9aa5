"""Block devices: what is stacked on what, down to the drives."""

from __future__ import annotations

import os
from collections.abc import Mapping

from pydurable._doctor import drives
from pydurable._doctor.report import NOT_DURABLE, UNKNOWN
from pydurable._doctor.walk import Walk

_MAPPINGS = {
    "CRYPT": "dm-crypt: encrypts and passes flushes on",
    "LVM": "LVM: passes writes on to its volumes, and a flush to all of them",
    "mpath": "multipath: passes writes and flushes on over one of several paths",
    "part": "a partition made by device-mapper: passes everything on",
}


def name_of(walk: Walk, device: str) -> str | None:
    """The kernel's name of the device ``major:minor``."""
    where = walk.facts.link(f"/sys/dev/block/{device}")
    return os.path.basename(where) or None if where else None


def name_of_source(walk: Walk, source: str) -> str | None:
    """The kernel's name of a device as a mount table or an option gives it (``/dev/sda1``)."""
    name = os.path.basename(walk.facts.real(source))
    if not name or walk.facts.exists(f"/sys/class/block/{name}"):
        return name or None
    for entry in walk.facts.names("/sys/block"):
        if walk.facts.line(f"/sys/block/{entry}/dm/name") == name:
            return entry
    return None


def examine(walk: Walk, name: str, depth: int) -> None:
    """Add the device and all that is below it."""
    if not walk.enter(f"device {name}", depth):
        return
    facts = walk.facts
    parent = _whole(walk, name)
    if parent:
        walk.findings.add("device", name, depth, f"a partition of {parent}: passes everything on")
        examine(walk, parent, depth + 1)
    elif name.startswith("loop"):
        _loop(walk, name, depth)
    elif facts.exists(f"/sys/block/{name}/md"):
        _raid(walk, name, depth)
    elif facts.exists(f"/sys/block/{name}/dm"):
        _mapping(walk, name, depth)
    elif facts.names(f"/sys/block/{name}/slaves"):
        _stack(walk, name, depth, "a device on top of others: passes writes and flushes on", {})
    else:
        drives.examine(walk, name, depth)


def _whole(walk: Walk, name: str) -> str | None:
    """The disk that a partition belongs to, None if it is not a partition."""
    if not walk.facts.exists(f"/sys/class/block/{name}/partition"):
        return None
    where = walk.facts.link(f"/sys/class/block/{name}") or ""
    parts = where.rstrip("/").split("/")
    return parts[-2] if len(parts) >= 2 and parts[-2] not in ("", ".", "..") else None


def _loop(walk: Walk, name: str, depth: int) -> None:
    file = walk.facts.line(f"/sys/block/{name}/loop/backing_file")
    read = drives.queue_facts(walk.facts, name)
    direct = walk.facts.number(f"/sys/block/{name}/loop/dio")
    read = {**read, "backing_file": file, "dio": None if direct is None else bool(direct)}
    add = walk.findings.add
    if file is None:
        why = f"{name} is a loop device whose file cannot be read"
        add("device", name, depth, why, verdict=UNKNOWN, why=why, facts=read)
        return
    if read["write_cache"] == "write through":
        why = f"{name} is a loop device that sends no flushes to its file"
        change = f'write "write back" to /sys/block/{name}/queue/write_cache'
        add("device", name, depth, why, verdict=NOT_DURABLE, why=why, change=change, facts=read)
    else:
        does = f"a loop device: writes into {file}, and a flush is an fsync of that file"
        add("device", name, depth, does, facts=read)
    if file.endswith(" (deleted)"):
        why = f"the file of {name} has no name any more: it is gone when the device is detached"
        change = f"move what is on {name} elsewhere"
        add("device", file, depth + 1, why, verdict=NOT_DURABLE, why=why, change=change)
        return
    walk.descend(walk, file, depth + 1)


def _raid(walk: Walk, name: str, depth: int) -> None:
    base = f"/sys/block/{name}/md"
    level = walk.facts.line(f"{base}/level")
    degraded = walk.facts.number(f"{base}/degraded")
    journal = walk.facts.line(f"{base}/consistency_policy")
    facts = {"level": level, "degraded": degraded, "consistency_policy": journal}
    does = f"RAID ({level or 'level not known'}): a flush goes to every member"
    if level in ("raid4", "raid5", "raid6") and journal not in ("journal", "ppl"):
        does += "; after a crash while a member is missing, old data in a stripe can be lost"
        walk.findings.changes.append(f"give {name} a journal or PPL against the write hole")
    if degraded:
        walk.findings.changes.append(f"{name} runs without {degraded} of its members: replace them")
    _stack(walk, name, depth, does, facts)


def _mapping(walk: Walk, name: str, depth: int) -> None:
    base = f"/sys/block/{name}/dm"
    uuid = walk.facts.line(f"{base}/uuid") or ""
    title = walk.facts.line(f"{base}/name") or name
    kind = next((kind for kind in _MAPPINGS if uuid.startswith(kind)), None)
    does = _MAPPINGS[kind] if kind else "device-mapper: what it does with writes takes root to read"
    table = f"dmsetup table {title}: the targets of this mapping"
    if table not in walk.findings.needs_root:
        walk.findings.needs_root.append(table)
    _stack(walk, name, depth, does, {"dm_name": title, "dm_uuid": uuid or None}, title)


def _stack(
    walk: Walk, name: str, depth: int, does: str, own: Mapping[str, object], title: str = ""
) -> None:
    """A device on top of others.  One that has no cache above one that has stops the flushes."""
    facts = walk.facts
    read = {**drives.queue_facts(facts, name), **own}
    members = facts.names(f"/sys/block/{name}/slaves")
    shown = f"{name} ({title})" if title and title != name else name
    below = {
        facts.line(f"/sys/block/{_whole(walk, each) or each}/queue/write_cache") for each in members
    }
    add = walk.findings.add
    if read["write_cache"] == "write through" and "write back" in below:
        why = f"{shown} passes no flushes on to {', '.join(members)}, which has a volatile cache"
        change = f'write "write back" to /sys/block/{name}/queue/write_cache'
        add("device", shown, depth, why, verdict=NOT_DURABLE, why=why, change=change, facts=read)
    elif members:
        add("device", shown, depth, does, facts=read)
    else:
        why = f"it cannot be read what {shown} lies on"
        add("device", shown, depth, why, verdict=UNKNOWN, why=why, facts=read)
    for member in members:
        examine(walk, member, depth + 1)
