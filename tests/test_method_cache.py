"""What AppendFile remembers of a filesystem: measured once, safe when damaged or unwritable."""

from __future__ import annotations

from pathlib import Path

import pytest
from _processes import check_python

from pydurable import AppendFile, _method_cache
from pydurable._native_storage import Probe


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, in which nothing is yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(_method_cache, "_known", {})
    return tmp_path / "cache" / "pydurable" / "methods"


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders that were measured in; the answer is dsync."""
    asked: list[str] = []

    def probe(path: str, *, appending: bool) -> Probe:
        assert appending
        asked.append(path)
        return Probe("dsync", "append", 0.0, ())

    monkeypatch.setattr(_method_cache, "probe", probe)
    return asked


def _again(folder: Path, sync: str = "group") -> str:
    """What a new process would choose."""
    _method_cache._known.clear()
    return _method_cache.choose(str(folder / "file"), sync, "auto")


def test_a_filesystem_is_measured_once(tmp_path: Path, cache: Path, probes: list[str]) -> None:
    """The second process reads the first one's choice; the file says for which mount it is."""
    assert _again(tmp_path) == "dsync"
    assert _again(tmp_path) == "dsync"
    assert probes == [str(tmp_path)]
    first, line, rest = cache.read_text().split("\n")
    assert first == "pydurable methods 1"
    assert line.startswith("dsync\t[")
    assert rest == ""
    assert cache.parent.stat().st_mode & 0o777 == 0o700


def test_it_is_used_by_append_file(tmp_path: Path, cache: Path, probes: list[str]) -> None:
    """sync="group" and "each" take the choice; the others and named methods do not ask."""
    for sync in ("group", "each"):
        with AppendFile(tmp_path / "file", sync=sync) as file:
            assert file.sync_method == "dsync"
    assert len(probes) == 1
    for options in ({"sync": "interval"}, {"sync": "none"}, {"sync": "group", "method": "fsync"}):
        _method_cache._known.clear()
        cache.unlink(missing_ok=True)
        with AppendFile(tmp_path / "file", **options) as file:  # type: ignore[arg-type]
            assert file.sync_method in ("fdatasync", "fsync")
    assert len(probes) == 1


@pytest.mark.parametrize("damage", ["empty", "junk", "cut", "version", "method", "long", "folder"])
def test_a_damaged_cache_is_measured_anew(
    tmp_path: Path, cache: Path, probes: list[str], damage: str
) -> None:
    """Whatever is in the file: no error, a right choice, and a whole file afterwards."""
    _again(tmp_path)
    whole = cache.read_bytes()
    damaged = {
        "empty": b"",
        "junk": bytes(range(256)) * 10,
        "cut": whole[:-3],
        "version": whole.replace(b"methods 1", b"methods 2"),
        "method": whole.replace(b"dsync", b"hsync"),
        "long": b"x" * (1 << 20),
    }
    if damage == "folder":
        cache.unlink()
        cache.mkdir()
    else:
        cache.write_bytes(damaged[damage])
    assert _again(tmp_path) == "dsync"
    assert len(probes) == 2
    if damage != "folder":
        assert cache.read_bytes() == whole


def test_a_cache_that_cannot_be_written(
    tmp_path: Path, cache: Path, probes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file in the folder's place, a relative path: the choice is made, nothing is kept."""
    (tmp_path / "cache").write_text("in the way")
    assert _again(tmp_path) == "dsync"
    assert (tmp_path / "cache").read_text() == "in the way"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.chdir(tmp_path)
    assert _again(tmp_path) == "dsync"
    assert not (tmp_path / "relative").exists()
    assert len(probes) == 2


def test_it_stays_small(tmp_path: Path, cache: Path, probes: list[str]) -> None:
    """Old filesystems make room for new ones."""
    for number in range(100):
        _method_cache._store(str(cache), f"[{number}]", "dsync")
    known = _method_cache._remembered()
    assert list(known) == [f"[{number}]" for number in range(36, 100)]


def test_wrong_options_measure_nothing(tmp_path: Path, cache: Path, probes: list[str]) -> None:
    """What is wrong is refused before anything is touched."""
    with pytest.raises(ValueError, match="interval"):
        AppendFile(tmp_path / "file", sync="group", interval=-1)
    assert probes == []


def test_where_nothing_can_be_measured(tmp_path: Path, cache: Path) -> None:
    """A folder that is not there: the file's own error comes, and nothing is kept."""
    with pytest.raises(FileNotFoundError):
        AppendFile(tmp_path / "no" / "file", sync="group")
    assert not cache.exists()


def test_measured_for_real(tmp_path: Path, cache: Path) -> None:
    """Two processes: the first measures and keeps, the second finds it; no other file is made."""
    program = """
import sys
import pydurable
from pydurable import _method_cache
measured = []
original = _method_cache.probe
_method_cache.probe = lambda *a, **k: measured.append(1) or original(*a, **k)
with pydurable.AppendFile(sys.argv[1], sync="group") as file:
    file.commit(b"x")
    print(len(measured), file.sync_method)
"""
    first = check_python(program, tmp_path / "file").split()
    second = check_python(program, tmp_path / "file").split()
    assert first[0] == "1"
    assert second == ["0" if cache.exists() else "1", first[1]]
    assert {entry.name for entry in tmp_path.iterdir()} <= {"file", "cache"}
