"""``pydurable tee``: commit what comes in, echo it when it is durable, hold only a bounded part."""

from __future__ import annotations

import io
import os
import select
import signal
from collections.abc import Iterator
from types import FrameType

from pydurable import Log
from pydurable import _cli_output as output
from pydurable._cli_path import require_log_or_room

# One read is one commit_many: large enough to share a flush among thousands of lines, small
# enough that what is in hand stays far below the log's own bound on waiting bytes.
READ_BYTES = 256 << 10

# A line without an end would otherwise be collected for ever.
MAX_LINE_BYTES = 1 << 20


class LineSplitter:
    """Cuts a stream of chunks into lines that keep their newline, and holds the unfinished one.

    A line longer than ``limit`` bytes comes out in pieces, so that memory is bounded by it and
    the pieces joined are still the input, byte for byte.
    """

    def __init__(self, limit: int = MAX_LINE_BYTES) -> None:
        self._limit = limit
        self._rest = bytearray()

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines, or pieces, that are complete with this chunk."""
        end = chunk.rfind(b"\n") + 1
        lines: list[bytes] = []
        if end:
            # bytes.splitlines would split at a lone carriage return too; a file does not.
            self._rest += chunk[:end]
            lines = io.BytesIO(self._rest).readlines()
            self._rest = bytearray()
        self._rest += chunk[end:]
        if len(self._rest) >= self._limit:
            lines.append(self.take_rest())
        return lines

    def take_rest(self) -> bytes:
        """What has come in since the last newline; the splitter is empty afterwards."""
        rest = bytes(self._rest)
        self._rest = bytearray()
        return rest


class Interrupts:
    """Lets Ctrl-C through only where nothing is in hand that would be lost by it.

    Between the reading of bytes and their commit the first Ctrl-C is noted and raised at the next
    wait; a second one is raised at once, for whoever cannot wait for a disk that hangs.
    """

    def __init__(self) -> None:
        self._open = False
        self._noted = False
        signal.signal(signal.SIGINT, self._receive)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._open or self._noted:
            self._open = False
            raise KeyboardInterrupt
        self._noted = True

    def __enter__(self) -> None:
        self._open = True
        if self._noted:
            self._open = False
            raise KeyboardInterrupt

    def __exit__(self, *unused: object) -> None:
        self._open = False


def run_tee(path: str, *, sync: str) -> int:
    """Commit standard input to the log at ``path`` line by line, echo what is durable; return 0."""
    require_log_or_room(path)
    interrupts = Interrupts()
    splitter = LineSplitter()
    with Log(path, sync=sync) as log:
        try:
            for chunk in _chunks(interrupts):
                lines = splitter.feed(chunk)
                if lines:
                    log.commit_many(lines)
                    _echo(b"".join(lines), interrupts)
        except (BrokenPipeError, KeyboardInterrupt):
            # Everything before it is committed, so the unfinished line goes where it belongs.
            _commit_rest(log, splitter)
            raise
        _echo(_commit_rest(log, splitter), interrupts)
    return 0


def _echo(data: bytes, interrupts: Interrupts) -> None:
    """Write to standard output what is durable; Ctrl-C can lose nothing here."""
    with interrupts:
        output.write_through(data)


def _chunks(interrupts: Interrupts) -> Iterator[bytes]:
    """What is available on standard input, as it comes, until its end."""
    while True:
        with interrupts:
            select.select([output.STDIN], [], [])
        try:
            chunk = os.read(output.STDIN, READ_BYTES)
        except BlockingIOError:
            # Somebody else who reads the same descriptor was faster.
            continue
        except OSError as error:
            raise OSError(error.errno, error.strerror, "standard input") from error
        if not chunk:
            return
        yield chunk


def _commit_rest(log: Log, splitter: LineSplitter) -> bytes:
    """Commit a last line that has no newline, if there is one, and return it."""
    rest = splitter.take_rest()
    if rest:
        log.commit(rest)
    return rest
