"""The file behind a logging handler: opened, looked after, rotated, shared between processes.

What the hot path pays is a comparison or two and AppendFile.append; everything else happens when a
record finds the file full or a period over, and on a thread of its own, the keeper.
"""

from __future__ import annotations

import atexit
import contextlib
import math
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator

from pydurable._directory_lock import DirectoryLock, is_at, share
from pydurable._keeper import Keeper
from pydurable._replace import sync_data
from pydurable._rotated import RotatedFiles
from pydurable._schedule import Rotation
from pydurable.append_file import AppendFile
from pydurable.errors import ClosedError, DurableError, NotDurableError, PoisonedError

__all__ = ["LogFile"]

_OPEN_WAIT_S = 60.0  # for other processes that open or rotate: some syncs each, on a busy disk
_LOOK_WAIT_S = 0.05
_SHORTEST_S = 0.01  # between looks

Report = Callable[[Exception, str], None]


class LogFile:
    """A log file under its path, whoever moves what stands there."""

    def __init__(
        self,
        path: str,
        opener: Callable[[], AppendFile],
        rotation: Rotation,
        files: RotatedFiles,
        report: Report,
        *,
        interval: float,
        mode: int,
        waits: bool,
        blocks: bool,
    ) -> None:
        """opener: makes the AppendFile.

        waits: whether its commit waits for the disk.  blocks: whether a caller may be kept waiting
        for space; otherwise the keeper alone rotates.
        """
        self._path, self._opener, self._report = path, opener, report
        self._rotation, self._files = rotation, files
        self._interval, self._mode = interval, mode
        self._waits, self._blocks = waits, blocks
        self._lock = DirectoryLock(os.path.dirname(path))
        self._turn = threading.RLock()
        self._busy = False
        self._ready = False
        self._closed = False
        self._file: AppendFile | None = None
        self._identity = (0, 0)
        self._size = 0
        self._moment = math.inf
        self._rotates = rotation.max_bytes < math.inf or rotation.schedule is not None
        self._not_before = 0.0
        self._failure: Exception | None = None
        self._untidy = False
        self._keeper = Keeper(self.keep, max(interval, _SHORTEST_S))
        self.rotations = self.reopened = self.packed = 0
        _all_files.add(self)

    # -- writing ---------------------------------------------------------------------------

    def append(self, data: bytes, created: float) -> None:
        """Accept a line; ``created`` is the time it is of."""
        try:
            if not self._ready:
                self.open()
            if self._rotates:
                self._make_room(len(data), created)
            assert self._file is not None
            self._file.append(data)
        except ClosedError:
            self._write_late(data, durable=False)
        except PoisonedError as error:
            self._give_up(error)
            raise

    def commit(self, data: bytes, created: float) -> None:
        """Accept a line and wait until it is on stable storage, with all before it."""
        try:
            if not self._ready:
                self.open()
            self._look(wait=0.0)
            if self._rotates:
                self._make_room(len(data), created)
            assert self._file is not None
            if self._waits:
                self._file.commit(data)
            else:
                self._file.append(data)
                self._file.sync()
        except ClosedError:
            self._write_late(data, durable=True)
        except PoisonedError as error:
            self._give_up(error)
            raise

    def flush(self) -> None:
        """Hand what was accepted to the operating system."""
        with contextlib.suppress(ClosedError):
            if self._ready and self._file is not None:
                self._file.flush()

    def sync(self) -> None:
        """Make what was accepted durable."""
        if not self._ready:
            self.open()
        assert self._file is not None
        self._file.sync()

    @property
    def dropped(self) -> int:
        return self._file.stats().dropped if self._ready and self._file else 0

    def _write_late(self, data: bytes, durable: bool) -> None:
        """Write past AppendFile: it is closed, or a signal came while it was being opened."""
        # Behind what was accepted before, if it is being closed by another thread just now.
        with self._entered(wait=True):
            pass
        while True:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            fd = os.open(self._path, flags, self._mode)
            try:
                share(fd)
                if not is_at(self._path, fd):
                    continue
                left = memoryview(data)
                while left:
                    left = left[os.write(fd, left) :]
                if durable:
                    sync_data(fd)
                return
            finally:
                os.close(fd)

    def _give_up(self, error: PoisonedError) -> None:
        """Use this AppendFile no more, whose write or sync failed; a new one is tried later."""
        if not self._ready:
            return  # it has been given up, and who logs all the time does not put the new one off
        self._failure = error
        self._not_before = time.monotonic() + self._interval
        self._ready = False

    # -- opening and looking ---------------------------------------------------------------

    @contextlib.contextmanager
    def _entered(self, wait: bool) -> Iterator[bool]:
        """Let one thread at a time open or rotate; whether this is it.

        False also in a signal handler that interrupted the one that does.
        """
        if not self._turn.acquire(blocking=wait):
            yield False
            return
        try:
            if self._busy:
                yield False
                return
            self._busy = True
            try:
                yield True
            finally:
                self._busy = False
        finally:
            self._turn.release()

    def open(self) -> None:
        """Open the file unless it is open."""
        with self._entered(wait=True) as mine:
            if self._ready:
                return
            if not mine or self._closed:
                raise ClosedError("the log file is not open")
            if self._failure is not None and time.monotonic() < self._not_before:
                # A fresh traceback each time, so that the old one does not grow.
                raise self._failure.with_traceback(None)
            self._leave_failed()
            # Between opening a file and saying so nobody may rotate it and take it for unused.
            with self._lock.held(_OPEN_WAIT_S) as held:
                if not held:
                    raise TimeoutError(
                        f"another process has held the lock on {os.path.dirname(self._path)!r} "
                        f"for {_OPEN_WAIT_S:g} seconds"
                    )
                file = self._opener()
                self._settle(file)
            if self._closed:
                file.close()
                raise ClosedError("the log file was closed meanwhile")
            self._file = file
            self._failure = None
            self._ready = True
            self._keeper.start()

    def _leave_failed(self) -> None:
        """Close what failed.  What its ring still holds is the next opener's, which is this one."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                file.close()

    def _settle(self, file: AppendFile) -> None:
        """Take note of the file that is open now; the lock on the directory is held."""
        share(file.fileno())
        facts = os.fstat(file.fileno())
        self._identity = (facts.st_dev, facts.st_ino)
        self._size = facts.st_size
        # A file that holds something is of the time at which it was written.
        self._moment = self._rotation.after(facts.st_mtime if facts.st_size else time.time())
        self._untidy = self._files.needs_care

    def _has_moved(self) -> bool:
        try:
            facts = os.stat(self._path)
        except FileNotFoundError:
            return True
        if (facts.st_dev, facts.st_ino) != self._identity:
            return True
        # Other processes write here as well.
        self._size = max(self._size, facts.st_size)
        return False

    def _look(self, wait: float) -> None:
        """Follow the path if somebody has moved the file; until that works the old one is used."""
        try:
            if not self._has_moved():
                return
            with self._entered(wait=False) as mine:
                if mine and self._ready:
                    with self._lock.held(wait) as held:
                        if held and self._has_moved():
                            self._reopen()
        except DurableError:
            raise
        except OSError as error:
            self._report(error, "following the path")

    def _reopen(self) -> None:
        """Open the path anew; what was accepted before goes to the file that was moved."""
        assert self._file is not None
        self._file.reopen()
        self._settle(self._file)
        self.reopened += 1

    # -- rotating --------------------------------------------------------------------------

    def _make_room(self, size: int, created: float) -> None:
        """Rotate if the line does not belong into the file as it is."""
        before = self._size
        self._size = before + size
        if self._size > self._rotation.max_bytes or created >= self._moment:
            if before and self._blocks:
                self._rotate(size, created)
            elif before:
                self._keeper.hurry()
            else:
                self._moment = self._rotation.after(created)

    def _rotate(self, size: int, created: float) -> None:
        """Set the file aside, unless another thread or process is at it, or has just done it.

        The others go on appending meanwhile, to the file that is on its way out.
        """
        if time.monotonic() < self._not_before:
            return
        with self._entered(wait=False) as mine:
            if not mine:
                return
            try:
                with self._lock.held(0) as held:
                    if held:
                        self._rotate_alone(size, created)
            except ClosedError:
                return  # by another thread; the line is written late
            except Exception as error:
                # The line goes where it can; the next try comes later.
                self._not_before = time.monotonic() + self._interval
                self._report(error, "rotating")

    def _rotate_alone(self, size: int, created: float) -> None:
        if not self._has_moved():
            if self._size <= self._rotation.max_bytes and created < self._moment:
                return
            try:
                self._files.set_aside(self._rotation.stamp(self._moment))
            except NotDurableError as error:
                self._report(error, "rotating")
            self.rotations += 1
        self._reopen()
        self._size += size
        # A record may come from a clock that is ahead of this one.
        self._moment = self._rotation.after(max(created, time.time()))
        self._keeper.hurry()

    # -- the keeper ------------------------------------------------------------------------

    def keep(self) -> bool:
        """What is done at intervals; False once it is over."""
        if self._closed:
            return False
        try:
            self._keep_open()
            if self._untidy:
                self._untidy = False
                self._tidy()
        except Exception as error:
            # It is closed by another thread, or because the interpreter exits.
            if not isinstance(error, ClosedError):
                self._report(error, "looking after the file")
        return not self._closed

    def _keep_open(self) -> None:
        """Follow the file, and rotate one that nobody writes when its time is over."""
        if not self._ready:
            if self._failure is not None and time.monotonic() >= self._not_before:
                self.open()
            return
        error = self._refusal()
        if isinstance(error, PoisonedError):
            self._give_up(error)
            raise error
        self._look(_LOOK_WAIT_S)
        now = time.time()
        if now >= self._moment or (not self._blocks and self._size > self._rotation.max_bytes):
            if self._size:
                self._rotate(0, now)
            else:
                self._moment = self._rotation.after(now)

    def _refusal(self) -> Exception | None:
        """Why AppendFile takes nothing more, which it tells who appends; None while all is well."""
        return self._file._native.refusal() if self._file and self._file._ring.stop[0] else None

    def _tidy(self) -> None:
        self._files.remove_surplus()
        self.packed += self._files.pack(self._keep_open)

    # -- ending ----------------------------------------------------------------------------

    def close(self) -> None:
        """Hand over what was accepted, and finish what is to be done about rotated files."""
        if self._closed:
            return
        self._closed, self._ready = True, False
        file = None
        try:
            # Whose turn it is may be waiting for space, until the end of the file releases it.
            with self._entered(wait=False):
                if (file := self._file) is not None:
                    file.close()
        finally:
            self._keeper.stop()
            if file is not None and self._files.needs_care:
                self._tidy()

    def forget_parent(self) -> None:
        """In a child process: begin anew, whatever the parent's threads were doing."""
        if self._file is not None:
            self._file.close()  # which does nothing here but say so
            self._file = None
        self._turn = threading.RLock()
        self._busy = False
        self._ready = False
        self._keeper = Keeper(self.keep, max(self._interval, _SHORTEST_S))
        self._lock.forget()


_all_files: weakref.WeakSet[LogFile] = weakref.WeakSet()


def _forget_parent() -> None:
    for file in list(_all_files):
        file.forget_parent()


@atexit.register
def _close_all() -> None:
    """Close what is still open before AppendFile does, which knows nothing of late lines."""
    with contextlib.ExitStack() as files:
        for file in list(_all_files):
            files.callback(file.close)


os.register_at_fork(after_in_child=_forget_parent)
