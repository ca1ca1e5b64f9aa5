"""Replacing and renaming files at every durability."""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydurable import (
    open_atomic,
    rename,
    replace,
    replace_many,
    sync_directory,
)

from .workloads import Stage, Workload, leftovers

STEPS = 60
NAMES = 4
"""Files of each thread."""


@dataclass(frozen=True)
class Fact:
    """Version ``version`` of a file is under way, or ``done``; ``what`` is a durability or a step.

    Version 0 is no file at all.
    """

    name: str
    version: int
    what: str
    done: bool


def content(name: str, version: int) -> bytes:
    """The bytes of a version, whose first line says which it is, of a length of its own."""
    dice = random.Random(f"{name} {version}")
    size = dice.choice([0, 100, 5000, 30_000])
    return f"{name} {version}\n".encode() + dice.randbytes(size)


def version_of(path: Path) -> int:
    """Which version is there, whole; AssertionError if it is none."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return 0
    name, _, number = data.partition(b"\n")[0].decode("utf-8", "replace").partition(" ")
    assert number.isdecimal(), f"{path.name}: {len(data)} bytes that nobody wrote: {data[:40]!r}"
    assert data == content(name, int(number)), f"{path.name}: version {number} is damaged"
    return int(number)


def _one_file(
    stage: Stage, names: Sequence[str], versions: dict[str, int], durability: str
) -> None:
    name = stage.dice.choice(names)
    versions[name] += 1
    stage.note(Fact(name, versions[name], durability, done=False))
    data = content(name, versions[name])
    if stage.dice.random() < 0.3:
        with open_atomic(stage.root / "files" / name, "wb", durability=durability) as file:
            file.write(data)
    else:
        replace(stage.root / "files" / name, data, durability=durability)
    stage.note(Fact(name, versions[name], durability, done=True))


def _many_files(
    stage: Stage, names: Sequence[str], versions: dict[str, int], durability: str
) -> None:
    chosen = stage.dice.sample(names, stage.dice.randint(1, len(names)))
    for name in chosen:
        versions[name] += 1
        stage.note(Fact(name, versions[name], durability, done=False))
    items = {stage.root / "files" / name: content(name, versions[name]) for name in chosen}
    replace_many(items, durability=durability)
    for name in chosen:
        stage.note(Fact(name, versions[name], durability, done=True))


Step = Callable[[Stage, Sequence[str], dict[str, int], str], None]


def replace_workload(step: Step, durabilities: Sequence[str], threads: int = 1) -> Workload:
    """Threads that replace files of their own, again and again."""

    def run(stage: Stage, number: int) -> None:
        names = [f"file-{number}-{i}" for i in range(NAMES)]
        versions = dict.fromkeys(names, 0)
        for _ in range(STEPS // threads):
            step(stage, names, versions, stage.dice.choice(durabilities))

    def write(stage: Stage) -> None:
        (stage.root / "files").mkdir()
        sync_directory(stage.root)
        running = [threading.Thread(target=run, args=(stage, n)) for n in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()

    return Workload(write, check_replaced)


def _allowed(facts: Iterable[Fact]) -> set[int] | None:
    """The versions that a file may have; None if nothing is promised about it."""
    allowed: set[int] | None = {0}
    for fact in facts:
        if fact.done and fact.what == "full":
            allowed = {fact.version}
        elif not fact.done and fact.what == "none":
            allowed = None
        elif allowed is not None:
            allowed.add(fact.version)
    return allowed


def check_replaced(root: Path, facts: Sequence[Fact], dice: random.Random) -> None:
    """Each file is one version, whole, and not older than the last one that was acknowledged."""
    files = root / "files"
    by_name = {
        name: list(group) for name, group in itertools.groupby(sorted(facts, key=_name), key=_name)
    }
    for name, own in by_name.items():
        allowed = _allowed(own)
        if allowed is not None:
            found = version_of(files / name)
            assert found in allowed, f"{name} has version {found}, which must be in {allowed}"
    if not by_name:
        return
    others = {path.name for path in files.iterdir()} - set(by_name)
    stale = {Path(found.path).name for found in leftovers(files)}
    assert others == stale, f"files that nobody wrote: {others - stale}"
    if dice.random() < 0.25:
        leftovers(files, remove=True)
        name = dice.choice(list(by_name))
        replace(files / name, content(name, 1_000_000))
        assert version_of(files / name) == 1_000_000
        assert {path.name for path in files.iterdir()} <= set(by_name)


def _name(fact: Fact) -> str:
    return fact.name


def write_renames(stage: Stage) -> None:
    """Write a file in one directory and rename it over its older self in another."""
    for folder in ("drafts", "files"):
        (stage.root / folder).mkdir()
    sync_directory(stage.root)
    names = [f"file-{i}" for i in range(NAMES)]
    versions = dict.fromkeys(names, 0)
    for _ in range(STEPS // 2):
        name = stage.dice.choice(names)
        versions[name] += 1
        draft, final = stage.root / "drafts" / name, stage.root / "files" / name
        stage.note(Fact(name, versions[name], "write", done=False))
        replace(draft, content(name, versions[name]))
        stage.note(Fact(name, versions[name], "write", done=True))
        stage.note(Fact(name, versions[name], "rename", done=False))
        rename(draft, final)
        stage.note(Fact(name, versions[name], "rename", done=True))


def check_renames(root: Path, facts: Sequence[Fact], dice: random.Random) -> None:
    """Each version is in one of its places, and in the last one once that was acknowledged."""
    for name, group in itertools.groupby(sorted(facts, key=_name), key=_name):
        last = list(group)[-1]
        found = version_of(root / "drafts" / name), version_of(root / "files" / name)
        new, old = last.version, last.version - 1
        allowed = {
            ("write", False): [(0, old), (new, old)],
            ("write", True): [(new, old)],
            ("rename", False): [(new, old), (0, new)],
            ("rename", True): [(0, new)],
        }[last.what, last.done]
        assert found in allowed, f"{name}: draft and file have versions {found}, not {allowed}"


def write_struck(order: bytes) -> Callable[[Stage], None]:
    """The disk fails in the middle of it; what raises has promised nothing."""

    def write(stage: Stage) -> None:
        (stage.root / "files").mkdir()
        sync_directory(stage.root)
        names = [f"file-{i}" for i in range(NAMES)]
        versions = dict.fromkeys(names, 0)
        for step in range(STEPS // 2):
            if step == STEPS // 4:
                stage.order(order)
            with contextlib.suppress(OSError):
                _one_file(stage, names, versions, "full")

    return write


REPLACE_WORKLOADS = {
    "replace-full-1": replace_workload(_one_file, ["full"]),
    "replace-full-8": replace_workload(_one_file, ["full"], threads=8),
    "replace-any": replace_workload(_one_file, ["full", "data", "data", "none"]),
    "replace-data": replace_workload(_one_file, ["data"]),
    "replace-many-full": replace_workload(_many_files, ["full"]),
    "replace-many-any": replace_workload(_many_files, ["full", "data", "data", "none"]),
    "rename": Workload(write_renames, check_renames),
    "eio-replace-write": Workload(write_struck(b"fail-writes 1"), check_replaced),
    "eio-replace-flush": Workload(write_struck(b"fail-flushes 1"), check_replaced),
}
