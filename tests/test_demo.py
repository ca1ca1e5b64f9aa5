"""The demo: that it runs, that it shows a bar only on a terminal, and that it would see a loss."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import cli_command as command
import pytest
from _patience import PATIENCE_S

from pydurable import Record, _demo, read_log
from pydurable._cli import main
from pydurable._demo_check import check_recovery
from pydurable._demo_child import Acknowledgement
from pydurable._demo_lines import (
    MAX_LINE_BYTES,
    THREADS,
    Origin,
    load_lines,
    record_for,
    split_lines,
)
from pydurable._demo_place import filesystem_of, workplace
from pydurable._demo_progress import progress
from pydurable._demo_round import run_round

LINES = [b"one\n", b"two\n", b"two\n", b"three\n", b"last"]


def story(turns: int = 6) -> list[tuple[Origin, Record]]:
    """What a writer with some threads would have left: whose record it is, and the record."""
    origins = [Origin(thread, turn) for turn in range(turns) for thread in range(THREADS)]
    return [
        (origin, Record(number, record_for(LINES, origin)))
        for number, origin in enumerate(origins, start=1)
    ]


def judged(records: list[Record], told: list[tuple[Origin, Record]]) -> tuple[int, int, int, bool]:
    """The verdict in short: lost, damaged, invented, good."""
    verdict = check_recovery(records, {record.lsn: origin for origin, record in told}, LINES)
    return verdict.lost, verdict.damaged, verdict.invented, verdict.good


def test_the_check_takes_a_whole_log() -> None:
    """Every acknowledged record is there; one more of each thread may be, and is counted."""
    whole = story()
    records = [record for _, record in whole]
    assert judged(records, whole) == (0, 0, 0, True)
    verdict = check_recovery(
        records, {record.lsn: origin for origin, record in whole[:-THREADS]}, LINES
    )
    assert (verdict.good, verdict.recovered, verdict.unconfirmed) == (True, 48, THREADS)


def test_the_check_sees_a_lost_tail() -> None:
    """Acknowledged records that are missing at the end are lost."""
    whole = story()
    records = [record for _, record in whole]
    assert judged(records[:-3], whole) == (3, 0, 0, False)
    assert judged([], whole) == (48, 0, 0, False)


@pytest.mark.parametrize("place", [0, 20, 46])
def test_the_check_sees_a_missing_record(place: int) -> None:
    """A hole is seen wherever it is, also when the numbers were closed up over it."""
    whole = story()
    records = [record for _, record in whole]
    del records[place]
    assert judged(records, whole)[0] == 1
    renumbered = [Record(number, data) for number, (_, data) in enumerate(records, start=1)]
    assert not judged(renumbered, whole)[3]


@pytest.mark.parametrize("place", [0, 20, 47])
@pytest.mark.parametrize("change", ["flip", "cut", "longer", "empty", "another's"])
def test_the_check_sees_a_changed_record(place: int, change: str) -> None:
    """A record that differs in one bit, its length, or its line is not taken for the real one."""
    whole = story()
    records = [record for _, record in whole]
    lsn, data = records[place]
    changed = {
        "flip": data[:-1] + bytes([data[-1] ^ 1]),
        "cut": data[:-1],
        "longer": data + b"\0",
        "empty": b"",
        "another's": records[place - 1].data,
    }[change]
    records[place] = Record(lsn, changed)
    lost, damaged, invented, good = judged(records, whole)
    assert not good
    assert lost == 0
    assert damaged + invented >= 1


def test_the_check_sees_an_invented_record() -> None:
    """What no thread can have submitted yet, and what comes twice, is invented."""
    whole = story()
    records = [record for _, record in whole]
    told = whole[: -2 * THREADS]
    assert judged(records, told) == (0, 0, THREADS, False)
    twice = [*records, Record(49, records[-1].data)]
    assert judged(twice, whole) == (0, 0, 1, False)
    assert judged([*records, Record(49, b"not from here")], whole)[2:] == (1, False)


def test_lines_survive_being_sent() -> None:
    """Splitting is repeatable, so parent and child mean the same by a line's number."""
    text = b"a\n\nb\r\n" + b"x" * (3 * MAX_LINE_BYTES + 1) + b"\nrest"
    lines = split_lines(text)
    assert b"".join(lines) == text
    assert split_lines(b"".join(lines)) == lines
    assert max(map(len, lines)) == MAX_LINE_BYTES


def test_every_machine_has_lines() -> None:
    """Without a file there are thousands of real lines."""
    assert len(load_lines(None).lines) > 1000


@pytest.mark.parametrize("kind", ["plain", "durable"])
def test_a_round_tells_what_was_acknowledged(tmp_path: Path, kind: str) -> None:
    """Both writers report every record once, with rising turns for each thread."""
    reports = run_round(kind, str(tmp_path / "out"), b"".join(LINES), 0.2, lambda done: None)
    assert len({report.lsn for report in reports}) == len(reports) > 0
    for number in range(THREADS):
        turns = [report.turn for report in reports if report.thread == number]
        assert turns == list(range(len(turns)))
    assert all(report.begin_ns < report.end_ns for report in reports)


def test_a_writer_that_fails_is_an_error(tmp_path: Path) -> None:
    """A child that cannot work is reported, not waited for."""
    (tmp_path / "out").write_bytes(b"in the way")
    with pytest.raises(ChildProcessError, match="ended by itself"):
        run_round("plain", str(tmp_path / "out"), b"line\n", 0.2, lambda done: None)


def check_output(text: str) -> None:
    """The result of a good run."""
    assert "Nothing was lost" in text
    assert "SIGKILL is not a power cut" in text
    assert "commits/s" in text
    # A path is as long as it is.
    assert max(len(line) for line in text.splitlines() if "pydurable-demo-" not in line) <= 80


def test_the_demo_in_a_pipe(tmp_path: Path) -> None:
    """In a pipe: a result, no bar; a given folder keeps the log, which holds the input's lines."""
    (tmp_path / "input").write_bytes(b"".join(LINES))
    done = command.run("demo", "--input", "input", "kept", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\r" not in done.stdout
    assert b"\x1b" not in done.stdout
    check_output(done.stdout.decode())
    (folder,) = (tmp_path / "kept").iterdir()
    kept = {record.data[12:] for record in read_log(folder / "log")}
    assert kept
    assert kept <= set(LINES)


def test_the_demo_on_a_terminal(tmp_path: Path) -> None:
    """On a terminal: a bar, then the result; the temporary folder is gone afterwards."""
    leader, follower = pty.openpty()
    env = {**command.ENVIRONMENT, "TERM": "xterm", "TMPDIR": str(tmp_path)}
    with command.start("demo", stdin=follower, stdout=follower, stderr=follower, env=env) as demo:
        os.close(follower)
        shown = b""
        # Linux says EIO where the last process has left the terminal.
        with contextlib.suppress(OSError):
            while chunk := os.read(leader, 4096):
                shown += chunk
        assert demo.wait(PATIENCE_S) == 0
    os.close(leader)
    assert b"until the kill" in shown
    assert b"Nothing was lost" in shown
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_ends_the_demo_quietly(tmp_path: Path) -> None:
    """Ctrl-C gives 130 without a word, and takes the writer and the temporary folder along."""
    with command.start("demo", env={**command.ENVIRONMENT, "TMPDIR": str(tmp_path)}) as demo:
        assert command.read_exactly(demo.stdout, 10) != b""
        demo.send_signal(signal.SIGINT)
        assert command.ended_quietly(demo) == 130
    assert list(tmp_path.iterdir()) == []


def test_the_demo_sees_a_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """When a record does not come back the demo says so, and its exit code is 1."""

    def forgetful(path: str) -> Iterator[Record]:
        return iter(())

    monkeypatch.setattr(_demo, "read_log", forgetful)
    monkeypatch.setattr(_demo, "PLAIN_SECONDS", 0.1)
    monkeypatch.setattr(_demo, "KILL_SECONDS", (0.1, 0.2))
    assert main(["demo", str(tmp_path)]) == 1
    shown = capsys.readouterr().out
    assert re.search(r"record \d+ was acknowledged and is gone", shown)
    assert "Nothing was lost" not in shown


@pytest.mark.parametrize("content", [None, b""])
def test_the_demo_without_lines_is_an_error(tmp_path: Path, content: bytes | None) -> None:
    """An input that is missing or empty is named."""
    if content is not None:
        (tmp_path / "input").write_bytes(content)
    done = command.run("demo", "--input", tmp_path / "input")
    assert (done.returncode, done.stdout) == (1, b"")
    assert str(tmp_path / "input") in command.one_line(done.stderr)


def test_the_plain_bar_is_shown_without_rich(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where rich is missing a bar is drawn all the same, and cleared at the end."""
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    monkeypatch.setattr("pydurable._demo_progress._on_terminal", lambda: True)
    with progress() as show:
        show("working", 0.5)
    shown = capsys.readouterr().err
    assert "50% working" in shown
    assert shown.endswith("\r")


def test_a_temporary_folder_avoids_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the usual place for temporary files is in memory, another one is taken."""

    def kind(path: str) -> str:
        return "ext4" if path == os.curdir else "tmpfs"

    monkeypatch.setattr("pydurable._demo_place.filesystem_of", kind)
    monkeypatch.chdir(tmp_path)
    with workplace(None) as folder:
        assert Path(folder).parent == tmp_path
    assert not Path(folder).exists()


def test_the_filesystem_is_that_of_the_nearest_mount(tmp_path: Path) -> None:
    """The longest mount point that holds the path decides, also one with a space in its name."""
    disk = tmp_path / "a disk"
    (disk / "folder").mkdir(parents=True)
    escaped = str(disk.resolve()).replace(" ", "\\040")
    (tmp_path / "mounts").write_text(
        "1 0 8:1 / / rw - ext4 /dev/a rw\n"
        f"2 1 0:9 / {escaped} rw shared:1 - xfs /dev/b rw\n"
        f"3 1 0:8 / {escaped}s rw - tmpfs none rw\n"
    )
    mounts = str(tmp_path / "mounts")
    assert filesystem_of(str(disk / "folder"), mounts) == "xfs"
    assert filesystem_of(str(tmp_path), mounts) == "ext4"
    assert filesystem_of(str(tmp_path), str(tmp_path / "none")) is None


def test_speeds_are_counted_from_the_reports() -> None:
    """The rate spans first submission to last acknowledgement; percentiles are nearest rank."""
    reports = [
        Acknowledgement(0, turn, turn + 1, turn * 10**8, turn * 10**8 + 10**6) for turn in range(11)
    ]
    assert _demo._rate(reports) == pytest.approx(11 / 1.001)
    assert [_demo.percentile(range(1, 101), percent) for percent in (50, 99)] == [50, 99]
    assert _demo.percentile([7], 99) == 7
