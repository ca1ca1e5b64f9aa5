"""What a type checker knows of the public names, and that the core's own types stay inside."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import pydurable
from pydurable._core import ffi, lib

PROGRAM = Path(__file__).parent / "typing" / "program.py"
PACKAGE = Path(pydurable.__file__).parent


def public_modules() -> Iterator[ModuleType]:
    """The package, and its modules whose names do not begin with an underscore."""
    yield pydurable
    for found in pkgutil.iter_modules([str(PACKAGE)], "pydurable."):
        if not found.name.rpartition(".")[2].startswith("_"):
            yield importlib.import_module(found.name)


def own_bases(cls: type) -> list[type]:
    """The class, and what it inherits from in this package."""
    return [base for base in cls.__mro__ if base.__module__.partition(".")[0] == "pydurable"]


def public_names() -> set[str]:
    """Every public name, and every public member of the classes among them."""
    names = set()
    for module in public_modules():
        for name in getattr(module, "__all__", ()):
            names.add(name)
            value = getattr(module, name)
            if isinstance(value, type):
                for base in own_bases(value):
                    own = {**vars(base), **vars(base).get("__annotations__", {})}
                    names |= {member for member in own if not member.startswith("_")}
    return names


def words(path: Path) -> set[str]:
    """The names, attributes and keywords that a program uses."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.alias):
            found.add(node.name)
        elif isinstance(node, ast.keyword) and node.arg:
            found.add(node.arg)
    return found


def test_the_program_uses_all_that_is_public():
    """A new name has to be used in tests/typing/program.py, or nobody checks its type."""
    assert public_names() - words(PROGRAM) == set()


def test_the_program_runs(tmp_path):
    """It is a program, not a list of names."""
    command = [sys.executable, str(PROGRAM), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def checked(tmp_path: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Check a copy of the program elsewhere, as a user of the installed package would."""
    copy = tmp_path / "program.py"
    shutil.copy(PROGRAM, copy)
    # An editable installation is found by a hook that type checkers do not run.
    (tmp_path / "pyrightconfig.json").write_text(
        f'{{"typeCheckingMode": "strict", "extraPaths": ["{PACKAGE.parent}"]}}'
    )
    return run_checker(copy, *command)


def run_checker(program: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a type checker on a program outside the source tree."""
    return subprocess.run(
        [sys.executable, "-m", *command, program.name],
        cwd=program.parent,
        env={**os.environ, "MYPYPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.long
def test_mypy_strict_has_nothing_to_say(tmp_path):
    """And it does see the types: a wrong use of a result is an error."""
    pytest.importorskip("mypy")
    done = checked(tmp_path, "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert mistaken(tmp_path, "mypy", "--strict") == ["operator"]


@pytest.mark.long
def test_pyright_has_nothing_to_say(tmp_path):
    """In strict mode; skipped where pyright cannot run, which takes Node and its own download."""
    pytest.importorskip("pyright")
    try:
        done = checked(tmp_path, "pyright")
    except subprocess.TimeoutExpired:
        pytest.skip("pyright does not come to an end here: it may be waiting for a download")
    if not re.search(r"\d+ errors?, \d+ warnings?", done.stdout):
        pytest.skip(f"pyright does not run here: {(done.stderr or done.stdout).strip()[-200:]}")
    assert done.returncode == 0, done.stdout
    assert mistaken(tmp_path, "pyright") == ["reportOperatorIssue"]


def mistaken(tmp_path: Path, *command: str) -> list[str]:
    """The names of the errors that a checker finds in a program with a mistake."""
    program = tmp_path / "mistaken.py"
    program.write_text('import pydurable\nprint(pydurable.Log("log").commit(b"") + "text")\n')
    done = run_checker(program, *command)
    return re.findall(r"error: .*[\[(]([\w-]+)[\])]$", done.stdout, re.MULTILINE)


def test_the_package_says_that_it_is_typed():
    """PEP 561: without this file a type checker looks at nothing."""
    assert (PACKAGE / "py.typed").exists()


def written_functions() -> Iterator[tuple[str, Any]]:
    """The public functions, methods and properties that stand in the package's sources."""
    for module in public_modules():
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            bases = own_bases(value) if isinstance(value, type) else []
            inner = [item for base in bases for item in vars(base).items()] or [("", value)]
            for member, each in inner:
                function = each.fget if isinstance(each, property) else each
                private = member.startswith("_") and not member.endswith("__")
                if private or not inspect.isfunction(function):
                    continue
                # What dataclass and NamedTuple make up has no file.
                if Path(function.__code__.co_filename).is_relative_to(PACKAGE):
                    yield f"{name}.{member}", function


def test_nothing_of_the_core_shows_in_public_signatures():
    """Each parameter and result is annotated, none with a type of cffi, no result with Any."""
    wrong = []
    functions = dict(written_functions())
    for name, function in functions.items():
        signature = inspect.signature(function)
        parameters = [p for p in signature.parameters.values() if p.name not in ("self", "cls")]
        kinds = [*(p.annotation for p in parameters), signature.return_annotation]
        if inspect.Signature.empty in kinds or re.search(r"CData|ffi|_core", str(kinds)):
            wrong.append(name)
        if signature.return_annotation == "Any":
            wrong.append(f"{name} returns anything")
    assert wrong == []
    assert len(functions) > 40


def test_no_result_holds_memory_of_the_core(tmp_path):
    """What a program gets are Python's own objects, down to the fields."""
    with pydurable.Log(tmp_path / "log", segment_bytes=1 << 20) as log:
        results: list[Any] = [log.commit(b"1"), *log.commit_many([b"2", b"3"]), log.sync()]
        results += [*log.stats(), log.path, log.durable_lsn, log.oldest_lsn, log.sync_method]
        results += [log.next_lsn, log.max_record_bytes, log.torn_bytes, log.closed]
    results += [value for record in pydurable.read_log(tmp_path / "log") for value in record]
    results += vars(pydurable.verify_log(tmp_path / "log")).values()
    assert {type(result) for result in results} == {int, str, bytes, bool, float}
    assert not any(isinstance(result, ffi.CData) for result in results)


def test_the_stub_of_the_core_names_what_the_core_has():
    """Each function and constant is declared, with as many parameters as it takes, and no other."""
    tree = ast.parse((PACKAGE / "_core.pyi").read_text(encoding="utf-8"))
    declared = {}
    (body,) = (n.body for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "_Lib")
    for node in body:
        if isinstance(node, ast.FunctionDef):
            declared[node.name] = len(node.args.args) + len(node.args.posonlyargs) - 1
        elif isinstance(node, ast.AnnAssign):
            declared[ast.unparse(node.target)] = -1
    found = {}
    for name in dir(lib):
        value = getattr(lib, name)
        found[name] = -1 if isinstance(value, int) else len(ffi.typeof(value).args)
    assert declared == found, "run: make generate"
