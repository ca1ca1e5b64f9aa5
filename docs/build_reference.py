"""Write docs/reference.md from the docstrings: ``python docs/build_reference.py``.

Everything public is in it: what ``pydurable`` exports, and the modules that are used by their own
name.  A test holds the file against this.
"""

from __future__ import annotations

import ast
import inspect
import pkgutil
import re
import sys
import textwrap
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pydurable

TARGET = Path(__file__).with_name("reference.md")
HEAD = """\
# Reference

Made from the docstrings by `python docs/build_reference.py`; their examples run as tests.
"""


def public_modules() -> Iterator[ModuleType]:
    """The modules of the package that have names of their own to offer."""
    for found in pkgutil.iter_modules(pydurable.__path__, "pydurable."):
        if not found.name.rpartition(".")[2].startswith("_"):
            module = import_module(found.name)
            if set(getattr(module, "__all__", ())) - set(pydurable.__all__):
                yield module


FIELDS = (
    (re.compile(r":param (\w+): "), r"- `\1`: "),
    (re.compile(r":raises ([\w.]+): "), r"- raises `\1`: "),
    (re.compile(r":returns: "), "- returns "),
    # The other form of the same: a name at the margin, and what goes on with an indent.
    (re.compile(r"([a-z_]\w*(?:\(\))?(?:, \w+)*): (?=\S)"), r"- `\1`: "),
)


def as_item(line: str) -> str | None:
    """A line that begins the description of a parameter or an error, as an item of a list."""
    for pattern, item in FIELDS:
        if pattern.match(line):
            return pattern.sub(item, line, count=1)
    return None


def markdown(doc: str) -> str:
    """A docstring as Markdown: roles and literals as code, fields as a list, examples fenced."""
    doc = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", doc).replace("``", "`")
    doc = re.sub(r"(?<=[\w)`\"*])\.  (?=\S)", ". ", doc)
    lines = [""]
    fenced = False
    for line in doc.splitlines():
        starts = line.startswith(">>> ")
        if starts and not fenced:
            lines.append("```python")
        if fenced and not line:
            lines.append("```")
        fenced = starts or (fenced and bool(line))
        # A field begins a paragraph or follows another one; else it is a colon in a sentence.
        item = as_item(line) if lines[-1][:2] in ("", "- ", "  ") and not fenced else None
        lines.append(item or line)
    return "\n".join([*lines[1:], "```"] if fenced else lines[1:])


def signature(value: Any) -> str:
    """What may be passed, without the annotations, which the text explains better."""
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return ""
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in parameters if p.name != "self"]
    return str(inspect.Signature(bare))


def attribute_docs(cls: type) -> Iterator[str]:
    """The annotated attributes of a class in a list, each with the docstring that follows it."""
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(body, ast.ClassDef)
    for node, after in zip(body.body, [*body.body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name = node.target.id
            if name.startswith("_"):
                continue
            text = ""
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                text = ": " + markdown(inspect.cleandoc(str(after.value.value)))
            yield f"- `{name}` ({ast.unparse(node.annotation)}){text}"


def package_bases(cls: type) -> list[type]:
    """The class, and what it inherits from in this package."""
    return [base for base in cls.__mro__ if base.__module__.partition(".")[0] == "pydurable"]


def members(cls: type) -> Iterator[str]:
    """The public methods and properties of a class, also those from bases that are private."""
    own = {
        name: value for base in reversed(package_bases(cls)) for name, value in vars(base).items()
    }
    for name, value in own.items():
        function = value.fget if isinstance(value, property) else value
        if name.startswith("_") or not inspect.isfunction(function) or not function.__doc__:
            continue
        shown = name if isinstance(value, property) else f"{name}{signature(function)}"
        yield f"**`{cls.__name__}.{shown}`**\n\n{markdown(inspect.cleandoc(function.__doc__))}\n"


def section(name: str, value: Any, level: str) -> Iterator[str]:
    """One public name."""
    if not callable(value):
        return  # its module's docstring says what it is
    yield f"{level} {name}\n"
    is_error = isinstance(value, type) and issubclass(value, BaseException)
    if is_error:
        bases = ", ".join(f"`{base.__name__}`" for base in value.__bases__)
        yield f"A subclass of {bases}.\n"
    else:
        yield f"`{name}{signature(value)}`\n"
    yield f"{markdown(inspect.cleandoc(value.__doc__ or ''))}\n"
    if isinstance(value, type):
        attributes = list(attribute_docs(value))
        if attributes:
            yield "\n".join(attributes) + "\n"
        if not is_error:
            yield from members(value)


def reference() -> str:
    """The whole file."""
    parts = [HEAD, "## pydurable\n"]
    for name in pydurable.__all__:
        parts += section(name, getattr(pydurable, name), "###")
    for module in public_modules():
        parts += [
            f"## {module.__name__}\n",
            f"{markdown(inspect.cleandoc(module.__doc__ or ''))}\n",
        ]
        for name in module.__all__:
            if name not in pydurable.__all__:
                parts += section(name, getattr(module, name), "###")
    return "\n".join(parts)


if __name__ == "__main__":
    TARGET.write_text(reference(), encoding="utf-8")
    print(f"written: {TARGET}", file=sys.stderr)
