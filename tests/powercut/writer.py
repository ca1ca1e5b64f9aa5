"""Runs one workload in a process of its own, with tests/ among the Python paths.

``python -m powercut.writer NAME ROOT ACK CONTROL SEED CORE``, where CORE is the directory that the
C core has to be loaded from.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

from pydurable import _core

from .catalogue import WORKLOADS
from .workloads import MISSED, MissedFault, Stage


def main(name: str, root: str, ack: str, control: str, seed: str, core: str) -> None:
    if not _core.__file__.startswith(core):
        raise RuntimeError(f"{_core.__file__} is not the core under test, which is in {core}")
    descriptor = os.open(ack, os.O_WRONLY | os.O_CLOEXEC)
    try:
        dice = random.Random(int(seed))
        WORKLOADS[name].write(Stage(Path(root), descriptor, Path(control), dice))
    except MissedFault:
        sys.exit(MISSED)
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    main(*sys.argv[1:])
