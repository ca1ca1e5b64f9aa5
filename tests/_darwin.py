"""The table that imitates macOS (csrc/fault_darwin.c), by the names of its calls."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pydurable._core import ffi, lib

CALLS: dict[str, int] = {
    "openat": lib.PD_DARWIN_OPENAT,
    "close": lib.PD_DARWIN_CLOSE,
    "fsync": lib.PD_DARWIN_FSYNC,
    "F_FULLFSYNC": lib.PD_DARWIN_FULLFSYNC,
    "F_BARRIERFSYNC": lib.PD_DARWIN_BARRIERFSYNC,
    "F_NOCACHE": lib.PD_DARWIN_NOCACHE,
    "F_RDAHEAD": lib.PD_DARWIN_RDAHEAD,
    "F_PREALLOCATE F_ALLOCATECONTIG": lib.PD_DARWIN_PREALLOCATE_CONTIGUOUS,
    "F_PREALLOCATE F_ALLOCATEALL": lib.PD_DARWIN_PREALLOCATE_ALL,
    "ftruncate": lib.PD_DARWIN_FTRUNCATE,
    "renameatx_np RENAME_EXCL": lib.PD_DARWIN_RENAME_EXCL,
}


class Darwin:
    """What is called in the place of macOS's own calls, and which of them are refused."""

    def refuse(self, call: str, errno: int) -> None:
        """The call does nothing and reports ``errno`` from now on; 0 ends that."""
        lib.pd_darwin_refuse(CALLS[call], errno)

    def calls(self) -> list[str]:
        """The calls since the last time, in order; sizes follow the name of a call that has one."""
        out = ffi.new("char[]", 1 << 16)
        size = lib.pd_darwin_take_notes(out, len(out))
        return ffi.buffer(out, size)[:].decode().splitlines()


@contextmanager
def imitated() -> Iterator[Darwin]:
    """Decide as on macOS in the block; no log may be open at either end."""
    lib.pd_darwin_imitate(True)
    try:
        yield Darwin()
    finally:
        lib.pd_darwin_imitate(False)
