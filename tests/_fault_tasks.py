"""The operations that tasks wait for in an event loop, on the scenes of ``_fault_operations``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from _coroutines import run
from _fault_operations import (
    AppendScene,
    LogScene,
    Make,
    appending_scene,
    log_of,
    log_scene,
)
from _scenario import LARGE, record

TOGETHER = 3
"""Tasks that commit in one turn of the loop."""


async def _all(*calls: Awaitable[Any]) -> list[Any]:
    """Wait for each of them, then raise the first error."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def commit(scene: LogScene) -> None:
    """One, and then several in one turn; whoever is told so has its record durable."""
    log, life = log_of(scene), scene.life

    async def one(size: int = 0) -> None:
        life.attempted += 1
        lsn = life.attempted
        assert await log.commit_async(record(lsn, size)) == lsn
        life.promised = max(life.promised, lsn)

    async def main() -> None:
        await one()
        await _all(*(one(LARGE) for _ in range(TOGETHER)))

    run(main)


def commit_many(scene: LogScene) -> None:
    log, life = log_of(scene), scene.life

    async def main() -> None:
        first = life.attempted + 1
        life.attempted += TOGETHER
        records = [record(lsn) for lsn in range(first, life.attempted + 1)]
        assert await log.commit_many_async(records) == (first, life.attempted)
        life.promised = life.attempted

    run(main)


def append_and_sync(scene: LogScene) -> None:
    log, life = log_of(scene), scene.life

    async def main() -> None:
        life.append(log)
        life.append(log)
        assert await log.sync_async() == life.attempted
        life.promised = life.attempted

    run(main)


def commit_to_file(scene: AppendScene) -> None:
    """Lines in the order of the calls; those that came back are there."""
    file = scene.file
    assert file is not None

    async def one(line: bytes) -> bytes:
        await file.commit_async(line)
        return line

    async def main() -> None:
        scene.accepted += await one(b"one\n")
        scene.accepted += b"".join(await _all(one(b"two\n"), one(b"three\n")))

    run(main)


def commit_many_to_file(scene: AppendScene) -> None:
    file = scene.file
    assert file is not None

    async def main() -> None:
        lines = [b"one\n", b"two\n"]
        await file.commit_many_async(lines)
        scene.accepted += b"".join(lines)

    run(main)


def append_to_file(scene: AppendScene) -> None:
    file = scene.file
    assert file is not None

    async def main() -> None:
        file.append(b"one\n")
        await file.sync_async()
        scene.accepted += b"one\n"

    run(main)


TASK_SCENES: dict[str, Make] = {
    "commit_async": log_scene(commit),
    "commit_many_async": log_scene(commit_many),
    "append and sync_async": log_scene(append_and_sync),
    "AppendFile.commit_async": appending_scene(commit_to_file),
    "AppendFile.commit_many_async": appending_scene(commit_many_to_file),
    "AppendFile.sync_async": appending_scene(append_to_file),
}
