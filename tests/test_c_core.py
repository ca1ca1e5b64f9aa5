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
SUITES += ["bell", "turns", "hold", "sync"]
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


BROKEN = {
    "a ring that nobody expects goes on for ever": (
        "async",
        "async.c",
        "    if (!(async->oldest && async->oldest->finished)) {\n",
        "    if (async->rung && !(async->oldest && async->oldest->finished)) {\n",
        "poll(&bell, 1, 0) is 1, 0 is 0",
    ),
    "a ring is over with the first result": (
        "async",
        "async.c",
        "    if (!(async->oldest && async->oldest->finished)) {\n",
        "    if (true) {\n",
        "poll(&bell, 1, 0) is 0, 1 is 1",
    ),
    "nobody wakes the next portion": (
        "turns",
        "wait.c",
        "        count = release_some(&log->slots[(seq + i) % PD_SLOTS], count);\n",
        "        return;\n",
        "not so: pd_sys_now_ns() - begun < patience_ns",
    ),
    "the last to go looks at its own batch only": (
        "turns",
        "wait.c",
        "(seq + i) % PD_SLOTS",
        "seq % PD_SLOTS",
        "not so: pd_sys_now_ns() - begun < patience_ns",
    ),
    "a hold that ends between two looks is not watched": (
        "hold",
        "wait.c",
        "hold_ns && pd_hold_watch(log, seq)",
        "hold_ns && pd_hold_lasts_ns(log) && pd_hold_watch(log, seq)",
        "not so: pd_sys_now_ns() - begun < patience_ns",
    ),
    "nothing is ever held": (
        "hold",
        "hold.c",
        "hold->until_ns = hold->armed ? now + hold->worth_ns : 0;",
        "hold->until_ns = 0;",
        "not so: together",
    ),
    "trust is never lost": (
        "hold",
        "hold.c",
        "hold->trust > MISS ? hold->trust - MISS : 0",
        "hold->trust",
        "pd_hold_lasts_ns(log) is",
    ),
    "a second lane is led for whoever comes": (
        "hold",
        "group.c",
        "pd_group_filling(log)->callers * 2 >= log->crowd);",
        "pd_group_filling(log)->callers > 0);",
        "is_led_with(1) is 1, alone is 0",
    ),
    "who commits alone waits for others": (
        "hold",
        "hold.c",
        "    if (log->target == PD_TARGET_EACH)\n        return 1;\n",
        "",
        "shared->crowd is",
    ),
    "who is still under way is not counted": (
        "hold",
        "hold.c",
        "        sent += log->slots[seq % PD_SLOTS].callers;\n",
        "        break;\n",
        "shared->crowd is",
    ),
    "no segment is asked whether its syncs take turns": (
        "sync",
        "segment.c",
        "        files->turns = pd_sys_has_turns(files->sync);\n",
        "",
        "not so: took >= syncs",
    ),
    "no file is asked whether its syncs take turns": (
        "sync",
        "file.c",
        "    files->turns = pd_sys_has_turns(files->sync);\n",
        "",
        "not so: took >= syncs",
    ),
    "a write that syncs takes no turn": (
        "sync",
        "io.c",
        "take_turn(fd, turns);\n    const int rc = pd_io_write_counted",
        "take_turn(fd, false && turns);\n    const int rc = pd_io_write_counted",
        "not so: took >= syncs",
    ),
    "a sync beside the batches takes no turn": (
        "sync",
        "sync.c",
        "pd_io_sync_often(fd, log->file_sync, turns)",
        "pd_io_sync_often(fd, log->file_sync, false && turns)",
        "not so: took >= syncs",
    ),
    "a sync is held as a commit is": (
        "hold",
        "wait.c",
        "    bool held;\n    pd_hold_end(log);\n",
        "    bool held;\n",
        "not so: at_once > 0",
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_wait_is_caught(case: str, tmp_path: Path) -> None:
    """Where a thread is left behind, or held for nobody, or leads for too few, where a loop is not
    told, or told for ever, or where a sync takes no turn, the tests of it fail."""
    suite, name, right, wrong, says = BROKEN[case]
    source = ROOT / "csrc" / name
    text = source.read_text()
    assert text.count(right) == 1, f"{name} has changed: bring this test up to date"
    broken, program, scratch = tmp_path / name, tmp_path / "c-tests", tmp_path / "scratch"
    broken.write_text(text.replace(right, wrong))
    core = [other for other in (ROOT / "csrc").glob("*.c") if other != source]
    compiled = _compile(["-std=c11"], [broken, *core, *(ROOT / "tests" / "c").glob("*.c")], program)
    assert compiled.returncode == 0, compiled.stderr
    scratch.mkdir()
    done = subprocess.run([program, suite, scratch], capture_output=True, text=True, timeout=300)
    assert says in done.stderr
