"""The writing end of a log, in C and in Python: what each stores, refuses and commits."""

from __future__ import annotations

import os
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from _processes import check_python
from _scenario import open_log
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pydurable
from pydurable import Log, _native_writer
from pydurable._native_cpython import compiled
from pydurable._native_writer import FRAME_BYTES, LockedWriter, Writer

CHUNK = 16 << 10
"""Bytes of each of the four chunks of the smallest ring."""
SMALL_RING = {"max_pending_bytes": 256 << 10}


@pytest.fixture(params=["compiled", "locked"])
def opened(
    request: pytest.FixtureRequest, log_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Log]:
    """A log with the smallest ring, whose writer is of the one kind or the other."""
    if request.param == "locked":
        monkeypatch.setattr(_native_writer, "_CompiledWriter", None)
    elif not compiled:
        pytest.skip("this interpreter has no lock that a store could keep")
    with open_log(log_path, **SMALL_RING) as log:
        assert isinstance(log._writer, LockedWriter) == (request.param == "locked")
        yield log


def frame(record: bytes, salt: int) -> bytes:
    """What csrc/ring.h draws."""
    return struct.pack("<II", len(record), zlib.adler32(record, salt)) + record


def ring_of(log: Log) -> bytes:
    view = log._native.ring()
    return os.pread(view.fd, view.chunks * view.chunk_bytes, 0)


def test_nothing_is_stored_before_the_start(opened: Log) -> None:
    """Until the thread that hands records over is there, they go another way, and so does b""."""
    assert not opened._writer.append(b"early")
    assert opened._writer.tail == 0
    opened._writer.start()
    assert opened._writer.append(b"")
    assert opened._writer.tail == FRAME_BYTES


def test_the_first_records_of_two_threads(opened: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that comes while the first one starts the thread that hands over finds the ring open."""
    flusher = opened._ring._flusher  # type: ignore[union-attr]
    start = flusher.start

    def start_and_append(drain: Any) -> None:
        start(drain)
        assert opened._writer.append(b"second")

    monkeypatch.setattr(flusher, "start", start_and_append)
    opened.append(b"first")
    assert opened._writer.activation == 0
    opened.sync()
    assert {record.data for record in pydurable.read_log(opened.path)} == {b"first", b"second"}


@pytest.mark.skipif(not compiled, reason="there is only one kind here")
@given(records=st.lists(st.binary(max_size=700), max_size=40))
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_both_store_the_frames_that_are_drawn(
    tmp_path_factory: pytest.TempPathFactory, records: list[bytes]
) -> None:
    """For any records: each frame is in its place, the tail behind the last one that fits, and
    recovery's checksum is that of zlib."""
    for kind in (_native_writer._CompiledWriter, None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_native_writer, "_CompiledWriter", kind)
            log = open_log(tmp_path_factory.mktemp("any") / "log", **SMALL_RING)
        with log:
            writer, salt = log._writer, log._native.ring().salt
            writer.start()
            expected = b""
            for record in records:
                framed = frame(record, salt)
                fits = len(expected) + len(framed) <= CHUNK
                assert writer.append(record) is fits
                expected += framed if fits else b""
            assert writer.tail == len(expected)
            assert ring_of(log)[: len(expected) + 8] == (expected + bytes(8))


def test_a_chunk_takes_what_fits_to_the_last_byte(opened: Log) -> None:
    """The record that fills a chunk is taken, and one byte more is not; the next chunk begins with
    what it is given, before anything else."""
    writer = opened._writer
    writer.start()
    assert not writer.append(bytes(CHUNK - FRAME_BYTES + 1))
    assert writer.append(b"x" * (CHUNK - FRAME_BYTES))
    assert writer.tail == CHUNK
    assert not writer.append(b"")
    writer.turn(b"lead")
    assert (writer.activation, writer.tail) == (1, CHUNK + FRAME_BYTES + 4)
    assert writer.append(b"second")
    writer.fill()
    assert writer.tail == 2 * CHUNK
    writer.turn(b"")
    assert writer.tail == 2 * CHUNK
    salt = opened._native.ring().salt
    second = ring_of(opened)[CHUNK : 2 * CHUNK]
    assert second.startswith(frame(b"lead", salt) + frame(b"second", salt) + bytes(8))


def test_only_bytes_are_stored(opened: Log) -> None:
    """What could change while it is checksummed goes the slow way, and so does what is no bytes."""
    opened._writer.start()
    for other in (bytearray(b"x"), memoryview(b"x"), "x", None, type("Own", (bytes,), {})(b"x")):
        assert opened._writer.append(other) is False
    assert opened._writer.tail == 0
    assert opened._writer.append(b"x") is True


def test_nothing_is_stored_after_the_stop(opened: Log) -> None:
    """A ring that is stopped takes nothing, its tail is no position, and to stop again is fine."""
    writer = opened._writer
    writer.start()
    assert writer.append(b"last")
    opened.sync()
    writer.stop()
    writer.stop()
    assert not writer.append(b"too late")
    assert writer.tail == 0


def test_a_commit_takes_along_what_was_appended(opened: Log) -> None:
    """Its LSN is behind those of the records that were stored before."""
    opened._append_slowly(b"first")
    for number in range(2, 50):
        assert opened._writer.append(b"%d" % number)
    assert opened._writer.commit(b"last") == 50
    data = [record.data for record in pydurable.read_log(opened.path)]
    assert data == [b"first", *(b"%d" % number for number in range(2, 50)), b"last"]


def test_a_commit_after_the_close_is_refused(opened: Log) -> None:
    """It reports what the core says, and stores nothing."""
    writer = opened._writer
    opened.close()
    with pytest.raises(pydurable.ClosedError):
        writer.commit(b"x")
    assert not writer.append(b"x")
    with pytest.raises(TypeError):
        writer.commit("x")  # type: ignore[arg-type]


def test_a_writer_keeps_its_log_alive(log_path: Path) -> None:
    """Whoever holds on to the writer of a log that is gone is refused; no memory is touched that
    was given back."""
    log = open_log(log_path)
    writer: Writer = log._writer
    writer.start()
    log.close()
    del log
    with pytest.raises(pydurable.ClosedError):
        writer.commit(b"x")
    assert not writer.append(b"x")


@pytest.mark.skipif(not compiled, reason="there is no compiled writer here")
@pytest.mark.parametrize(
    ("arguments", "error"),
    [((), TypeError), ((0, None, None), ValueError), (("1", None, None), TypeError)],
)
def test_a_writer_of_no_log(arguments: tuple[Any, ...], error: type[Exception]) -> None:
    """Our own mistakes are errors, not crashes."""
    with pytest.raises(error):
        _native_writer._CompiledWriter(*arguments)


SWITCHED_OFF = """
import sys
import pydurable
log = pydurable.Log(sys.argv[1])
assert type(log._writer).__name__ == "LockedWriter", type(log._writer)
log.append(b"x")
assert log.commit(b"y") == 2
log.close()
"""


@pytest.mark.parametrize(
    "pretence",
    [
        "sys.implementation.name = 'other'",
        "sys.abiflags = 't'; sys._is_gil_enabled = lambda: False",
        "sys.abiflags = 't'; sys._is_gil_enabled = lambda: True",
    ],
)
def test_other_interpreters_have_the_locked_one(log_path: Path, pretence: str) -> None:
    """What is not CPython, or is built without the lock, does not load the module that is compiled
    for CPython with it: there is none, also where PYTHON_GIL=1 switches such a lock on."""
    check_python(f"import sys; {pretence}\n" + SWITCHED_OFF, log_path)
    assert sys.implementation.name != "other"
