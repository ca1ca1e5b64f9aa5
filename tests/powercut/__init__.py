"""A power-cut rig on real kernel filesystems; docs/powercut.md says how it works.

The files, each building on those before it:

- ``disk.c``: the disk that remembers everything; ``kernel.py``: mounts and loop devices.
- ``recording.py``: its log as Python objects; ``states.py``: what a power cut could leave of it.
- ``filesystems.py``: ext4, xfs and btrfs; ``session.py``: record a writer on one of them.
- ``workloads*.py``, ``naive.py``: writers and what must hold after a cut; ``catalogue.py`` names
  them, ``writer.py`` runs one.
- ``laboratory.py``: cut, mount, check; ``crew.py``: several of them; ``campaign.py``: until enough
  states are checked; ``requirements.py``: what that needs; ``__main__.py``: the command.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent

# The tests beside this package have what the rig shares with them: records, promises, mutants.
if str(HERE.parent) not in sys.path:
    sys.path.insert(0, str(HERE.parent))
