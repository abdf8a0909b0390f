"""What `recover` and `sweep` have in common: finding the application's own object, and how a run ends."""

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
from typing import Any, Final

import anyio

from safeupload._cli.screen import PLAIN, complain, counter, say
from safeupload._drive import Flow, drive, drive_async
from safeupload._recovery import RecoveryReport, SweepReport
from safeupload._uploads import AsyncUploads, Uploads
from safeupload.errors import SweepRefused

_DONE, _LEFT, _FAILED = 0, 1, 3
_UNITS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def add_arguments(parser: argparse.ArgumentParser, min_age: str) -> None:
    """Add what both command lines may say."""
    parser.add_argument("uploads", metavar="MODULE:UPLOADS", help='the application\'s object, like "app.main:uploads"')
    parser.add_argument(
        "--min-age",
        type=duration,
        default=duration(min_age),
        metavar="AGE",
        help=f"leave alone what is younger, like 90s, 5m, 2h or 1d (default: {min_age})",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object, for scripts")


def duration(word: str) -> float:
    """Return the seconds of "90", "90s", "5m", "2h" or "1d"."""
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([smhd]?)", word)
    if match is None:
        raise argparse.ArgumentTypeError(f"expected a number and s, m, h or d, for example 5m, got {word!r}")
    return float(match[1]) * _UNITS[match[2]]


def find(arguments: argparse.Namespace) -> Uploads | AsyncUploads:
    """Import the application's object; end with a usage error if there is none of that name."""
    module, colon, path = arguments.uploads.partition(":")
    if not (module and colon and path):
        arguments.usage_error(f"expected MODULE:UPLOADS, for example app.main:uploads, got {arguments.uploads!r}")
    if "" not in sys.path:  # which Python leaves out where it is told to be careful; here the folder is meant
        sys.path.insert(0, "")
    try:
        application = importlib.import_module(module)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - for its developer; never 0
        if not isinstance(error, ModuleNotFoundError) or not f"{module}.".startswith(f"{error.name}."):
            traceback.print_exc()
        arguments.usage_error(f"cannot import {module!r}: {error}")
    try:
        found: object = reduce(getattr, path.split("."), application)
    except Exception as error:  # noqa: BLE001 - a property or a proxy may raise anything
        arguments.usage_error(f"cannot find {path!r} in {module!r}: {error}")
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
    work: Callable[[Uploads | AsyncUploads, Callable[[int], None]], Flow[Any]],
    show: Callable[[Any], None],
) -> int:
    """Do the work with the application's object, show what came of it, and return the exit code."""
    uploads = find(arguments)
    try:
        report: RecoveryReport | SweepReport
        with counter("files") as progress:  # gone before anything is printed
            flow = work(uploads, progress)
            report = anyio.run(drive_async, flow) if isinstance(uploads, AsyncUploads) else drive(flow)
    except SweepRefused as error:
        # The library speaks of its arguments, which have other names here.
        complain(f"refused: {error}".replace("dry_run=True, force=True", "--dry-run --force"))
        return _LEFT
    except Exception as error:  # noqa: BLE001 - of the storage, or whatever the application's database raises
        complain(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
        return _FAILED
    if arguments.json:
        say((json.dumps(asdict(report)), PLAIN))
    else:
        show(report)
    for key in report.failed:
        complain(f"{key}: could not be removed; the log says why")
    return _LEFT if report.failed else _DONE
