"""Every public operation that makes system calls, on a scene in which it can be tried again."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

from _scenario import LARGE, Life, check_aftermath, live, open_log, record
from test_replace_faults import OPERATIONS as REPLACEMENTS
from test_replace_faults import Operation as Replacement
from test_replace_faults import check as check_replaced
from test_replace_faults import leftovers

import pydurable


class Scene:
    """One operation in a folder of its own, from its beginning to the look at what it left."""

    path: Path

    def run(self) -> None:
        """Do what a fault is to befall."""
        raise NotImplementedError

    def finish(self, error: Exception | None, once: bool) -> None:
        """The faults are over: give everything back, and check what was promised.

        ``once`` says that only one call failed, so that what tidies up has worked.
        """
        raise NotImplementedError


Act = Callable[["LogScene"], None]


class LogScene(Scene):
    """A log of several segments, open or not, and a call that uses it."""

    def __init__(self, folder: Path, template: Path | None, act: Act, opened: bool) -> None:
        self.path = folder / "log"
        self.life = Life(self.path)
        self._act = act
        self.log: pydurable.Log | None = None
        if template:
            shutil.copytree(template, self.path)
            found = pydurable.verify_log(self.path)
            self.life.attempted = self.life.promised = found.next_lsn - 1
            self.life.oldest = found.oldest_lsn
        if opened:
            self.log = open_log(self.path)

    def run(self) -> None:
        self._act(self)

    def finish(self, error: Exception | None, once: bool) -> None:
        if self.log is not None:
            poisoned = False
            try:
                self.log.close()
            except pydurable.PoisonedError:
                poisoned = True
            assert not poisoned or error is not None or self.life.promised < self.life.attempted
        check_aftermath(self.life)
        assert not [entry for entry in self.path.iterdir() if entry.suffix not in (".seg", "")]


def open_it(scene: LogScene) -> None:
    scene.log = open_log(scene.path)
    assert scene.log.next_lsn == scene.life.attempted + 1


def log_of(scene: LogScene) -> pydurable.Log:
    assert scene.log is not None
    return scene.log


def commit(scene: LogScene) -> None:
    scene.life.commit(log_of(scene))


def commit_many(scene: LogScene) -> None:
    scene.life.commit_many(log_of(scene), 3)


def append_and_sync(scene: LogScene) -> None:
    scene.life.append(log_of(scene))
    scene.life.append(log_of(scene))
    scene.life.sync(log_of(scene))


def over_the_end(scene: LogScene) -> None:
    for _ in range(8):
        scene.life.commit(log_of(scene), LARGE)


def truncate(scene: LogScene) -> None:
    scene.life.truncate(log_of(scene), scene.life.attempted - 2)


def close(scene: LogScene) -> None:
    log_of(scene).append(record(scene.life.attempted + 1))
    scene.life.attempted += 1
    log_of(scene).close()
    scene.life.promised = scene.life.attempted


def read(scene: LogScene) -> None:
    found = []
    try:
        found.extend(pydurable.read_log(scene.path))
    finally:
        assert [entry.lsn for entry in found] == list(range(1, len(found) + 1))
    assert len(found) == scene.life.attempted


def verify(scene: LogScene) -> None:
    report = pydurable.verify_log(scene.path)
    assert report.next_lsn == scene.life.attempted + 1


class AppendScene(Scene):
    """A plain file to append to, open or not, and a call that uses it."""

    def __init__(self, folder: Path, act: Callable[[AppendScene], None], opened: bool) -> None:
        self.folder = folder
        self.path = folder / "app"
        self.path.write_bytes(b"old\n")
        self.accepted = b"old\n"
        self._act = act
        self.file = self.open() if opened else None

    def open(self) -> pydurable.AppendFile:
        return pydurable.AppendFile(
            self.path, sync="group", method="fdatasync", interval=3600.0, on_full="raise"
        )

    def commit(self, *records: bytes) -> None:
        assert self.file is not None
        self.file.commit_many(records)
        self.accepted += b"".join(records)

    def run(self) -> None:
        self._act(self)

    def finish(self, error: Exception | None, once: bool) -> None:
        if self.file is not None:
            with contextlib.suppress(pydurable.PoisonedError):
                self.file.close()
        assert self.path.read_bytes().startswith(self.accepted)
        with self.open() as file:
            file.commit(b"afterwards\n")
        assert self.path.read_bytes().endswith(b"afterwards\n")
        left = {entry.name for entry in self.folder.iterdir()} - {"app", "app.1"}
        assert not once or not left


def _open_file(scene: AppendScene) -> None:
    scene.file = scene.open()


def _commit_to_file(scene: AppendScene) -> None:
    scene.commit(b"one\n")
    scene.commit(b"two\n", b"three\n")


def _append_to_file(scene: AppendScene) -> None:
    assert scene.file is not None
    scene.file.append(b"four\n")
    scene.file.sync()
    scene.accepted += b"four\n"


def _reopen_file(scene: AppendScene) -> None:
    assert scene.file is not None
    scene.path.rename(scene.folder / "app.1")
    scene.accepted = b""
    scene.path.write_bytes(b"")
    scene.file.reopen()
    scene.commit(b"new\n")


def _close_file(scene: AppendScene) -> None:
    _append_to_file(scene)
    assert scene.file is not None
    scene.file.close()


class RepairScene(Scene):
    """A log with damage in the middle, to be repaired."""

    def __init__(self, folder: Path, template: Path) -> None:
        self.path = folder / "log"
        shutil.copytree(template, self.path)
        self._segment = self.path / "0000000000000002.seg"
        data = bytearray(self._segment.read_bytes())
        data[9000] ^= 1
        self._segment.write_bytes(data)

    def run(self) -> None:
        assert pydurable.repair_log(self.path).damage is not None

    def finish(self, error: Exception | None, once: bool) -> None:
        # Whatever failed, repair can be tried again, and what it keeps is a prefix.
        pydurable.repair_log(self.path)
        found = list(pydurable.read_log(self.path))
        assert found
        assert [entry.lsn for entry in found] == list(range(1, len(found) + 1))
        for entry in found:
            assert entry.data == record(entry.lsn, len(entry.data))
        open_log(self.path).close()


class ReplaceScene(Scene):
    """A file, or several, to be replaced."""

    def __init__(self, folder: Path, operation: Replacement) -> None:
        self.path = folder / "files"
        self.path.mkdir()
        self._operation = operation
        operation.prepare(self.path)

    def run(self) -> None:
        self._operation.run(self.path)

    def finish(self, error: Exception | None, once: bool) -> None:
        check_replaced(self._operation, self.path, error, sure=True)
        assert not once or not leftovers(self.path)


class SyncScene(Scene):
    """A file or a directory to be synced."""

    def __init__(self, folder: Path, act: Callable[[Path], object]) -> None:
        self.path = folder / "files"
        self.path.mkdir()
        self._act = act
        (self.path / "file").write_bytes(b"x")

    def run(self) -> None:
        self._act(self.path)

    def finish(self, error: Exception | None, once: bool) -> None:
        assert (self.path / "file").read_bytes() == b"x"


def _sync_file(path: Path) -> None:
    with (path / "file").open("rb") as file:
        pydurable.sync_file(file)


def _sync_data(path: Path) -> None:
    with (path / "file").open("rb") as file:
        pydurable.sync_data(file)


class Templates:
    """Logs that scenes are copies of, made once."""

    def __init__(self, folder: Path) -> None:
        self.closed = folder / "closed"
        with open_log(self.closed) as log:
            life = Life(self.closed)
            for _ in range(15):
                life.commit(log, LARGE)
            life.commit_many(log, 3)
        self.torn = folder / "torn"
        lived = folder / "lived"
        with open_log(lived) as log:
            life = Life(lived)
            for _ in range(10):
                life.commit(log, LARGE)
            # The keeper may be making the next segment, and renames it when it is ready.
            shutil.copytree(lived, self.torn, ignore=shutil.ignore_patterns("prepare.tmp"))
        # Traces of a batch behind the last one, so that recovery has a torn tail to leave behind.
        report = pydurable.verify_log(self.torn)
        segment = self.torn / f"{report.torn_segment:016x}.seg"
        with segment.open("r+b") as file:
            file.seek(report.torn_offset)
            file.write(b"PDB1 and then nothing")
        with contextlib.suppress(FileNotFoundError):
            (self.torn / "LOCK").unlink()
        live(Life(folder / "warm"))


Make = Callable[[Path, Templates], Scene]


def log_scene(act: Act, *, template: str | None = "closed", opened: bool = True) -> Make:
    def make(folder: Path, templates: Templates) -> Scene:
        return LogScene(folder, template and getattr(templates, template), act, opened)

    return make


def _replacing(operation: Replacement) -> Make:
    return lambda folder, templates: ReplaceScene(folder, operation)


def _syncing(act: Callable[[Path], object]) -> Make:
    return lambda folder, templates: SyncScene(folder, act)


def appending_scene(act: Callable[[AppendScene], None], *, opened: bool = True) -> Make:
    return lambda folder, templates: AppendScene(folder, act, opened)


SCENES: dict[str, Make] = {
    "Log, new": log_scene(open_it, template=None, opened=False),
    "Log, closed before": log_scene(open_it, opened=False),
    "Log, after a crash": log_scene(open_it, template="torn", opened=False),
    "commit": log_scene(commit),
    "commit_many": log_scene(commit_many),
    "append and sync": log_scene(append_and_sync),
    "commit over a segment's end": log_scene(over_the_end),
    "truncate_before": log_scene(truncate),
    "close": log_scene(close),
    "read_log": log_scene(read, opened=False),
    "read_log, beside a writer": log_scene(read),
    "verify_log": log_scene(verify, opened=False),
    "repair_log": lambda folder, templates: RepairScene(folder, templates.closed),
    "AppendFile": appending_scene(_open_file, opened=False),
    "AppendFile.commit": appending_scene(_commit_to_file),
    "AppendFile.append": appending_scene(_append_to_file),
    "AppendFile.reopen": appending_scene(_reopen_file),
    "AppendFile.close": appending_scene(_close_file),
    "sync_file": _syncing(_sync_file),
    "sync_data": _syncing(_sync_data),
    "sync_directory": _syncing(pydurable.sync_directory),
    **{f"replacing: {name}": _replacing(each) for name, each in REPLACEMENTS.items()},
}
