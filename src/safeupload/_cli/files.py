"""Which files a command line names."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

STDIN = "-"


class Input(NamedTuple):
    """
    One file to read.

    `name` is what to call it, `path` where it is (None: standard input), `below` its path inside the folder that was
    named (or just its file name), `error` why a folder could not be listed.
    """

    name: str
    path: Path | None
    below: Path
    error: OSError | None = None

    def source(self) -> Any:  # noqa: ANN401 - a path or a binary file
        """Return what to read from."""
        if self.path is not None:
            return self.path
        if sys.stdin is None:
            raise OSError("standard input is closed")
        return sys.stdin.buffer


def find(names: Sequence[str], *, leave_out: Path | None = None) -> Iterator[Input]:
    """
    Yield the files named, and those below the folders named, in order.

    Links to folders are not followed. Below a folder only regular files count: a pipe would keep us waiting for ever.
    The folder `leave_out` is passed over.
    """
    for name in names:
        path = Path(name)
        if not name:  # an unset variable; Path would take it for the whole folder we are in
            yield Input('""', path, path, OSError("an empty name"))
        elif name == STDIN:
            yield Input(STDIN, None, Path("stdin"))
        elif path.is_dir():
            yield from _below(path, leave_out)
        else:
            yield Input(name, path, Path(path.name))


def _below(top: Path, leave_out: Path | None) -> Iterator[Input]:
    """Yield the files below a folder."""
    unlisted: list[OSError] = []
    for folder, folders, files in os.walk(top, onerror=unlisted.append):
        while unlisted:
            error = unlisted.pop()
            where = Path(error.filename)
            yield Input(str(where), where, where.relative_to(top), error)
        here = Path(folder)
        folders[:] = sorted(sub for sub in folders if leave_out is None or not _same(here / sub, leave_out))
        for file in sorted(files):
            path = here / file
            if path.is_file() or path.is_symlink():  # a link that leads nowhere is worth a message
                yield Input(str(path), path, path.relative_to(top))
    for error in unlisted:
        where = Path(error.filename)
        yield Input(str(where), where, where.relative_to(top), error)


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def reason(error: OSError) -> str:
    """Return what went wrong, without the name of the file."""
    return (error.strerror or str(error) or type(error).__name__).lower()
