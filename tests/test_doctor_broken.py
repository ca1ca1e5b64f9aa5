"""Doctors that are wrong on purpose: the recorded machines must notice each of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from _tree import trees

from pydurable import inspect_storage
from pydurable._doctor import blocks, drives, filesystems, mounts, servers
from pydurable._doctor.facts import Facts
from pydurable._doctor.report import DURABLE, IF_HONOURED, Findings

TREES = trees()


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every recorded machine, unpacked."""
    base = tmp_path_factory.mktemp("machines")
    for tree in TREES:
        tree.unpack(base / tree.name)
    return {tree.name: base / tree.name for tree in TREES}


def _wrong(machines: dict[str, Path]) -> set[str]:
    """The machines whose verdict is not the expected one."""
    found = set()
    for tree in TREES:
        (path,), (verdict,) = tree.expected("path"), tree.expected("verdict")
        if inspect_storage(path, root=machines[tree.name]).verdict != verdict:
            found.add(tree.name)
    return found


def _trusting_the_queue(drive: Any, judge: Callable[[Any], Any] = drives._judge) -> Any:
    return judge(drive._replace(own_cache=None))


def _trusting_hypervisors(drive: Any, judge: Callable[[Any], Any] = drives._judge) -> Any:
    return judge(drive._replace(host=None, bus="SATA"))


def _the_best_counts(findings: Findings) -> str:
    return DURABLE if any(x.verdict == DURABLE for x in findings.layers) else IF_HONOURED


def _first_mount(path: str, table: list[mounts.Mount]) -> mounts.Mount | None:
    return next((m for m in table if path.startswith(m.point)), None)


def _without_partitions(walk: Any, name: str) -> None:
    return None


BROKEN: list[tuple[str, Any, str, Any, set[str]]] = [
    ("memory passes", filesystems, "MEMORY", (), {"tmpfs", "loop-on-tmpfs"}),
    ("barriers do not matter", filesystems, "NO_BARRIER", (), {"ext4-without-barriers"}),
    ("volatile overlays pass", filesystems, "VOLATILE", (), {"overlay-volatile"}),
    ("the queue is believed", drives, "_judge", _trusting_the_queue, {"sata-told-not-to-flush"}),
    ("hypervisors are", drives, "_judge", _trusting_hypervisors, {"virtio-without-flushes"}),
    ("the best layer counts", Findings, "verdict", _the_best_counts, {"nvme-with-cache", "nfs"}),
    ("the first mount counts", mounts, "holding", _first_mount, {"volume-in-a-container"}),
    ("partitions are disks", blocks, "_whole", _without_partitions, {"nvme-with-cache"}),
    ("servers are disks", servers, "_PROMISES", {}, {"smb-without-flushes"}),
    ("links are not read", Facts, "link", lambda self, path: None, {"nvme-with-cache"}),
    ("zram is a disk", drives, "_MEMORY", drives.re.compile("never"), {"zram"}),
]


def test_the_doctor_as_it_is_has_no_wrong_verdict(machines: dict[str, Path]) -> None:
    """Otherwise what follows would say nothing."""
    assert _wrong(machines) == set()


@pytest.mark.parametrize(
    ("place", "name", "value", "caught"),
    [case[1:] for case in BROKEN],
    ids=[case[0] for case in BROKEN],
)
def test_a_broken_doctor_is_caught(
    machines: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    place: Any,
    name: str,
    value: Any,
    caught: set[str],
) -> None:
    """The machines that are about this rule have another verdict without it."""
    monkeypatch.setattr(place, name, value)
    assert caught <= _wrong(machines)
