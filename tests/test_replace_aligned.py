"""AlignedBuffer: memory for direct I/O."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from pydurable import AlignedBuffer, open_atomic, replace


@pytest.mark.parametrize("size", [1, 4095, 4096, 5000, 1 << 20])
@pytest.mark.parametrize("alignment", [None, 1, 512, 4096])
def test_an_aligned_buffer(size: int, alignment) -> None:
    """Zeroed memory of exactly the size, at an address of at least the alignment."""
    ctypes = pytest.importorskip("ctypes")
    buffer = AlignedBuffer(size) if alignment is None else AlignedBuffer(size, alignment)
    assert len(buffer) == size
    assert bytes(buffer[:]) == bytes(size)
    assert buffer.alignment == (alignment or 4096)
    address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
    assert address % (alignment or 4096) == 0


def test_an_aligned_buffer_is_a_buffer(tmp_path: Path) -> None:
    """memoryview, readinto and bytes work on it."""
    (tmp_path / "file").write_bytes(b"hello")
    buffer = AlignedBuffer(8)
    with open(tmp_path / "file", "rb", buffering=0) as f:
        assert isinstance(f, io.FileIO)
        assert f.readinto(buffer) == 5
    view = memoryview(buffer)
    assert not view.readonly
    assert bytes(view[:6]) == b"hello\0"
    with pytest.raises(ValueError, match="size"):
        buffer.resize(16)
    view.release()
    replace(tmp_path / "file", buffer)
    assert (tmp_path / "file").read_bytes() == b"hello\0\0\0"


@pytest.mark.skipif(not hasattr(os, "O_DIRECT"), reason="O_DIRECT is Linux")
def test_direct_io_takes_it(tmp_path: Path) -> None:
    """os.pwritev and os.preadv with O_DIRECT accept the memory as it is."""
    path = tmp_path / "file"
    with open_atomic(path, "wb", direct=True) as f:
        if not f.direct:
            pytest.skip("no direct I/O on this filesystem")
        f.write(bytes(8192))
    fd = os.open(path, os.O_RDWR | os.O_DIRECT)
    try:
        out, back = AlignedBuffer(8192), AlignedBuffer(8192)
        out[:] = os.urandom(8192)
        assert os.pwritev(fd, [out], 0) == 8192
        assert os.preadv(fd, [back], 0) == 8192
        assert out[:] == back[:]
    finally:
        os.close(fd)


@pytest.mark.parametrize("arguments", [(0,), (-1,), (4096, 0), (4096, 3), (4096, 1 << 30)])
def test_sizes_and_alignments_that_make_no_sense(arguments) -> None:
    """They are ValueErrors."""
    with pytest.raises(ValueError, match="must be"):
        AlignedBuffer(*arguments)
