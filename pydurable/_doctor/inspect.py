"""The walk: from a path to its mount, and down the layers."""

from __future__ import annotations

import os
import sys
from typing import Any

from pydurable._doctor import filesystems, macos, mounts, servers
from pydurable._doctor.facts import Facts
from pydurable._doctor.mounts import Mount
from pydurable._doctor.report import (
    DURABLE,
    IF_HONOURED,
    NOT_DURABLE,
    UNKNOWN,
    StorageReport,
)
from pydurable._doctor.walk import Walk

_REASONS = {
    DURABLE: "a flush leaves nothing in a volatile cache",
    IF_HONOURED: "a flush is passed on to the drive, which keeps its own promise",
    NOT_DURABLE: "a flush does not reach a medium",
    UNKNOWN: "nothing is known of what lies below this path",
}


def inspect(path: str, root: str = "/") -> StorageReport:
    """See :func:`pydurable.inspect_storage`."""
    facts = Facts(root)
    real = facts.existing(path)
    asked = facts.real(path)
    if facts.live and sys.platform == "darwin":
        return macos.inspect(asked)
    walk = Walk(facts, mounts.parse(facts.text(mounts.TABLE) or ""), _descend)
    mount = _mount(walk, real)
    _descend(walk, real, 0)
    limits = _limits(facts, real, writable=asked == real)
    if limits and walk.findings.layers:
        walk.findings.layers[0].facts.update(limits)
    verdict = walk.findings.verdict()
    return StorageReport(
        path=asked,
        verdict=verdict,
        reason=walk.findings.reasons.get(verdict, _REASONS[verdict]),
        mount=mount.point if mount else None,
        filesystem=mount.kind if mount else None,
        layers=tuple(walk.findings.layers),
        changes=tuple(dict.fromkeys(walk.findings.changes)),
        needs_root=() if facts.live and os.geteuid() == 0 else tuple(walk.findings.needs_root),
    )


def _mount(walk: Walk, path: str) -> Mount | None:
    """The mount of a path: by its number where statx(2) tells it, otherwise by its name."""
    if walk.facts.live:
        from pydurable._native_storage import path_facts

        number = path_facts(path).mount
        for mount in walk.mounts:
            if number and mount.number == number:
                return mount
    return mounts.holding(path, walk.mounts)


def _descend(walk: Walk, path: str, depth: int) -> None:
    """Examine the filesystem that holds a path."""
    mount = _mount(walk, walk.facts.existing(path))
    if mount is None:
        why = f"no mount is known to hold {path}"
        walk.findings.add("filesystem", path, depth, why, verdict=UNKNOWN, why=why)
        return
    key = f"mount {mount.number} {mount.point}"
    if key in walk.seen:
        # An overlay in a container names a directory of the host: it seems to lie on itself.
        why = f"{path} seems to lie on {mount.point} itself: it is outside of this container"
        change = "write to a volume (a bind mount), and ask about that"
        walk.findings.add("filesystem", path, depth, why, verdict=UNKNOWN, why=why, change=change)
        return
    if not walk.enter(key, depth):
        return
    if not servers.examine(walk, mount, depth):
        filesystems.examine(walk, mount, path, depth)


def _limits(facts: Facts, path: str, *, writable: bool) -> dict[str, Any]:
    """What statx(2) tells of direct I/O and of atomic writes; nothing for a recorded root."""
    if not facts.live:
        return {}
    import tempfile

    from pydurable._native_storage import path_facts

    found = path_facts(path)
    if not found.direct and writable and os.path.isdir(path) and os.access(path, os.W_OK):
        # The kernel answers for files only, so ask of one that has no name.
        try:
            with tempfile.TemporaryFile(dir=path) as file:
                found = path_facts(f"/proc/self/fd/{file.fileno()}")
        except OSError:
            return {}
    limits: dict[str, Any] = {}
    if found.direct:
        limits["dio_mem_align"] = found.dio_mem_align
        limits["dio_offset_align"] = found.dio_offset_align
    if found.atomic:
        limits["atomic_write_unit_min"] = found.atomic_min
        limits["atomic_write_unit_max"] = found.atomic_max
    return limits
