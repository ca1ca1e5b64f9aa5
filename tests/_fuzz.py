"""Building what replays the fuzzers' corpus, also broken on purpose, and asking for verdicts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FUZZ = ROOT / "tests" / "fuzz"
CORPUS = FUZZ / "corpus"
sys.path.insert(0, str(FUZZ))

HANG_S = 60

SANITIZED = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
PLAIN = ["-O1"]
TARGETS = {
    "recovery": ["replay.c", "fuzz_recovery.c", "program.c", "memory_disk.c"],
    "batch": ["replay.c", "fuzz_batch.c", "memory_disk.c"],
}


class Builder:
    """Compiles the core once in each way, and again only what a mutant changes."""

    def __init__(self, folder: Path, flags: list[str]) -> None:
        compiler = os.environ.get("CC") or shutil.which("cc")
        if not compiler:
            pytest.skip("no C compiler called cc")
        self._command = [*compiler.split(), "-std=c11", *flags, f"-I{FUZZ}", "-pthread"]
        self._folder = folder
        folder.mkdir()
        self._core = self._compile_all(sorted((ROOT / "csrc").glob("*.c")))

    def _compile(self, source: Path) -> Path:
        done = self._folder / f"{source.parent.name}-{source.stem}.o"
        command = [*self._command, f"-I{ROOT / 'csrc'}", "-c", str(source), "-o", str(done)]
        tried = subprocess.run(command, capture_output=True, text=True)
        if "unrecognized" in tried.stderr or "unsupported" in tried.stderr:
            pytest.skip(f"the compiler has no sanitizers: {tried.stderr[-200:]}")
        assert tried.returncode == 0, tried.stderr
        return done

    def _compile_all(self, sources: list[Path]) -> dict[str, Path]:
        with ThreadPoolExecutor(2) as pool:
            compiled = pool.map(self._compile, sources)
            return dict(zip((source.name for source in sources), compiled, strict=True))

    def program(self, target: str, changed: dict[str, str] | None = None) -> Path:
        """Link a target with the core, in which the texts of some files may be others."""
        objects = dict(self._core)
        name = target
        for file, text in (changed or {}).items():
            folder = self._folder / f"mutant{len(list(self._folder.iterdir()))}"
            folder.mkdir()
            (folder / file).write_text(text)
            objects[file] = self._compile(folder / file)
            name += folder.name
        objects |= self._compile_all([FUZZ / file for file in TARGETS[target]])
        program = self._folder / name
        link = [*self._command, *map(str, objects.values()), "-o", str(program)]
        linked = subprocess.run(link, capture_output=True, text=True)
        if linked.returncode and "san" in linked.stderr:
            pytest.skip(f"the sanitizers' libraries are missing: {linked.stderr[-200:]}")
        assert linked.returncode == 0, linked.stderr
        return program


def replay(
    program: Path, inputs: list[Path], dump: Path | None = None
) -> tuple[dict[str, str], str]:
    """The verdict on each input by its name, as far as the program came, and why it stopped."""
    where = ["-d", str(dump)] if dump else []
    command = [str(program), *where, *map(str, inputs)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S)
    except subprocess.TimeoutExpired:
        return {}, f"it hangs: more than {HANG_S} s"
    verdicts = dict(line.split("\t") for line in done.stdout.splitlines())
    stopped = done.stderr[-3000:] or f"exit code {done.returncode}" if done.returncode else ""
    return {Path(name).name: verdict for name, verdict in verdicts.items()}, stopped
