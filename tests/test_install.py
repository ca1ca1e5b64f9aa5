"""The sdist, and a wheel built from it, on every Python at hand."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ["3.10", "3.11", "3.12", "3.13"]
PROGRAM = """
import pydurable, pydurable_bench.command, pydurable_bench.picture
with pydurable.Log("log", segment_bytes=1 << 20) as log:
    assert log.commit(b"from the wheel") == 1
assert [tuple(record) for record in pydurable.read_log("log")] == [(1, b"from the wheel")]
"""

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


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    tree = folder / "tree"
    ignored = shutil.ignore_patterns(".git", ".venv", "build", "*.so", "*.egg-info", "results")
    shutil.copytree(ROOT, tree, ignore=ignored)
    program = "import setuptools.build_meta as b; print(b.build_sdist('..'))"
    subprocess.run([sys.executable, "-c", program], cwd=tree, check=True, capture_output=True)
    return next(folder.glob("*.tar.gz"))


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
    subprocess.run([str(programs / "python"), "-c", PROGRAM], cwd=elsewhere, check=True)


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
    assert "no-such-compiler" in done.stdout + done.stderr
    imported = subprocess.run(
        [str(programs / "python"), "-c", "import pydurable"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert imported.returncode != 0
