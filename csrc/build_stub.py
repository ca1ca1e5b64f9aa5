"""Write pydurable/_core.pyi, the stub of the compiled core: ``python csrc/build_stub.py``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydurable._core import ffi, lib

TARGET = Path(__file__).resolve().parent.parent / "pydurable" / "_core.pyi"
HEAD = '''\
"""The compiled core; written by csrc/build_stub.py from what is compiled."""

from typing import Any

ffi: Any

class _Lib:
'''
NUMBERS = {"_Bool": "bool", "float": "float", "double": "float", "void": "None"}


def python_type(ctype: Any) -> str:
    """What a C type is in Python: pointers and structures are cffi's own."""
    if ctype.kind == "primitive":
        return NUMBERS.get(ctype.cname, "int")
    return NUMBERS.get(ctype.cname, "int" if ctype.kind == "enum" else "Any")


def lines() -> Iterator[str]:
    """One declaration for each name, the constants first."""
    functions = [name for name in dir(lib) if not isinstance(getattr(lib, name), int)]
    for name in dir(lib):
        if name not in functions:
            yield f"    {name}: int\n"
    for name in functions:
        kind = ffi.typeof(getattr(lib, name))
        arguments = [f"a{i}: {python_type(arg)}" for i, arg in enumerate(kind.args)]
        parameters = ", ".join(["self", *arguments])
        result = python_type(kind.result)
        line = f"    def {name}({parameters}) -> {result}: ...\n"
        if len(line) > 101:
            rows = "".join(f"        {each},\n" for each in ["self", *arguments])
            line = f"    def {name}(\n{rows}    ) -> {result}: ...\n"
        yield line


def stub() -> str:
    """The whole file."""
    return HEAD + "".join(lines()) + "\nlib: _Lib\n"


if __name__ == "__main__":
    TARGET.write_text(stub(), encoding="utf-8")
    print(f"written: {TARGET}", file=sys.stderr)
