"""macOS: there is no /proc and no /sys, but fcntl(2) says whether F_FULLFSYNC is taken."""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile

from pydurable._doctor.report import IF_HONOURED, NOT_DURABLE, UNKNOWN, Findings, StorageReport

_FULLFSYNC = 51  # F_FULLFSYNC of <sys/fcntl.h>
_UNSUPPORTED = (errno.ENOTSUP, errno.EINVAL, errno.ENOTTY)


def fullfsync(folder: str) -> str | None:
    """``"honoured"``, ``"refused"``, or None where there is nothing to try it on."""
    import fcntl

    number = getattr(fcntl, "F_FULLFSYNC", _FULLFSYNC)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
            file.flush()
            fcntl.fcntl(file.fileno(), number)
    except OSError as error:
        return "refused" if error.errno in _UNSUPPORTED else None
    return "honoured"


def mount_of(table: str, path: str) -> tuple[str, str, str] | None:
    """Source, mount point and type from what mount(8) prints: ``SRC on POINT (TYPE, ...)``."""
    found = None
    for line in table.splitlines():
        source, on, rest = line.partition(" on ")
        point, bracket, options = rest.rpartition(" (")
        if not on or not bracket:
            continue
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and (found is None or len(point) >= len(found[1])):
            found = source, point, options.rstrip(")").split(",")[0]
    return found


def judge(findings: Findings, mount: tuple[str, str, str] | None, answer: str | None) -> None:
    """Add the layers of a path on macOS."""
    source, point, kind = mount or ("", "", "unknown")
    name = f"{point} ({kind} on {source})"
    if kind in ("smbfs", "nfs", "afpfs", "webdav"):
        why = f"{point} is {kind}: durable as far as its server keeps its promise"
        findings.add(
            "server", name, 0, why, verdict=UNKNOWN, why=why, facts={"F_FULLFSYNC": answer}
        )
    elif answer == "refused":
        why = f"{point} refuses F_FULLFSYNC, and fsync alone does not reach the medium on macOS"
        change = "use a directory on APFS or HFS+"
        findings.add("filesystem", name, 0, why, verdict=NOT_DURABLE, why=why, change=change)
    elif answer is None:
        why = "F_FULLFSYNC could not be tried: that takes a directory that can be written to"
        findings.add("filesystem", name, 0, why, verdict=UNKNOWN, why=why)
    else:
        does = "F_FULLFSYNC is taken, and asks the drive to empty its cache"
        findings.add(
            "filesystem", name, 0, does, verdict=IF_HONOURED, facts={"F_FULLFSYNC": answer}
        )


def inspect(path: str) -> StorageReport:
    """The report of a path on macOS."""
    try:
        table = subprocess.run(
            ["/sbin/mount"], capture_output=True, text=True, timeout=5, check=False
        ).stdout
    except (OSError, subprocess.SubprocessError):
        table = ""
    mount = mount_of(table, path)
    findings = Findings()
    judge(findings, mount, fullfsync(path) if os.path.isdir(path) else None)
    verdict = findings.verdict()
    return StorageReport(
        path=path,
        verdict=verdict,
        reason=findings.reasons.get(verdict, "the drive is asked to empty its cache"),
        mount=mount[1] if mount else None,
        filesystem=mount[2] if mount else None,
        layers=tuple(findings.layers),
        changes=tuple(findings.changes),
        needs_root=(),
    )
