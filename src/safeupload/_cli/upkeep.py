"""What `adopt`, `recover` and `sweep` have in common: finding the application's own object, and how a run ends."""

from __future__ import annotations

import argparse
import importlib
import json
import re
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict
from functools import reduce
from inspect import iscoroutine
from types import FunctionType, MethodType
from typing import Final, NoReturn, TypeVar

import anyio

from safeupload._adoption import AdoptionReport
from safeupload._cli.screen import PLAIN, Count, complain, counter, say
from safeupload._drive import Flow, drive, drive_async
from safeupload._recovery import RecoveryReport
from safeupload._sweep import SweepReport
from safeupload._uploads import AsyncUploads, Uploads
from safeupload.errors import SweepRefused

R = TypeVar("R", RecoveryReport, SweepReport, AdoptionReport)

DONE, LEFT, FAILED = 0, 1, 3
_UNITS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class OutputLost(Exception):
    """The output cannot be written any more: of all errors during the work, the one that is not the application's."""

    def __init__(self, error: OSError) -> None:
        """Note the error, which `main` knows what to do about."""
        super().__init__(error)
        self.error = error


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what all command lines may say."""
    parser.add_argument("uploads", metavar="MODULE:UPLOADS", help='the application\'s object, like "app.main:uploads"')
    parser.add_argument("--json", action="store_true", help="JSON, for scripts")


def add_min_age(parser: argparse.ArgumentParser, default: str | None) -> None:
    """Add from what age on something is settled or removed; without a default it is the object's own."""
    parser.add_argument(
        "--min-age",
        type=duration,
        default=None if default is None else duration(default),
        metavar="AGE",
        help=f"leave alone what is younger, like 90s, 5m, 2h or 1d (default: {default or 'as the object says'})",
    )


def duration(word: str) -> float:
    """Return the seconds of "90", "90s", "5m", "2h" or "1d"."""
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([smhd]?)", word)
    if match is None:
        raise argparse.ArgumentTypeError(f"expected a number and s, m, h or d, for example 5m, got {word!r}")
    return float(match[1]) * _UNITS[match[2]]


def load(word: str, form: str, usage_error: Callable[[str], NoReturn]) -> object:
    """Import what MODULE:NAME names; end with a usage error if there is nothing of that name."""
    module, colon, path = word.partition(":")
    if not (module and colon and path):
        example = form.rpartition(":")[2].lower()
        usage_error(f"expected {form}, for example app.main:{example}, got {word!r}")
    if "" not in sys.path:  # which Python leaves out where it is told to be careful; here the folder is meant
        sys.path.insert(0, "")
    try:
        application = importlib.import_module(module)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - for its developer; never 0
        if not isinstance(error, ModuleNotFoundError) or not f"{module}.".startswith(f"{error.name}."):
            traceback.print_exc()
        usage_error(f"cannot import {module!r}: {error}")
    try:
        return reduce(getattr, path.split("."), application)
    except Exception as error:  # noqa: BLE001 - likewise
        usage_error(f"cannot find {path!r} in {module!r}: {error}")


def find(arguments: argparse.Namespace) -> Uploads | AsyncUploads:
    """Import the application's object; end with a usage error if there is none of that name."""
    found = load(arguments.uploads, "MODULE:UPLOADS", arguments.usage_error)
    if isinstance(found, FunctionType | MethodType):  # a factory
        try:
            found = found()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - likewise
            traceback.print_exc()
            arguments.usage_error(f"{arguments.uploads} failed: {error}")
    if not isinstance(found, Uploads | AsyncUploads):
        if iscoroutine(found):
            found.close()  # or Python warns that nobody awaited it
        arguments.usage_error(f"{arguments.uploads} is no Uploads or AsyncUploads but a {type(found).__name__}")
        raise TypeError  # not reached: it exits
    return found


def run(
    arguments: argparse.Namespace,
    work: Callable[[Uploads | AsyncUploads, Count], Flow[R]],
    show: Callable[[R], None],
    code: Callable[[R], int],
) -> int:
    """Do the work with the application's object, show what came of it, and return the exit code."""
    uploads = find(arguments)
    try:
        with counter("files") as progress:  # gone before anything is printed
            flow = work(uploads, progress)
            report: R = anyio.run(drive_async, flow) if isinstance(uploads, AsyncUploads) else drive(flow)
    except OutputLost as lost:
        raise lost.error from None
    except SweepRefused as error:
        # The library speaks of its arguments, which have other names here.
        complain(f"refused: {error}".replace("dry_run=True, force=True", "--dry-run --force"))
        return LEFT
    except Exception as error:  # noqa: BLE001 - of the storage, or whatever the application's database raises
        complain(named(error))
        return FAILED
    if arguments.json:
        say((json.dumps(asdict(report)), PLAIN))
    else:
        show(report)
    return code(report)


def removed(report: RecoveryReport | SweepReport) -> int:
    """Tell what could not be removed, and return the exit code."""
    for key in report.failed:
        complain(f"{key}: could not be removed; the log says why")
    return LEFT if report.failed else DONE


def named(error: Exception) -> str:
    """Return an error as its developer knows it."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
