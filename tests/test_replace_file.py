"""open_atomic(): a real file object that is published whole or not at all."""

from __future__ import annotations

import csv
import gc
import io
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from replace_support import NEW, OLD, checked_child, descriptors, leftovers, run_child

from pydurable import AlignedBuffer, ForkedError, open_atomic


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A file with old content."""
    path = tmp_path / "target"
    path.write_bytes(OLD)
    return path


def test_leaving_with_commits(target: Path) -> None:
    """Until the end of the block readers see the old content, from then on the new."""
    with open_atomic(target) as f:
        f.write("new")
        f.flush()
        assert target.read_bytes() == OLD
    assert target.read_text() == "new"
    assert f.closed
    assert os.listdir(target.parent) == ["target"]


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("options", [{}, {"direct": True}, {"buffering": 0}])
def test_any_exception_discards(target: Path, kind, options) -> None:
    """Every BaseException leaves the old content, no temporary file and no descriptor."""
    before = descriptors()

    def write_and_raise() -> None:
        with open_atomic(target, "wb", **options) as f:
            f.write(NEW)
            raise kind

    with pytest.raises(kind):
        write_and_raise()
    assert target.read_bytes() == OLD
    assert not leftovers(target.parent)
    assert descriptors() == before


def test_commit_and_discard_by_hand(target: Path) -> None:
    """Both close the file, and what comes after them in the block changes nothing."""
    with open_atomic(target) as f:
        f.write("one")
        f.commit()
        assert f.closed
        assert target.read_text() == "one"
        with pytest.raises(ValueError, match="committed"):
            f.commit()
        f.discard()
    with open_atomic(target) as f:
        f.write("two")
        f.discard()
        f.discard()
        with pytest.raises(ValueError, match="closed"):
            f.write("more")
        with pytest.raises(ValueError, match="discarded"):
            f.commit()
    assert target.read_text() == "one"
    assert not leftovers(target.parent)


def test_closing_discards_with_a_warning(target: Path) -> None:
    """close() is not commit(), and a block that ends after it does not pass as one."""
    f = open_atomic(target, "wb")
    f.write(NEW)
    with pytest.warns(ResourceWarning, match="without commit"):
        f.close()
    f.close()
    assert not leftovers(target.parent)
    with (
        pytest.raises(ValueError, match="closed without commit"),
        pytest.warns(ResourceWarning),
        open_atomic(target, "wb") as f,
    ):
        f.close()
    assert target.read_bytes() == OLD


@pytest.mark.parametrize("mode", ["w", "wb"])
def test_a_collected_file_is_discarded_with_a_warning(target: Path, mode: str) -> None:
    """A file that is simply forgotten leaves nothing behind."""
    before = descriptors()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        f = open_atomic(target, mode)
        f.write("x" if mode == "w" else b"x")
        del f
        gc.collect()
    assert [w.category for w in caught] == [ResourceWarning]
    assert target.read_bytes() == OLD
    assert not leftovers(target.parent)
    assert descriptors() == before


def test_collected_after_commit_is_silent(target: Path) -> None:
    """No warning where everything was done right."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with open_atomic(target) as f:
            f.write("new")
        f = open_atomic(target)
        f.discard()
        del f
        gc.collect()


# As a file object


def test_json(target: Path) -> None:
    """json.dump writes into it."""
    with open_atomic(target) as f:
        json.dump({"ä": [1, 2]}, f)
    assert json.loads(target.read_text()) == {"ä": [1, 2]}


def test_csv(target: Path) -> None:
    """csv.writer does, with newline="" as it wants."""
    with open_atomic(target, newline="") as f:
        csv.writer(f).writerows([["a", "b"], ["1", "2,3"]])
    assert target.read_bytes() == b'a,b\r\n1,"2,3"\r\n'


@pytest.mark.parametrize("direct", [False, True])
def test_pickle(target: Path, direct: bool) -> None:
    """pickle.dump does."""
    value = {"numbers": list(range(100_000)), "bytes": bytes(200_000)}
    with open_atomic(target, "wb", direct=direct) as f:
        pickle.dump(value, f)
    assert pickle.loads(target.read_bytes()) == value


@pytest.mark.parametrize("direct", [False, True])
def test_zipfile(target: Path, direct: bool) -> None:
    """zipfile does, with seeking and without."""
    with open_atomic(target, "wb", direct=direct) as f, zipfile.ZipFile(f, "w") as archive:
        archive.writestr("name", NEW)
    with zipfile.ZipFile(target) as archive:
        assert archive.testzip() is None
        assert archive.read("name") == NEW


@pytest.mark.parametrize("direct", [False, True])
def test_numpy(target: Path, direct: bool) -> None:
    """numpy.save does, which writes by way of the descriptor where there is one."""
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(300_000).reshape(3, -1)
    with open_atomic(target, "wb", direct=direct) as f:
        numpy.save(f, array)
    assert (numpy.load(target) == array).all()


def test_it_is_what_open_returns(target: Path) -> None:
    """Text, binary and raw files are those of io, under the path's name."""
    cases = [
        (open_atomic(target), io.TextIOWrapper),
        (open_atomic(target, "wb"), io.BufferedWriter),
        (open_atomic(target, "wb", 0), io.FileIO),
        (open_atomic(os.fsencode(target), "wb", direct=True), io.BufferedWriter),
    ]
    for f, kind in cases:
        assert isinstance(f, kind)
        assert os.fsencode(f.name) == os.fsencode(target)
        assert f.writable()
        assert not f.readable()
        f.discard()


def test_text_options(target: Path) -> None:
    """encoding, errors, newline and line buffering are those of open()."""
    with open_atomic(target, "w", 1, "latin-1", "replace", "\r\n") as f:
        assert f.line_buffering
        f.write("ä€\n")
    assert target.read_bytes() == b"\xe4?\r\n"


def test_seeking_and_truncating(target: Path) -> None:
    """A real file can go back and correct itself."""
    with open_atomic(target, "wb") as f:
        f.write(b"0123456789")
        f.seek(2)
        f.write(b"xx")
        assert f.tell() == 4
        f.truncate(6)
    assert target.read_bytes() == b"01xx45"


@pytest.mark.parametrize(
    ("mode", "alternative"),
    [("r", "open()"), ("a", "Log"), ("w+", "file"), ("x", "overwrite=False"), ("xb", "overwrite")],
)
def test_modes_that_are_refused(target: Path, mode: str, alternative: str) -> None:
    """Reading, appending, updating and exclusive modes name what to use instead."""
    with pytest.raises(ValueError, match=alternative.replace("(", r"\(").replace(")", r"\)")):
        open_atomic(target, mode)
    assert not leftovers(target.parent)


@pytest.mark.parametrize(
    "arguments",
    [
        {"mode": ""},
        {"mode": "wbt"},
        {"mode": "ww"},
        {"mode": "w", "buffering": 0},
        {"mode": "w", "buffering": -2},
        {"mode": "wb", "encoding": "utf-8"},
        {"mode": "wb", "newline": ""},
        {"mode": "wb", "errors": "strict"},
        {"mode": "wb", "buffering": 0, "direct": True},
        {"mode": "w", "newline": "?"},
        {"mode": "w", "durability": "?"},
    ],
)
def test_arguments_that_make_no_sense(target: Path, arguments) -> None:
    """What open() refuses is refused, and leaves nothing behind."""
    with pytest.raises(ValueError, match=r"."):
        open_atomic(target, **arguments)
    assert not leftovers(target.parent)


def test_an_unknown_encoding(target: Path) -> None:
    """A LookupError leaves nothing behind either."""
    with pytest.raises(LookupError):
        open_atomic(target, encoding="no such encoding")
    gc.collect()
    assert not leftovers(target.parent)


def test_the_default_encoding_can_be_warned_about(target: Path) -> None:
    """-X warn_default_encoding points at the caller, as it does for open()."""
    script = """
import sys, warnings
import pydurable
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    pydurable.open_atomic(sys.argv[1]).discard()
print([(w.category.__name__, w.filename) for w in caught])
"""
    out = subprocess.run(
        [sys.executable, "-X", "warn_default_encoding", "-c", script, target],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert out == "[('EncodingWarning', '<string>')]\n"


# Direct I/O


@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    sizes=st.lists(st.integers(0, 9_000_000), max_size=5),
    seed=st.integers(0, 255),
    aligned=st.booleans(),
)
def test_direct_writes_of_any_sizes(tmp_path: Path, sizes, seed, aligned) -> None:
    """Whatever comes in whatever pieces, from aligned memory or not, is the content."""
    pieces = [bytes([(seed + n) % 256]) * size for n, size in enumerate(sizes)]
    with open_atomic(tmp_path / "file", "wb", direct=True, durability="none") as f:
        for piece in pieces:
            if aligned and piece:
                buffer = AlignedBuffer(len(piece))
                buffer[:] = piece
                f.write(buffer)
            else:
                f.write(piece)
    assert (tmp_path / "file").read_bytes() == b"".join(pieces)


def test_direct_text(target: Path) -> None:
    """Text goes past the page cache as well."""
    with open_atomic(target, direct=True, encoding="utf-8") as f:
        f.writelines(f"line {number}\n" for number in range(100_000))
    assert target.read_text().splitlines()[-1] == "line 99999"


def test_direct_has_no_descriptor_and_does_not_seek(target: Path) -> None:
    """What would go around the aligned buffer is refused, as for a pipe."""
    with open_atomic(target, "wb", direct=True) as f:
        if not f.direct:
            pytest.skip("no direct I/O on this filesystem")
        assert not f.seekable()
        with pytest.raises(io.UnsupportedOperation):
            f.fileno()
        with pytest.raises(io.UnsupportedOperation):
            f.seek(0)


def test_direct_from_aligned_memory_is_not_copied(target: Path) -> None:
    """Whole blocks of an AlignedBuffer go to the kernel as they are: strace sees its address."""
    script = """
import ctypes, sys
import pydurable
buffer = pydurable.AlignedBuffer(8 << 20)
print(hex(ctypes.addressof(ctypes.c_char.from_buffer(buffer))))
with pydurable.open_atomic(sys.argv[1], "wb", direct=True, buffering=4096) as f:
    assert f.direct
    f.write(buffer)
"""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    with open_atomic(target, "wb", direct=True) as f:
        if not f.direct:
            pytest.skip("no direct I/O on this filesystem")
    prefix = ("strace", "-f", "-e", "trace=pwrite64", "-e", "raw=pwrite64")
    done = run_child(script, target, prefix=prefix)
    assert done.returncode == 0, done.stderr
    writes = [line for line in done.stderr.splitlines() if "pwrite64(" in line]
    assert len(writes) == 2
    assert f" {done.stdout.strip()}, 0x400000, 0)" in writes[0]


# Processes


def test_a_child_does_not_clean_up_or_publish(target: Path) -> None:
    """After fork the file is the parent's: the child neither writes, nor removes, nor commits."""
    script = """
import os, sys, warnings
import pydurable
warnings.simplefilter("error")
f = pydurable.open_atomic(sys.argv[1], "wb")
f.write(b"from the parent")
child = os.fork()
if child == 0:
    f.write(b" and the child")
    try:
        f.commit()
    except pydurable.ForkedError:
        f.close()
        del f
        os._exit(7)
    os._exit(1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
child = os.fork()
if child == 0:
    with f:
        raise SystemExit(8)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 8
f.commit()
"""
    checked_child(script, target)
    assert target.read_bytes() == b"from the parent"
    assert not leftovers(target.parent)


def test_forked_error_is_exported() -> None:
    """It is the one that a log raises too."""
    assert issubclass(ForkedError, RuntimeError)


def test_an_interrupt_in_the_middle_of_writing(target: Path) -> None:
    """Ctrl-C while the block runs discards."""
    script = """
import os, signal, sys
import pydurable
with pydurable.open_atomic(sys.argv[1]) as f:
    f.write("new")
    os.kill(os.getpid(), signal.SIGINT)
"""
    done = run_child(script, target)
    assert done.returncode in (-signal.SIGINT, 1)
    assert "KeyboardInterrupt" in done.stderr
    assert target.read_bytes() == OLD
    assert not leftovers(target.parent)
