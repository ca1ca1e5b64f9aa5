"""The doctor on this machine: its command, its JSON, damaged trees, and that it writes nothing."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from _tree import parse, trees
from cli_command import ENVIRONMENT, run
from hypothesis import given, settings
from hypothesis import strategies as st

import pydurable
from pydurable import inspect_storage
from pydurable._doctor import macos, mounts
from pydurable._doctor.report import VERDICTS, Findings
from pydurable._doctor.text import WIDTH, report_lines

DOCUMENT = Path(__file__).parent.parent / "docs" / "doctor.md"


def _schema() -> Any:
    found = re.search(r"```json\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert found
    return json.loads(found[1])


def test_json_keeps_to_its_documented_schema(tmp_path: Path) -> None:
    """The schema in docs/doctor.md holds for this machine, for every tree, and refuses others."""
    check = jsonschema.Draft202012Validator(_schema())
    done = run("doctor", tmp_path, "--json")
    assert done.stderr == b""
    report = json.loads(done.stdout)
    check.validate(report)
    assert report["path"] == os.path.realpath(tmp_path)
    assert done.returncode == (report["verdict"] == "not durable")
    for number, tree in enumerate(trees()):
        tree.unpack(tmp_path / str(number))
        (path,) = tree.expected("path")
        fields = inspect_storage(path, root=tmp_path / str(number)).as_dict()
        check.validate(json.loads(json.dumps(fields)))
    for wrong in ({"verdict": "fine"}, {"layers": [{}]}, {"more": 1}, {"format": 2}):
        assert not check.is_valid({**report, **wrong})


def test_the_command_in_a_pipe(tmp_path: Path) -> None:
    """Plain text of 80 columns, with the verdict first; the exit code says "not durable" too."""
    done = run("doctor", tmp_path, env={**ENVIRONMENT, "TERM": "xterm-256color"})
    assert done.stderr == b""
    text = done.stdout.decode()
    report = inspect_storage(tmp_path)
    assert " ".join(text.split()).startswith(f"{report.path}: {report.verdict}")
    assert "\x1b" not in text
    assert all(len(line) <= WIDTH for line in text.splitlines() if " " in line.strip())
    assert done.returncode == (report.verdict == "not durable")


def test_the_command_on_a_terminal(tmp_path: Path) -> None:
    """On a terminal the verdict is coloured, and the words are the same."""
    pytest.importorskip("rich")
    ours, theirs = pty.openpty()
    environment = {**ENVIRONMENT, "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    try:
        run("doctor", tmp_path, stdout=theirs, env=environment)
    finally:
        os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError), open(ours, "rb", buffering=0) as terminal:
        while chunk := terminal.read(4096):
            shown += chunk
    assert b"\x1b[1;" in shown
    plain = re.sub(rb"\x1b\[[0-9;]*m", b"", shown).replace(b"\r", b"")
    assert plain == run("doctor", tmp_path).stdout


@pytest.mark.skipif(not os.path.ismount("/dev/shm"), reason="there is no /dev/shm")
def test_memory_is_not_durable() -> None:
    """/dev/shm is not durable, and the exit code is 1."""
    done = run("doctor", "/dev/shm")
    assert done.returncode == 1
    assert b"not durable" in done.stdout
    assert b"lives in memory" in done.stdout


def test_a_path_that_does_not_exist_yet(tmp_path: Path) -> None:
    """The nearest parent answers, and nothing is made."""
    report = inspect_storage(tmp_path / "no" / "such" / "path")
    assert report.verdict == inspect_storage(tmp_path).verdict
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("wrong", [b"bytes", 5, None])
def test_wrong_types(wrong: Any) -> None:
    """TypeError for what is no path of str; ValueError for a null character."""
    with pytest.raises(TypeError):
        inspect_storage(wrong)
    with pytest.raises(ValueError, match="null"):
        inspect_storage("a\0b")


def test_a_terminal_gets_nothing_from_a_name(tmp_path: Path) -> None:
    """Escape sequences in a mount point are shown, not sent."""
    table = "file /proc/self/mountinfo\n 26 1 0:9 / /a\\033[2Jb rw - tmpfs none rw\n"
    parse("evil", table).unpack(tmp_path)
    report = inspect_storage("/a\x1b[2Jb/x", root=tmp_path)
    assert report.filesystem == "tmpfs"
    text = "\n".join(line for _, line in report_lines(report))
    assert "\x1b" not in text
    assert "\\x1b[2Jb" in text


def test_escapes_of_the_mount_table() -> None:
    """Octal escapes are bytes: spaces, tabs, and what is UTF-8 together."""
    table = "1 0 0:1 / /a\\040b\\011c\\134 rw - ext4 /dev/x rw\n2 0 0:2 / /\\303\\244 rw - xfs d rw"
    assert [mount.point for mount in mounts.parse(table)] == ["/a b\tc\\", "/ä"]


def test_the_last_of_equal_mounts_is_on_top() -> None:
    """Two mounts on one point: the later one holds the path; longer points come first."""
    table = "1 0 0:1 / / rw - ext4 a rw\n2 1 0:2 / /m rw - xfs b rw\n3 2 0:3 / /m rw - tmpfs c rw\n"
    found = mounts.parse(table)
    kinds = {}
    for path in ("/m/x", "/m", "/mx", "/"):
        mount = mounts.holding(path, found)
        assert mount
        kinds[path] = mount.kind
    assert kinds == {"/m/x": "tmpfs", "/m": "tmpfs", "/mx": "ext4", "/": "ext4"}


# -- damaged trees -----------------------------------------------------------------------------

TREES = trees()


def _damaged(text: str, seed: int) -> str:
    """Some of a tree's lines cut, doubled, swapped, emptied or filled with nonsense."""
    chance = random.Random(seed)
    lines = text.splitlines()
    junk = ["", " ", "\x00", "-1", "9" * 40, "write", "..", "/", "\udc80", "loop0", " - ", "\\777"]
    for _ in range(chance.randint(1, 12)):
        at = chance.randrange(len(lines))
        line = lines[at]
        if line.startswith(" "):
            words = line[1:].split(" ")
            words[chance.randrange(len(words))] = chance.choice([*junk, str(chance.random())])
            cut = chance.choice([0, chance.randint(0, len(words))])
            lines[at] = " " + " ".join(words[cut:])
        elif chance.random() < 0.3 and not line.startswith("#"):
            # A file, link or folder is gone, with what is in it.
            end = at + 1
            while end < len(lines) and lines[end].startswith(" "):
                end += 1
            lines[at:end] = []
        elif line.startswith("link ") and chance.random() < 0.5:
            lines[at] = " ".join(
                [*line.split(" ")[:2], chance.choice(["..", "x", "loop0", "../.."])]
            )
    return "\n".join(lines)


@settings(max_examples=60)
@given(number=st.integers(0, len(TREES) - 1), seed=st.integers(0, 1 << 30))
def test_a_damaged_tree_is_no_crash(
    tmp_path_factory: pytest.TempPathFactory, number: int, seed: int
) -> None:
    """Whatever /proc and /sys say there is a report, with a verdict, that can be printed."""
    root = tmp_path_factory.getbasetemp() / "damaged"
    shutil.rmtree(root, ignore_errors=True)
    original = TREES[number]
    tree = parse(original.name, _damaged(original.text, seed))
    # One that cannot be unpacked to its end is strange enough as far as it is there.
    with contextlib.suppress(OSError, ValueError):
        tree.unpack(root)
    for path in original.expected("path"):
        report = inspect_storage(path, root=root)
        assert report.verdict in VERDICTS
        assert report.reason
        json.dumps(report.as_dict())
        assert list(report_lines(report))


@settings(max_examples=40)
@given(text=st.text(max_size=400))
def test_any_text_as_a_mount_table(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """Any text at all in the mount table."""
    for mount in mounts.parse(text + "\n1 0 0:1 / / rw - ext4 x " + text):
        mounts.holding("/x", [mount])
    macos.mount_of(text, "/x")


def test_a_loop_that_lies_on_itself(tmp_path: Path) -> None:
    """Devices that lead back to themselves end the walk."""
    tree = """\
file /proc/self/mountinfo
 50 1 7:0 / / rw - ext4 /dev/loop0 rw
link /sys/dev/block/7:0 ../../devices/virtual/block/loop0
link /sys/block/loop0 ../devices/virtual/block/loop0
file /sys/devices/virtual/block/loop0/loop/backing_file
 /image
"""
    parse("loop", tree).unpack(tmp_path)
    report = inspect_storage("/x", root=tmp_path)
    assert report.verdict == "unknown"
    assert len(report.layers) == 3


# -- macOS, from what its commands print ---------------------------------------------------------


def test_macos_verdicts() -> None:
    """F_FULLFSYNC taken, refused, not tried; a server; the mount that mount(8) prints."""
    table = (
        "/dev/disk3s1s1 on / (apfs, sealed, local, read-only, journaled)\n"
        "/dev/disk3s5 on /System/Volumes/Data (apfs, local, journaled)\n"
        "//ann@nas/share on /Volumes/share (smbfs, nodev, nosuid)\n"
    )
    data = macos.mount_of(table, "/System/Volumes/Data/x")
    assert data == ("/dev/disk3s5", "/System/Volumes/Data", "apfs")
    share = macos.mount_of(table, "/Volumes/share")
    verdicts = []
    for mount, answer in ((data, "honoured"), (data, "refused"), (data, None), (share, "honoured")):
        findings = Findings()
        macos.judge(findings, mount, answer)
        verdicts.append(findings.verdict())
    assert verdicts == [
        "durable if the drive honours flushes",
        "not durable",
        "unknown",
        "unknown",
    ]


# -- nothing is written ---------------------------------------------------------------------------

WRITING = re.compile(
    r"^(?!.*O_TMPFILE)(?:\d+ +)?(?:open|openat|creat)\(.*O_(?:WRONLY|RDWR|CREAT)|"
    r"^(?:\d+ +)?(?:p?write[v2]*|unlink|rename|mkdir|rmdir|link|symlink|truncate|chmod|chown)\w*\(",
    re.MULTILINE,
)


def test_nothing_is_written(tmp_path: Path) -> None:
    """No file is made or changed: only a file without a name is opened, in the path itself."""
    strace = shutil.which("strace")
    if not strace:
        pytest.skip("there is no strace")
    program = f"import pydurable; pydurable.inspect_storage({str(tmp_path)!r})"
    log = tmp_path / "strace.log"
    calls = "%file,write,pwrite64,writev,ftruncate"
    command = [strace, "-f", "-e", f"trace={calls}", "-o", log, sys.executable, "-B", "-c", program]
    done = subprocess.run(command, capture_output=True, timeout=60)
    if done.returncode and b"PTRACE" in done.stderr:
        pytest.skip("strace may not trace here")
    assert done.returncode == 0, done.stderr
    trace = log.read_text()
    assert "O_TMPFILE" in trace
    assert all(str(tmp_path) in line for line in trace.splitlines() if "O_TMPFILE" in line)
    assert [line for line in trace.splitlines() if WRITING.match(line)] == []


def test_importing_pydurable_does_not_import_the_doctor() -> None:
    """Programs that do not ask the doctor do not pay for it."""
    program = "import sys, pydurable; sys.exit('pydurable._doctor' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
    assert "inspect_storage" in pydurable.__all__


def test_usage() -> None:
    """Unknown options are code 2, and print how the command is used."""
    done = run("doctor", "--nonsense")
    assert done.returncode == 2
    assert done.stderr.startswith(b"usage: pydurable")
