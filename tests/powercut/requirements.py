"""What the rig needs of the machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = {
    "cc": "a C compiler called cc",
    "pkg-config": "pkg-config",
    "mkfs.ext4": "mkfs.ext4 (e2fsprogs)",
    "mkfs.xfs": "mkfs.xfs (xfsprogs)",
    "mkfs.btrfs": "mkfs.btrfs (btrfs-progs)",
}

MEMORY = Path("/dev/shm")


def missing(filesystems: list[str]) -> str | None:
    """The first thing that is not here, in words; None if the rig can run."""
    if not sys.platform.startswith("linux"):
        return "Linux"
    if os.geteuid() != 0:
        return "root"
    for device in ("/dev/fuse", "/dev/loop-control"):
        if not os.access(device, os.R_OK | os.W_OK):
            return device
    if not os.access(MEMORY, os.W_OK):
        return f"{MEMORY}, for the disks"
    for program, name in NAMES.items():
        fs = program.partition(".")[2]
        if (not fs or fs in filesystems) and not shutil.which(program):
            return name
    if subprocess.run(["pkg-config", "--exists", "fuse3"]).returncode:
        return "the headers of libfuse3 (libfuse3-dev)"
    known = Path("/proc/filesystems").read_text(encoding="ascii").split()
    for fs in filesystems:
        if fs not in known and subprocess.run(["modprobe", "-q", fs]).returncode:
            return f"a kernel with {fs}"
    return _mounting()


def _mounting() -> str | None:
    """Containers have root and devices, and may yet not mount: try."""
    code = "from powercut import kernel; kernel.own_mounts()"
    environment = {**os.environ, "PYTHONPATH": os.fspath(Path(__file__).resolve().parents[1])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    return "the permission to mount" if done.returncode else None
