"""
Make clean pictures of files.

One IN to a file OUT; or several IN, or a folder, into a folder OUT, which is
made if need be. There a/photo.png becomes a/photo.jpg; where two results would
get the same name (letter case aside), the later one becomes photo-2.jpg.
What exists is only overwritten with --force; a file of IN, a link or a device
never is.
Results appear under their names whole or not at all.
"""

from __future__ import annotations

import argparse
import os
import secrets
import unicodedata
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from safeupload._cli import options
from safeupload._cli.files import STDIN, Input, find, reason
from safeupload._cli.screen import BAD, DIM, GOOD, ODD, PLAIN, progress, say
from safeupload._image import normalize
from safeupload.errors import Rejected
from safeupload.policy import Policy

NAME: Final = "normalize"
HELP: Final = "make clean pictures"

_WRITTEN, _REJECTED, _UNUSABLE = 0, 1, 3


class Job(NamedTuple):
    """One file to make a picture of, and where the picture goes."""

    source: Input
    target: Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command line may say."""
    parser.add_argument("inputs", nargs="+", metavar="IN", help='file, folder, or "-" for standard input')
    parser.add_argument("output", metavar="OUT", help="file, or folder for several pictures")
    parser.add_argument("--force", action="store_true", help="overwrite what exists")
    options.add_result(parser)
    options.add_limits(parser)


def run(arguments: argparse.Namespace) -> int:
    """Make all pictures and return the exit code."""
    policy = options.policy(arguments)
    output = Path(arguments.output)
    into_folder = len(arguments.inputs) > 1 or Path(arguments.inputs[0]).is_dir() or output.is_dir()
    into_folder = into_folder or arguments.output.endswith(("/", os.sep))
    if arguments.output == STDIN:
        arguments.usage_error("OUT must be a file or a folder")
    if into_folder and output.exists() and not output.is_dir():
        arguments.usage_error(f"{arguments.output} is a file; several pictures need a folder")
    if arguments.inputs.count(STDIN) > 1:
        arguments.usage_error('"-" can be read only once')
    sources = list(find(arguments.inputs, leave_out=output))
    jobs = list(plan(sources, output)) if into_folder else [Job(source, output) for source in sources]
    inputs = {identity for source in sources if (identity := _identity(source.path)) is not None}
    worst = _WRITTEN
    with progress(len(jobs)) as (advance, say_error, has_bar):
        for job in jobs:
            code, parts = make(job, policy, force=arguments.force, inputs=inputs)
            if code:
                say_error(("safeupload: ", BAD), *parts)
            elif not has_bar:
                say(*parts)
            worst = max(worst, code)
            advance()
    return worst


def plan(sources: Iterable[Input], folder: Path) -> Iterator[Job]:
    """Give each source a name of its own below the folder, in their order; letter case makes no name different."""
    taken: set[str] = set()
    for source in sources:
        place, stem, number = source.below.parent, source.below.stem, 1
        name = place / f"{stem}.jpg"
        while _folded(name) in taken:
            number += 1
            name = place / f"{stem}-{number}.jpg"
        taken.add(_folded(name))
        yield Job(source, folder / name)


def _folded(path: Path) -> str:
    """Return the path as a file system sees it that ignores letter case and Unicode forms."""
    return unicodedata.normalize("NFC", str(path)).casefold()


def make(
    job: Job, policy: Policy, *, force: bool, inputs: set[tuple[int, int]]
) -> tuple[int, tuple[tuple[str, str], ...]]:
    """Make one picture; return the exit code that it calls for, and the line that tells of it."""
    name, target = job.source.name, job.target
    reading = True
    try:
        if job.source.error is not None:
            raise job.source.error
        _check_target(target, force=force, inputs=inputs)
        picture = normalize(job.source.source(), policy)
        reading = False
        target.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(target) as file:
            file.write_bytes(picture.data)
            _check_target(target, force=force, inputs=inputs)
    except Rejected as error:
        return _REJECTED, ((name, PLAIN), (": rejected: ", BAD), (f"{error.code}: {error}", PLAIN))
    except _TargetRefusedError as error:
        return _UNUSABLE, ((f"{target}: ", PLAIN), (f"not overwritten: {error}", ODD))
    except OSError as error:
        what = f"{name}: cannot be read: " if reading else f"{target}: cannot be written: "
        return _UNUSABLE, ((what, PLAIN), (reason(error), ODD))
    return _WRITTEN, ((name, PLAIN), (" -> ", DIM), (str(target), GOOD))


class _TargetRefusedError(Exception):
    """The target is not ours to overwrite."""


def _check_target(target: Path, *, force: bool, inputs: set[tuple[int, int]]) -> None:
    if _identity(target) in inputs:
        raise _TargetRefusedError("it is one of the files to read")
    if not force and os.path.lexists(target):
        raise _TargetRefusedError("it exists (--force overwrites)")
    if os.path.lexists(target) and (target.is_symlink() or not target.is_file()):  # a device, a pipe, a link elsewhere
        raise _TargetRefusedError("it is not a regular file")


def _identity(path: Path | None) -> tuple[int, int] | None:
    """Return what tells a file from any other, whatever it is called."""
    try:
        found = path.stat() if path is not None else None
    except OSError:
        return None
    return None if found is None else (found.st_dev, found.st_ino)


@contextmanager
def written_whole(target: Path) -> Generator[Path]:
    """
    Yield the path of a new file beside the target; once the block has written it, it takes the target's place.

    If anything goes wrong the target stays as it was, and the new file goes.
    """
    new = target.with_name(f".safeupload-{secrets.token_hex(8)}.part")
    try:
        yield new
        with new.open("rb+") as file:
            os.fsync(file.fileno())
        new.replace(target)
    except BaseException:
        with suppress(OSError):
            new.unlink(missing_ok=True)
        raise
