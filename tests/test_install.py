"""The sdist, and a wheel built from it, on every Python at hand."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]
PROGRAM = ROOT / "tests" / "wheel_check.py"

pytestmark = pytest.mark.long


def find(version: str) -> str | None:
    """An interpreter of that version, from PATH or beside this one under pyenv."""
    found = shutil.which(f"python{version}")
    candidates = [found] if found else []
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    base = Path(sys.base_prefix).parent
    for folder in {versions, base}:
        candidates += [str(path) for path in sorted(folder.glob(f"{version}.*/bin/python3"))]
    for candidate in candidates:
        asked = subprocess.run(
            [candidate, "-c", "import sys, venv; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=False,
        )
        if asked.stdout.strip() == version:
            return candidate
    return None


def pack(tree: Path, folder: Path, **environment: str) -> Path:
    """Make the sdist of a copy of the project."""
    ignored = shutil.ignore_patterns(".git", ".venv", "build", "*.so", "*.egg-info", "results")
    shutil.copytree(ROOT, tree, ignore=ignored)
    program = "import sys, setuptools.build_meta as b; print(b.build_sdist(sys.argv[1]))"
    subprocess.run(
        [sys.executable, "-c", program, str(folder)],
        cwd=tree,
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
    )
    return next(folder.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    return pack(folder / "tree", folder)


def venv_of(python: str, folder: Path) -> Path:
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    return folder / "bin"


@pytest.mark.parametrize("version", VERSIONS)
def test_wheel_from_the_sdist(version: str, sdist: Path, tmp_path: Path) -> None:
    """In an empty folder the sdist makes a wheel that installs and works elsewhere."""
    python = find(version)
    if python is None:
        pytest.skip(f"no Python {version} here")
    empty, elsewhere = tmp_path / "empty", tmp_path / "elsewhere"
    empty.mkdir()
    elsewhere.mkdir()
    programs = venv_of(python, tmp_path / "venv")
    pip = [str(programs / "pip"), "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "-q", "--no-deps", "-w", ".", str(sdist)], cwd=empty, check=True)
    wheel = next(empty.glob("pydurable-*.whl"))
    assert "cp310-abi3" in wheel.name
    subprocess.run([*pip, "install", "-q", str(wheel)], cwd=elsewhere, check=True)
    subprocess.run([str(programs / "python"), str(PROGRAM)], cwd=elsewhere, check=True)


def test_without_a_compiler(sdist: Path, tmp_path: Path) -> None:
    """The build fails and says which compiler it missed; no package is left behind."""
    programs = venv_of(sys.executable, tmp_path / "venv")
    done = subprocess.run(
        [str(programs / "pip"), "install", str(sdist)],
        env={**os.environ, "CC": "no-such-compiler"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "no C compiler called 'no-such-compiler'" in done.stdout + done.stderr
    assert "apt-get install gcc" in done.stdout + done.stderr
    imported = subprocess.run(
        [str(programs / "python"), "-c", "import pydurable"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert imported.returncode != 0


def test_the_sdist_is_reproducible(tmp_path: Path) -> None:
    """Under SOURCE_DATE_EPOCH equal sources make the same bytes, whenever and under whatever umask;
    another epoch makes others."""
    packed = []
    for name, mask, epoch in [("a", 0o022, 1), ("b", 0o077, 1), ("c", 0o022, 2)]:
        before = os.umask(mask)
        try:
            (tmp_path / name).mkdir()
            path = pack(tmp_path / name / "tree", tmp_path / name, SOURCE_DATE_EPOCH=str(epoch))
        finally:
            os.umask(before)
        packed.append(path.read_bytes())
    assert packed[0] == packed[1]
    assert packed[0] != packed[2]


def test_pip_install_in_an_empty_environment(sdist: Path, tmp_path: Path) -> None:
    """With nothing in the environment but a path and a new home, pip makes it from the sdist."""
    programs = venv_of(sys.executable, tmp_path / "venv")
    home = tmp_path / "home"
    home.mkdir()
    # How pip reaches its index is the machine's business.
    network = {n: v for n, v in os.environ.items() if n.startswith("PIP_") or "proxy" in n.lower()}
    environment = {"HOME": str(home), "PATH": os.defpath, **network}
    for command in (["-m", "pip", "install", "-q", str(sdist)], [str(PROGRAM)]):
        subprocess.run([str(programs / "python"), *command], cwd=home, env=environment, check=True)


def test_without_the_headers(tmp_path: Path) -> None:
    """A Python without its headers is an error that names the package which has them."""
    program = (
        "import runpy, sys, sysconfig\n"
        "get_path = sysconfig.get_path\n"
        "sysconfig.get_path = lambda name, *rest, **named: (\n"
        "    '/nowhere' if 'include' in name else get_path(name, *rest, **named))\n"
        "sys.argv[1:] = ['build_ext', '--build-temp', sys.argv[1], '--build-lib', sys.argv[1]]\n"
        "runpy.run_path('setup.py', run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "Python.h is not in /nowhere" in done.stderr
    assert "apt-get install python3-dev" in done.stderr
