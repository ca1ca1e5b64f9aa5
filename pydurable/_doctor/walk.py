"""What a walk down the layers carries with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from pydurable._doctor.facts import Facts
from pydurable._doctor.mounts import Mount
from pydurable._doctor.report import UNKNOWN, Findings

_LAYERS_MAX = 64


@dataclasses.dataclass
class Walk:
    """One inspection: where facts come from, what was found, where the walk has been."""

    facts: Facts
    mounts: list[Mount]
    descend: Callable[[Walk, str, int], None]
    """Examine the filesystem that holds a path: a loop device leads back up to one."""
    findings: Findings = dataclasses.field(default_factory=Findings)
    seen: set[str] = dataclasses.field(default_factory=set)

    def enter(self, key: str, depth: int) -> bool:
        """Whether to go on with a thing: false if it was met before, or the stack has no end."""
        if key in self.seen:
            return False
        self.seen.add(key)
        if len(self.findings.layers) < _LAYERS_MAX:
            return True
        text = "more layers than anybody stacks: the walk ends here"
        if len(self.findings.layers) == _LAYERS_MAX:
            self.findings.add("device", key, depth, text, verdict=UNKNOWN, why=text)
        return False
