"""The command: dump, verify, repair, and what every subcommand does with errors and pipes."""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
from pathlib import Path

import cli_command as command
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pydurable import Log, Record, __version__, verify_log
from pydurable._cli_dump import format_json, format_text

NEEDLE = b"the very first record"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A small log of text, control characters and bytes that are no text, closed cleanly."""
    with Log(tmp_path / "log") as log:
        for data in (b"plain\n", "caf\u00e9\t\x1b[2J\\".encode(), b"\xff\x00", b""):
            log.commit(data)
    return tmp_path / "log"


@pytest.fixture
def long_log(tmp_path: Path) -> Path:
    """A log whose dump is far longer than a pipe holds."""
    with Log(tmp_path / "long") as log:
        log.commit_many(b"record %06d of a long log\n" % number for number in range(50_000))
    return tmp_path / "long"


@pytest.fixture
def damaged_log(tmp_path: Path) -> Path:
    """A log whose second record was changed after it and later ones were acknowledged."""
    with Log(tmp_path / "damaged") as log:
        for data in (b"before", NEEDLE, b"after", b"the end"):
            log.commit(data)
    command.overwrite(tmp_path / "damaged", NEEDLE, NEEDLE.upper())
    return tmp_path / "damaged"


# ---- dump


def test_dump_prints_numbers_and_readable_text(log: Path) -> None:
    """One line for each record, which no content can break out of; printable text as it is."""
    done = command.run("dump", log, env={**command.ENVIRONMENT, "PYTHONIOENCODING": "utf-8"})
    expected = "1\tplain\\n\n2\tcaf\u00e9\\t\\x1b[2J\\\\\n3\t\\xff\\x00\n4\t\n"
    assert (done.returncode, done.stdout.decode(), done.stderr) == (0, expected, b"")


def test_dump_escapes_what_the_terminal_lacks(log: Path) -> None:
    """An encoding without a character gets an escape, not an error."""
    env = {**command.ENVIRONMENT, "PYTHONIOENCODING": "ascii"}
    assert b"2\tcaf\\xe9\\t" in command.run("dump", log, env=env).stdout


def test_dump_json_is_one_object_a_line(log: Path) -> None:
    """Text is under data, other bytes under base64; nothing is lost either way."""
    done = command.run("dump", log, "--format", "json")
    objects = [json.loads(line) for line in done.stdout.splitlines()]
    assert objects == [
        {"lsn": 1, "data": "plain\n"},
        {"lsn": 2, "data": "caf\u00e9\t\x1b[2J\\"},
        {"lsn": 3, "base64": "/wA="},
        {"lsn": 4, "data": ""},
    ]


def test_dump_raw_adds_nothing(log: Path) -> None:
    """Raw is the bytes of one record after another."""
    assert command.raw(log) == b"plain\n" + "caf\u00e9\t\x1b[2J\\".encode() + b"\xff\x00"


@given(st.binary())
def test_json_gives_any_bytes_back(data: bytes) -> None:
    """Whatever was committed can be had from the JSON line, which is one line."""
    line = format_json(Record(1, data))
    fields = json.loads(line)
    assert line.count(b"\n") == 1
    if "base64" in fields:
        assert base64.b64decode(fields["base64"]) == data
    else:
        assert fields["data"].encode() == data


@given(st.binary() | st.text().map(str.encode))
def test_text_is_one_printable_line_for_any_bytes(data: bytes) -> None:
    """No record prints a control character or a second line."""
    line = format_text(Record(1, data)).decode(sys.stdout.encoding or "utf-8")
    assert line.startswith("1\t")
    assert line.endswith("\n")
    assert line[2:-1].isprintable()


@given(st.binary(), st.binary())
def test_text_tells_different_records_apart(one: bytes, other: bytes) -> None:
    """Two records print alike only where they are alike."""
    assert (format_text(Record(1, one)) == format_text(Record(1, other))) == (one == other)


@pytest.mark.parametrize(("start", "lsns"), [(1, [1, 2, 3, 4]), (3, [3, 4]), (5, []), (99, [])])
def test_dump_starts_where_it_is_told(log: Path, start: int, lsns: list[int]) -> None:
    """--start is the first number printed; beyond the end there is nothing, and no error."""
    done = command.run("dump", log, "--start", start, "--format", "json")
    assert (done.returncode, done.stderr) == (0, b"")
    assert [json.loads(line)["lsn"] for line in done.stdout.splitlines()] == lsns


def test_dump_of_a_truncated_log_starts_with_its_oldest_record(tmp_path: Path) -> None:
    """What is left is printed, without --start and with one that was truncated away."""
    with Log(tmp_path / "log", segment_bytes=1 << 20) as log:
        for _ in range(20):
            log.commit(b"x" * 200_000)
        log.truncate_before(10)
        oldest = log.oldest_lsn
    assert oldest > 1
    for start in ([], ["--start", oldest - 1], ["--start", oldest]):
        done = command.run("dump", tmp_path / "log", "--format", "json", *start)
        assert (done.returncode, done.stderr) == (0, b"")
        lsns = [json.loads(line)["lsn"] for line in done.stdout.splitlines()]
        assert lsns == list(range(oldest, 21))


def test_dump_follow_prints_what_comes(log: Path) -> None:
    """--follow prints the records there are, then each new one, until Ctrl-C ends it quietly."""
    with command.start("dump", log, "--start", 4, "--format", "json", "--follow") as process:
        first = b'{"lsn": 4, "data": ""}\n'
        assert command.read_exactly(process.stdout, len(first)) == first
        with Log(log) as writer:
            writer.commit(b"new")
            second = b'{"lsn": 5, "data": "new"}\n'
            assert command.read_exactly(process.stdout, len(second)) == second
        process.send_signal(signal.SIGINT)
        assert command.ended_quietly(process) == 130


def test_dump_follow_ends_with_its_reader(log: Path) -> None:
    """A follower whose reader is gone ends by itself, though no new record comes."""
    with command.start("dump", log, "--start", 4, "--follow") as process:
        assert command.read_exactly(process.stdout, 3) == b"4\t\n"
        command.stream(process.stdout).close()
        assert command.ended_quietly(process) == 0


def test_dump_of_a_damaged_log_prints_what_is_before_the_damage(damaged_log: Path) -> None:
    """The good records come out, then one line says what is wrong, and the code is 1."""
    done = command.run("dump", damaged_log, "--format", "raw")
    assert (done.returncode, done.stdout) == (1, b"before")
    assert "damaged" in command.one_line(done.stderr)


# ---- verify and repair


def test_verify_reports_a_good_log(log: Path) -> None:
    """A good log gets code 0 and a report that fits 80 columns."""
    done = command.run("verify", "log", cwd=log.parent)
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode().splitlines()
    assert lines[0] == "log: good"
    assert any("4, numbers 1 to 4" in line for line in lines)
    assert max(map(len, lines)) <= 80


def test_verify_json_is_the_report(log: Path) -> None:
    """--json has the fields of pydurable.Report and says that there is no damage."""
    done = command.run("verify", log, "--json")
    fields = json.loads(done.stdout)
    assert done.returncode == 0
    assert fields["damaged"] is False
    assert (fields["records"], fields["oldest_lsn"], fields["next_lsn"]) == (4, 1, 5)


def test_verify_tells_of_a_living_writer(tmp_path: Path) -> None:
    """A log that is being written can be verified, and the report says so."""
    with Log(tmp_path / "log") as log:
        log.commit(b"one")
        done = command.run("verify", tmp_path / "log")
    assert done.returncode == 0
    assert b"a writer has it open" in done.stdout


def test_verify_finds_damage(damaged_log: Path) -> None:
    """Damage is code 1, with the file, the offset and what can be done, on 80 columns."""
    done = command.run("verify", "damaged", cwd=damaged_log.parent)
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 1
    assert lines[0] == "damaged: DAMAGED"
    assert any("pydurable repair damaged" in line for line in lines)
    assert max(map(len, lines)) <= 80
    fields = json.loads(command.run("verify", damaged_log, "--json").stdout)
    assert fields["damaged"] is True
    assert fields["filename"].startswith(str(damaged_log))
    assert fields["offset"] > 0


def test_verify_changes_nothing(damaged_log: Path) -> None:
    """All files are afterwards what they were."""
    before = {path: path.read_bytes() for path in damaged_log.iterdir()}
    assert command.run("verify", damaged_log).returncode == 1
    assert {path: path.read_bytes() for path in damaged_log.iterdir()} == before


def test_repair_makes_a_damaged_log_usable(damaged_log: Path) -> None:
    """The good records are kept, the copy has the damaged one, and the log verifies."""
    done = command.run("repair", damaged_log, "--json")
    repair = json.loads(done.stdout)
    assert done.returncode == 0
    assert (repair["repaired"], repair["kept"]) == (True, [1, 1])
    assert repair["damage"]["first_lsn"] == 2
    assert repair["report"]["next_lsn"] == 2
    copies = [path.read_bytes() for path in Path(repair["copy"]).rglob("*") if path.is_file()]
    assert any(NEEDLE.upper() in content for content in copies)
    assert command.run("verify", damaged_log).returncode == 0
    assert command.raw(damaged_log) == b"before"


def test_repair_prints_what_it_kept(damaged_log: Path) -> None:
    """Without --json the same is said in words."""
    done = command.run("repair", damaged_log)
    assert done.returncode == 0
    assert b"records 1 to 1" in done.stdout
    assert b"as it was" in done.stdout
    assert verify_log(damaged_log).records == 1


def test_repair_leaves_a_good_log_alone(log: Path) -> None:
    """Where nothing is damaged nothing is changed or copied, and that is good."""
    before = {path: path.read_bytes() for path in log.iterdir()}
    done = command.run("repair", log)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"nothing to repair" in done.stdout
    assert json.loads(command.run("repair", log, "--json").stdout)["repaired"] is False
    assert {path: path.read_bytes() for path in log.iterdir()} == before
    assert list(log.parent.iterdir()) == [log]


# ---- errors, usage, pipes, Ctrl-C


def no_log(tmp_path: Path, kind: str) -> Path:
    """A path at which there is a file, a folder with a file of somebody's, or nothing."""
    path = tmp_path / "place"
    if kind == "file":
        path.write_bytes(b"not a log")
    elif kind == "folder":
        path.mkdir()
        (path / "letter.txt").write_bytes(b"not a log")
    return path


@pytest.mark.parametrize("name", ["dump", "verify", "repair"])
@pytest.mark.parametrize("kind", ["missing", "file", "folder"])
def test_what_is_no_log_is_named(tmp_path: Path, name: str, kind: str) -> None:
    """A path that is nothing, a file, or some folder gets one line that names it, and code 1."""
    path = no_log(tmp_path, kind)
    done = command.run(name, path)
    assert (done.returncode, done.stdout) == (1, b"")
    assert str(path) in command.one_line(done.stderr)


@pytest.mark.parametrize("kind", ["file", "folder", "no parent"])
def test_tee_makes_no_log_where_none_belongs(tmp_path: Path, kind: str) -> None:
    """tee says no to a file, a folder with other things in it, and a missing parent."""
    path = no_log(tmp_path, kind)
    if kind == "no parent":
        path = path / "log"
    done = command.run("tee", path, input=b"line\n")
    assert (done.returncode, done.stdout) == (1, b"")
    assert str(path) in command.one_line(done.stderr)
    if kind == "folder":
        assert [file.name for file in path.iterdir()] == ["letter.txt"]


def test_a_locked_log_names_its_holder(tmp_path: Path) -> None:
    """Whoever wants to write a log that is being written is told by whom."""
    with Log(tmp_path / "log"):
        done = command.run("tee", tmp_path / "log", input=b"line\n")
    assert (done.returncode, done.stdout) == (1, b"")
    expected = f"pydurable: {tmp_path / 'log'}: process {os.getpid()} has this log open"
    assert command.one_line(done.stderr).startswith(expected)


def test_a_log_that_is_written_is_not_repaired(tmp_path: Path) -> None:
    """repair stays away from a log with a living writer."""
    with Log(tmp_path / "log"):
        done = command.run("repair", tmp_path / "log")
    assert (done.returncode, done.stdout) == (1, b"")
    assert "has this log open" in command.one_line(done.stderr)
    assert list(tmp_path.iterdir()) == [tmp_path / "log"]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["unknown"],
        ["tee"],
        ["tee", "log", "--sync", "maybe"],
        ["dump", "log", "--format", "xml"],
        ["dump", "log", "--start", "0"],
        ["dump", "log", "--start", "-1"],
        ["dump", "log", "--start", "one"],
        ["verify"],
        ["demo", "one", "two"],
    ],
)
def test_wrong_usage_is_code_2(arguments: list[str], tmp_path: Path) -> None:
    """Wrong usage prints how it is used, and touches nothing."""
    done = command.run(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"usage: pydurable")
    assert list(tmp_path.iterdir()) == []


def test_version() -> None:
    """--version prints the package's version."""
    done = command.run("--version")
    assert (done.returncode, done.stdout.decode()) == (0, f"pydurable {__version__}\n")


def test_an_unbuffered_python_writes_all_the_same(long_log: Path) -> None:
    """python -u changes nothing: all comes out, and a pipe that closes is quiet."""
    env = {**command.ENVIRONMENT, "PYTHONUNBUFFERED": "1"}
    whole = command.run("dump", long_log, "--format", "raw", env=env)
    assert (whole.returncode, whole.stdout) == (0, command.raw(long_log))
    with command.start("dump", long_log, env=env) as process:
        assert len(command.read_exactly(process.stdout, 10)) == 10
        command.stream(process.stdout).close()
        assert command.ended_quietly(process) == 0


@pytest.mark.parametrize("style", ["text", "json", "raw"])
def test_a_pipe_that_closes_half_way_ends_dump_quietly(long_log: Path, style: str) -> None:
    """dump | head prints nothing about the pipe and ends with 0."""
    with command.start("dump", long_log, "--format", style) as process:
        assert len(command.read_exactly(process.stdout, 10)) == 10
        command.stream(process.stdout).close()
        assert command.ended_quietly(process) == 0


@pytest.mark.parametrize("arguments", ["dump", "verify", "verify --json", "--help", "--version"])
def test_a_pipe_that_is_closed_from_the_start_is_quiet(log: Path, arguments: str) -> None:
    """Output that nobody takes, also what is flushed only at exit, is no error."""
    reader, writer = os.pipe()
    os.close(reader)
    words = arguments.split()
    if not words[-1].startswith("--") or words[0] == "verify":
        words.insert(1, str(log))
    done = command.run(*words, stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_damage_outranks_a_closed_pipe(damaged_log: Path) -> None:
    """verify of a damaged log is code 1 also where nobody reads what it prints."""
    reader, writer = os.pipe()
    os.close(reader)
    done = command.run("verify", damaged_log, stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("name", ["dump", "verify", "tee"])
def test_output_that_is_full_is_an_error(log: Path, name: str) -> None:
    """A full disk below standard output is code 1 with one line that says where."""
    with open("/dev/full", "wb") as full:
        done = command.run(name, log, stdout=full, input=b"line\n")
    assert done.returncode == 1
    assert command.one_line(done.stderr) == (
        "pydurable: standard output: No space left on device\n"
    )
