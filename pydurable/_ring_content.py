"""What is in a ring, as one sees it who is not its owner: nothing here changes any."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import stat
import struct
import time
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from pydurable._native import RING_PAGE, FileIdentity, boot_id

__all__ = ["Content", "Page", "contents", "read_page", "remove_if_spent", "remove_if_unused"]

# The beginning of struct pd_ring_page (csrc/ring.h).
_PAGE = struct.Struct("=QII QII 16s QQQ 16s QQQQ")
# Where struct pd_intent_page (csrc/intent.h) has the boot, and the size of what is being written.
_INTENT_BOOT_AT = 8
_INTENT_SIZE_AT = 32
_VERSION = 1
_LOG = 1
_FRAME = struct.Struct("=II")
_UNFINISHED_S = 3600


class Page(NamedTuple):
    """What a ring's header page says."""

    target: str
    magic: int
    version: int
    chunks: int
    chunk_bytes: int
    salt: int
    kind: int
    boot: bytes
    pid: int
    device: int
    inode: int
    uuid: bytes
    born: int
    stop: int
    head: int
    cleared: int

    @property
    def identity(self) -> FileIdentity:
        return FileIdentity(self.device, self.inode, self.born)

    @property
    def is_of_log(self) -> bool:
        return self.kind == _LOG


class Content(NamedTuple):
    """A ring of a dead process, and what it holds that is not known to be in its target."""

    ring: str
    page: Page
    records: int
    bytes: int


@contextlib.contextmanager
def _opened(ring: str) -> Iterator[int]:
    fd = os.open(ring, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def _page_of(fd: int) -> Page | None:
    """The page of a ring; None for what is no ring, or no whole one."""
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode) or found.st_size <= RING_PAGE.size:
        return None
    raw = os.pread(fd, RING_PAGE.size, found.st_size - RING_PAGE.size)
    target = raw[RING_PAGE.path_offset :].split(b"\0", 1)[0]
    page = Page(os.fsdecode(target), *_PAGE.unpack_from(raw))
    whole = (
        page.magic == RING_PAGE.magic
        and page.version == _VERSION
        and page.chunks * page.chunk_bytes + RING_PAGE.size == found.st_size
        and page.head // page.chunk_bytes < page.cleared
    )
    return page if whole else None


def _is_unfinished(fd: int) -> bool:
    """Whether a ring's owner died while making it, before the page said what it is."""
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode) or time.time() - found.st_mtime < _UNFINISHED_S:
        return False
    return not any(os.pread(fd, _PAGE.size, max(0, found.st_size - RING_PAGE.size))[:8])


def read_page(ring: str) -> Page | None:
    """What a ring says of its target; None for what is no ring, or is gone by now."""
    with contextlib.suppress(OSError), _opened(ring) as fd:
        return _page_of(fd)
    return None


def _frames(fd: int, page: Page) -> Iterator[int]:
    """The size of each whole record from the head on, as recovery finds them."""
    chunk = page.chunk_bytes
    first = page.head // chunk
    last = min(page.cleared, first + page.chunks)
    with mmap.mmap(fd, 0, access=mmap.ACCESS_READ) as ring, memoryview(ring) as view:
        for activation in range(first, last):
            begin = activation % page.chunks * chunk
            at = begin + (page.head % chunk if activation == first else 0)
            while at + _FRAME.size <= begin + chunk:
                size, checksum = _FRAME.unpack_from(view, at)
                at += _FRAME.size
                if not (size or checksum) or at + size > begin + chunk:
                    break
                with view[at : at + size] as data:
                    if zlib.adler32(data, page.salt) != checksum:
                        break
                at += size
                yield size


def _is_spent(fd: int, page: Page | None) -> bool:
    """Whether nothing of a ring would come into any file, now that its owner is dead."""
    if page is None:
        return _is_unfinished(fd)
    return page.boot != boot_id() or next(_frames(fd, page), None) is None


def _is_dead(fd: int) -> bool:
    """Whether the owner of a ring, who had it locked, is no more; the ring is locked then."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return os.fstat(fd).st_nlink > 0


def remove_if_spent(ring: str) -> bool:
    """Remove a ring of a dead process that holds nothing, or is of another boot."""
    with contextlib.suppress(OSError), _opened(ring) as fd:
        # Not locked while it may hold records: the opener who is to have them would miss them.
        if _is_spent(fd, _page_of(fd)) and _is_dead(fd) and _is_spent(fd, _page_of(fd)):
            os.unlink(ring)
            return True
    return False


def remove_if_unused(intent: str) -> None:
    """Remove the page on which processes said what they were writing to a file (csrc/intent.h) if
    none of them lives, and none died in the middle of a write."""
    with contextlib.suppress(OSError), _opened(intent) as fd:
        if _is_dead(fd) and (
            os.pread(fd, 16, _INTENT_BOOT_AT) != boot_id()
            or not any(os.pread(fd, 8, _INTENT_SIZE_AT))
        ):
            os.unlink(intent)


def contents(rings: list[str]) -> Iterator[Content]:
    """What those of dead processes hold; those that hold nothing are left out."""
    for ring in rings:
        with contextlib.suppress(OSError), _opened(ring) as fd:
            page = _page_of(fd)
            if page is not None and page.boot == boot_id() and _is_dead(fd):
                sizes = list(_frames(fd, page))
                if sizes:
                    yield Content(ring, page, len(sizes), sum(sizes))
