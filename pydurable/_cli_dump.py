"""``pydurable dump``: records as readable text, as JSON lines, or as the bytes they are."""

from __future__ import annotations

import base64
import json
import os
import select
import stat
import threading
from collections.abc import Callable

from pydurable import Record, read_log
from pydurable import _cli_output as output
from pydurable._cli_path import require_log


def format_text(record: Record) -> bytes:
    r"""The record's number, a tab, and its data as readable text on one line.

    What is valid UTF-8 and can be printed stands for itself. ``\n``, ``\t``, ``\r`` and ``\\`` are
    what they are in Python, ``\xNN`` is a byte, ``\uNNNN`` and ``\UNNNNNNNN`` are characters that
    do not print, so that no record can move the cursor, recolour a terminal, or pass for another.

    >>> format_text(Record(7, b"caf\xc3\xa9\x1b[2J\n"))
    b'7\tcaf\xc3\xa9\\x1b[2J\\n\n'
    """
    text = record.data.replace(b"\\", rb"\\").decode("utf-8", "backslashreplace")
    if not text.isprintable():
        text = "".join(char if char.isprintable() else _escape(char) for char in text)
    return output.encode(f"{record.lsn}\t{text}\n")


def _escape(char: str) -> str:
    # Python writes U+0080 to U+00FF as \xNN, which here always means a byte.
    if 0x80 <= ord(char) <= 0xFF:
        return f"\\u{ord(char):04x}"
    return char.encode("unicode_escape").decode("ascii")


# JSON is UTF-8 whatever the terminal's encoding is.  Made once: json.dumps with an option makes an
# encoder for every call.
_to_json = json.JSONEncoder(ensure_ascii=False).encode


def format_json(record: Record) -> bytes:
    r"""One JSON object with a newline: ``lsn`` and ``data``, or ``base64`` where it is not UTF-8.

    >>> format_json(Record(1, b"hello\n"))
    b'{"lsn": 1, "data": "hello\\n"}\n'
    >>> format_json(Record(2, b"\xff"))
    b'{"lsn": 2, "base64": "/w=="}\n'
    """
    fields: dict[str, int | str] = {"lsn": record.lsn}
    try:
        fields["data"] = record.data.decode("utf-8")
    except UnicodeDecodeError:
        fields["base64"] = base64.b64encode(record.data).decode("ascii")
    return _to_json(fields).encode("utf-8") + b"\n"


def format_raw(record: Record) -> bytes:
    """The record's bytes, nothing added."""
    return record.data


_FORMATS: dict[str, Callable[[Record], bytes]] = {
    "text": format_text,
    "json": format_json,
    "raw": format_raw,
}


def run_dump(path: str, *, start: int | None, follow: bool, style: str) -> int:
    """Print the records of the log at ``path`` from number ``start`` on; return 0."""
    require_log(path)
    to_bytes = _FORMATS[style]
    if follow:
        _end_with_reader()
    for record in read_log(path, start or 1, follow=follow):
        output.emit_bytes(to_bytes(record))
        if follow:
            # There is no telling how long the next record will take.
            output.flush()
    return 0


def _end_with_reader() -> None:
    """End the process when the reader of its output closes, also while no record comes.

    ``dump --follow | head -1`` would otherwise stay until the next record.
    """
    mode = os.fstat(output.STDOUT).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        threading.Thread(target=_wait_for_reader, daemon=True).start()


def _wait_for_reader() -> None:
    poller = select.poll()
    # No event is asked for: POLLERR and POLLHUP are always told.
    poller.register(output.STDOUT, 0)
    poller.poll()
    # A reader of a log holds nothing that would have to be given back.
    os._exit(0)
