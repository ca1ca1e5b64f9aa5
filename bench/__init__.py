"""Benchmarks of pydurable beside its peers; run ``python -m bench`` from the project's root.

It is installed as ``pydurable_bench``, for the command ``pydurable bench``; so its modules import
each other relatively.  Running it with ``-m`` from a clone puts the project's root at the front of
the import path, where the bare sources would hide an installed pydurable that has its compiled
core; so the root goes to the end, where a build in place is still found.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

if sys.path and Path(sys.path[0]).resolve() == ROOT:
    sys.path.append(sys.path.pop(0))
