"""What importing pydurable costs and leaves alone, and that names arrive when they are used."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from _processes import check_python

import pydurable

PACKAGE = Path(pydurable.__file__)

# Only what an interpreter without site and pydurable itself have imported is looked at.
IMPORTED = """
import json, sys
before = set(sys.modules)
{statement}
print(json.dumps(sorted(set(sys.modules) - before)))
"""

STATE = """
import json, os, signal, sys, threading

def state():
    handlers = [str(signal.getsignal(number)) for number in sorted(signal.valid_signals())]
    descriptors = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []
    tasks = os.listdir("/proc/self/task") if os.path.isdir("/proc/self/task") else []
    return [handlers, len(descriptors), len(tasks), threading.active_count(), sorted(os.listdir())]

before = state()
import pydurable
for name in pydurable.__all__:
    getattr(pydurable, name)
after = state()
assert before == after, (before, after)
print(len(before[0]))
"""


# What a daemon does after it has given up its rights, its root directory or its descriptors.
LATER = """
import os, sys
from pydurable import Log, open_atomic, read_log, replace, replace_many, rename, sync_directory

def refuse(event, arguments):
    assert event != "import" or arguments[0] in sys.modules, f"{arguments[0]} is imported late"

sys.addaudithook(refuse)
os.chdir(sys.argv[1])
with Log("log", segment_bytes=1 << 20) as log:
    log.commit(b"1"), log.commit_many([b"2", b"3"]), log.append(b"4"), log.sync()
    log.stats(), log.truncate_before(2), repr(log)
    try:
        Log("log")
    except OSError as error:
        assert type(error).__name__ == "LockedError"
print(len(list(read_log("log"))))
replace("a", b"1"), replace_many({"b": b"2", "c": b"3"}), rename("b", "d"), sync_directory(".")
with open_atomic("e", "wb") as file:
    file.write(b"5")
"""


def imported_by(statement: str) -> set[str]:
    return set(json.loads(check_python(IMPORTED.format(statement=statement))))


def test_import_alone_imports_next_to_nothing():
    """``import pydurable`` loads the package's own file; the rest comes with its first use."""
    assert {name for name in imported_by("import pydurable") if "durable" in name} == {"pydurable"}


@pytest.mark.parametrize("name", ["Log", "read_log", "replace", "open_atomic", "LockedError"])
def test_the_everyday_names_leave_the_heavy_modules_alone(name):
    """What nobody needs for writing a record or a file is not loaded for it."""
    heavy = {"argparse", "asyncio", "concurrent.futures", "ctypes", "dataclasses", "email"}
    heavy |= {"importlib.metadata", "inspect", "logging", "multiprocessing", "pydurable.check"}
    heavy |= {"pydurable._cli", "rich", "shutil", "socket", "subprocess", "tempfile", "uuid"}
    loaded = imported_by(f"from pydurable import {name}")
    assert "pydurable" in loaded
    assert loaded & heavy == set()


def test_nothing_is_imported_later(tmp_path):
    """Once a name is there it works, whatever becomes of the path that modules come from."""
    assert check_python(LATER, tmp_path) == "3\n"


def test_nothing_is_started_opened_or_caught_before_it_is_used(tmp_path):
    """After importing every public name: no thread, descriptor, file or signal handler is new."""
    program = f"import os; os.chdir({str(tmp_path)!r})\n{STATE}"
    assert int(check_python(program)) > 10  # there are signals that were looked at


def declared() -> dict[str, str]:
    """The imports under TYPE_CHECKING, which are for type checkers: name to module."""
    found = {}
    for node in ast.walk(ast.parse(PACKAGE.read_text(encoding="utf-8"))):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for each in node.body:
                assert isinstance(each, ast.ImportFrom)
                found |= {alias.asname or alias.name: str(each.module) for alias in each.names}
    return found


def test_the_running_program_and_the_type_checker_see_the_same_names():
    """Each public name comes from the module that the type checker believes it to come from."""
    homes = {name: f"pydurable.{module}" for name, module in pydurable._HOMES.items()}
    assert homes == declared()
    assert sorted(homes) == sorted(pydurable.__all__)
    assert set(pydurable.__all__) < set(dir(pydurable))
    for name in pydurable.__all__:
        assert getattr(pydurable, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error():
    """With the words of any other module, and hasattr() works."""
    with pytest.raises(AttributeError, match="module 'pydurable' has no attribute 'Lob'"):
        _ = pydurable.Lob
    assert not hasattr(pydurable, "__path_to_nowhere__")


def test_modules_are_there_without_an_import_of_their_own():
    """``pydurable.errors.LockedError`` works after ``import pydurable``."""
    program = "import pydurable; print(pydurable.errors.LockedError is pydurable.LockedError)"
    assert check_python(program) == "True\n"


@pytest.mark.parametrize(
    ("missing", "remedy"),
    [("pydurable._core", "pip install -e ."), ("_cffi_backend", "pip install cffi")],
)
def test_what_is_missing_is_named_with_its_remedy(missing, remedy):
    """A clone that nobody has built, and an installation without cffi."""
    blocked = f"""
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name == {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocked())
import pydurable
try:
    pydurable.Log
except ImportError as error:
    print(error)
"""
    assert remedy in check_python(blocked)
