"""What a workload is: something that writes and says what it was promised, and a check."""

from __future__ import annotations

import os
import pickle
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from pydurable import StaleFile, find_stale, remove_stale, stale


@dataclass(frozen=True)
class Stage:
    """What a workload writes on."""

    root: Path
    """The filesystem under test."""
    ack: int
    """A descriptor of the disk's ack file, for programs that report by themselves."""
    control: Path
    dice: random.Random

    def note(self, fact: Any) -> None:
        """Put a promise among the disk's writes, at once and in one piece."""
        data = pickle.dumps(fact)
        assert os.write(self.ack, data) == len(data)

    def order(self, order: bytes) -> None:
        """Have the disk fail from now on, as disk.c says."""
        self.control.write_bytes(order)


def leftovers(folder: Path, *, remove: bool = False) -> list[StaleFile]:
    """Find what writers have left behind; none lives, so that no empty file is just being made."""
    with mock.patch.object(stale, "_MAKING_S", 0.0):
        return remove_stale(folder, min_age=0) if remove else find_stale(folder)


class MissedFault(Exception):
    """A fault has met something else than it was meant for: the session is worth nothing."""


MISSED = 75
"""The exit status of a writer that says so (sysexits' EX_TEMPFAIL)."""


@dataclass(frozen=True)
class Workload:
    """``check`` raises unless the facts hold in what came back; it may change the filesystem.

    ``goes_on`` names the workload that can be run on a state that a power cut has left of this one.
    """

    write: Callable[[Stage], None]
    check: Callable[[Path, Sequence[Any], random.Random], None]
    goes_on: str | None = None
    only_on: tuple[str, ...] = ()
    """The filesystems that it is for; empty: all."""
    control: bool = False
    """A naive writer, which is to fail: no part of a run over all workloads."""
