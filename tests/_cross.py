"""Compiling for other platforms with the C compiler of the ziglang package, and reading objects."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
HEADERS = ROOT / "tests" / "cross_headers"
STRICT = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow"]
STRICT += ["-Wmissing-prototypes", "-Werror", "-fvisibility=hidden", "-pthread"]

# One that has the same value in the headers of the local Python and on each of the targets, or the
# module would misread the interpreter's structures.
SIZES = """
#include <Python.h>
#include <wchar.h>
_Static_assert(SIZEOF_SHORT == sizeof(short), "short");
_Static_assert(SIZEOF_INT == sizeof(int), "int");
_Static_assert(SIZEOF_LONG == sizeof(long), "long");
_Static_assert(SIZEOF_LONG_LONG == sizeof(long long), "long long");
_Static_assert(SIZEOF_VOID_P == sizeof(void *), "pointers");
_Static_assert(SIZEOF_SIZE_T == sizeof(size_t), "size_t");
_Static_assert(SIZEOF_TIME_T == sizeof(time_t), "time_t");
_Static_assert(SIZEOF_WCHAR_T == sizeof(wchar_t), "wchar_t");
_Static_assert(sizeof(Py_ssize_t) == 8, "Py_ssize_t");
int pd_sizes_agree = 1;
"""


def sources(*folders: str) -> list[str]:
    """The C files of those folders, without what cffi writes."""
    found = (path for folder in folders for path in (ROOT / folder).glob("*.c"))
    return sorted(str(path) for path in found if path.name != "_core.c")


class Compiler:
    """``zig cc`` for one target; ``python`` is a folder of Python headers."""

    def __init__(self, target: str, cache: Path, python: Path) -> None:
        self.target = target
        self._python = python
        self._environment = {
            **os.environ,
            "ZIG_GLOBAL_CACHE_DIR": str(cache),
            "ZIG_LOCAL_CACHE_DIR": str(cache),
        }

    def __call__(self, *arguments: str | Path) -> None:
        """Compile; what the compiler says is the message of a failure."""
        include = [f"-I{ROOT / 'csrc'}", f"-I{self._python}"]
        if "macos" in self.target:
            include.append(f"-I{HEADERS}")
        command = [sys.executable, "-m", "ziglang", "cc", "-target", self.target, *include]
        done = subprocess.run(
            [*command, *map(str, arguments)],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, f"{self.target}:\n{done.stdout[-4000:]}"

    def module(self, folder: Path, *options: str) -> Path:
        """Compile csrc strictly, and what knows Python without a warning; link the modules."""
        generated, out = folder / "_core.c", folder / "_core.abi3.so"
        sizes = folder / "sizes.c"
        recipe = runpy.run_path(str(ROOT / "csrc" / "build_core.py"))
        recipe["ffibuilder"].emit_c_code(str(generated))
        sizes.write_text(SIZES)
        objects = []
        for source in (generated, sizes, *map(Path, sources("csrc/cpython"))):
            objects.append(str(folder / source.with_suffix(".o").name))
            limit = [] if source.parent.name == "cpython" else ["-DPy_LIMITED_API=0x030a0000"]
            self("-O2", "-fPIC", "-Wall", "-Werror", *limit, "-c", source, "-o", objects[-1])
        self(*STRICT, "-fPIC", "-shared", *options, *sources("csrc"), *objects, "-o", out)
        return out


def python_headers(folder: Path) -> Path:
    """The headers of this Python with its pyconfig.h in place.

    On Debian the pyconfig.h beside them picks one by the target's architecture, and refuses others.
    """
    shutil.copytree(sysconfig.get_path("include"), folder)
    shutil.copy2(sysconfig.get_config_h_filename(), folder / "pyconfig.h")
    return folder


@dataclass(frozen=True)
class Call:
    """A call of a function of the system, with what the given argument register held."""

    function: str
    callee: str
    argument: int | None


# Where a second and a fifth argument go, by the calling convention.
_REGISTERS = {
    "ARM64": {2: ("w1", "x1"), 5: ("w4", "x4")},
    "X86_64": {2: ("esi", "rsi"), 5: ("r8d", "r8")},
}


def calls(path: Path, position: int) -> set[Call]:
    """Disassemble a Mach-O object: each call of another function, and its argument at position."""
    import capstone
    import lief

    binary: Any = lief.MachO.parse(str(path)).at(0)
    cpu = binary.header.cpu_type.name
    text = binary.get_section("__text")
    targets = {r.address - text.offset: r.symbol.name for r in text.relocations if r.has_symbol}
    starts = {
        s.value: s.name for s in binary.symbols if s.name.startswith("_") and s.raw_type & 0xE
    }
    mode = (
        (capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM)
        if cpu == "ARM64"
        else (capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    )
    found: set[Call] = set()
    function, argument = "", None
    for step in capstone.Cs(*mode).disasm(bytes(text.content), text.virtual_address):
        if step.address in starts:
            function, argument = starts[step.address], None
        first, _, rest = step.op_str.partition(", ")
        if first in _REGISTERS[cpu][position]:
            value = rest.removeprefix("#")
            argument = int(value, 0) if value[:1].isdigit() else None
        # The place that the linker fills in: the whole instruction, or its last four bytes.
        place = step.address - text.virtual_address + (0 if cpu == "ARM64" else step.size - 4)
        if step.mnemonic in ("bl", "b", "call", "jmp") and place in targets:
            found.add(Call(function, targets[place].partition("$")[0], argument))
            argument = None
    return found


def undefined(path: Path) -> dict[str, set[str]]:
    """What a Mach-O module takes from the system, and what it leaves to whoever loads it."""
    import lief

    binary: Any = lief.MachO.parse(str(path)).at(0)
    names: dict[str, set[str]] = {"system": set(), "elsewhere": set()}
    for binding in binary.bindings:
        place = "system" if binding.library_ordinal > 0 else "elsewhere"
        names[place].add(binding.symbol.name.partition("$")[0])
    return names
