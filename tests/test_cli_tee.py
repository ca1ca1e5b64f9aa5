"""The command ``tee``: durable before echoed, bounded in memory, and the bytes as they came."""

from __future__ import annotations

import io
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import cli_command as command
import pytest
from _patience import PATIENCE_S
from hypothesis import given
from hypothesis import strategies as st

from pydurable import Log, _cli_tee, read_log, verify_log
from pydurable._cli_tee import LineSplitter

BINARY = bytes(range(256)) * 700 + b"\r\n\n\r\r\n" + b"\0" * 5000 + b"\nno newline at the end\xff"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\n", id="an empty line"),
        pytest.param(b"one\ntwo\nthree\n", id="lines"),
        pytest.param(b"one\ntwo", id="no newline at the end"),
        pytest.param(BINARY, id="binary"),
    ],
)
def test_tee_then_dump_raw_is_the_input(tmp_path: Path, data: bytes) -> None:
    """What goes into tee comes out of it, and out of dump --format raw, byte for byte."""
    command.tee(tmp_path / "log", data)
    assert command.raw(tmp_path / "log") == data


def test_each_line_is_a_record_and_a_last_part_is_one_too(tmp_path: Path) -> None:
    """Lines are told apart by newlines alone and keep them."""
    command.tee(tmp_path / "log", b"a\nb\rc\n\nrest")
    records = [record.data for record in read_log(tmp_path / "log")]
    assert records == [b"a\n", b"b\rc\n", b"\n", b"rest"]


def test_tee_goes_on_where_an_earlier_one_stopped(tmp_path: Path) -> None:
    """A second tee appends to the log."""
    command.tee(tmp_path / "log", b"first\n")
    command.tee(tmp_path / "log", b"second\n")
    assert command.raw(tmp_path / "log") == b"first\nsecond\n"


def test_lines_at_hand_share_a_commit(tmp_path: Path) -> None:
    """Ten thousand lines that are already there take a few commits, not ten thousand."""
    (tmp_path / "input").write_bytes(b"0123456789\n" * 10_000)
    with (tmp_path / "input").open("rb") as lines:
        done = command.run("tee", tmp_path / "log", stdin=lines)
    assert len(done.stdout) == 110_000
    report = verify_log(tmp_path / "log")
    assert report.records == 10_000
    assert report.batches < 20


def test_a_single_line_is_echoed_at_once(tmp_path: Path) -> None:
    """An interactive line comes back, and is in the log, while the input stays open."""
    with command.start("tee", tmp_path / "log") as process:
        for number in range(1, 4):
            command.stream(process.stdin).write(b"line %d\n" % number)
            assert command.read_exactly(process.stdout, 7) == b"line %d\n" % number
            assert [record.lsn for record in read_log(tmp_path / "log")][-1] == number


@pytest.mark.parametrize("sync", ["none", "interval", "group", "each"])
def test_tee_takes_each_target(tmp_path: Path, sync: str) -> None:
    """--sync is handed to the log; whatever it is, the end of input leaves all in the log."""
    done = command.run("tee", tmp_path / "log", "--sync", sync, input=b"a\nb\n")
    assert (done.returncode, done.stdout) == (0, b"a\nb\n")
    assert command.raw(tmp_path / "log") == b"a\nb\n"


class WatchedLog:
    """A log that only notes what is committed, in the same list as what is echoed."""

    def __init__(self, events: list[tuple[str, bytes]]) -> None:
        self._events = events

    def __call__(self, path: str, *, sync: str) -> WatchedLog:
        return self

    def __enter__(self) -> WatchedLog:
        return self

    def __exit__(self, *unused: object) -> None:
        pass

    def commit(self, data: bytes) -> None:
        self.commit_many([data])

    def commit_many(self, lines: list[bytes]) -> None:
        self._events += [("commit", line) for line in lines]


def test_an_echo_comes_after_its_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """No byte is echoed before the commit of its record has returned."""
    events: list[tuple[str, bytes]] = []
    chunks = [b"a\nb\nc", b"d\n", b"e"]
    monkeypatch.setattr(_cli_tee, "Log", WatchedLog(events))
    monkeypatch.setattr(_cli_tee, "Interrupts", lambda: None)
    monkeypatch.setattr(_cli_tee, "_chunks", lambda interrupts: iter(chunks))
    monkeypatch.setattr(_cli_tee, "_echo", lambda data, interrupts: events.append(("echo", data)))
    assert _cli_tee.run_tee("unused", sync="group") == 0
    assert events == [
        ("commit", b"a\n"),
        ("commit", b"b\n"),
        ("echo", b"a\nb\n"),
        ("commit", b"cd\n"),
        ("echo", b"cd\n"),
        ("commit", b"e"),
        ("echo", b"e"),
    ]


@pytest.mark.parametrize("echoed", [1, 500, 20_000])
def test_what_was_echoed_survives_a_sigkill(tmp_path: Path, echoed: int) -> None:
    """Every line that came out of tee before it was killed is in the log, intact."""
    lines = [b"%07d\n" % number for number in range(60_000)]
    (tmp_path / "input").write_bytes(b"".join(lines))
    with (
        (tmp_path / "input").open("rb") as source,
        command.start("tee", tmp_path / "log", stdin=source) as process,
    ):
        seen = command.read_exactly(process.stdout, 8 * echoed)
        process.kill()
        process.wait(PATIENCE_S)
        seen += command.stream(process.stdout).read()
    with Log(tmp_path / "log", create=False):
        pass
    kept = [record.data for record in read_log(tmp_path / "log")]
    assert len(seen) >= 8 * echoed
    assert kept == lines[: len(kept)]
    assert b"".join(kept).startswith(seen)


def test_a_reader_that_stops_stops_the_writer(tmp_path: Path) -> None:
    """With nobody reading its output, tee takes in a bounded number of bytes, not all it can."""
    line = b"x" * 1023 + b"\n"
    offered, taken = 64 << 20, 0
    with command.start("tee", tmp_path / "log") as process:
        inlet = command.stream(process.stdin).fileno()
        os.set_blocking(inlet, False)
        # Two seconds without room in the pipe are taken for a stop.
        while taken < offered and select.select([], [inlet], [], 2)[1]:
            taken += os.write(inlet, line)
        # Two pipes of the usual 64 KiB (up to 1 MiB where it was raised), and what is in hand.
        assert taken < 4 << 20
        # The log has no more than that either, and all of it comes when the reader does.
        command.stream(process.stdin).close()
        assert len(command.read_exactly(process.stdout, taken + 1)) == taken
        assert command.ended_quietly(process) == 0


MEASURE = """
import resource, subprocess, sys
done = subprocess.run([sys.executable, "-m", "pydurable", "tee", sys.argv[1]],
                      stdin=sys.stdin, stdout=subprocess.DEVNULL)
print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def peak_memory_kib(log: Path, source: Path) -> int:
    """The most memory that a tee of ``source`` had at any time."""
    with source.open("rb") as lines:
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, str(log)],
            stdin=lines,
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE_S,
        )
    code, size = map(int, done.stdout.split())
    assert code == 0
    return size if sys.platform != "darwin" else size >> 10


def test_memory_does_not_grow_with_the_input(tmp_path: Path) -> None:
    """64 MiB through tee, half of it one line without an end, take little more than a line does."""
    (tmp_path / "small").write_bytes(b"a line\n")
    large = b"y" * (32 << 20) + b"\n" + (b"z" * 127 + b"\n") * (256 << 10)
    (tmp_path / "large").write_bytes(large)
    few = peak_memory_kib(tmp_path / "log1", tmp_path / "small")
    many = peak_memory_kib(tmp_path / "log2", tmp_path / "large")
    # The log's own buffers (8 MiB wait at most) and a few copies of a 1 MiB piece.
    assert many - few < 32 << 10
    assert command.raw(tmp_path / "log2") == large


def test_a_closed_output_ends_tee_and_keeps_what_was_read(tmp_path: Path) -> None:
    """When the reader leaves, tee ends quietly; all it has read is committed."""
    with command.start("tee", tmp_path / "log") as process:
        command.stream(process.stdin).write(b"one\n")
        assert command.read_exactly(process.stdout, 4) == b"one\n"
        command.stream(process.stdout).close()
        command.stream(process.stdin).write(b"two\nunfinished")
        assert command.ended_quietly(process) == 0
    assert command.raw(tmp_path / "log") == b"one\ntwo\nunfinished"


def test_ctrl_c_ends_tee_and_keeps_what_was_read(tmp_path: Path) -> None:
    """Ctrl-C ends quietly with 130, and also the unfinished line is in the log."""
    with command.start("tee", tmp_path / "log") as process:
        command.stream(process.stdin).write(b"one\nunfinished")
        assert command.read_exactly(process.stdout, 4) == b"one\n"
        process.send_signal(signal.SIGINT)
        assert command.ended_quietly(process) == 130
    assert command.raw(tmp_path / "log") == b"one\nunfinished"


def test_ctrl_c_ends_tee_while_its_reader_sleeps(tmp_path: Path) -> None:
    """Also a tee that waits for room in its output ends with 130; what it read is in the log."""
    data = b"0123456\n" * (1 << 17)
    with command.start("tee", tmp_path / "log", stdin=subprocess.PIPE) as process:
        inlet = command.stream(process.stdin).fileno()
        os.write(inlet, b"begin\n")
        echoed = command.stream(process.stdout).readline()  # it is at work, past its start
        os.set_blocking(inlet, False)
        taken = 0
        while taken < len(data) and select.select([], [inlet], [], 1)[1]:
            taken += os.write(inlet, data[taken:])
        process.send_signal(signal.SIGINT)
        assert command.ended_quietly(process) == 130
        echoed += command.stream(process.stdout).read()
    assert command.raw(tmp_path / "log").startswith(echoed)


@pytest.mark.parametrize("closed", ["0<&-", ">&-", "0<&- >&- 2>&-"])
def test_closed_descriptors_do_not_reach_the_log(tmp_path: Path, closed: str) -> None:
    """With standard descriptors closed by the caller no output ends up in the log's files."""
    script = f'printf "a\\nb\\n" | "$0" -m pydurable tee "$1" {closed}'
    done = subprocess.run(
        ["sh", "-c", script, sys.executable, str(tmp_path / "log")],
        capture_output=True,
        timeout=PATIENCE_S,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    expected = b"" if "0<&-" in closed else b"a\nb\n"
    assert command.raw(tmp_path / "log") == expected
    assert command.run("verify", tmp_path / "log").returncode == 0


@given(st.lists(st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r"])).map(b"".join)))
def test_the_splitter_loses_nothing_and_cuts_at_newlines(chunks: list[bytes]) -> None:
    """For any chunks, the pieces join to the input, and only a long line is cut elsewhere."""
    splitter = LineSplitter(limit=8)
    pieces = [piece for chunk in chunks for piece in splitter.feed(chunk)]
    longest_chunk = max(map(len, chunks), default=0)
    rest = splitter.take_rest()
    assert b"".join(pieces) + rest == b"".join(chunks)
    assert len(rest) < 8
    for piece in pieces:
        assert piece.count(b"\n") == piece.endswith(b"\n")
        assert piece.endswith(b"\n") or 8 <= len(piece) < 8 + longest_chunk
    whole = LineSplitter(limit=1 << 20)
    lines = [line for chunk in chunks for line in whole.feed(chunk)] + [whole.take_rest()]
    assert [line for line in lines if line] == io.BytesIO(b"".join(chunks)).readlines()
