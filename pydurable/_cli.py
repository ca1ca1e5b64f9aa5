"""The command line: what can be asked, and what becomes of an error."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any, TextIO

from pydurable import CorruptionError, DurableError, LockedError, __version__
from pydurable import _cli_output as output
from pydurable._cli_bench import add_bench

GOOD, DAMAGED, INTERRUPTED = 0, 1, 130

DEMO_LAYERS = "demo layers"

_SYNC_TARGETS = ("none", "interval", "group", "each", "paranoid")
_FORMATS = ("text", "json", "raw")
_EPILOG = (
    "exit codes: 0 good, 1 damaged or failed, 2 wrong usage, 130 Ctrl-C. "
    "A closed pipe (| head) ends quietly."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with ``argv`` (default: the process's own arguments), return its exit code.

    Nothing that can happen to a log, a pipe or a terminal raises out of it, only wrong usage
    does, as argparse has it: ``SystemExit`` with code 2.

    >>> main(["verify", "/no/such/log"])
    1
    """
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        return _run(argv)


def _run(argv: Sequence[str] | None) -> int:
    code: int = GOOD
    output.claim_standard_descriptors()
    try:
        arguments = build_parser().parse_args(_joined(sys.argv[1:] if argv is None else argv))
        code = arguments.run(arguments)
        output.flush()
    except BrokenPipeError:
        # Damage that was found is damage, whether anybody reads about it or not.
        return code
    except KeyboardInterrupt:
        return INTERRUPTED
    except (DurableError, OSError, ValueError) as error:
        complain(error)
        return DAMAGED
    else:
        return code
    finally:
        output.settle()


def _joined(words: Sequence[str]) -> list[str]:
    """The arguments with a command of two words as one; a folder "layers" is "./layers"."""
    count = len(DEMO_LAYERS.split())
    first = " ".join(words[:count])
    return [first, *words[count:]] if first == DEMO_LAYERS else list(words)


def complain(error: BaseException) -> None:
    """Print an error in one line."""
    # The message may have nowhere to go either, and there is nobody left to be told.
    with contextlib.suppress(OSError):
        print(f"pydurable: {describe(error)}", file=sys.stderr, flush=True)


def describe(error: BaseException) -> str:
    """An error in one line: the file, what is wrong with it, and what helps where that is known."""
    if not isinstance(error, OSError):
        return _one_line(str(error) or type(error).__name__)
    text = error.strerror or str(error) or type(error).__name__
    name = "" if error.filename is None else os.fsdecode(error.filename)
    if isinstance(error, LockedError):
        # The lock file is how it was found out; what is locked is the log.
        name = os.path.dirname(name) or name
        holder = "another process" if error.pid is None else f"process {error.pid}"
        text = f"{holder} has this log open, and a log has one writer at a time"
    elif isinstance(error, CorruptionError):
        text = f"damaged: {text}"
    return _one_line(f"{name}: {text}" if name else text)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """A warning as an error is printed: in one line, without the place in the source."""
    with contextlib.suppress(OSError):
        print(f"pydurable: {_one_line(str(message))}", file=sys.stderr, flush=True)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def build_parser() -> argparse.ArgumentParser:
    """The parser; each subcommand leaves the function that runs it in ``run``."""
    parser = argparse.ArgumentParser(
        prog="pydurable", description="Write, read and check durable logs.", epilog=_EPILOG
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_demo(commands)
    _add_demo_layers(commands)
    _add_tee(commands)
    _add_dump(commands)
    _add_verify(commands)
    _add_recover(commands)
    _add_repair(commands)
    _add_doctor(commands)
    add_bench(commands)
    return parser


def _sentence(summary: str) -> str:
    return f"{summary[0].upper()}{summary[1:]}."


def _add_demo(commands: Any) -> None:
    summary = "commit real lines, kill the writer with SIGKILL, recover, and check every line"
    demo = commands.add_parser("demo", help=summary, description=_sentence(summary))
    demo.add_argument(
        "--input", metavar="FILE", help="lines to commit (default: Python's own standard library)"
    )
    _add_directory(demo)
    demo.set_defaults(run=_run_demo)


def _add_demo_layers(commands: Any) -> None:
    summary = "write the same records in four ways, and show what survives a kill and a power cut"
    layers = commands.add_parser(DEMO_LAYERS, help=summary, description=_sentence(summary))
    layers.add_argument("--plot", metavar="FILE", help="draw it as a PNG too (with matplotlib)")
    _add_directory(layers)
    layers.set_defaults(run=_run_demo_layers)


def _add_directory(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "directory",
        metavar="DIR",
        nargs="?",
        help="keep the files in a new folder in DIR (default: a temporary one, removed afterwards)",
    )


def _add_tee(commands: Any) -> None:
    summary = "commit each line of standard input, and echo it once it is durable"
    tee = commands.add_parser("tee", help=summary, description=_sentence(summary))
    tee.add_argument("log", metavar="LOG", help="directory of the log; made if it does not exist")
    tee.add_argument(
        "--sync",
        choices=_SYNC_TARGETS,
        default="group",
        help="what an echo waits for (default: %(default)s; with none and interval the operating "
        "system has the line, but the disk may not)",
    )
    tee.set_defaults(run=_run_tee)


def _add_dump(commands: Any) -> None:
    summary = "print the records of a log"
    dump = commands.add_parser("dump", help=summary, description=_sentence(summary))
    dump.add_argument("log", metavar="LOG")
    dump.add_argument(
        "--start",
        metavar="N",
        type=_record_number,
        help="begin with record N (default: the oldest that is kept)",
    )
    dump.add_argument("--follow", action="store_true", help="wait for new records, until Ctrl-C")
    dump.add_argument(
        "--format",
        choices=_FORMATS,
        default="text",
        help="text: number and readable data; json: an object a line; raw: the committed bytes, "
        "nothing added (default: %(default)s)",
    )
    dump.set_defaults(run=_run_dump)


def _add_verify(commands: Any) -> None:
    summary = "check every byte of a log, changing nothing"
    verify = commands.add_parser("verify", help=summary, description=_sentence(summary))
    verify.add_argument("log", metavar="LOG")
    verify.add_argument("--json", action="store_true", help="print the report as JSON")
    verify.set_defaults(run=_run_verify)


def _add_recover(commands: Any) -> None:
    summary = "write what dead processes had appended to a log or file"
    recover = commands.add_parser("recover", help=summary, description=_sentence(summary))
    what = recover.add_mutually_exclusive_group()
    what.add_argument(
        "path",
        metavar="PATH",
        nargs="?",
        help="log or file (default: list what is to recover)",
    )
    what.add_argument("--all", action="store_true", help="recover every log and file that exists")
    recover.add_argument("--json", action="store_true", help="print the outcome as JSON")
    recover.set_defaults(run=_run_recover)


def _add_repair(commands: Any) -> None:
    summary = "copy a damaged log aside, then keep what is still good of it"
    repair = commands.add_parser("repair", help=summary, description=_sentence(summary))
    repair.add_argument("log", metavar="LOG")
    repair.add_argument("--json", action="store_true", help="print the report as JSON")
    repair.set_defaults(run=_run_repair)


def _add_doctor(commands: Any) -> None:
    summary = "say what a disk promises: each layer from the filesystem to the drive, and a verdict"
    doctor = commands.add_parser("doctor", help=summary, description=_sentence(summary))
    doctor.add_argument(
        "path", metavar="PATH", nargs="?", default=".", help="file or directory (default: here)"
    )
    doctor.add_argument("--json", action="store_true", help="print the report as JSON")
    doctor.add_argument(
        "--measure", action="store_true", help="also measure every way of writing, for 10 s at most"
    )
    doctor.set_defaults(run=_run_doctor)


def _record_number(text: str) -> int:
    """An argument that is a record number: they begin at 1."""
    number = int(text) if text.isascii() and text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a record number; they begin at 1")
    return number


# Each subcommand is imported when it is asked for: the others do not pay for it at start.


def _run_demo(arguments: argparse.Namespace) -> int:
    from pydurable._demo import run_demo

    return run_demo(arguments.directory, arguments.input)


def _run_demo_layers(arguments: argparse.Namespace) -> int:
    from pydurable._demo_layers import run_layers

    return run_layers(arguments.directory, arguments.plot)


def _run_tee(arguments: argparse.Namespace) -> int:
    from pydurable._cli_tee import run_tee

    return run_tee(arguments.log, sync=arguments.sync)


def _run_dump(arguments: argparse.Namespace) -> int:
    from pydurable._cli_dump import run_dump

    return run_dump(
        arguments.log, start=arguments.start, follow=arguments.follow, style=arguments.format
    )


def _run_verify(arguments: argparse.Namespace) -> int:
    from pydurable._cli_report import run_verify

    return run_verify(arguments.log, as_json=arguments.json)


def _run_recover(arguments: argparse.Namespace) -> int:
    from pydurable._cli_recover import run_recover, run_recover_all, run_recover_list

    if arguments.path is not None:
        return run_recover(arguments.path, as_json=arguments.json)
    run = run_recover_all if arguments.all else run_recover_list
    return run(as_json=arguments.json)


def _run_repair(arguments: argparse.Namespace) -> int:
    from pydurable._cli_report import run_repair

    return run_repair(arguments.log, as_json=arguments.json)


def _run_doctor(arguments: argparse.Namespace) -> int:
    from pydurable._cli_doctor import run_doctor

    return run_doctor(arguments.path, as_json=arguments.json, measure=arguments.measure)
