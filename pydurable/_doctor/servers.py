"""Filesystems whose medium is somebody else's: what they promise, and what to check there."""

from __future__ import annotations

from pydurable._doctor.mounts import Mount
from pydurable._doctor.report import NOT_DURABLE, UNKNOWN
from pydurable._doctor.walk import Walk
from pydurable._storage import no_flush_reason

_NFS = "the NFS server answers COMMIT; with the export option sync its answer means stable storage"
_SMB = "the SMB server is asked to flush; whether it does is its own setting"
_PROMISES: dict[str, tuple[str, str]] = {
    "nfs": (_NFS, "check on the server that the export has sync, not async (exportfs -v)"),
    "nfs4": (_NFS, "check on the server that the export has sync, not async (exportfs -v)"),
    "cifs": (_SMB, "check on the server that flushes are obeyed (Samba: strict sync = yes)"),
    "smb3": (_SMB, "check on the server that flushes are obeyed (Samba: strict sync = yes)"),
    "9p": (
        "the 9P server gets an fsync request; what it does with it is its own affair",
        "check that the server of this share passes fsync on to its disk",
    ),
    "virtiofs": (
        "the host's virtiofsd gets an fsync request, for a file of the host's filesystem",
        "run pydurable doctor on the host, on the directory that is shared",
    ),
    "ceph": (
        "the Ceph cluster answers when its storage daemons have written",
        "check the write caches of the cluster's drives",
    ),
    "afs": (
        "the AFS server gets the data at fsync and close",
        "check the disk of the file server",
    ),
}
_FUSE = (
    "a program in user space gets an fsync request; what it does with it is its own affair",
    "look in the documentation of {kind} for fsync, or use a filesystem of the kernel",
)


def examine(walk: Walk, mount: Mount, depth: int) -> bool:
    """Add the layer if the mount is of this family; whether it is."""
    kind = mount.kind
    promise = _PROMISES.get(kind)
    if promise is None and (kind.startswith("fuse") or kind == "fuseblk"):
        promise = _FUSE
    if promise is None:
        return False
    does, check = promise
    name = f"{mount.point} ({kind}, {mount.source})"
    options = ",".join(sorted(mount.options))
    if "nostrictsync" in mount.options:
        why = no_flush_reason(mount)
        change = f"mount {mount.point} without nostrictsync"
        walk.findings.add(
            "server",
            name,
            depth,
            why,
            verdict=NOT_DURABLE,
            why=why,
            change=change,
            facts={"options": options},
        )
        return True
    why = f"{mount.point} is {kind}: durable as far as its server keeps its promise"
    change = check.format(kind=kind)
    walk.findings.add(
        "server",
        name,
        depth,
        does,
        verdict=UNKNOWN,
        why=why,
        change=change,
        facts={"options": options},
    )
    if kind.startswith("nfs") and mount.first("soft", "softerr"):
        walk.findings.changes.append(
            f"mount {mount.point} hard: with soft a slow server becomes a failed write"
        )
    return True
