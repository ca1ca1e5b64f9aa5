"""pydurable.testing.record_writes: what power cuts could have left of a program's own writes."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from _scenario import fast_folder

import pydurable
from pydurable import testing

SMALL = 64 << 10


@pytest.fixture(autouse=True)
def _states_in_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """States are many; where they lie makes no difference to what is in them."""
    with fast_folder() as folder:
        monkeypatch.setattr("tempfile.tempdir", folder)
        yield


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = tmp_path / "place"
    path.mkdir()
    return path


def _open(path: Path, **options: object) -> pydurable.Log:
    return pydurable.Log(path, method="fdatasync", segment_bytes=SMALL, **options)  # type: ignore[arg-type]


def _commit_notes(writes: testing.Writes, path: Path, sync: str) -> None:
    with _open(path, sync=sync, interval=60.0) as log:
        for number in range(8):
            writes.note(log.commit(b"record %d" % number))


def _lost(writes: testing.Writes, limit: int) -> list[str]:
    """The states in which records are missing that the program was told of."""
    lost = []
    for state in writes.crash_states(limit=limit, seed=7):
        with state as path:
            if state.notes:
                _open(path / "log").close()
                found = {record.lsn for record in pydurable.read_log(path / "log")}
                if not set(state.notes) <= found:
                    lost.append(repr(state))
    return lost


def test_a_program_that_syncs_loses_nothing(place: Path) -> None:
    """Whatever the moment, what commit has returned is there."""
    with testing.record_writes(place) as writes:
        _commit_notes(writes, place / "log", "group")
    assert _lost(writes, 60) == []


def test_a_program_without_sync_is_found_by_the_first_state(place: Path) -> None:
    """One state is enough: the worst at the end of the block comes first."""
    (place / "other").mkdir()
    with testing.record_writes(place) as writes:
        pydurable.replace(place / "other" / "name", b"new", durability="none")
        _commit_notes(writes, place / "log", "none")
    (worst,) = writes.crash_states(limit=1)
    assert worst.notes == tuple(range(1, 9))
    with worst as path:
        assert not (path / "other" / "name").exists()
        with _open(path / "log") as log:
            assert log.next_lsn < 9


def test_every_moment_of_a_replacement(place: Path) -> None:
    """Without a limit each event is followed by a cut; a name is whole at each, and both contents
    are seen."""
    pydurable.replace(place / "name", b"old" * 1000)
    with testing.record_writes(place) as writes:
        pydurable.replace(place / "name", b"new" * 1000)
        writes.note("replaced")
    seen = set()
    for state in writes.crash_states(seed=1):
        with state as path:
            content = (path / "name").read_bytes()
        assert content in (b"old" * 1000, b"new" * 1000)
        assert not state.notes or content == b"new" * 1000, state
        seen.add(content)
    assert len(seen) == 2


def test_a_move_between_directories_is_never_half_done(place: Path) -> None:
    """Whatever the moment the file has one of its two names, and after a durable one the new."""
    for name in ("from", "to"):
        (place / name).mkdir()
    (place / "from" / "name").write_bytes(b"data")
    with testing.record_writes(place) as writes:
        pydurable.rename(place / "from" / "name", place / "to" / "name")
        writes.note("moved")
    seen = set()
    for seed in range(20):
        for state in writes.crash_states(seed=seed):
            with state as path:
                found = [str(file.relative_to(path)) for file in path.rglob("name")]
            assert found in (["from/name"], ["to/name"])
            assert not state.notes or found == ["to/name"]
            seen.add(found[0])
    assert seen == {"from/name", "to/name"}


def test_the_same_seed_gives_the_same_states(place: Path) -> None:
    """A state that failed can be had again, and entering it twice gives it twice."""
    with testing.record_writes(place) as writes:
        _commit_notes(writes, place / "log", "none")

    def contents(path: Path) -> dict[str, bytes]:
        return {
            str(file.relative_to(path)): file.read_bytes()
            for file in path.rglob("*")
            if file.is_file()
        }

    def run(seed: int) -> list[tuple[str, dict[str, bytes]]]:
        states = list(writes.crash_states(limit=6, seed=seed))
        entered = []
        for state in [*states, states[0]]:
            with state as path:
                entered.append((repr(state), contents(path)))
        assert entered[0] == entered[-1]
        return entered

    assert run(3) == run(3)
    assert run(3) != run(4)


def test_a_state_is_gone_after_its_block(place: Path) -> None:
    """Also where an error leaves it, which then says which state it was."""
    with testing.record_writes(place) as writes:
        pydurable.replace(place / "name", b"new")
    (state,) = writes.crash_states(limit=1, seed=5)

    def fail_in_it() -> None:
        with state as path:
            (path / "more").write_bytes(b"is removed too")
            raise KeyError(path)

    with pytest.raises(KeyError) as caught:
        fail_in_it()
    path = caught.value.args[0]
    assert not path.parent.exists()
    if sys.version_info >= (3, 11):
        assert caught.value.__notes__ == [repr(state)]
    assert "5/0: the power is cut after event" in repr(state)


def test_threads_may_write_and_note(place: Path) -> None:
    """All threads are recorded, each note before what comes after it."""
    with testing.record_writes(place) as writes, _open(place / "log") as log:

        def work() -> None:
            for _ in range(5):
                writes.note(log.commit(b"x"))

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert _lost(writes, 30) == []


def test_misuse_is_told(place: Path, tmp_path: Path) -> None:
    """What would make a test pass for no reason is an error."""
    with testing.record_writes(place) as writes:
        (place / "name").write_bytes(b"not through pydurable")
        with pytest.raises(RuntimeError, match="leave the block"):
            writes.crash_states()
        with pytest.raises(RuntimeError, match="running already"), testing.record_writes(place):
            pass
    with pytest.raises(ValueError, match="nothing was written below"):
        next(writes.crash_states())
    with pytest.raises(ValueError, match="limit is at least 1"):
        writes.crash_states(limit=0)
    with pytest.raises(FileNotFoundError), testing.record_writes(tmp_path / "missing"):
        pass
    with testing.record_writes(place):
        pass  # the failed ones have left nothing running


def test_writers_that_were_open_before(place: Path, tmp_path: Path) -> None:
    """One in the directory cannot be followed, and that is told; one elsewhere is no concern."""
    with _open(tmp_path / "elsewhere") as other, testing.record_writes(place) as writes:
        other.commit(b"x")
        pydurable.replace(tmp_path / "aside", b"x")
        pydurable.replace(place / "name", b"new")
    for state in writes.crash_states(limit=5):
        with state as path:
            found = {file.name for file in path.iterdir()}
            assert all(name == "name" or name.startswith(".pydurable-") for name in found)
    with _open(place / "log") as log, testing.record_writes(place) as writes:
        log.commit(b"x")
    with pytest.raises(ValueError, match="opened before the recording"):
        list(writes.crash_states(limit=5))
