"""The doctor's side of the C core: what statx(2) tells of a path."""

from __future__ import annotations

import os
from typing import Any

from pydurable._core import ffi, lib


def path_facts(path: str) -> Any:
    """A ``struct pd_path_facts``, all zeros where the kernel does not answer."""
    facts = ffi.new("struct pd_path_facts *")
    raw = os.fsencode(path)
    if b"\0" not in raw:
        lib.pd_path_facts(raw, facts)
    return facts
