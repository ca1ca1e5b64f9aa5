"""The fuzzers' corpus, replayed without a fuzzer and held against an independent parser."""

from __future__ import annotations

import os
import runpy
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from _fuzz import CORPUS, FUZZ, PLAIN, ROOT, SANITIZED, Builder, replay
from reference import judge, read_directory

pytestmark = pytest.mark.fuzz

RECOVERY = sorted((CORPUS / "recovery").iterdir())
BATCH = sorted((CORPUS / "batch").iterdir())


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    return Builder(tmp_path_factory.mktemp("sanitized") / "objects", SANITIZED)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    return Builder(tmp_path_factory.mktemp("plain") / "objects", PLAIN)


@pytest.fixture(scope="module")
def expected(plain: Builder, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the independent parser says of the log that each input stands for."""
    folder = tmp_path_factory.mktemp("logs")
    verdicts, stopped = replay(plain.program("recovery"), RECOVERY, folder)
    assert not stopped
    return {name: judge(read_directory(folder / name)) for name in verdicts}


@pytest.mark.guarantee("G2", "G5", "G6")
def test_recovery_and_an_independent_parser_agree(
    sanitized: Builder, expected: dict[str, str]
) -> None:
    """On every input of the corpus: what is kept, where it ends, or that it is damaged; nothing
    reads out of bounds, leaks or relies on undefined behaviour."""
    verdicts, stopped = replay(sanitized.program("recovery"), RECOVERY)
    assert not stopped
    assert verdicts == expected
    kinds = Counter(verdict.split()[0] for verdict in verdicts.values())
    assert kinds["sound"] > 50
    assert kinds["damaged"] > 50
    assert kinds["newer"] > 0


@pytest.mark.guarantee("G6")
def test_decoding_of_any_bytes(sanitized: Builder) -> None:
    """Headers and records are decoded from any bytes, and what is valid encodes to the same."""
    verdicts, stopped = replay(sanitized.program("batch"), BATCH)
    assert not stopped
    seen = Counter(verdicts.values())
    assert len(verdicts) == len(BATCH)
    for field in ("batch 1", "segment 1", "frames 1"):
        assert any(field in verdict for verdict in seen), field


@dataclass(frozen=True)
class Broken:
    """A core in which one check is missing."""

    name: str
    file: str
    old: str
    new: str

    def __str__(self) -> str:
        return self.name


BROKEN = [
    Broken(
        "no payload checksum",
        "scan.c",
        "pd_crc32c(0, payload, batch->payload_bytes) == batch->payload_crc &&",
        "",
    ),
    Broken(
        "records not checked",
        "scan.c",
        "pd_frames_valid(payload, batch->payload_bytes, batch->count)",
        "true",
    ),
    Broken("length of a record unchecked", "batch.c", "if (size - at < length)", "if (false)"),
    Broken("rest of a payload unchecked", "batch.c", "return at == size;", "return true;"),
    Broken(
        "no header checksum",
        "batch.c",
        "if (header->checksum != batch_checksum(in, offset))",
        "if (false)",
    ),
    Broken("salt unchecked", "batch.c", "|| pd_get64(in + 8) != salt", ""),
    Broken("chain unchecked", "scan.c", "&& batch->prev_checksum == scan->at.chain", ""),
    Broken("LSN unchecked", "scan.c", "batch->first_lsn == scan->at.next_lsn &&", ""),
    Broken(
        "a durable LSN ahead of its batch",
        "batch.c",
        "&& header->durable_lsn < header->first_lsn",
        "",
    ),
    Broken(
        "an oldest LSN ahead of its batch",
        "batch.c",
        "header->oldest_lsn <= header->first_lsn + header->count",
        "true",
    ),
    Broken("what lies beyond ignored", "scan.c", "out->covers = true;", ""),
    Broken(
        "a short file ignored", "recover.c", "if (scan->size < scan->header.size)", "if (false)"
    ),
    Broken(
        "a missing segment ignored",
        "recover.c",
        "if (next->prev_number != number || next->number != number + 1)",
        "if (false)",
    ),
    Broken(
        "the successor's word ignored",
        "recover.c",
        "if (next->prev_end_offset == at.offset && next->prev_checksum == at.chain &&",
        "if (true || next->prev_checksum == at.chain ||",
    ),
    Broken("another log's segment", "recover.c", "if (!same_log)", "if (false)"),
    Broken(
        "missing first segments",
        "recover.c",
        "if (headers[first].base_lsn > out->oldest_lsn)",
        "if (false)",
    ),
    Broken("one copy of the header", "segment.c", "place < PD_DATA_OFFSET &&", "place < 1 &&"),
    Broken("a name of another segment", "scan.c", "scan->header.number != number", "false"),
    Broken(
        "no segment header checksum",
        "batch.c",
        "|| pd_get32(in + 12) != header_crc(in, PD_HEADER_BYTES, 12)",
        "",
    ),
    Broken(
        "nonsense in a segment header",
        "batch.c",
        "header->prev_end_lsn == header->base_lsn - 1 &&",
        "",
    ),
    Broken(
        "a newer version read", "batch.c", "if (header->version > PD_FORMAT_VERSION)", "if (false)"
    ),
    Broken(
        "truncation in batches ignored",
        "recover.c",
        "if (batch.oldest_lsn > out->oldest_lsn)",
        "if (false)",
    ),
]


@pytest.mark.guarantee("G5")
@pytest.mark.parametrize("broken", BROKEN, ids=str)
def test_a_broken_core_is_caught(plain: Builder, expected: dict[str, str], broken: Broken) -> None:
    """Without any one of its checks the core stops or gives another verdict somewhere."""
    text = (ROOT / "csrc" / broken.file).read_text(encoding="utf-8")
    assert text.count(broken.old) == 1, "the mutation has been outgrown"
    program = plain.program("recovery", {broken.file: text.replace(broken.old, broken.new)})
    verdicts, stopped = replay(program, RECOVERY)
    assert stopped or verdicts != expected


SLEEPY = """#!{python}
import sys, time
with open({calls!r}, "a") as calls:
    calls.write(sys.argv[1] + "\\n")
time.sleep(0.1)
while time.process_time() < 0.4:
    pass
"""


def test_what_is_counted_is_the_time_on_a_processor(tmp_path: Path) -> None:
    """A fuzzer that got less of it than it asked for is run again, for what is left."""
    calls, fuzzer = tmp_path / "calls", tmp_path / "fuzzer"
    fuzzer.write_text(SLEEPY.format(python=sys.executable, calls=os.fspath(calls)))
    fuzzer.chmod(0o755)
    spent = runpy.run_path(os.fspath(FUZZ / "__main__.py"))["spend"]([str(fuzzer)], 2.0, tmp_path)
    limits = [int(line.partition("=")[2]) for line in calls.read_text().split()]
    assert limits[0] == 2
    assert limits[-1] == 1
    assert spent > 1.5
    assert len(limits) > 2
