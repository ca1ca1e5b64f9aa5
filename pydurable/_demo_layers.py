"""``pydurable demo layers``: the same records written in four ways, and what survives of them.

After each call it looks at what another process can read now, which is what a kill leaves, and at
what a sync has covered, which is all that a simulated power cut leaves.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pydurable import Log, read_log
from pydurable import _cli_output as output
from pydurable import _native_record as record
from pydurable._demo_medium import Medium
from pydurable._demo_place import filesystem_of, workplace

RECORDS = (b"pay Ann 10\n", b"pay Bob 20\n", b"pay Cid 30\n")

IN_PROCESS, IN_CACHE, NAMELESS, DURABLE = ".", "o", "+", "#"
MEANINGS = {
    IN_PROCESS: "only in this process, in a buffer of Python: a kill loses it",
    IN_CACHE: "in the page cache: survives a kill; a power cut loses it",
    NAMELESS: "on the medium, in a file whose name is not there: nobody promises to find it",
    DURABLE: "on the medium: survives a power cut",
}


class Step(NamedTuple):
    """What was called last, and where each record is then: one of the four, or a space."""

    call: str
    records: str

    @property
    def killed(self) -> int:
        """How many records are left if the process is killed now."""
        return sum(state in (IN_CACHE, NAMELESS, DURABLE) for state in self.records)

    @property
    def cut(self) -> int:
        """How many records are left if the power is cut now."""
        return self.records.count(DURABLE)


class Way(NamedTuple):
    """A way to write records, and what became of them step by step."""

    name: str
    steps: list[Step]


def _states(written: int, visible: list[bytes], synced: list[bytes], named: bool) -> str:
    """Where each record is, the ones that are not written yet left blank."""
    return "".join(
        (DURABLE if named else NAMELESS)
        if data in synced
        else IN_CACHE
        if data in visible
        else IN_PROCESS
        if number < written
        else " "
        for number, data in enumerate(RECORDS)
    )


def plain_steps(path: Path, *, flush: bool, sync: bool) -> Iterator[Step]:
    """Write to a new file as everybody does, and look after each call."""
    synced: list[bytes] = []
    named = False

    def look(call: str, written: int) -> Step:
        visible = path.read_bytes().splitlines(keepends=True)
        return Step(call, _states(written, visible, synced, named))

    with open(path, "wb") as file:
        for written, data in enumerate(RECORDS, 1):
            file.write(data)
            yield look("file.write(record)", written)
            if flush:
                file.flush()
                yield look("file.flush()", written)
            if sync:
                os.fsync(file.fileno())
                synced = path.read_bytes().splitlines(keepends=True)
                yield look("os.fsync(file)", written)
    yield look("file.close()", len(RECORDS))
    if sync:
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        named = True
        yield look("os.fsync(directory)", len(RECORDS))


def commit_steps(folder: Path) -> Iterator[Step]:
    """Commit to a log, and look at what recovery finds after a kill and after a power cut."""
    # Small, because all of it is kept in memory; and a method that needs no O_DSYNC.
    with record.recording():
        with Log(folder / "log", method="fdatasync", segment_bytes=1 << 16) as log:
            for written, data in enumerate(RECORDS, 1):
                log.commit(data)
                record.mark(written)
        events = record.recorded()
    medium = Medium(folder)
    for event in events:
        medium.apply(event)
        if event.call == record.MARK:
            visible = _recovered(medium, True, folder.parent)
            synced = _recovered(medium, False, folder.parent)
            yield Step("log.commit(record)", _states(event.c, visible, synced, named=True))


def _recovered(medium: Medium, cached: bool, place: Path) -> list[bytes]:
    """What a log opens with after a kill (cached), or when the power is back."""
    with tempfile.TemporaryDirectory(dir=place) as name:
        after = Path(name, "after")
        medium.write_to(after, cached=cached)
        with Log(after / "log", create=False, method="fdatasync") as survivor:
            return [entry.data for entry in read_log(survivor.path)]


def all_ways(folder: Path) -> list[Way]:
    """Write in each of the ways below the folder."""
    for name in ("plain", "log"):
        (folder / name).mkdir()
    plain = folder / "plain"
    return [
        Way("write", list(plain_steps(plain / "write", flush=False, sync=False))),
        Way("write, flush", list(plain_steps(plain / "flush", flush=True, sync=False))),
        Way("write, flush, fsync", list(plain_steps(plain / "fsync", flush=True, sync=True))),
        Way("pydurable", list(commit_steps(folder / "log"))),
    ]


def drawn(ways: list[Way]) -> str:
    """The steps as text."""
    count = len(RECORDS)
    heads = " ".join(str(number + 1) for number in range(count))
    rows = [f"{'record':<23}{heads}   after a kill   after a power cut"]
    for way in ways:
        rows += ["", way.name]
        for step in way.steps:
            records = " ".join(step.records)
            killed, cut = (f"{left} of {count}" for left in (step.killed, step.cut))
            rows.append(f"  {step.call:<21}{records}   {killed:^12}   {cut:^17}".rstrip())
    return "\n".join([*rows, "", *(f"  {mark}  {text}" for mark, text in MEANINGS.items())])


def run_layers(directory: str | None, plot: str | None) -> int:
    """Write, look, draw; 0, or 1 if a record was lost that commit had returned for."""
    if plot is not None:
        from pydurable._demo_plot import require_matplotlib

        require_matplotlib()
    with workplace(directory) as folder:
        filesystem = filesystem_of(folder)
        output.emit(
            f"The same {len(RECORDS)} records written in four ways to {folder}"
            + (f" ({filesystem})" if filesystem else "")
            + ".\nAfter each call: what is left if the process is killed there, and if the power is"
            "\ncut there. The power cut is simulated, and as bad as it may be: of what the disk was"
            "\nsent it keeps what a sync has covered.\n"
        )
        ways = all_ways(Path(folder))
    if plot is not None:
        from pydurable._demo_plot import draw

        draw(ways, plot)
    ends = [f"Drawn to {plot}"] if plot is not None else []
    ends += [f"Kept in {folder}"] if directory is not None else []
    output.emit_verdict("\n".join([drawn(ways), *ends]))
    return 0 if all(step.cut == i for i, step in enumerate(ways[-1].steps, 1)) else 1
