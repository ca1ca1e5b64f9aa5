"""The demo's judgement: what came back, held against what was acknowledged and submitted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pydurable import Record
from pydurable._demo_lines import THREADS, Origin, origin_of, record_for


@dataclass
class Verdict:
    """What the comparison found.

    ``unconfirmed`` counts records that came back although no acknowledgement of them reached us;
    the others name what went wrong, in words, the first few of each.
    """

    acknowledged: int = 0
    recovered: int = 0
    unconfirmed: int = 0
    lost: int = 0
    damaged: int = 0
    invented: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether every acknowledged record came back whole and nothing else did but submitted."""
        return not (self.lost or self.damaged or self.invented)


MAX_EXAMPLES = 5


def check_recovery(
    records: Iterable[Record], acknowledged: dict[int, Origin], lines: Sequence[bytes]
) -> Verdict:
    """Hold the records of the recovered log against the acknowledgements (by number) and input.

    A thread submits its next record only after it has reported the last one, so one record
    beyond what a thread has reported may be there; more than that would be invented. What a
    thread submitted must be there in its order and without a gap: a log holds a prefix.
    """
    verdict = Verdict(acknowledged=len(acknowledged))
    reported = _reported_turns(acknowledged)
    expected_turn = [0] * THREADS
    expected_lsn = 1
    missing = dict(acknowledged)
    for lsn, data in records:
        verdict.recovered += 1
        missing.pop(lsn, None)
        origin = origin_of(data)
        problem = _problem(data, origin, expected_turn, reported, lines)
        if lsn != expected_lsn:
            _count(verdict, "invented", f"number {lsn} came where {expected_lsn} belongs")
        elif lsn in acknowledged and origin != acknowledged[lsn]:
            _count(verdict, "damaged", f"record {lsn} is not what was acknowledged under it")
        elif problem is not None:
            _count(verdict, problem, f"record {lsn} is not what its thread submitted next")
        if origin is not None and origin.thread < THREADS:
            expected_turn[origin.thread] = origin.turn + 1
        expected_lsn = lsn + 1
        verdict.unconfirmed += lsn not in acknowledged
    for lsn in missing:
        _count(verdict, "lost", f"record {lsn} was acknowledged and is gone")
    return verdict


def _reported_turns(acknowledged: dict[int, Origin]) -> list[int]:
    """How many records each thread has reported as acknowledged."""
    reported = [0] * THREADS
    for thread, turn in acknowledged.values():
        reported[thread] = max(reported[thread], turn + 1)
    return reported


def _problem(
    data: bytes,
    origin: Origin | None,
    expected_turn: Sequence[int],
    reported: Sequence[int],
    lines: Sequence[bytes],
) -> str | None:
    """What is wrong with a record by itself: the name of the count it belongs to, or None."""
    if origin is None or origin.thread >= THREADS:
        return "invented"
    if data != record_for(lines, origin):
        return "damaged"
    if origin.turn != expected_turn[origin.thread] or origin.turn > reported[origin.thread]:
        return "invented"
    return None


def _count(verdict: Verdict, kind: str, example: str) -> None:
    setattr(verdict, kind, getattr(verdict, kind) + 1)
    if len(verdict.examples) < MAX_EXAMPLES:
        verdict.examples.append(example)
