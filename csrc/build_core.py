"""The cffi recipe: compile csrc into the module pydurable._core.

For CPython with its lock the same file holds a second module, pydurable._cpython.

The declarations come out of the headers themselves, between their two marker comments, so that a
signature which changes in C breaks the build instead of drifting away from Python's view of it.
"""

import platform
import sysconfig
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent
HEADERS = ("pydurable.h", "pydurable_append.h", "storage.h")
BEGIN = "/* cffi: begin */"
END = "/* cffi: end */"


def sliced(header: str) -> str:
    """Return the part of the header that lies between the two markers."""
    _, _, rest = header.partition(BEGIN)
    body, marker, _ = rest.partition(END)
    if not marker:
        raise ValueError("a header of csrc has lost its cffi markers")
    return body


def relative(pattern: str) -> list[str]:
    """Return the matching files of csrc as paths relative to the root of the project."""
    return sorted(f"csrc/{path.relative_to(HERE)}" for path in HERE.glob(pattern))


# What has the lock (GIL) has the stable ABI as well: free-threaded CPython and PyPy have neither.
has_lock = platform.python_implementation() == "CPython" and not sysconfig.get_config_var(
    "Py_GIL_DISABLED"
)

ffibuilder = FFI()
for header in HEADERS:
    ffibuilder.cdef(sliced((HERE / header).read_text(encoding="utf-8")))
ffibuilder.set_source(
    "pydurable._core",
    "\n".join(f'#include "{header}"' for header in HEADERS),
    sources=relative("*.c") + (relative("cpython/*.c") if has_lock else []),
    include_dirs=["csrc"],
    # Headers and this file: part of the sdist, and a change in them rebuilds the module.
    depends=[*relative("*.h"), *relative("cpython/*.h"), "csrc/build_core.py"],
    extra_compile_args=["-std=c11", "-O2", "-fvisibility=hidden", "-pthread"],
    extra_link_args=["-pthread"],
    # The core asserts its own invariants; a release build keeps them on purpose.
    undef_macros=["NDEBUG"],
    py_limited_api=has_lock,
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
