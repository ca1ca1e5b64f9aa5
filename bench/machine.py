"""What the figures depend on: machine, kernel, filesystem, device, versions."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import sqlite3
from pathlib import Path

IN_MEMORY = ("tmpfs", "ramfs")
COPY_ON_WRITE = ("btrfs", "zfs", "bcachefs")
PEERS = ("pydurable", "plyvel", "lmdb", "rocksdict")


def mount_of(path: Path) -> dict[str, str]:
    """Return the device, the filesystem and the mount options of a directory."""
    number = os.stat(path).st_dev
    device_id = f"{os.major(number)}:{os.minor(number)}"
    best: dict[str, str] = {"device": "?", "filesystem": "?", "options": "?", "point": ""}
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        fields, _, rest = line.partition(" - ")
        _, _, this_id, _, point, options = fields.split()[:6]
        filesystem, device, super_options = rest.split()[:3]
        # btrfs gives each subvolume a number that the table does not show: there the longest
        # mount point above the path is the one.
        fits = this_id == device_id or path.is_relative_to(point)
        if fits and len(point) >= len(best["point"]) and path.is_relative_to(point):
            merged = dict.fromkeys([*options.split(","), *super_options.split(",")])
            best = {
                "device": device,
                "filesystem": filesystem,
                "options": ",".join(merged),
                "point": point,
            }
    return best


def facts(path: Path) -> dict[str, str]:
    """Describe what the benchmark runs on; path is the directory that it writes to."""
    mount = mount_of(path)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": f"{_processor()}, {_cores()}, {memory:.1f} GiB of memory",
        "kernel": f"{platform.system()} {platform.release()} ({platform.machine()})",
        "filesystem": f"{mount['filesystem']} on {mount['device']} ({mount['options']})",
        "device": _device(path),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": ", ".join([*_versions(), f"SQLite {sqlite3.sqlite_version}"]),
    }


def _cores() -> str:
    """Say how many there are, and how many of them this process may use."""
    usable = len(os.sched_getaffinity(0))
    return f"{os.cpu_count()} cores" + (f", {usable} used" if usable != os.cpu_count() else "")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model"):
            return value.strip()
    return platform.machine()


def _device(path: Path) -> str:
    """Say what the kernel knows of the block device, as far as it says anything."""
    number = os.stat(path).st_dev
    block = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve()
    if (block / "partition").exists():
        block = block.parent
    said = [block.name]
    for name, entry in (("model", "device/model"), ("cache", "queue/write_cache")):
        file = block / entry
        if file.exists():
            said.append(f"{name}: {file.read_text(encoding='utf-8').strip()}")
    return ", ".join(said)


def _versions() -> list[str]:
    found = []
    for name in PEERS:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
