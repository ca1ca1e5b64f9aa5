"""The answer of the doctor: layers from the top down, and a verdict over them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

DURABLE = "durable"
IF_HONOURED = "durable if the drive honours flushes"
UNKNOWN = "unknown"
NOT_DURABLE = "not durable"
VERDICTS = (DURABLE, IF_HONOURED, UNKNOWN, NOT_DURABLE)
"""From the best to the worst: a path is as good as the worst layer below it."""

FORMAT = 1
"""The number of the JSON's schema, raised when a field changes its meaning or goes."""


def worse(one: str, other: str) -> str:
    """The worse of two verdicts."""
    return max(one, other, key=VERDICTS.index)


@dataclasses.dataclass(frozen=True)
class Layer:
    """One layer that a write passes on its way down."""

    kind: str
    """``"filesystem"``, ``"server"``, ``"device"``, which passes writes on, or ``"drive"``."""
    name: str
    """What it is called on this machine."""
    depth: int
    """How far below the path: the filesystem is 0, what lies under it is 1, and so on."""
    does: str
    """What it does to a write and to a flush."""
    verdict: str
    """The verdict on this layer alone, one of :data:`VERDICTS`."""
    facts: dict[str, Any]
    """What was read of it, by the names that /proc, /sys and statx(2) use."""


@dataclasses.dataclass(frozen=True)
class StorageReport:
    """What becomes of a write under a path, from the program's buffer to the medium.

    It says what the system tells of itself.  That a drive, a hypervisor or a server keeps what it
    promises cannot be read anywhere: ``"durable if the drive honours flushes"`` says so.
    """

    path: str
    """The path that was asked about, absolute, symlinks resolved."""
    verdict: str
    """``"durable"``, ``"durable if the drive honours flushes"``, ``"not durable"`` or
    ``"unknown"``."""
    reason: str
    """Why, in a sentence."""
    mount: str | None
    """The mount point that holds the path, None where there is no mount table."""
    filesystem: str | None
    """The type of the filesystem, as the kernel names it."""
    layers: tuple[Layer, ...]
    """From the filesystem down to the drives, in the order of a walk."""
    changes: tuple[str, ...]
    """What to change, or to check, for a better verdict."""
    needs_root: tuple[str, ...]
    """What could be known with more rights, and how."""

    def as_dict(self) -> dict[str, Any]:
        """The report as ``pydurable doctor --json`` prints it."""
        return {"format": FORMAT, **dataclasses.asdict(self)}


@dataclasses.dataclass
class Findings:
    """A report in the making."""

    layers: list[Layer] = dataclasses.field(default_factory=list)
    reasons: dict[str, str] = dataclasses.field(default_factory=dict)
    changes: list[str] = dataclasses.field(default_factory=list)
    needs_root: list[str] = dataclasses.field(default_factory=list)

    def add(
        self,
        kind: str,
        name: str,
        depth: int,
        does: str,
        *,
        verdict: str = DURABLE,
        why: str = "",
        change: str = "",
        root: str = "",
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """Add a layer; why is the reason for a verdict that is not the best."""
        known = {key: value for key, value in (facts or {}).items() if value is not None}
        self.layers.append(Layer(kind, name, depth, does, verdict, known))
        if why:
            self.reasons.setdefault(verdict, why)
        for text, texts in ((change, self.changes), (root, self.needs_root)):
            if text and text not in texts:
                texts.append(text)

    def verdict(self) -> str:
        """The worst of all layers; unknown where there are none."""
        worst = DURABLE if self.layers else UNKNOWN
        for layer in self.layers:
            worst = worse(worst, layer.verdict)
        return worst
