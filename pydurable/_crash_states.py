"""The directories that a power cut could have left of what a program wrote (pydurable.testing)."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from pydurable import _native_record
from pydurable._recording import Recording
from pydurable._simulated_disk import Disk, Mood
from pydurable._simulated_replay import Replay

_NOTHING_SURVIVES = Mood(survives=0.0, torn=0.0, name_survives=0.0)


def _descriptors_elsewhere(root: str) -> list[int]:
    """The descriptors that are open now and do not lead below the root, where that can be told."""
    found = []
    try:
        numbers = os.listdir("/proc/self/fd")
    except OSError:
        return []  # no such list on this platform
    for number in numbers:
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue  # the list's own, closed by now
        if os.path.relpath(target, root).startswith(os.pardir):
            found.append(int(number))
    return found


class Writes:
    """What pydurable wrote and synced below a directory within :func:`record_writes`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._elsewhere = _descriptors_elsewhere(os.fspath(directory))
        self._recording: Recording[Any] = Recording()
        self._done = False

    def note(self, fact: object) -> None:
        """Note what is promised from now on, such as an LSN that was just returned.

        A state has the notes that were made before its cut.  Any thread may call it.
        """
        self._recording.note(fact)

    def crash_states(
        self, *, limit: int | None = None, seed: int | None = None
    ) -> Iterator[CrashState]:
        """Yield what power cuts could have left, each state to be entered: ``with state as path``.

        The first is the worst at the end of the block: all that no sync has covered is lost.  The
        others are cut at moments of the block, and dice decide what survives of what was pending:
        each write wholly, torn between sectors of 512 bytes, or not at all, and each new, changed
        or removed name.

        limit: how many states; ``None`` cuts once after every event of the recording.
        seed: of the dice; the same seed on the same recording gives the same states.  Without it
        they differ each time, and a state tells its seed (``repr``).

        Raises :class:`RuntimeError` within the block, :class:`ValueError` for a limit below 1 and
        where nothing was written below the directory through pydurable, so that a test cannot pass
        for that reason.
        """
        if not self._done:
            raise RuntimeError("leave the block of record_writes first")
        if limit is not None and limit < 1:
            raise ValueError(f"limit is at least 1, or None for every moment: {limit}")
        return self._states(limit, random.randrange(1 << 32) if seed is None else seed)

    def _states(self, limit: int | None, seed: int) -> Iterator[CrashState]:
        player = _Player(self._initial, self._directory, self._elsewhere, self._recording)
        if not player.play_all():
            raise ValueError(f"nothing was written below {self._directory} through pydurable")
        last = len(self._recording.events)
        yield CrashState(player, last, f"{seed}/0", _NOTHING_SURVIVES)
        dice = random.Random(seed)
        moments = (
            list(range(last + 1))
            if limit is None
            else sorted(dice.randint(0, last) for _ in range(limit - 1))
        )
        for number, moment in enumerate(moments, 1):
            yield CrashState(player, moment, f"{seed}/{number}")

    @contextmanager
    def _running(self) -> Iterator[Writes]:
        self._initial = Disk.holding(self._directory)
        try:
            with self._recording.running():
                yield self
        finally:
            self._done = True


class _Player:
    """Replays one recording as far as it is asked to, from the start where that lies behind."""

    def __init__(
        self, initial: Disk, root: Path, elsewhere: list[int], recording: Recording[Any]
    ) -> None:
        self._initial = initial
        self._root = root
        self._elsewhere = elsewhere
        self._recording = recording
        self._restart()

    def _restart(self) -> None:
        self._disk = self._initial.copy()
        self._replay = Replay(self._disk, self._root, self._elsewhere)
        self._at = 0
        self._notes: list[Any] = []

    def play_all(self) -> bool:
        """Go to the end, and say whether anything happened below the root."""
        touched = False
        while self._at < len(self._recording.events):
            event = self._recording.events[self._at]
            touched |= event.call != _native_record.CLOSE and self._replay.concerns_root(event)
            self._step()
        return touched

    def _step(self) -> None:
        event = self._recording.events[self._at]
        self._replay.apply(event)
        if event.call == _native_record.MARK:
            self._notes.append(self._recording.fact(event))
        self._at += 1

    def at(self, moment: int) -> tuple[Disk, tuple[Any, ...]]:
        """The disk, and what was noted, after so many events."""
        if moment < self._at:
            self._restart()
        while self._at < moment:
            self._step()
        return self._disk, tuple(self._notes)

    def describe(self, moment: int) -> str:
        """Where a moment lies."""
        if not moment:
            return "before the first event"
        events = self._recording.events
        name = _native_record.NAMES.get(events[moment - 1].call, "note")
        return f"after event {moment} of {len(events)} ({name})"

    def name(self) -> str:
        return self._root.name


class CrashState:
    """What one power cut could have left; entering it makes the directory and gives its path.

    The directory lies below the one for temporary files, belongs to the block and is removed at
    its end; what happens in it is forgotten.  A state can be entered again and is then the same.
    An error that leaves the block carries the state's description as a note, where exceptions
    have notes (Python 3.11).
    """

    def __init__(self, player: _Player, moment: int, seed: str, mood: Mood | None = None) -> None:
        self._player = player
        self._moment = moment
        self._seed = seed
        self._mood = mood
        self._place: tempfile.TemporaryDirectory[str] | None = None

    @property
    def notes(self) -> tuple[Any, ...]:
        """What :meth:`Writes.note` was given before the cut, in order."""
        return self._player.at(self._moment)[1]

    def __repr__(self) -> str:
        cut = self._player.describe(self._moment)
        return f"<CrashState {self._seed}: the power is cut {cut}>"

    def __enter__(self) -> Path:
        if self._place is not None:
            raise RuntimeError("this state is entered already")
        disk, _ = self._player.at(self._moment)
        self._place = tempfile.TemporaryDirectory(prefix="pydurable-crash-")
        path = Path(self._place.name) / self._player.name()
        disk.write_after_cut(path, random.Random(self._seed), self._mood)
        return path

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._place is not None
        self._place.cleanup()
        self._place = None
        if value is not None and hasattr(value, "add_note"):
            value.add_note(repr(self))


@contextmanager
def record_writes(directory: str | os.PathLike[str]) -> Iterator[Writes]:
    """Record what pydurable writes and syncs below a directory, to cut the power afterwards.

    ``directory`` exists; what it holds is taken for durable, and is kept in memory with all that is
    written, so small segments (``segment_bytes=65536``) make it quick.  Open logs and files within
    the block, and end their writers there.  One block can run at a time in a process; another one
    raises :class:`RuntimeError`.

    Does this program keep what it has promised?

    >>> import pathlib, tempfile
    >>> import pydurable
    >>> place = pathlib.Path(tempfile.mkdtemp())
    >>> def program(writes, sync):
    ...     with pydurable.Log(place / sync, sync=sync, segment_bytes=65536) as log:
    ...         for number in range(3):
    ...             writes.note(log.commit(b"record %d" % number))
    >>> def lost_in(writes, name):
    ...     lost = 0
    ...     for state in writes.crash_states(limit=20, seed=1):
    ...         with state as path:
    ...             told = set(state.notes)
    ...             if told:
    ...                 with pydurable.Log(path / name) as log:
    ...                     told -= {record.lsn for record in pydurable.read_log(log.path)}
    ...             lost += bool(told)
    ...     return lost
    >>> with record_writes(place) as writes:
    ...     program(writes, "group")
    >>> lost_in(writes, "group")
    0
    >>> with record_writes(place) as writes:
    ...     program(writes, "none")
    >>> lost_in(writes, "none") > 0
    True

    *Not promised:* what a program writes in other ways (``open``, ``os.rename``, other processes)
    is not seen.  The simulated disk loses all that POSIX lets it lose and nothing that a sync has
    covered; it knows no failing hardware.
    """
    with Writes(Path(os.path.realpath(directory)))._running() as writes:
        yield writes
