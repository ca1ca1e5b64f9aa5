"""Where writes end: drives, and what hypervisors and servers show as drives."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from pydurable._doctor.facts import Facts
from pydurable._doctor.report import DURABLE, IF_HONOURED, NOT_DURABLE, UNKNOWN
from pydurable._doctor.walk import Walk

_MEMORY = re.compile(r"(zram|ram)\d+$")
_BUSES = (
    ("nvme", "NVMe"),
    ("vd", "virtio"),
    ("mmcblk", "MMC"),
    ("sd", "SCSI"),
    ("pmem", "persistent memory"),
    ("xvd", "Xen"),
    ("dasd", "DASD"),
)
_NETWORK = {"nbd": "an NBD server", "rbd": "a Ceph cluster", "drbd": "a DRBD peer"}

# The models that hypervisors and clouds show; behind them is whatever the host made of them.
_VIRTUAL = (
    ("QEMU", "QEMU"),
    ("VBOX HARDDISK", "VirtualBox"),
    ("VMware", "VMware"),
    ("Virtual disk", "VMware"),
    ("Msft Virtual", "Hyper-V"),
    ("Amazon Elastic Block Store", "Amazon EBS"),
    ("Google PersistentDisk", "Google Persistent Disk"),
    ("nvme_card-pd", "Google Persistent Disk"),
)
_EPHEMERAL = ("Amazon EC2 NVMe Instance Storage", "EphemeralDisk", "nvme_card0")
_HOST_CHECK = {
    "QEMU": "QEMU's cache= for this disk: none, writeback and directsync honour flushes, unsafe "
    "drops them",
    "VirtualBox": "VirtualBox's IgnoreFlush for this disk: it is to be 0",
}
_HOST_ANY = (
    "how the host caches this disk: it must pass flushes on (QEMU: not cache=unsafe; Firecracker: "
    "cache_type Writeback)"
)


class Drive(NamedTuple):
    """What was read of a drive."""

    name: str
    model: str | None
    bus: str
    cache: str | None
    own_cache: str | None
    """The cache as the drive itself reports it, where the kernel keeps that apart."""
    host: str | None
    facts: dict[str, Any]


def queue_facts(facts: Facts, name: str) -> dict[str, Any]:
    """What the kernel knows of a device's queue; None where it does not say."""
    queue = f"/sys/block/{name}/queue"
    rotational = facts.number(f"{queue}/rotational")
    fua = facts.number(f"{queue}/fua")
    return {
        "write_cache": facts.line(f"{queue}/write_cache"),
        "fua": None if fua is None else bool(fua),
        "logical_block_size": facts.number(f"{queue}/logical_block_size"),
        "physical_block_size": facts.number(f"{queue}/physical_block_size"),
        "atomic_write_unit_max_bytes": facts.number(f"{queue}/atomic_write_unit_max_bytes"),
        "rotational": None if rotational is None else bool(rotational),
    }


def _bus(facts: Facts, name: str) -> str:
    where = facts.link(f"/sys/block/{name}") or ""
    for part, bus in (("/usb", "USB"), ("/ata", "SATA"), ("/virtio", "virtio"), ("/nvme", "NVMe")):
        if part in where:
            return bus
    return next((bus for prefix, bus in _BUSES if name.startswith(prefix)), "unknown")


def _read(facts: Facts, name: str) -> Drive:
    base = f"/sys/block/{name}"
    words = [facts.line(f"{base}/device/{part}") for part in ("vendor", "model", "name")]
    # The vendor of a virtio disk is a number of PCI; of a SATA disk it is the word ATA.
    shown = [word for word in words if word and not word.startswith("0x") and word != "ATA"]
    model = " ".join(" ".join(shown).split()) or None
    bus = _bus(facts, name)
    own = facts.line(f"{base}/cache_type")  # virtio
    for entry in facts.names(f"{base}/device/scsi_disk"):
        own = facts.line(f"{base}/device/scsi_disk/{entry}/cache_type") or own
    host = next((who for text, who in _VIRTUAL if model and text in model), None)
    if host is None and bus in ("virtio", "Xen"):
        host = "the hypervisor"
    read = queue_facts(facts, name)
    firmware = facts.line(f"{base}/device/firmware_rev") or facts.line(f"{base}/device/rev")
    known = {"model": model, "bus": bus, "firmware": firmware, "drive_cache": own, **read}
    return Drive(name, model, bus, read["write_cache"], own, host, known)


def _check(drive: Drive) -> str:
    """What to look at where the kernel cannot see."""
    if drive.host:
        return f"check {_HOST_CHECK.get(drive.host, _HOST_ANY)}"
    sheet = f"the data sheet of {drive.model}" if drive.model else f"the data sheet of {drive.name}"
    return (
        f'look in {sheet} for "power loss protection": with it a flush costs little and a cache '
        "that lies does no harm"
    )


def _root(drive: Drive) -> str:
    if drive.bus == "NVMe":
        return f"nvme id-ctrl /dev/{drive.name} (vwc): whether the drive has a volatile write cache"
    if drive.bus in ("SATA", "SCSI", "USB"):
        return f"hdparm -W /dev/{drive.name}: whether the drive's write cache is on"
    return ""


def examine(walk: Walk, name: str, depth: int) -> None:
    """Add the drive as the last layer of its branch."""
    add = walk.findings.add
    read = queue_facts(walk.facts, name)
    if _MEMORY.match(name):
        why = f"{name} is a block device in memory"
        change = "use a filesystem on a real disk"
        add("drive", name, depth, why, verdict=NOT_DURABLE, why=why, change=change, facts=read)
        return
    for prefix, who in _NETWORK.items():
        if re.match(prefix + r"\d", name):
            text = f"a block device of {who}: durable as far as the server keeps its promise"
            change = f"check that {who} writes to stable storage before it answers a flush"
            add("server", name, depth, text, verdict=UNKNOWN, why=text, change=change, facts=read)
            return
    drive = _read(walk.facts, name)
    verdict, does, why, change = _judge(drive)
    protection = "not needed" if verdict == DURABLE and not drive.host else "unknown"
    if drive.model and any(text in drive.model for text in _EPHEMERAL):
        change = f"{name} is gone when the machine is stopped: keep copies elsewhere"
    facts = {**drive.facts, "power_loss_protection": protection}
    title = f"{name} ({drive.model or drive.bus})"
    root = _root(drive)
    add(
        "drive", title, depth, does, verdict=verdict, why=why, change=change, root=root, facts=facts
    )


def _judge(drive: Drive) -> tuple[str, str, str, str]:
    """Verdict, what the drive does, why, and what to change or check."""
    name, who = drive.name, drive.host or "the drive"
    if drive.cache is None:
        why = f"the kernel does not say whether {name} has a write cache"
        return UNKNOWN, why, why, _check(drive)
    if drive.cache == "write back":
        forced = "a forced write (FUA) or a flush" if drive.facts["fua"] else "a flush"
        does = f"keeps writes in a volatile cache until {forced}; whether {who} obeys is up to it"
        return (
            IF_HONOURED,
            does,
            f"{name} has a volatile write cache, emptied by a flush",
            _check(drive),
        )
    if drive.cache != "write through":
        why = f"{name} reports a write cache that is not known here: {drive.cache!r}"
        return UNKNOWN, why, why, _check(drive)
    if drive.own_cache is not None and drive.own_cache.startswith("write back"):
        why = f"{name} has a volatile cache and the kernel was told not to flush it"
        return NOT_DURABLE, why, why, f'write "write back" to /sys/block/{name}/queue/write_cache'
    if drive.host:
        why = f"{drive.host} says that {name} has no cache, so that no flush is sent to it"
        return UNKNOWN, why, why, _check(drive)
    if drive.bus == "USB" or drive.bus == "MMC":
        why = f"{name} on {drive.bus} reports no cache, which the kernel assumes when it cannot ask"
        return UNKNOWN, why, why, _check(drive)
    return DURABLE, "has no volatile cache: a write that is done is on stable storage", "", ""
