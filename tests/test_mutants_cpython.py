"""The types that are compiled for CPython, broken on purpose: their tests must see it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from test_mutants import Replacement, build, build_again, replace_once, run_subset
from test_mutants import tree as tree

WRITER = "csrc/cpython/writer.c"
WAITER = "csrc/cpython/waiter.c"
GATHERING = "csrc/cpython/gathering.c"
# What is broken in the types that are compiled for CPython, and who is to see it.
BROKEN_TYPES = [
    (
        Replacement(
            WRITER, "ring->chunk_bytes - writer->used)", "ring->chunk_bytes - writer->used + 1)"
        ),
        "tests/test_writer.py::test_a_chunk_takes_what_fits_to_the_last_byte",
    ),
    (
        Replacement(
            WRITER, "(size_t)size, 0, tail, &ticket)", "(size_t)size, 0, 0 * tail, &ticket)"
        ),
        "tests/test_writer.py::test_a_commit_takes_along_what_was_appended",
    ),
    (
        Replacement(WRITER, "pd_adler32(ring->salt, data, size)", "pd_adler32(1, data, size)"),
        "tests/test_writer.py::test_both_store_the_frames_that_are_drawn",
    ),
    (
        Replacement(WRITER, "    writer_of(self)->ring.bytes = NULL;\n", "    (void)self;\n"),
        "tests/test_writer.py::test_nothing_is_stored_after_the_stop",
    ),
    (
        Replacement(
            WAITER,
            "        Py_RETURN_NONE;\n    settle(waiter, TOLD, value);\n",
            "        (void)0;\n    settle(waiter, TOLD, value);\n",
        ),
        "tests/test_waiter.py::test_who_was_cancelled_is_passed_over",
    ),
    (
        Replacement(
            WAITER,
            "        Py_RETURN_FALSE;\n    settle(waiter, state, outcome);\n",
            "        (void)0;\n    settle(waiter, state, outcome);\n",
        ),
        "tests/test_waiter.py::test_a_cancellation_that_comes_too_late_wakes_nobody_twice",
    ),
    (
        Replacement(
            WAITER,
            "PyObject_CallMethodObjArgs(waiter->context, run, wake, self, NULL)",
            "PyObject_CallFunctionObjArgs(wake, self, NULL)",
        ),
        "tests/test_waiter.py::test_each_task_keeps_its_context",
    ),
    (
        Replacement(WAITER, "    Py_VISIT(waiter->wake);\n", ""),
        "tests/test_waiter.py::test_what_waits_for_ever_is_collected",
    ),
    (
        Replacement(GATHERING, "return PyErr_Occurred() ? -1 : here;", "return 1;"),
        "tests/test_waiter.py::test_a_gathering_takes_bytes_of_its_own_thread",
    ),
    (
        Replacement(
            GATHERING,
            "if (gathering->inside == PyThread_get_thread_ident())",
            "if (gathering->inside)",
        ),
        "tests/test_waiter.py::test_a_gathering_takes_bytes_of_its_own_thread",
    ),
    (
        Replacement(GATHERING, "    Py_VISIT(gathering->schedule);\n", ""),
        "tests/test_waiter.py::test_a_gathering_in_a_circle_is_collected",
    ),
]


@pytest.mark.long
def test_broken_types_are_caught(tree: Path) -> None:
    """The tests of what is compiled for CPython see it when a record goes beyond its chunk or is
    left behind, when a task is woken twice, or out of its context, or never collected."""
    build(tree)
    done = run_subset(tree, sorted({test for _, test in BROKEN_TYPES}))
    assert done.returncode == pytest.ExitCode.OK, done.stdout
    for broken, test in BROKEN_TYPES:
        source = tree / broken.file
        whole = source.read_text(encoding="utf-8")
        replace_once(tree, broken)
        build_again(tree)
        done = run_subset(tree, [test])
        # The core stops the process where a tail that it is given cannot be right.
        caught = (pytest.ExitCode.TESTS_FAILED, -signal.SIGABRT)
        assert done.returncode in caught, f"{broken}: {done.stdout}"
        source.write_text(whole, encoding="utf-8")
