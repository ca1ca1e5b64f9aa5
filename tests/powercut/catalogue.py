"""All workloads by their names."""

from __future__ import annotations

from .naive import NAIVE_WORKLOADS
from .workloads import Workload
from .workloads_append import APPEND_WORKLOADS
from .workloads_faults import FAULT_WORKLOADS
from .workloads_log import LOG_WORKLOADS
from .workloads_logging import LOGGING_WORKLOADS
from .workloads_replace import REPLACE_WORKLOADS
from .workloads_shared import SHARED_WORKLOADS

WORKLOADS: dict[str, Workload] = {
    **LOG_WORKLOADS,
    **REPLACE_WORKLOADS,
    **APPEND_WORKLOADS,
    **LOGGING_WORKLOADS,
    **SHARED_WORKLOADS,
    **FAULT_WORKLOADS,
    **NAIVE_WORKLOADS,
}


def honest(filesystem: str) -> list[str]:
    """The workloads that have to keep their promises on this filesystem."""
    return [
        name
        for name, workload in WORKLOADS.items()
        if not workload.control and (not workload.only_on or filesystem in workload.only_on)
    ]
