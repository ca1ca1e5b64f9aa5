"""``pydurable recover``: write what dead processes had appended, before the next opener does."""

from __future__ import annotations

import json
import os
from typing import Any

from pydurable import AppendFile, DurableError, Log
from pydurable import _cli_output as output
from pydurable._cli import complain
from pydurable._cli_path import require_log
from pydurable._ring_content import Content, contents, remove_if_spent
from pydurable._ring_place import all_rings


def run_recover(path: str, *, as_json: bool) -> int:
    """Bring what dead processes had accepted for ``path``, a log or a file, into it, durably.

    Prints how many records that were; returns 0.
    """
    _say_recovered(path, _recover(path), as_json=as_json)
    return 0


def run_recover_list(*, as_json: bool) -> int:
    """Print what dead processes had accepted for any target; returns 0.

    Changes no target; rings that hold nothing are removed.
    """
    held = _held()
    for content in held:
        _say_held(content, as_json=as_json)
    if not held and not as_json:
        output.emit("nothing to recover")
    return 0


def run_recover_all(*, as_json: bool) -> int:
    """Recover every target that exists, and print what is still held for others.

    Returns 0, or 1 if recovering any of them failed.
    """
    status = 0
    before = _held()
    for path in dict.fromkeys(content.page.target for content in before):
        if os.path.exists(path):
            try:
                _say_recovered(path, _recover(path), as_json=as_json)
            except (DurableError, OSError) as error:
                status = 1
                complain(error)
    after = _held()
    for content in after:
        _say_held(content, as_json=as_json)
    if not before and not as_json:
        output.emit("nothing to recover")
    return status


def _held() -> list[Content]:
    """What dead processes left, by target."""
    rings = [ring for ring in all_rings() if not remove_if_spent(ring)]
    return sorted(contents(rings), key=lambda content: (content.page.target, content.ring))


def _records(count: int) -> str:
    return f"{count:,} record{'' if count == 1 else 's'}"


def _say_recovered(path: str, records: int, *, as_json: bool) -> None:
    if as_json:
        output.emit(json.dumps({"path": path, "recovered_records": records}))
    elif records:
        output.emit(f"{path}: {_records(records)} recovered, and durable")
    else:
        output.emit(f"{path}: nothing to recover")


def _say_held(content: Content, *, as_json: bool) -> None:
    page = content.page
    exists = os.path.exists(page.target)
    if as_json:
        report: dict[str, Any] = {
            "path": page.target,
            "kind": "log" if page.is_of_log else "file",
            "exists": exists,
            "pid": page.pid,
            "held_records": content.records,
            "held_bytes": content.bytes,
            "ring": content.ring,
        }
        output.emit(json.dumps(report))
        return
    gone = "" if exists else f", but it does not exist; they are kept in {content.ring}"
    output.emit(
        f"{page.target}: {_records(content.records)} ({content.bytes:,} bytes) "
        f"of process {page.pid} to recover{gone}"
    )


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
