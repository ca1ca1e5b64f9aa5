"""The event loop's side of the C core: requests go in, results come out, nothing waits."""

from __future__ import annotations

import errno
import os
from array import array
from functools import partial
from typing import Any

from pydurable._core import ffi, lib
from pydurable._native import NativeLog, _exception
from pydurable.errors import ClosedError, ForkedError

_submit = lib.pd_async_submit
_take = lib.pd_async_take
_from_buffer = ffi.from_buffer


def _destroy(log: NativeLog, requests: Any) -> None:
    """End the threads before the memory goes; the reference keeps the log until then."""
    lib.pd_async_close(requests)
    lib.pd_async_free(requests)


class NativeAsync:
    """A ``struct pd_async``: what one event loop wants of one log."""

    __slots__ = ("__weakref__", "_log", "_requests", "_result", "descriptor")

    def __init__(self, log: NativeLog) -> None:
        self._log = log
        self._result = ffi.new("struct pd_result *")
        out = ffi.new("struct pd_async **")
        if lib.pd_async_open(log._log, out, ffi.addressof(self._result.error)) < 0:
            raise self.refusal()
        self._requests = ffi.gc(out[0], partial(_destroy, log))
        self.descriptor = int(lib.pd_async_fd(self._requests))
        """Readable when there is a result to take."""

    def submit(self, records: list[bytes], tail: int) -> None:
        """Hand over records as one batch."""
        data = b"".join(records)
        sizes = _from_buffer("uint32_t[]", array("I", map(len, records)))
        code = _submit(self._requests, data, len(data), sizes, len(records), tail)
        if code < 0:
            self._refuse(code)

    def sync(self, tail: int) -> None:
        """Ask for everything that was accepted before to be made durable."""
        code = lib.pd_async_sync(self._requests, tail)
        if code < 0:
            self._refuse(code)

    def take(self) -> int | None:
        """The last LSN of the oldest request, or -1 if it failed, or None if it goes on."""
        result = self._result
        if not _take(self._requests, result):
            return None
        return -1 if result.code < 0 else int(result.last_lsn)

    def refusal(self) -> Exception:
        """Why the request that was taken last has failed; a new exception each time."""
        return _exception(self._result.error, self._log._path)

    def close(self) -> None:
        """Wait for what was submitted and take nothing more; results can still be taken."""
        lib.pd_async_close(self._requests)

    def free(self) -> None:
        """Give back the descriptor, which nobody watches any more."""
        ffi.release(self._requests)

    def _refuse(self, code: int) -> None:
        if code == -errno.EBADF:
            raise ClosedError("it is closed")
        if code == -errno.ECHILD:
            raise ForkedError("it was opened by the parent of this process; open it anew")
        raise OSError(-code, os.strerror(-code), self._log._path)
