"""What is measured: cells of threads, record size and company, and one slice of one contender."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Cell:
    """One situation in which every contender commits: threads, bytes a record, company."""

    threads: int
    size: int
    busy: bool = False

    def __str__(self) -> str:
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        company = ", beside a CPU-bound Python thread" if self.busy else ""
        return f"{threads}, {size_text(self.size)}{company}"


@dataclass(frozen=True)
class Terms:
    """What pydurable chose for the directory, so that the floor can write in the same way."""

    method: str
    block_bytes: int
    zeroed: bool


@dataclass(frozen=True)
class Slice:
    """One contender's turn in one round, as it is handed to the worker process."""

    contender: str
    directory: str
    cell: Cell
    seconds: float
    warm_seconds: float
    terms: Terms
    programs: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return what from_json takes."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Slice:
        """Rebuild a slice on the worker's side."""
        return cls(**{**fields, "cell": Cell(**fields["cell"]), "terms": Terms(**fields["terms"])})


def size_text(size: int) -> str:
    """Write a number of bytes in the largest unit that divides it: 64 B, 16 KiB."""
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit and size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size} B"
