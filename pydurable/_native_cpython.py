"""The module that lies in the same file as the core, for CPython with its lock (GIL).

What is in it does its work under that lock, where cffi would give it back, or in one call where
Python takes many steps (csrc/cpython/cpython.h).  Other interpreters take those steps.
"""

from __future__ import annotations

import sys
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from typing import Any

from pydurable import _core

__all__ = ["compiled"]


def _load() -> Any:
    loader = ExtensionFileLoader("pydurable._cpython", _core.__file__)
    module = loader.create_module(ModuleSpec(loader.name, loader, origin=loader.path))
    loader.exec_module(module)
    return module


# A free-threaded build has no such module, whether or not its lock is switched on in this process.
_has_lock = sys.implementation.name == "cpython" and "t" not in sys.abiflags
compiled: Any = _load() if _has_lock else None
"""None where one call of a C method is not one step for every other thread."""
