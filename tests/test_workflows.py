"""The workflows for a hosted CI do what the README says and what .ci/run does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))

if not WORKFLOWS:
    pytest.skip("no workflows in an sdist", allow_module_level=True)


def load(name: str) -> Any:
    return yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text(encoding="utf-8"))


def commands(job: Any) -> list[str]:
    return [step["run"].strip() for step in job["steps"] if "run" in step]


def readme_commands() -> list[str]:
    """The README's first and second command, as they stand."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(r"^(python3 -m venv .+)$", text, re.MULTILINE)[:2]


def test_the_commands_are_those_of_the_readme() -> None:
    """Word for word, in the README's order, and nothing else."""
    wanted = readme_commands()
    assert [command.split("/")[-1] for command in wanted] == ["pydurable demo", "pytest"]
    assert commands(load("ci.yml")["jobs"]["readme"]) == wanted


def test_the_platforms_and_pythons() -> None:
    """Linux and macOS on both architectures, and each Python that pyproject.toml speaks of."""
    matrix = load("ci.yml")["jobs"]["readme"]["strategy"]["matrix"]
    assert matrix["os"] == ["ubuntu-24.04", "ubuntu-24.04-arm", "macos-15", "macos-15-intel"]
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    named = re.findall(r"Python :: (3\.\d+)", project)
    assert named
    assert set(named) | {"3.14", "3.14t", "pypy3.11"} == set(matrix["python"])
    assert load("wheels.yml")["jobs"]["wheels"]["strategy"]["matrix"]["os"] == matrix["os"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_may_read_and_nothing_else(path: Path) -> None:
    """No workflow asks for more than reading, and every job ends by itself."""
    workflow = load(path.name)
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 90
        assert job["steps"][0]["uses"].startswith("actions/checkout@")
