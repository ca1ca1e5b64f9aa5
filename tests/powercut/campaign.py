"""A run over all workloads until enough distinct states were checked."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field

from .catalogue import WORKLOADS, honest
from .crew import Crew
from .laboratory import Job, Outcome

STATES_LEAST, STATES_MOST = 30, 600
"""Of one job."""


@dataclass
class Tally:
    """What a campaign has come to."""

    wanted: dict[str, int]
    outcomes: list[Outcome] = field(default_factory=list)
    seconds: float = 0.0
    in_time: bool = True

    def distinct(self, filesystem: str) -> int:
        return sum(o.states for o in self.outcomes if o.job.filesystem == filesystem)

    @property
    def violations(self) -> list[str]:
        return [violation for outcome in self.outcomes for violation in outcome.violations]


def jobs_for(filesystem: str, states: int, seed: int) -> Iterator[Job]:
    """An endless row of jobs, each workload in its turn and each time with another seed."""
    names = honest(filesystem)
    share = min(max(-(-states // len(names)), STATES_LEAST), STATES_MOST)
    dice = random.Random(f"{seed} {filesystem}")
    while True:
        for name in names:
            again = WORKLOADS[name].goes_on is not None
            generations = dice.choice([1, 1, 2, 3]) if again else 1
            yield Job(filesystem, name, dice.getrandbits(63), share, generations)


def run_campaign(
    crew: Crew,
    wanted: dict[str, int],
    seed: int,
    size: int,
    show: Callable[[Tally], None],
    seconds: float | None = None,
) -> Tally:
    """Check states until there are ``wanted`` distinct ones of each filesystem, or time is up.

    ``size`` jobs are under way at once; ``show`` is called after each.
    """
    begun = time.monotonic()
    tally = Tally(wanted)
    rows = {name: jobs_for(name, count, seed) for name, count in wanted.items()}
    running: dict[Future[Outcome], Job] = {}
    while True:
        late = seconds is not None and time.monotonic() - begun > seconds
        while not late and len(running) < size:
            name = _least_done(tally, list(running.values()))
            if name is None:
                break
            job = next(rows[name])
            running[crew.submit(job)] = job
        if not running:
            break
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            del running[future]
            tally.outcomes.append(future.result())
            tally.seconds = time.monotonic() - begun
            show(tally)
    tally.in_time = not late
    return tally


def _least_done(tally: Tally, running: list[Job]) -> str | None:
    """The filesystem that lacks most; None if those under way will do."""
    lacks = {
        name: count
        - tally.distinct(name)
        - sum(job.states for job in running if job.filesystem == name)
        for name, count in tally.wanted.items()
    }
    name = max(lacks, key=lambda name: lacks[name] / max(1, tally.wanted[name]))
    return name if lacks[name] > 0 else None
