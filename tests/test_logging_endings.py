"""Interruptions and endings: signals, Ctrl-C, close, interpreter exit; and what imports cost."""

from __future__ import annotations

import logging
import signal

import pytest
from _processes import check_python
from logging_support import descriptors, durable, lines, logger_with

from pydurable.logging import DurableHandler


def test_a_record_after_close_is_not_lost(path):
    """FileHandler opens its file again; this writes the line and closes it."""
    with durable(path) as (handler, logger):
        handler.close()
        before = descriptors()
        logger.info("late")
        logger.error("later")
        assert descriptors() == before
        handler.close()
    assert lines(path) == ["late", "later"]


SIGNALS = """
import logging, signal, sys, os, itertools
from pydurable.logging import DurableHandler

handler = DurableHandler(sys.argv[1], max_bytes=20_000)
logger = logging.Logger("test")
logger.addHandler(handler)
beats = itertools.count()

class Own(logging.Formatter):
    def format(self, record):
        return record.msg % record.args

def beat(*_):
    number = next(beats)
    logger.log(logging.ERROR if number % 10 == 0 else logging.INFO, "beat %d", number)
    if number % 40 == 7:
        # A formatter may be replaced at any time, also by what is called in turn.
        handler.setFormatter(Own())
    signal.setitimer(signal.ITIMER_REAL, 0.0005)

signal.signal(signal.SIGALRM, beat)
signal.setitimer(signal.ITIMER_REAL, 0.0005)
for number in range(4000):
    logger.log(logging.ERROR if number % 100 == 0 else logging.INFO, "line %d", number)
signal.signal(signal.SIGALRM, signal.SIG_IGN)
handler.close()
print(next(beats), handler.stats().lost, handler.error)
"""


def test_signal_handlers_that_log_do_not_hang(path):
    """A signal may come at any moment, in the middle of rotation too; each line is there once."""
    beats, lost, error = check_python(SIGNALS, path).split()
    assert (lost, error) == ("0", "None")
    expected = [f"line {number}" for number in range(4000)]
    expected += [f"beat {number}" for number in range(int(beats))]
    assert sorted(lines(path)) == sorted(expected)
    assert int(beats) > 10


EXIT = """
import atexit, logging, sys, threading
import pydurable.logging

logger = logging.getLogger("test")
logger.setLevel(logging.INFO)
atexit.register(lambda: logger.info("at exit"))
logger.addHandler(pydurable.logging.DurableHandler(sys.argv[1]))
logger.info("before")

class Late:
    def __del__(self):
        logger.info("while everything is taken apart")

late = Late()
started = threading.Event()

def go_on():
    number = 0
    while True:
        logger.info("thread %d", number)
        number += 1
        started.set()

threading.Thread(target=go_on, daemon=True).start()
started.wait()
"""


def test_interpreter_exit_without_close(path):
    """Nothing that was logged before the end of logging is lost, and exit is silent and clean."""
    assert check_python(EXIT, path) == ""
    found = lines(path)
    assert found[0] == "before"
    assert "at exit" in found
    numbers = [int(line.split()[1]) for line in found if line.startswith("thread")]
    assert numbers == list(range(len(numbers)))


def test_shutdown_closes(path):
    """logging.shutdown() leaves the file complete and nothing open."""
    before = descriptors()
    handler = DurableHandler(path)
    with logger_with(handler) as logger:
        logger.info("one")
        logging.shutdown([logging.weakref.ref(handler)])
        assert descriptors() == before
        assert lines(path) == ["one"]


def test_importing_pydurable_does_not_import_logging():
    """Only who asks for the handler pays for the standard library's logging."""
    check_python("import sys, pydurable; assert 'logging' not in sys.modules, 'logging imported'")


def test_the_name_is_no_obstacle():
    """pydurable.logging and logging are two modules, whichever comes first."""
    check_python(
        "import pydurable.logging, logging, logging.handlers\n"
        "assert issubclass(pydurable.logging.DurableHandler, logging.Handler)\n"
        "assert pydurable.logging is not logging"
    )


def test_a_keyboard_interrupt_goes_through(path, monkeypatch):
    """Ctrl-C during a wait is not swallowed as an error of logging."""
    with durable(path) as (handler, logger):

        def interrupted(self) -> None:
            signal.raise_signal(signal.SIGINT)

        monkeypatch.setattr(type(handler._file._file), "sync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            logger.error("slow")
        monkeypatch.undo()
