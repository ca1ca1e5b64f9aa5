"""How a log and a file end: closed once, by its user, the garbage collector or the interpreter."""

from __future__ import annotations

import atexit
import contextlib
import os
import warnings
import weakref
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from pydurable.errors import ClosedError, DurableError

if TYPE_CHECKING:
    from pydurable._native import NativeLog
    from pydurable._ring import AppendRing, NoRing

__all__ = ["Ending"]

Closable = TypeVar("Closable", bound="Ending")

_open: weakref.WeakSet[Ending] = weakref.WeakSet()


class Ending:
    """What is open from ``_begin`` on and has to be closed, whatever happens."""

    _native: NativeLog
    _ring: AppendRing | NoRing
    _pid: int
    _closed = True
    """Until there is something to close, which may never be: a constructor can raise."""
    _noun: str
    """What it is, for errors."""

    def _begin(self) -> None:
        self._closed = False
        _open.add(self)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        _open.discard(self)
        if os.getpid() != self._pid:
            return  # nothing here is ours, and the locks may be held by threads of the parent
        try:
            self._close_loops()
            self._native.close(self._ring.end())
        finally:
            self._ring.close()

    def __enter__(self: Closable) -> Closable:
        if self._closed:
            raise self._closed_error()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except (DurableError, OSError):
            # The error on its way out is the first one; this would only hide it.
            if error is None:
                raise

    def __del__(self) -> None:
        if not self._closed:
            try:
                warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
            finally:
                self.close()

    def _closed_error(self) -> ClosedError:
        return ClosedError(f"the {self._noun} is closed")

    def _close_loops(self) -> None:
        raise NotImplementedError


@atexit.register
def _close_all() -> None:
    """Close what is still open, so that nothing that was appended is lost at exit."""
    with contextlib.ExitStack() as stack:
        # On its way out the stack closes each of them, also behind one that raises.
        for each in list(_open):
            stack.callback(each.close)
