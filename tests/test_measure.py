"""Measuring ways of writing: what is measured, what it leaves behind, what cannot be true."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from _faults import Faults
from _patience import PATIENCE_S, wait_until
from cli_command import run, start
from test_doctor import _schema

from pydurable import _native_record
from pydurable._doctor.measure import Cell, too_fast
from pydurable._doctor.report import Layer, StorageReport
from pydurable._native_storage import SPACES, WAYS, measure, probe
from pydurable._recording import Recording


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("way", WAYS)
def test_each_way_of_writing(way: str, space: str, tmp_path: Path) -> None:
    """Every writer has its share of the times, which come sorted; nothing stays behind."""
    times = measure(str(tmp_path), way, space, writers=3, size=512, seconds=0.0)
    assert list(tmp_path.iterdir()) == []
    if way.startswith("F_"):
        assert times is None  # those of macOS
    elif times is not None:  # some filesystems have no O_DIRECT
        assert len(times) == 9  # three each, however short the time
        assert times == sorted(times)
        assert times[0] > 0


def test_measuring_where_there_is_nothing(tmp_path: Path) -> None:
    """OSError with errno, what was being done, and the path."""
    with pytest.raises(FileNotFoundError) as caught:
        measure(str(tmp_path / "no"), "fsync", "append", writers=1, size=512, seconds=0.0)
    assert caught.value.filename == str(tmp_path / "no")
    assert "directory to measure in" in str(caught.value)
    with pytest.raises(FileNotFoundError):
        probe(str(tmp_path / "no"), appending=False)
    for writers, size in ((0, 512), (1000, 512), (1, 1 << 20)):
        with pytest.raises(OSError, match="Invalid"):
            measure(str(tmp_path), "fsync", "append", writers=writers, size=size, seconds=0.0)


@pytest.mark.parametrize("appending", [False, True])
def test_the_probe_takes_what_it_measured_to_be_fast(appending: bool, tmp_path: Path) -> None:
    """The choice is within 3 % of the fastest median, and the first of those in its order."""
    chosen = probe(str(tmp_path), appending=appending)
    assert list(tmp_path.iterdir()) == []
    if not chosen.lines:
        pytest.skip("there is nothing to choose on this filesystem")
    best = min(line.median_us for line in chosen.lines)
    first = next(line for line in chosen.lines if line.median_us * 0.97 <= best)
    assert (chosen.method, chosen.space) == (first.method, first.space)
    assert all(line.samples >= 3 for line in chosen.lines)


def test_the_probe_ends_when_its_time_is_over(tmp_path: Path, faults: Faults) -> None:
    """On a disk where a flush takes most of that time it makes the least number of rounds."""
    faults.delay("fdatasync", 300, times=0)
    chosen = probe(str(tmp_path), appending=True)
    faults.clear()
    if not chosen.lines:
        pytest.skip("there is nothing to choose on this filesystem")
    assert [line.samples for line in chosen.lines] == [3, 3]
    assert chosen.method == "dsync"


def test_files_of_the_probe_have_no_name(tmp_path: Path) -> None:
    """Where there are files without a name, no name is ever made: not even a kill leaves one."""
    recording: Recording[None] = Recording()
    with recording.running():
        probe(str(tmp_path), appending=False)
    calls = [_native_record.NAMES.get(event.call) for event in recording.events]
    opened = [event for event in recording.events if _native_record.NAMES.get(event.call) == "open"]
    if len(opened) < 3 or "unlink" in calls:
        pytest.skip("this filesystem has no files without a name, or there is nothing to choose")
    assert all(event.c >> 32 & _native_record.OPEN_UNNAMED for event in opened[1:])


def test_without_nameless_files_the_name_goes_at_once(tmp_path: Path, faults: Faults) -> None:
    """The fallback: opened under a name, which is unlinked before anything is written."""
    for nth in range(1, 3):
        faults.clear()
        # The first open is that of the directory, the next that of a file without a name.
        faults.fail("open", errno.EOPNOTSUPP, nth=nth + 1)
        times = measure(str(tmp_path), "fsync", "append", writers=2, size=512, seconds=0.0)
        assert times
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("call", ["open", "allocate", "write", "fsync", "fdatasync", "close"])
def test_a_failing_disk(call: str, tmp_path: Path, faults: Faults) -> None:
    """Whatever fails is an OSError with its errno, and nothing stays behind."""
    for appending in (False, True):
        if call == "allocate" and appending:
            continue
        faults.fail(call, errno.EIO, times=0)
        with pytest.raises(OSError, match="Input/output error") as caught:
            probe(str(tmp_path), appending=appending)
        faults.clear()
        assert caught.value.errno == errno.EIO
        assert list(tmp_path.iterdir()) == []


def _report(**facts: Any) -> StorageReport:
    drive = Layer("drive", "sda (A disk)", 1, "", "durable", facts)
    return StorageReport("/", "durable", "", "/", "ext4", (drive,), (), ())


@pytest.mark.parametrize(
    ("facts", "p50_us", "warned"),
    [
        ({"rotational": True, "bus": "SATA"}, 150.0, True),
        ({"rotational": True, "bus": "SATA"}, 8000.0, False),
        ({"rotational": True, "bus": "virtio"}, 150.0, False),
        ({"rotational": False, "bus": "NVMe"}, 150.0, False),
        ({"rotational": False, "bus": "NVMe"}, 5.0, True),
    ],
)
def test_too_fast_to_be_true(facts: dict[str, Any], p50_us: float, warned: bool) -> None:
    """A flush faster than the kind of device is named; what hypervisors call rotational is not."""
    cells = (Cell("fsync", "append", 1, 9, p50_us, p50_us, 1e6 / p50_us),)
    assert bool(list(too_fast(_report(**facts), cells))) == warned


def test_the_command_is_stopped_by_ctrl_c(tmp_path: Path) -> None:
    """Code 130, quickly, and no file is left in the directory."""
    with start("doctor", tmp_path, "--measure") as process:
        # It is at work once it has opened a file in the directory.
        wait_until(
            lambda: process.poll() is not None or _has_open(process.pid, tmp_path), "the beginning"
        )
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 130
    assert list(tmp_path.iterdir()) == []


def _has_open(pid: int, folder: Path) -> bool:
    try:
        links = [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return False
    return any(link.startswith(f"{folder}/") for link in links)


@pytest.mark.long
def test_the_whole_measurement(tmp_path: Path) -> None:
    """The JSON keeps to its schema; every way is measured alone; the text fits 80 columns."""
    done = run("doctor", tmp_path, "--measure", "--json")
    assert done.stderr == b""
    fields = json.loads(done.stdout)
    jsonschema.Draft202012Validator(_schema()).validate(fields)
    alone = {(c["way"], c["space"]) for c in fields["measured"]["cells"] if c["writers"] == 1}
    ways = {way for way in WAYS if not re.match("F_|O_DIRECT", way)}
    assert {(way, space) for way in ways for space in ("append", "zeroed")} <= alone
    assert all(cell["p50_us"] <= cell["p99_us"] for cell in fields["measured"]["cells"])
    text = run("doctor", tmp_path, "--measure").stdout.decode()
    assert 'method="auto" would take' in text
    assert all(len(line) <= 80 for line in text.splitlines() if not line.startswith("/"))
    assert list(tmp_path.iterdir()) == []
