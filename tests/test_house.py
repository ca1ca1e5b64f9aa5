"""The order of the house: who may include whom, and how large a file and a function may grow."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILE_LINES = 400
FUNCTION_LINES = 70
C_FILES = sorted((ROOT / "csrc").glob("*.[ch]"))
PYTHON_FILES = [
    path
    for folder in ("pydurable", "tests", "bench", "examples", "csrc", "docs")
    for path in sorted((ROOT / folder).rglob("*.py"))
] + sorted(ROOT.glob("*.py"))
C_PROGRAMS = [
    path
    for folder in ("tests", "bench", "csrc/cpython")
    for path in sorted((ROOT / folder).rglob("*.[ch]"))
]
SOURCES = [*PYTHON_FILES, *C_FILES, *C_PROGRAMS]


def drawn_layers() -> list[list[str]]:
    """The layers of csrc as docs/design.md draws them, from the top; patterns of file names."""
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    table = text.partition("\ncsrc/")[2].partition("\n```")[0]
    layers: list[list[str]] = []
    for line in table.splitlines()[1:]:
        names = re.findall(r"(?<=\s)[\w*]+\.[ch](?=\s|$)", line)
        if not line.startswith("   "):
            layers.append([])
        layers[-1] += names
    return layers


def layer_of(name: str, layers: list[list[str]]) -> int:
    """How far from the top a file's layer is; a header without an entry goes with its source."""
    for names in (name, name.replace(".h", ".c")):
        for depth, patterns in enumerate(layers):
            if any(fnmatch(names, pattern) for pattern in patterns):
                return depth
    raise AssertionError(f"csrc/{name} has no layer: draw it into the table of docs/design.md")


def upward_includes(sources: dict[str, str], layers: list[list[str]]) -> list[str]:
    """What is included against the order."""
    return [
        f"{name} includes {header}"
        for name, text in sources.items()
        for header in re.findall(r'^#include "([^"]+)"', text, re.MULTILINE)
        if layer_of(header, layers) < layer_of(name, layers)
    ]


def test_a_lower_layer_of_the_core_never_includes_a_higher_one():
    """Each file of csrc stands in the table, and includes its own layer and lower ones only."""
    layers = drawn_layers()
    sources = {path.name: path.read_text(encoding="utf-8") for path in C_FILES}
    assert upward_includes(sources, layers) == []
    drawn = {pattern for patterns in layers for pattern in patterns}
    assert {p for p in drawn if not any(fnmatch(name, p) for name in sources)} == set()


def test_an_upward_include_is_seen():
    """The rule that nothing breaks today would be noticed if something did."""
    sources = {"io.c": '#include "sys.h"\n#include "log.h"\n', "log.c": '#include "io.h"\n'}
    assert upward_includes(sources, drawn_layers()) == ["io.c includes log.h"]


def imported(path: Path) -> set[str]:
    """The modules that a Python file imports, ``from x import y`` as x and as x.y."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


@pytest.mark.parametrize(
    ("wanted", "importers"),
    [
        ("pydurable._core", ("_native*.py",)),
        ("pydurable._cli*", ("__main__.py", "_cli*.py", "_demo*.py")),
        ("pydurable._demo*", ("_cli*.py", "_demo*.py")),
    ],
)
def test_only_these_modules_import_it(wanted, importers):
    """The C core is touched in one place, and the library does not know the command."""
    others = [
        path.name
        for path in sorted((ROOT / "pydurable").rglob("*.py"))
        if any(fnmatch(module, wanted) for module in imported(path))
        and not any(fnmatch(path.name, pattern) for pattern in importers)
    ]
    assert others == []


def functions(path: Path, text: str) -> Iterator[tuple[str, int]]:
    """Each function's place and length in lines."""
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                assert node.end_lineno is not None
                yield f"{path.name}:{node.lineno}", node.end_lineno - node.lineno + 1
        return
    # clang-format puts the braces of a function's body, and of nothing else, into column 0.
    begin = 0
    for number, line in enumerate(text.splitlines(), 1):
        if line == "{":
            begin = number
        elif line == "}" and begin:
            yield f"{path.name}:{begin}", number - begin + 2
            begin = 0


def test_files_and_functions_stay_small():
    """No file has more than 400 lines and no function more than 70."""
    large = []
    count = 0
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        if len(text.splitlines()) > FILE_LINES:
            large.append(f"{path.name}: {len(text.splitlines())} lines")
        for place, lines in functions(path, text):
            count += 1
            if lines > FUNCTION_LINES:
                large.append(f"{place}: a function of {lines} lines")
    assert large == []
    assert count > len(SOURCES)
