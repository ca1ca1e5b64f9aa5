"""Where a benchmark measures: the folder it was given, and filesystems in loop mounts."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .machine import mount_of

IMAGE_BYTES = 4 << 30  # sparse; two files of a GiB must fit beside the log


class Unavailable(Exception):
    """Something that the benchmark would like is not there; the message says what."""


MAKE = {
    # With lazy tables the kernel would go on writing zeros while it is measured.
    "ext4": ("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"),
    "xfs": ("mkfs.xfs", "-q"),
    "btrfs": ("mkfs.btrfs", "-q"),
}


@contextlib.contextmanager
def loop_mounted(kind: str, folder: Path, options: str = "defaults") -> Iterator[Path]:
    """Make a filesystem in a file, mount it, and take all of it away again."""
    if os.geteuid() != 0 or not shutil.which(MAKE[kind][0]):
        raise Unavailable(f"a loop-mounted {kind} needs root and {MAKE[kind][0]}")
    image, point = folder / f"{kind}.image", folder / kind
    with contextlib.ExitStack() as undo:
        point.mkdir()
        undo.callback(point.rmdir)
        with open(image, "wb") as f:
            f.truncate(IMAGE_BYTES)
        undo.callback(image.unlink)
        run(*MAKE[kind], image)
        # Direct, so that the image does not fill the page cache that is to be measured.
        device = run("losetup", "--find", "--show", "--direct-io=on", image).strip()
        undo.callback(run, "losetup", "--detach", device)
        run("mount", "-o", options, device, point)
        undo.callback(run, "umount", point)
        yield point


def run(*command: object) -> str:
    """Run a program and return what it printed; Unavailable says why it failed."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"{command[0]}: {done.stderr.strip()}")
    return done.stdout


def note(folder: Path) -> str:
    """Return what one has to know about the filesystem to read its figures, or ""."""
    number = folder.stat().st_dev
    device = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve().name
    task = Path("/sys/fs/ext4", device, "journal_task")
    # Without a journal ext4 does not give out an inode again for some time after it was freed,
    # and goes over all of those that were: a loop that replaces files slows down as it runs.
    if task.exists() and not task.read_text().strip().isdigit():
        return "without a journal"
    return ""


def add_options(parser: argparse.ArgumentParser, kinds: tuple[str, ...]) -> None:
    """Let the command line say where to measure and where to keep the figures."""
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="on the disk to measure")
    parser.add_argument(
        "--also",
        nargs="*",
        choices=kinds,
        default=kinds,
        help="filesystems to mount on a loop device, which takes root",
    )
    parser.add_argument(
        "--skip-folder", action="store_true", help="measure on the loop-mounted filesystems only"
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file too")


@contextlib.contextmanager
def places(args: argparse.Namespace) -> Iterator[list[tuple[str, Path]]]:
    """Yield what to measure in, by name: a fresh folder, and those on loop-mounted filesystems."""
    with contextlib.ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(dir=args.folder, prefix="bench-"))
        )
        linux = sys.platform == "linux"
        kind = mount_of(folder.resolve())["filesystem"] if linux else "unknown"
        given = f"{kind} {note(folder)}".strip()
        found = [] if args.skip_folder else [(given, folder)]
        for kind in args.also:
            try:
                place = stack.enter_context(loop_mounted(kind, folder))
            except Unavailable as missing:
                print(missing, file=sys.stderr)
            else:
                found.append((f"{kind} (loop)", place))
        yield found
