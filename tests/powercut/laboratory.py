"""Cutting the power: build what it can leave, mount it, hold it against the promises."""

from __future__ import annotations

import hashlib
import pickle
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import session
from .catalogue import WORKLOADS
from .filesystems import FILESYSTEMS
from .recording import Image, Recording
from .states import Cut, Piece, draw_states, write_state
from .workloads import MissedFault

SESSIONS = 5
"""How often a session is recorded until its fault meets what it is meant for."""


@dataclass(frozen=True)
class Job:
    """Some states of one workload on one filesystem, from one seed."""

    filesystem: str
    workload: str
    seed: int
    states: int
    generations: int = 1
    """With more than one, power cuts are followed by recoveries that are cut again."""
    setting: session.Setting = field(default_factory=session.Setting)
    first_only: bool = False
    """Stop at the first violation."""


@dataclass
class Outcome:
    """What became of a job."""

    job: Job
    states: int = 0
    """No two of the same recording are the same."""
    flushes: int = 0
    writes: int = 0
    facts: int = 0
    violations: list[str] = field(default_factory=list)
    kept: Path | None = None


@dataclass(frozen=True)
class State:
    """One state with all that it takes to build and to judge it again."""

    filesystem: str
    workload: str
    base: Image
    pieces: list[Piece]
    facts: list[Any]
    seed: int
    """Of the dice that the check throws."""
    moment: str

    def build(self, path: Path) -> None:
        """Write the disk as the power cut left it."""
        with path.open("wb") as file:
            write_state(file.fileno(), self.base, self.pieces)

    def check(self, place: Path) -> str | None:
        """Mount and check; what is wrong, or None."""
        path = place / "state.img"
        self.build(path)
        filesystem = FILESYSTEMS[self.filesystem]
        try:
            with filesystem.mounted(path, place / "state") as root:
                WORKLOADS[self.workload].check(root, self.facts, random.Random(self.seed))
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return None


class Laboratory:
    """Records and cuts in a directory of its own; the process needs mounts of its own."""

    def __init__(self, program: Path, place: Path, keep: Path | None = None) -> None:
        self._program = program
        self._place = place
        self._keep = keep
        self._bases: dict[str, Image] = {}

    def run(self, job: Job) -> Outcome:
        """Record the job's workload, cut it, and count what is wrong."""
        outcome = Outcome(job)
        dice = random.Random(f"{job.seed} {job.filesystem} {job.workload}")
        base, inherited = self._base(job.filesystem), list[Any]()
        workload: str | None = job.workload
        for left in range(job.generations, 0, -1):
            assert workload is not None
            recording = self._record(job, base, workload, dice, inherited)
            outcome.flushes += recording.flushes()
            outcome.writes += recording.writes()
            outcome.facts += len(recording.facts())
            part = -(-(job.states - outcome.states) // left)
            last = self._cut(recording, workload, part, dice, outcome)
            workload = WORKLOADS[workload].goes_on
            if outcome.violations or workload is None or last is None:
                break
            last.build(self._place / "next")
            base, inherited = Image.read(self._place / "next"), last.facts
        return outcome

    def _record(
        self, job: Job, base: Image, workload: str, dice: random.Random, inherited: list[Any]
    ) -> Recording:
        for left in reversed(range(SESSIONS)):
            try:
                return session.record(
                    self._program,
                    self._place,
                    FILESYSTEMS[job.filesystem],
                    base,
                    workload,
                    dice.getrandbits(63),
                    job.setting,
                    inherited,
                )
            except MissedFault:
                if not left:
                    raise
        raise AssertionError("a session ends or raises")

    def _base(self, name: str) -> Image:
        if name not in self._bases:
            self._bases[name] = FILESYSTEMS[name].make(self._place)
        return self._bases[name]

    def _cut(
        self, recording: Recording, workload: str, states: int, dice: random.Random, out: Outcome
    ) -> State | None:
        """Check that many states, or as many as there are; one of them, drawn at random."""
        job = out.job
        whole = FILESYSTEMS[job.filesystem].whole_pages
        drawings = draw_states(recording, whole, states, dice)
        chosen = dice.choice(drawings) if drawings else None
        passed: State | None = None
        cut = Cut(recording, whole)
        for drawing in drawings:
            cut.advance(drawing.position)
            state = State(
                job.filesystem,
                workload,
                recording.base,
                cut.disk(drawing.pieces),
                list(cut.facts),
                dice.getrandbits(63),
                f"entry {drawing.position} of {len(recording.entries)}, "
                f"{len(cut.pending)} writes pending",
            )
            out.states += 1
            problem = state.check(self._place)
            if problem is not None:
                self._note(state, problem, out)
                if job.first_only:
                    break
            if drawing is chosen:
                passed = state
        return passed

    def _note(self, state: State, problem: str, out: Outcome) -> None:
        if self._keep is not None and out.kept is None:
            name = hashlib.sha256(problem.encode() + state.moment.encode()).hexdigest()[:8]
            out.kept = self._keep / f"{state.filesystem}-{state.workload}-{name}"
            keep_state(state, problem, out.kept)
        out.violations.append(f"{state.filesystem} {state.workload}, {state.moment}: {problem}")


def keep_state(state: State, problem: str, folder: Path) -> None:
    """Keep a state: its parts for ``load_state``, its disk for whoever wants to look."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "state").write_bytes(pickle.dumps(state))
    (folder / "problem.txt").write_text(f"{state.moment}\n{problem}\n", encoding="utf-8")
    state.build(folder / "disk.img")


def load_state(folder: Path) -> State:
    """The state that ``keep_state`` has put there."""
    state = pickle.loads((folder / "state").read_bytes())
    assert isinstance(state, State)
    return state
