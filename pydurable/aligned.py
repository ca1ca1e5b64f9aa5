"""Memory that direct I/O can be done from and into without a copy."""

from __future__ import annotations

import mmap


class AlignedBuffer(mmap.mmap):
    """Zeroed, writable memory of a given size at an aligned address.

    It has the buffer protocol: pass it to os.pwritev, to os.preadv, to the write() of
    ``open_atomic(..., "wb", direct=True)``, which takes whole 4 MiB blocks of it to the disk
    without copying, or to memoryview and numpy.frombuffer.  Being a mapping it can also be
    closed; it cannot change its size.

    size: bytes, 1 or more.  Direct I/O wants a multiple of the alignment.
    alignment: bytes, a power of two, at most the page size; no filesystem wants more.

    Raises ValueError for other sizes and alignments, MemoryError or OSError without memory.

    >>> buffer = AlignedBuffer(8192)
    >>> buffer[:5] = b"hello"
    >>> len(buffer), bytes(buffer[:6])
    (8192, b'hello\\x00')
    """

    alignment: int

    def __new__(cls, size: int, alignment: int = 4096) -> AlignedBuffer:
        """Map the memory."""
        if size < 1:
            raise ValueError(f"size must be 1 byte or more, not {size}")
        if alignment < 1 or alignment & (alignment - 1) or alignment > mmap.PAGESIZE:
            raise ValueError(
                f"alignment must be a power of two up to {mmap.PAGESIZE}, not {alignment}"
            )
        # Private, so that it is a child's own after fork; mappings begin at a page.
        buffer = super().__new__(cls, -1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        buffer.alignment = alignment
        return buffer

    def resize(self, newsize: int) -> None:
        """Refuse: views of the buffer would be left without memory."""
        raise ValueError("an AlignedBuffer keeps its size")
