"""What a filesystem can do with a log."""

from __future__ import annotations

from pathlib import Path

import pytest

from pydurable import Log, UnsafeStorageError

SEGMENT_BYTES = 64 << 10
"""The smallest there is, so that logs rotate often."""

WAITING = ("group", "each", "paranoid")
"""The targets whose commit returns when the record is durable."""


def skip_if_refused(place: Path, sync: str, method: str) -> None:
    """Skip the test if logs in this directory cannot have that target or method."""
    try:
        Log(place / "probe", sync=sync, method=method, segment_bytes=SEGMENT_BYTES).close()
    except (UnsafeStorageError, OSError) as error:
        if sync == "paranoid" or "direct" in method:
            pytest.skip(f"not on this filesystem: {error}")
        raise
