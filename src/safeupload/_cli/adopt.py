"""
Bring a folder of pictures that rows name under the care of safeupload.

MODULE:UPLOADS is the application's own object, Uploads or AsyncUploads; the current folder is searched for the module.
Without --go nothing is changed: the files are looked at, and what would become of them is told.
With --go each file that a row names is normalized and stored under a fresh key, and FUNCTION(old_name, new_key), a
coroutine function with AsyncUploads, changes the rows from the one to the other and commits. What is a key already, in
the storage's own folder, stays in place.
No old file is removed. Whatever interrupts a run, the next one goes on where it ended.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast

from safeupload._adoption import SHARED, Adopted, AdoptionReport, Change, adopt
from safeupload._cli import upkeep
from safeupload._cli.files import reason
from safeupload._cli.screen import DIM, GOOD, PLAIN, Count, Part, complain, say
from safeupload._drive import Flow, is_async_callable
from safeupload._uploads import AsyncUploads, Uploads
from safeupload.errors import Rejected, SafeUploadError

NAME: Final = "adopt"
HELP: Final = "take over a folder of pictures that rows name"

#: What there is nothing to do about, so that it is only counted.
_COUNTED: Final = frozenset({"in_place", "left_to_sweep"})
_OUTCOMES: Final = {"replaced": "would be replaced", "kept": "kept", "unnamed": "no row names it"}
_VERDICTS: Final = {"rejected": "rejected", "not_changed": "not changed", "unreadable": "cannot be read"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command line may say."""
    upkeep.add_arguments(parser)
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="where the files are; no folder in it is looked at")
    parser.add_argument(
        "--change",
        metavar="MODULE:FUNCTION",
        help='the application\'s function, like "app.main:change", which changes the rows and commits',
    )
    parser.add_argument(
        "--keep",
        action="append",
        default=[],
        metavar="NAME",
        help=f"leave this file and its rows alone, as {SHARED} always is; may be repeated",
    )
    parser.add_argument(
        "--prefix",
        default="",
        metavar="PREFIX",
        help="what rows put before the name of a file, like profile_pics/",
    )
    parser.add_argument("--go", action="store_true", help="do it; otherwise only tell what would be done")


def run(arguments: argparse.Namespace) -> int:
    """Adopt, or tell what that would be, and return the exit code."""
    if not arguments.folder.is_dir():
        arguments.usage_error(f"there is no folder {str(arguments.folder)!r}")
    for name in arguments.keep:  # a mistake here would give a shared picture to one key
        if name != SHARED and not (Path(name).name == name and os.path.lexists(arguments.folder / name)):
            arguments.usage_error(f"--keep: there is no file {name!r} in the folder")
    if arguments.go and arguments.change is None:
        arguments.usage_error("--go needs --change MODULE:FUNCTION")
    return upkeep.run(arguments, lambda uploads, progress: _work(arguments, uploads, progress), _show, _code)


def _work(arguments: argparse.Namespace, uploads: Uploads | AsyncUploads, progress: Count) -> Flow[AdoptionReport]:
    change = None if arguments.change is None else _change(arguments, uploads)
    return adopt(
        uploads,
        arguments.folder,
        change if arguments.go else None,
        _telling(arguments, progress),
        keep=frozenset(arguments.keep),
        prefix=arguments.prefix,
    )


def _change(arguments: argparse.Namespace, uploads: Uploads | AsyncUploads) -> Change:
    """Import the application's function; end with a usage error if it is none, or not of the kind that is called."""
    found = upkeep.load(arguments.change, "MODULE:FUNCTION", arguments.usage_error)
    if not callable(found):
        arguments.usage_error(f"{arguments.change} is no function but a {type(found).__name__}")
    if is_async_callable(found) is not isinstance(uploads, AsyncUploads):
        kind = "coroutine function (async def)" if isinstance(uploads, AsyncUploads) else "plain function"
        arguments.usage_error(f"{arguments.change} must be a {kind}, since the object is {type(uploads).__name__}")
    return cast("Change", found)


def _telling(arguments: argparse.Namespace, progress: Count) -> Callable[[Adopted], None]:
    """Return what tells of each file as it is done: a list of them all may be too long to keep."""
    numbers = itertools.count(1)

    def tell(adopted: Adopted) -> None:
        if adopted.fate not in _COUNTED:
            progress.hide()
            try:
                if adopted.error is not None:
                    complain(_complaint(adopted, adopted.error))
                if arguments.json:
                    say((json.dumps(_record(adopted)), PLAIN))
                elif adopted.error is None:
                    say((adopted.name, PLAIN), *_became(adopted))
            except OSError as error:
                raise upkeep.OutputLost(error) from error
        progress(next(numbers))

    return tell


def _became(adopted: Adopted) -> tuple[Part, ...]:
    if adopted.key is not None:
        return (" -> ", DIM), (adopted.key, GOOD)
    return ((f": {_OUTCOMES[adopted.fate]}", DIM),)


def _complaint(adopted: Adopted, error: Exception) -> str:
    """Return what is wrong with a file, for people."""
    code = f"{error.code}: " if isinstance(error, Rejected) else ""
    return f"{adopted.name}: {_VERDICTS[adopted.fate]}: {code}{_detail(adopted, error)}"


def _record(adopted: Adopted) -> dict[str, Any]:
    """Return what there is to say of a file, for scripts."""
    record: dict[str, Any] = {"file": adopted.name, "outcome": adopted.fate, "key": adopted.key}
    error = adopted.error
    if error is not None:
        record["code"] = error.code if isinstance(error, SafeUploadError) else None
        record["detail"] = _detail(adopted, error)
    return record


def _detail(adopted: Adopted, error: Exception) -> str:
    if adopted.fate == "not_changed":  # whatever the application has raised
        return upkeep.named(error)
    return reason(error) if isinstance(error, OSError) else str(error)


def _show(report: AdoptionReport) -> None:
    """Print the counts, and what is to be done with the old files."""
    counts = [
        f"{report.examined} files",
        f"{report.in_place} in place",
        f"{report.replaced} {'to be replaced' if report.dry_run else 'replaced'}",
        f"{report.kept} kept",
        f"{report.unnamed} named by no row",
    ]
    others = {
        "left to sweep": report.left_to_sweep,
        "rejected": report.rejected,
        "not changed": report.not_changed,
        "unreadable": report.unreadable,
    }
    counts += [f"{count} {text}" for text, count in others.items() if count]
    say((", ".join(counts), PLAIN))
    if report.dry_run:
        say(("nothing was changed; --go does it", PLAIN))
    elif report.replaced or report.unnamed:
        say(("no file was removed: what was replaced, and what no row names, can go when you are content", PLAIN))


def _code(report: AdoptionReport) -> int:
    """Say what looks like a mistake, and return the exit code."""
    if report.unnamed and report.examined == report.unnamed + report.left_to_sweep + report.kept:
        complain(
            "no row names any of these files: right if all of them have been replaced; otherwise references looks"
            " elsewhere, or rows put something before the names (--prefix)"
        )
    if report.unreadable:
        return upkeep.FAILED
    return upkeep.LEFT if report.rejected or report.not_changed else upkeep.DONE
