"""Plain files to append to, as the tests open them."""

from __future__ import annotations

from pathlib import Path

from pydurable import AppendFile


def open_file(path: Path, **options: object) -> AppendFile:
    """A file with nothing that time alone sets off."""
    return AppendFile(path, **{"interval": 3600.0, **options})  # type: ignore[arg-type]
