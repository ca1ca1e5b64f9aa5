"""Other platforms from here: macOS compiled and its calls looked up in the object code; Linux on
arm64 and with musl compiled and run.

Needs ``pip install -e '.[cross]'``, and qemu-user for arm64.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from _cross import ROOT, STRICT, Call, Compiler, calls, python_headers, sources, undefined
from test_c_core import SUITES

pytest.importorskip("ziglang", reason="no cross compiler: pip install -e '.[cross]'")

pytestmark = pytest.mark.long

LINUX = ["aarch64-linux-gnu.2.28", "x86_64-linux-musl"]
MACOS = ["aarch64-macos", "x86_64-macos"]

# What <fcntl.h> and <stdio.h> of macOS say, written down a second time on purpose.
FCNTL = {
    "_real_preallocate": 42,  # F_PREALLOCATE
    "_real_rdahead": 45,  # F_RDAHEAD
    "_real_nocache": 48,  # F_NOCACHE
    "_real_fullfsync": 51,  # F_FULLFSYNC
    "_real_barrierfsync": 85,  # F_BARRIERFSYNC
}
RENAME_EXCL = 4

Compilers = Callable[[str], Compiler]


@pytest.fixture(scope="module")
def compiler(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Compilers:
    """The compiler for a target; xdist's workers share what it has built of the C library."""
    base = tmp_path_factory.getbasetemp()
    cache = (base if worker_id == "master" else base.parent) / "cross-cache"
    headers = python_headers(tmp_path_factory.mktemp("cross") / "python")
    return lambda target: Compiler(target, cache, headers)


def runner(target: str) -> list[str]:
    """What runs a program for the target here."""
    if "musl" in target:
        if platform.machine() != "x86_64" or not Path("/lib/ld-musl-x86_64.so.1").exists():
            pytest.skip("no musl for x86_64 here: apt-get install musl")
        return []
    if platform.machine() == "aarch64":
        return []
    emulator = shutil.which("qemu-aarch64")
    libraries = Path("/usr/aarch64-linux-gnu")
    if not emulator or not libraries.exists():
        pytest.skip("no emulator for arm64: apt-get install qemu-user libc6-arm64-cross")
    return [emulator, "-L", str(libraries)]


def commands(compiler: Compiler, source: Path, folder: Path) -> dict[str, int | None]:
    """Which fcntl command each function of the compiled file passes on."""
    out = folder / "darwin.o"
    compiler(*STRICT, "-c", source, "-o", out)
    return {c.function: c.argument for c in calls(out, position=2) if c.callee == "_fcntl"}


@pytest.mark.parametrize("target", MACOS)
def test_macos_module(compiler: Compilers, tmp_path: Path, target: str) -> None:
    """The core and the generated module compile for macOS without a warning, and link."""
    pytest.importorskip("lief")
    module = compiler(target).module(tmp_path, "-Wl,-undefined,dynamic_lookup")
    names = undefined(module)
    assert {"_fcntl", "_renameatx_np", "_fcopyfile"} <= names["system"]
    assert all(name.startswith(("_Py", "__Py")) for name in names["elsewhere"])
    # Neither is what it is on Linux: see csrc/sys_posix_darwin.c.
    assert not names["system"] & {
        "_fdatasync",
        "_fallocate",
        "_posix_fallocate",
        "_eventfd",
        "_syscall",
    }


@pytest.mark.parametrize("target", MACOS)
def test_macos_calls(compiler: Compilers, tmp_path: Path, target: str) -> None:
    """In the object code each call carries the number that it has on macOS."""
    pytest.importorskip("lief")
    pytest.importorskip("capstone")
    source = ROOT / "csrc" / "sys_posix_darwin.c"
    assert commands(compiler(target), source, tmp_path) == FCNTL
    exclusive = Call("_real_rename_excl", "_renameatx_np", RENAME_EXCL)
    assert exclusive in calls(tmp_path / "darwin.o", position=5)


@pytest.mark.parametrize("target", MACOS)
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("fcntl(fd, F_FULLFSYNC)", "fcntl(fd, F_BARRIERFSYNC)"),
        ("fcntl(fd, F_FULLFSYNC)", "fsync(fd)"),
        ("fcntl(fd, F_NOCACHE, 1)", "fcntl(fd, F_NOCACHE + 1, 1)"),
        ("F_PREALLOCATE, &", "F_PREALLOCATE + 1, &"),
    ],
)
def test_a_wrong_call_is_found(
    compiler: Compilers, tmp_path: Path, target: str, right: str, wrong: str
) -> None:
    """The look at the object code finds a constant that is off, and a call that is another."""
    pytest.importorskip("lief")
    pytest.importorskip("capstone")
    text = (ROOT / "csrc" / "sys_posix_darwin.c").read_text()
    assert text.count(right) == 1
    source = tmp_path / "sys_posix_darwin.c"
    source.write_text(text.replace(right, wrong))
    assert commands(compiler(target), source, tmp_path) != FCNTL


@pytest.mark.parametrize("target", LINUX)
def test_linux_module(compiler: Compilers, tmp_path: Path, target: str) -> None:
    """The same for Linux: arm64 with the glibc of the manylinux_2_28 wheels, x86_64 with musl."""
    assert compiler(target).module(tmp_path).stat().st_size > 0


@pytest.mark.parametrize("target", LINUX)
def test_c_suites(compiler: Compilers, tmp_path: Path, target: str) -> None:
    """The C tests pass with musl here, and on arm64, emulated."""
    program = tmp_path / "c-tests"
    include = f"-I{ROOT / 'tests' / 'c'}"
    flags = [flag for flag in STRICT if flag != "-Wconversion"]
    # Or zig builds all of musl for the sake of a static program.
    flags += ["-dynamic"] if "musl" in target else []
    compiler(target)(*flags, include, *sources("csrc", "tests/c"), "-o", program)
    for suite in SUITES:
        place = tmp_path / suite
        place.mkdir()
        done = subprocess.run(
            [*runner(target), program, suite, place], capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, f"{suite} on {target}:\n{done.stdout}{done.stderr}"
