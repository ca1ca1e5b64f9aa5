"""DurableHandler as logging knows handlers: formatting, configuration, errors, endings."""

from __future__ import annotations

import json
import logging
import logging.config
import logging.handlers
import os
import queue
import stat
import threading
import time

import pytest
from logging_support import descriptors, durable, lines, logger_with, record

from pydurable.logging import DurableHandler


@pytest.fixture
def configured():
    """Let a test configure logging, and take that back."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    for handler in root.handlers[:]:
        if handler not in before[0]:
            root.removeHandler(handler)
            handler.close()
    root.handlers[:], root.level = before
    for name in ("shop", "shop.cart"):
        logger = logging.getLogger(name)
        for handler in logger.handlers[:]:
            logger.removeHandler(handler)
            handler.close()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)


def test_lines_come_as_formatted(path):
    """Any formatter, any terminator, any text."""
    with durable(path, sync_level=None) as (handler, logger):
        logger.info("plain %d", 1)
        handler.setFormatter(logging.Formatter("{levelname}:{message}", style="{"))
        logger.warning("two\nlines")
        handler.terminator = "\r\n"
        logger.info("grüße 🦆")
        handler.terminator = ""
        logger.info("end")
    assert path.read_bytes().decode() == "plain 1\nWARNING:two\nlines\nINFO:grüße 🦆\r\nINFO:end"


def test_tracebacks_are_written_with_their_record(path):
    """An exception is one piece with its line."""
    with durable(path) as (_, logger):
        try:
            raise KeyError("gone")
        except KeyError:
            logger.exception("failed")
    text = path.read_text()
    assert text.startswith("failed\nTraceback")
    assert text.endswith("KeyError: 'gone'\n")


def test_levels_and_filters_are_heeded(path):
    """A handler's level and its filters, also one that replaces the record or says no."""
    with durable(path) as (handler, logger):
        handler.setLevel(logging.WARNING)
        logger.info("too low")
        handler.addFilter(lambda rec: "secret" not in rec.getMessage())
        logger.warning("a secret")
        logger.warning("told")
        assert handler.handle(record("secret")) is False
        assert handler.handle(record("direct")) is True
    assert lines(path) == ["told", "direct"]


@pytest.mark.parametrize(
    ("encoding", "errors", "expected"),
    [
        ("utf-8", None, b"\xe2\x82\xac \\ud800\n"),
        ("latin-1", None, b"\\u20ac \\ud800\n"),
        ("latin-1", "replace", b"? ?\n"),
        ("utf-16-le", "ignore", "€ \n".encode("utf-16-le")),
    ],
)
def test_no_character_loses_a_line(path, encoding, errors, expected):
    """What the encoding does not have is escaped, or treated as asked."""
    with durable(path, encoding=encoding, errors=errors) as (_, logger):
        logger.info("€ \ud800")
    assert path.read_bytes() == expected


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"sync": "sometimes"}, ValueError),
        ({"sync_level": "LOUD"}, ValueError),
        ({"sync_level": 1.5}, TypeError),
        ({"interval": 0}, ValueError),
        ({"interval": "1"}, TypeError),
        ({"max_bytes": -1}, ValueError),
        ({"max_bytes": 1e6}, TypeError),
        ({"backup_count": -1}, ValueError),
        ({"when": "noon"}, ValueError),
        ({"at_time": "03:30"}, ValueError),
        ({"compress": "zip"}, ValueError),
        ({"on_full": "panic"}, ValueError),
        ({"encoding": "utf-9"}, LookupError),
        ({"errors": "shrug"}, LookupError),
        ({"mode": "a"}, TypeError),
        ({"max_pending_bytes": 1}, ValueError),
    ],
)
@pytest.mark.parametrize("delay", [False, True])
def test_nonsense_is_refused_before_anything_is_touched(path, options, error, delay):
    """An option that makes no sense raises, delayed or not, and no file is made."""
    with pytest.raises(error):
        DurableHandler(path, delay=delay, **options)
    assert not path.exists()


def test_a_file_that_cannot_be_opened_is_the_callers_error(tmp_path):
    """The constructor raises, as FileHandler's does, and leaves no descriptor open."""
    before = descriptors()
    with pytest.raises(FileNotFoundError):
        DurableHandler(tmp_path / "no" / "app.log")
    assert descriptors() == before


def test_delay_opens_with_the_first_record(path):
    """Until then there is no file; flushing and closing do not make one."""
    with durable(path, delay=True) as (handler, logger):
        handler.flush()
        assert not path.exists()
        logger.info("now")
    assert lines(path) == ["now"]
    DurableHandler(path.with_name("other"), delay=True).close()
    assert not path.with_name("other").exists()


def test_an_existing_file_is_continued(path):
    """Nothing that was there is touched."""
    path.write_text("before\n")
    with durable(path) as (_, logger):
        logger.info("after")
    assert lines(path) == ["before", "after"]


def test_the_mode_of_a_new_file(path):
    """The permission bits are those asked for, less the umask."""
    umask = os.umask(0o022)
    try:
        with durable(path, mode=0o640):
            assert stat.S_IMODE(path.stat().st_mode) == 0o640
    finally:
        os.umask(umask)


def test_flush_hands_over(path):
    """After flush() every reader sees what was logged, though nobody waited for the disk."""
    with durable(path, interval=3600) as (handler, logger):
        logger.info("seen")
        handler.flush()
        assert lines(path) == ["seen"]
        handler.sync()


def test_dict_config_from_a_file(configured, tmp_path):
    """A JSON file configures every option, by names that JSON can hold."""
    config = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(levelname)s %(message)s"}},
        "handlers": {
            "file": {
                "class": "pydurable.logging.DurableHandler",
                "filename": str(tmp_path / "app.log"),
                "formatter": "line",
                "level": "INFO",
                "sync": "interval",
                "sync_level": "WARNING",
                "interval": 0.5,
                "max_bytes": 1000000,
                "backup_count": 3,
                "when": "midnight",
                "at_time": "03:30",
                "utc": True,
                "compress": "gzip",
                "on_full": "block",
                "encoding": "utf-8",
                "errors": "backslashreplace",
                "delay": True,
                "mode": 0o600,
                "method": "auto",
                "max_pending_bytes": 1 << 20,
                "ring": True,
                "trim": True,
            }
        },
        "loggers": {"shop": {"level": "DEBUG", "handlers": ["file"], "propagate": False}},
    }
    file = tmp_path / "logging.json"
    file.write_text(json.dumps(config))
    logging.config.dictConfig(json.loads(file.read_text()))
    logger = logging.getLogger("shop")
    logger.debug("too low")
    logger.info("sold %s", "a duck")
    logger.warning("the last one")
    (handler,) = logger.handlers
    assert isinstance(handler, DurableHandler)
    assert handler.stats().waited == 1
    assert lines(tmp_path / "app.log") == ["INFO sold a duck", "WARNING the last one"]


def test_file_config_from_a_file(configured, tmp_path):
    """The older format passes keywords as well."""
    file = tmp_path / "logging.ini"
    file.write_text(
        f"""
[loggers]
keys=root,shop
[handlers]
keys=file
[formatters]
keys=line
[logger_root]
handlers=
[logger_shop]
level=INFO
handlers=file
qualname=shop
propagate=0
[handler_file]
class=pydurable.logging.DurableHandler
level=INFO
formatter=line
args=({str(tmp_path / "app.log")!r},)
kwargs={{"sync_level": "CRITICAL", "max_bytes": 1000000, "backup_count": 2}}
[formatter_line]
format=%(name)s: %(message)s
"""
    )
    logging.config.fileConfig(file, disable_existing_loggers=False)
    logger = logging.getLogger("shop")
    logger.error("out of ducks")
    (handler,) = logger.handlers
    handler.flush()
    assert handler.stats().waited == 0
    assert lines(tmp_path / "app.log") == ["shop: out of ducks"]


def test_as_the_target_of_a_memory_handler(path):
    """Buffered records arrive when the buffer is flushed."""
    with durable(path) as (handler, _):
        memory = logging.handlers.MemoryHandler(100, logging.ERROR, target=handler)
        with logger_with(memory) as logger:
            logger.info("one")
            logger.error("two")
        assert handler.stats().waited == 1
    assert lines(path) == ["one", "two"]


def test_behind_a_queue_listener(path):
    """A listener's thread may be the one that logs."""
    records: queue.SimpleQueue = queue.SimpleQueue()
    with durable(path) as (handler, _):
        listener = logging.handlers.QueueListener(records, handler)
        listener.start()
        with logger_with(logging.handlers.QueueHandler(records)) as logger:
            for number in range(50):
                logger.info("line %d", number)
        listener.stop()
    assert lines(path) == [f"line {number}" for number in range(50)]


class Counting(logging.Formatter):
    """A formatter that keeps something between two of its lines, as none should."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = self.most = 0

    def format(self, rec: logging.LogRecord) -> str:
        self.inside += 1
        self.most = max(self.most, self.inside)
        text = super().format(rec)
        time.sleep(0.0001)  # lets another thread come in, were it let in
        self.inside -= 1
        return text


def test_a_formatter_of_ones_own_is_called_by_one_thread_at_a_time(path):
    """One that changes how the standard library formats may count on the handler's lock."""
    with durable(path) as (handler, logger):
        handler.setFormatter(Counting())
        threads = [
            threading.Thread(target=lambda: [logger.info("x") for _ in range(100)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert handler.formatter.most == 1
    assert len(lines(path)) == 400


def test_a_wait_for_the_disk_holds_nobody_up(path, monkeypatch):
    """While one thread waits for its line to be durable, others log, wait-free and not."""
    with durable(path) as (handler, logger):
        waiting, over = threading.Event(), threading.Event()
        file = handler._file._file
        sync = type(file).sync

        def slow_sync(self) -> None:
            waiting.set()
            assert over.wait(60)
            sync(self)

        monkeypatch.setattr(type(file), "sync", slow_sync)
        thread = threading.Thread(target=logger.error, args=("slow",))
        thread.start()
        assert waiting.wait(60)
        logger.info("meanwhile")
        handler.setFormatter(Counting())
        logger.info("also with a formatter that is called in turn")
        assert thread.is_alive()
        over.set()
        thread.join()
    assert sorted(lines(path))[1:] == ["meanwhile", "slow"]


def test_what_cannot_be_formatted_goes_to_handle_error(path, capsys, monkeypatch):
    """As with any handler: a report on standard error, or silence if that is off."""
    with durable(path) as (handler, logger):
        logger.info("%d apples", "three")
        report = capsys.readouterr().err
        assert "TypeError" in report
        assert "Message: '%d apples'" in report
        monkeypatch.setattr(logging, "raiseExceptions", False)
        logger.info("%d apples", "three")
        assert not capsys.readouterr().err
        assert handler.error is None
        assert handler.stats().lost == 2
        logger.info("fine")
    assert lines(path) == ["fine"]
