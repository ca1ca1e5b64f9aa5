"""Hand the cffi recipe to setuptools; everything else is declared in pyproject.toml.

Besides, two things that setuptools leaves out: errors that name the package to install, and an
sdist that depends on nothing but its content and SOURCE_DATE_EPOCH.
"""

from __future__ import annotations

import gzip
import os
import platform
import shutil
import sysconfig
import tarfile
from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext
from setuptools.command.sdist import sdist

# CPython with a GIL takes one stable-ABI wheel for every version from 3.10 on.  Free-threaded
# builds have no stable ABI yet, and PyPy never had one.
stable_abi = platform.python_implementation() == "CPython" and not sysconfig.get_config_var(
    "Py_GIL_DISABLED"
)

COMPILER = """
pydurable has a C core, and there is no C compiler called {name!r}.  Install one:
  Debian, Ubuntu: apt-get install gcc libc6-dev
  Fedora:         dnf install gcc
  Alpine:         apk add gcc musl-dev linux-headers
  macOS:          xcode-select --install
or name another one in the environment variable CC."""

HEADERS = """
pydurable has a C core, and Python.h is not in {folder}.  Install Python's headers:
  Debian, Ubuntu: apt-get install python3-dev
  Fedora:         dnf install python3-devel
  Alpine:         apk add python3-dev"""


class BuildCore(build_ext):
    """Look for what building takes before the compiler is called."""

    def run(self) -> None:
        named = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()
        # The compiler may stand behind a launcher (ccache gcc) or an assignment: the first will do.
        if not shutil.which(named[0]):
            raise SystemExit(COMPILER.format(name=named[0]))
        folders = [Path(sysconfig.get_path(name)) for name in ("include", "platinclude")]
        if not any((folder / "Python.h").exists() for folder in folders):
            raise SystemExit(HEADERS.format(folder=folders[0]))
        super().run()


class ReproducibleSdist(sdist):
    """Where SOURCE_DATE_EPOCH is set, equal sources make an equal archive, whoever packs them."""

    def make_archive(self, base_name: str, format: str, *rest: object, **named: object) -> str:
        path = super().make_archive(base_name, format, *rest, **named)
        epoch = os.environ.get("SOURCE_DATE_EPOCH")
        if epoch is not None and path.endswith(".tar.gz"):
            repack(Path(path), int(epoch))
        return path


def repack(path: Path, epoch: int) -> None:
    """Write the archive anew: members by name, and no time, owner or umask of this machine."""
    packed = path.with_suffix(".anew")
    with (
        tarfile.open(path) as old,
        packed.open("wb") as raw,
        gzip.GzipFile("", "wb", fileobj=raw, mtime=epoch) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in sorted(old.getmembers(), key=lambda member: member.name):
            member.mtime, member.pax_headers = epoch, {}
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            new.addfile(member, old.extractfile(member) if member.isfile() else None)
    packed.replace(path)


setup(
    cffi_modules=["csrc/build_core.py:ffibuilder"],
    cmdclass={"build_ext": BuildCore, "sdist": ReproducibleSdist},
    options={"bdist_wheel": {"py_limited_api": "cp310"}} if stable_abi else {},
)
