"""Standard output as the command uses it: an error names it, a closed pipe stays quiet."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import select
import sys
from typing import BinaryIO

STDIN, STDOUT = 0, 1
NAME = "standard output"

_BUFFER_BYTES = 64 << 10


def claim_standard_descriptors() -> None:
    """Put ``/dev/null`` where standard input, output or error was closed by the caller.

    Otherwise the next file to be opened takes the free number, and what is meant for standard
    output would be written into a segment of the log.
    """
    for wanted in range(3):
        try:
            os.fstat(wanted)
        except OSError:
            # The lowest free number is handed out, and all numbers below are taken by now.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


class _NamedOutput:
    """Gives an error in writing to standard output its name; a closed pipe passes as it is.

    A class, because a generator would cost more than the rest of what is done for a record.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            raise OSError(error.errno, error.strerror, NAME) from error


_named_output = _NamedOutput()


@functools.lru_cache(maxsize=1)
def _buffered(stream: BinaryIO) -> BinaryIO:
    """Standard output with a buffer: under ``python -u`` it comes without, and may write a part."""
    return io.BufferedWriter(stream, _BUFFER_BYTES) if isinstance(stream, io.RawIOBase) else stream


def emit(text: str) -> None:
    """Print a line of text; what the terminal's encoding lacks is shown as an escape."""
    emit_bytes(encode(text + "\n"))


def emit_verdict(text: str) -> None:
    """Print what the exit code says too: whoever closed the pipe is content with that."""
    with contextlib.suppress(BrokenPipeError):
        emit(text)
        flush()


def encode(text: str) -> bytes:
    """Text in the encoding of standard output, with escapes for what it lacks."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace")


def emit_bytes(data: bytes) -> None:
    """Write bytes to standard output through its buffer."""
    # Python leaves sys.stdout at None where descriptor 1 was closed: nobody wants the output.
    if sys.stdout is None:
        return
    with _named_output:
        if hasattr(sys.stdout, "buffer"):
            _buffered(sys.stdout.buffer).write(data)
        else:
            # A StringIO that a caller of main() put there.
            sys.stdout.write(data.decode(errors="backslashreplace"))


def flush() -> None:
    """Hand what is buffered to the other side of standard output."""
    if sys.stdout is not None:
        with _named_output:
            _flush()


def _flush() -> None:
    if hasattr(sys.stdout, "buffer"):
        _buffered(sys.stdout.buffer).flush()
    # What argparse prints goes through the text layer above.
    sys.stdout.flush()


def write_through(data: bytes) -> None:
    """Write all bytes to descriptor 1 now, past the buffer; wait where the other side is slow."""
    view = memoryview(data)
    with _named_output:
        while view:
            try:
                view = view[os.write(STDOUT, view) :]
            except BlockingIOError:
                # The descriptor is shared with somebody who made it non-blocking.
                select.select([], [STDOUT], [])


def settle() -> None:
    """Make sure that the interpreter's own flush at exit has nothing left to complain about."""
    if sys.stdout is None:
        return
    try:
        _flush()
    except OSError:
        # The buffer still holds bytes that nobody will take; they go to /dev/null at exit.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, STDOUT)
        os.close(null)
