"""The program: one parser, one place for what ends a run."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from typing import Final

from safeupload._cli import adopt, check, compare, normalize, recover, sweep

__all__ = ["main"]

_EXIT_CODES: Final = """\
exit codes:
  0    every file was accepted; or recovered, swept, or adopted
  1    at least one file was rejected (compare: safeupload did not keep its word), or could not be removed, or its rows
       not changed; or the sweep was refused
  2    the command line is wrong
  3    at least one file could not be read or written, whatever became of the others; or the storage or the database
       failed
  130  interrupted (Ctrl-C)
  141  nobody listened to the output any more
"""
_UNWRITABLE: Final = 3
_INTERRUPTED: Final = 130
_BROKEN_PIPE: Final = 141  # what a shell reports for a program that nobody listens to any more


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        arguments = _parser().parse_args(argv)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # a name that the terminal cannot show must not end the run
                stream.reconfigure(errors="backslashreplace")
        code: int = arguments.run(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        _abandon_stdout()
        return _BROKEN_PIPE
    except OSError as error:  # of the output: each command handles the errors of its files
        _abandon_stdout()
        with suppress(OSError):
            sys.stderr.write(f"safeupload: cannot write: {error.strerror or error}\n")
        return _UNWRITABLE
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m safeupload",
        description="Safe image uploads: untrusted bytes become a clean picture or one clean error.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"safeupload {version('safeupload')}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in (check, normalize, compare, recover, sweep, adopt):
        command = commands.add_parser(
            module.NAME,
            help=module.HELP,
            description=module.__doc__,
            epilog=_EXIT_CODES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run, usage_error=command.error)
    return parser


def _abandon_stdout() -> None:
    """Let what is still buffered go nowhere, or Python would complain when it ends."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
