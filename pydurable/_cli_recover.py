"""``pydurable recover``: write what dead processes had appended, before the next opener does."""

from __future__ import annotations

import json
import os

from pydurable import AppendFile, Log
from pydurable import _cli_output as output
from pydurable._cli_path import require_log


def run_recover(path: str, *, as_json: bool) -> int:
    """Bring what dead processes had accepted for ``path``, a log or a file, into it, durably.

    Prints how many records that were; returns 0.
    """
    records = _recover(path)
    if as_json:
        output.emit(json.dumps({"path": path, "recovered_records": records}))
    elif records:
        plural = "" if records == 1 else "s"
        output.emit(f"{path}: {records:,} record{plural} recovered, and durable")
    else:
        output.emit(f"{path}: nothing to recover")
    return 0


def _recover(path: str) -> int:
    if os.path.isdir(path):
        require_log(path)
        with Log(path, create=False, ring=False) as log:
            log.sync()
            return log.recovered_records
    # A file that is not there is an error, and not to be made.
    os.stat(path)
    with AppendFile(path, ring=False) as file:
        file.sync()
        return file.recovered_records
