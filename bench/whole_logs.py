"""Opening, recovery, replay and space: what is measured of whole logs."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from .arena import Arena
from .cells import Terms
from .rounds import spread

RECORD_BYTES = 64 << 10
SMALL_RECORD_BYTES = 64
METHODS = ("fdatasync", "fsync", "dsync", "direct", "direct+dsync")
PARTS = ("open", "recovery", "replay", "space")

Figures = dict[str, object]


@dataclass(frozen=True)
class Sizes:
    """How large the logs are, and how often each figure is taken."""

    rounds: int
    log_bytes: int
    small_records: int


def measure(
    arena: Arena,
    parts: tuple[str, ...],
    sizes: Sizes,
    terms: Terms,
    advance: Callable[[str], None],
) -> Figures:
    """Measure the parts that are asked for."""
    figures: Figures = {}
    if "open" in parts:
        advance("opening an empty log")
        figures["open"] = _open(arena, sizes, terms)
    if "recovery" in parts or "replay" in parts:
        with arena.fresh() as directory:
            path = str(directory / "log")
            advance("filling a log")
            arena.run_job(
                "fill", path=path, payload_bytes=sizes.log_bytes, record_bytes=RECORD_BYTES
            )
            # Once through everything, so that what is measured comes from the page cache.
            arena.run_job("replay", path=path)
            if "replay" in parts:
                advance("replay of 64 KiB records")
                figures["replay 64 KiB"] = _replay(arena, path, sizes)
            if "recovery" in parts:
                advance("recovery")
                figures["recovery"] = _recovery(arena, path, sizes)
    if "replay" in parts:
        advance("replay of 64 B records")
        figures["replay 64 B"] = _replay_small(arena, sizes)
    if "space" in parts:
        advance("space for each record")
        figures["space"] = _space(arena)
    return figures


def _open(arena: Arena, sizes: Sizes, terms: Terms) -> Figures:
    probed, created, opened = [], [], []
    for _ in range(sizes.rounds):
        with arena.fresh() as directory:
            auto, named = str(directory / "auto"), str(directory / "named")
            probed.append(arena.run_job("open_log", path=auto)["ms"])
            created.append(arena.run_job("open_log", path=named, method=terms.method)["ms"])
            opened.append(arena.run_job("open_log", path=auto)["ms"])
    return {
        "create_and_choose_ms": spread(probed),
        "create_ms": spread(created),
        "open_ms": spread(opened),
    }


def _recovery(arena: Arena, path: str, sizes: Sizes) -> Figures:
    seconds: dict[str, list[float]] = {"recover": [], "read_bytes": []}
    for _ in range(sizes.rounds):
        jobs: list[tuple[str, Figures]] = [
            ("recover", {}),
            ("read_bytes", {"limit": sizes.log_bytes}),
        ]
        random.shuffle(jobs)
        for name, arguments in jobs:
            seconds[name].append(arena.run_job(name, path=path, **arguments)["seconds"])
    pairs = zip(seconds["recover"], seconds["read_bytes"], strict=True)
    return {
        "log_bytes": sizes.log_bytes,
        "recover_seconds": spread(seconds["recover"]),
        "read_seconds": spread(seconds["read_bytes"]),
        "ratio": spread([recover / read for recover, read in pairs]),
    }


def _replay(arena: Arena, path: str, sizes: Sizes) -> Figures:
    runs = [arena.run_job("replay", path=path) for _ in range(sizes.rounds)]
    return {
        "records": runs[0]["records"],
        "bytes_per_second": median(run["bytes"] / run["seconds"] for run in runs),
        "records_per_second": median(run["records"] / run["seconds"] for run in runs),
    }


def _replay_small(arena: Arena, sizes: Sizes) -> Figures:
    with arena.fresh() as directory:
        path = str(directory / "log")
        arena.run_job(
            "fill",
            path=path,
            payload_bytes=sizes.small_records * SMALL_RECORD_BYTES,
            record_bytes=SMALL_RECORD_BYTES,
        )
        arena.run_job("replay", path=path)
        return _replay(arena, path, sizes)


def _space(arena: Arena) -> Figures:
    figures: Figures = {}
    for method in METHODS:
        for record_bytes in (SMALL_RECORD_BYTES, 1 << 10):
            with arena.fresh() as directory:
                figures[f"{method}, {record_bytes} B"] = arena.run_job(
                    "space",
                    path=str(Path(directory, "log")),
                    method=method,
                    record_bytes=record_bytes,
                )
    return figures
