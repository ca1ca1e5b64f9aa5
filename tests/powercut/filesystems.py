"""The filesystems under test: how an image is made, mounted and let go of."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from . import kernel
from .recording import PAGE, Image


@dataclass(frozen=True)
class Filesystem:
    """One kind of filesystem, on an image that is small and so quick to recover."""

    name: str
    image_bytes: int
    mkfs: tuple[str, ...]
    options: str = ""
    superblocks: tuple[int, ...] = ()
    """Offsets of superblocks that it cannot mount without and trusts the disk to write whole."""
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def whole_pages(self) -> frozenset[int]:
        """The pages of which a power cut leaves all sectors or none."""
        return frozenset(offset // PAGE for offset in self.superblocks)

    def make(self, place: Path) -> Image:
        """An empty filesystem that was mounted once, so that nothing is left to be set up."""
        path = place / f"{self.name}.base"
        with path.open("wb") as file:
            file.truncate(self.image_bytes)
        subprocess.run(
            [*self.mkfs, os.fspath(path)],
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, **self.environment},
        )
        with self.mounted(path, place / "base"):
            pass
        image = Image.read(path)
        path.unlink()
        return image

    @contextmanager
    def mounted(
        self, path: Path, point: Path, *, options: str = "", direct: bool = False
    ) -> Iterator[Path]:
        """Mount the filesystem in the file ``path`` at ``point`` for the time of the block."""
        point.mkdir(exist_ok=True)
        given = ",".join(filter(None, (self.options, options)))
        # Once it is mounted nothing but the mount holds the device, which goes away with it.
        with kernel.loop_device(path, direct) as device:
            kernel.mount(device, point, self.name, given)
        try:
            yield point
        finally:
            kernel.unmount(point)
            if self.name == "btrfs":
                kernel.forget_btrfs(device)


_EXT4 = Filesystem(
    "ext4",
    64 << 20,
    ("mkfs.ext4", "-q", "-F", "-b", "4096", "-J", "size=4", "-E", "lazy_itable_init=0,nodiscard"),
    superblocks=(0,),
)
# mkfs.xfs makes filesystems below 300 MB, and logs below 64 MB, only for test suites.
_XFS = Filesystem(
    "xfs",
    64 << 20,
    ("mkfs.xfs", "-q", "-f", "-K", "-l", "size=6m"),
    superblocks=(0,),
    environment={"TEST_DIR": "/", "TEST_DEV": "/", "QA_CHECK_FS": "1"},
)
_BTRFS = Filesystem(
    "btrfs",
    128 << 20,
    ("mkfs.btrfs", "-q", "-f", "-K"),
    options="nodiscard",
    superblocks=(64 << 10, 64 << 20),
)

FILESYSTEMS = {fs.name: fs for fs in (_EXT4, _XFS, _BTRFS)}
