"""Running coroutines in tests: bounded in time, whatever goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from _patience import PATIENCE_S

import pydurable


def run(main: Callable[[], Awaitable[Any]]) -> Any:
    """Run a coroutine function in a loop of its own; fail if it never ends."""

    async def bounded() -> Any:
        return await asyncio.wait_for(main(), PATIENCE_S)

    return asyncio.run(bounded())


async def until(condition: Callable[[], object]) -> None:
    """Let the loop go on until the condition holds."""
    while not condition():
        await asyncio.sleep(0.001)


def held(path: Path) -> list[bytes]:
    """The records of a log."""
    return [entry.data for entry in pydurable.read_log(path)]
