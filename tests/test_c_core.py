"""The C core without Python: tests/c compiled plainly and under the sanitizers."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SUITES = ["crc32c", "batch", "memory", "io", "recover", "stress", "darwin", "async"]
SUITES += ["bell", "turns"]
STRICT = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wmissing-prototypes"]
FLAGS = {
    "plain": ["-O2", "-Werror"],
    "address": ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    "thread": ["-O1", "-g", "-fsanitize=thread"],
}

Build = Callable[[str], Path]


def _compile(flags: list[str], sources: list[Path], out: Path) -> subprocess.CompletedProcess[str]:
    compiler = os.environ.get("CC") or shutil.which("cc")
    if not compiler:
        pytest.skip("no C compiler called cc")
    include = [f"-I{ROOT / 'csrc'}", f"-I{ROOT / 'tests' / 'c'}"]
    command = [*compiler.split(), *flags, *include, *map(str, sources), "-pthread", "-o", str(out)]
    return subprocess.run(command, capture_output=True, text=True)


def _require_sanitizer(name: str, folder: Path) -> None:
    """Skip unless an empty program can be compiled with the sanitizer and run."""
    source, program = folder / f"empty-{name}.c", folder / f"empty-{name}"
    source.write_text("int main(void)\n{\n    return 0;\n}\n")
    compiled = _compile(FLAGS[name], [source], program)
    if compiled.returncode:
        pytest.skip(f"the compiler has no {name} sanitizer: {compiled.stderr.strip()[-200:]}")
    if subprocess.run([program], capture_output=True).returncode:
        pytest.skip(f"programs with the {name} sanitizer do not run here")


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Build:
    """Compile the C tests in one of the ways of FLAGS, once for all of xdist's workers."""
    base = tmp_path_factory.getbasetemp()
    folder = base if worker_id == "master" else base.parent

    def built(way: str) -> Path:
        program = folder / f"c-tests-{way}"
        with (folder / f"c-tests-{way}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if way != "plain":
                _require_sanitizer(way, folder)
            if not program.exists():
                sources = [*(ROOT / "csrc").glob("*.c"), *(ROOT / "tests" / "c").glob("*.c")]
                compiled = _compile([*STRICT, *FLAGS[way]], sorted(sources), program)
                assert compiled.returncode == 0, compiled.stderr
        return program

    return built


def _run(program: Path, suite: str, folder: Path) -> None:
    environment = {**os.environ, "TSAN_OPTIONS": "halt_on_error=1 second_deadlock_stack=1"}
    done = subprocess.run(
        [program, suite, folder], capture_output=True, text=True, timeout=300, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("suite", SUITES)
def test_plain(build: Build, suite: str, tmp_path: Path) -> None:
    """The C tests pass in a build without a warning."""
    _run(build("plain"), suite, tmp_path)


@pytest.mark.guarantee("G14")
@pytest.mark.long
@pytest.mark.parametrize("suite", SUITES)
def test_address_and_undefined_behaviour(build: Build, suite: str, tmp_path: Path) -> None:
    """Nothing reads or writes out of bounds, leaks, or relies on undefined behaviour."""
    _run(build("address"), suite, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("suite", SUITES)
def test_threads(build: Build, suite: str, tmp_path: Path) -> None:
    """No two threads touch the same data unless something orders them."""
    _run(build("thread"), suite, tmp_path)


def test_a_failing_claim_fails(build: Build, tmp_path: Path) -> None:
    """The harness itself can fail: an unknown suite is no success."""
    done = subprocess.run([build("plain"), "no such suite", tmp_path], capture_output=True)
    assert done.returncode == 2


@pytest.mark.long
def test_a_crowd_that_is_left_behind_is_caught(tmp_path: Path) -> None:
    """Threads are woken in portions; where the next portion never is, the test of it fails."""
    wait = ROOT / "csrc" / "wait.c"
    goes_on = "        count = release_some(&log->slots[(seq + i) % PD_SLOTS], count);\n"
    assert wait.read_text().count(goes_on) == 1, "wait.c has changed: bring this test up to date"
    broken, program, scratch = tmp_path / "wait.c", tmp_path / "c-tests", tmp_path / "scratch"
    broken.write_text(wait.read_text().replace(goes_on, "        return;\n"))
    core = [source for source in (ROOT / "csrc").glob("*.c") if source != wait]
    compiled = _compile(["-std=c11"], [broken, *core, *(ROOT / "tests" / "c").glob("*.c")], program)
    assert compiled.returncode == 0, compiled.stderr
    scratch.mkdir()
    done = subprocess.run([program, "turns", scratch], capture_output=True, text=True, timeout=300)
    assert "not so: pd_sys_now_ns() - begun < patience_ns" in done.stderr
