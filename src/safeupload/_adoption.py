"""
Taking over the pictures of an application that has named their files itself: a folder, and rows that name them.

A file of the storage's own folder whose name is a key is under its care already. Any other file that a row names is
normalized like an upload and stored under a fresh key, in a transaction of its own whose commit is a function of the
application: it changes the rows from the old name to the new key. A row that was changed names the old file no longer,
so whoever is interrupted begins anew and goes on where it ended. No old file is removed, and none is changed.
"""

from __future__ import annotations

import json
import os
import stat
from collections import Counter
from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Final, Literal, NamedTuple, TypeAlias

from safeupload._drive import Flow, is_async_callable, storing
from safeupload._image import NormalizedImage, normalize, validate
from safeupload._keys import is_key, key_beside, new_key
from safeupload._references import ask
from safeupload._uploads import AsyncUploads, Uploads
from safeupload.errors import NotCommitted, Rejected
from safeupload.storage import LocalStorage

#: The application's function: given the old name and the new key, changes the rows and commits.
Change: TypeAlias = Callable[[str, str], object] | Callable[[str, str], Awaitable[object]]

#: What became of a file, or in a dry run would.
Fate: TypeAlias = Literal[
    "in_place", "replaced", "kept", "unnamed", "left_to_sweep", "rejected", "not_changed", "unreadable"
]

#: The picture of all who have none, in the tutorials: many rows name it, and a key belongs to one row.
SHARED: Final = "default.jpg"
#: Names asked about in one question. SQLite before 3.32 takes no more than 999 parameters.
_NAMES: Final = 900
#: No link is followed, and a pipe that has taken the place of a file does not keep us waiting.
_PLAIN: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


@dataclass(frozen=True, kw_only=True)
class AdoptionReport:
    """
    What `adopt` found and did.

    Of all files `examined`, `in_place` are under the storage's care already, `replaced` now stand under a fresh key
    that their rows name (with `dry_run`: would), `kept` were to be left alone, and no row names those `unnamed`.
    `left_to_sweep` are unnamed as well, but their names are keys in the storage's own folder: one may belong to an
    upload that is not committed yet. `rejected` are no pictures that the policy takes, `not_changed` those for which
    the application's function failed, and `unreadable` could not be read.
    """

    examined: int = 0
    in_place: int = 0
    replaced: int = 0
    kept: int = 0
    unnamed: int = 0
    left_to_sweep: int = 0
    rejected: int = 0
    not_changed: int = 0
    unreadable: int = 0
    dry_run: bool = False


class Adopted(NamedTuple):
    """What became of one file: `key` is its new one, `error` why it has none."""

    name: str
    fate: Fate
    key: str | None = None
    error: Exception | None = None


class _Entry(NamedTuple):
    """A name in the folder; what is not a plain file is there only to be told of if a row names it."""

    name: str
    plain: bool


def adopt(
    uploads: Uploads | AsyncUploads,
    folder: Path,
    change: Change | None,
    tell: Callable[[Adopted], object],
    *,
    keep: AbstractSet[str] = frozenset(),
    prefix: str = "",
) -> Flow[AdoptionReport]:
    """
    Bring the files of a folder that rows name under the care of `uploads`; without `change` only look, and validate.

    `tell` is called with each file, since a list of them all may not fit. `keep` are names to leave alone. `prefix` is
    what rows put before the name of a file.

    Raises what `references` raises, and `StorageError`. What is wrong with one file is told, and the rest goes on.
    """
    keep = keep | {SHARED}
    own = yield storing(_is_root, uploads.storage, folder, shielded=False)
    counts: Counter[str] = Counter()  # by fate, as the report has them
    with (yield storing(_listed, folder, shielded=False)) as listing:
        while batch := (yield storing(_some, listing, _NAMES // 2 if prefix else _NAMES, shielded=False)):
            asked = [name for entry in batch for name in _in_rows(entry.name, prefix)]
            named = yield from ask(uploads._references, asked, shielded=False)  # noqa: SLF001 - the same package
            for entry in batch:
                if entry.name in keep:
                    adopted = Adopted(entry.name, "kept")
                else:
                    old = next((name for name in _in_rows(entry.name, prefix) if name in named), None)
                    if old is None and not entry.plain:
                        continue
                    adopted = yield from _adopted(uploads, folder, entry, old, change, own=own)
                counts[adopted.fate] += 1
                tell(adopted)
    return AdoptionReport(examined=counts.total(), **counts, dry_run=change is None)


def _adopted(
    uploads: Uploads | AsyncUploads, folder: Path, entry: _Entry, old: str | None, change: Change | None, *, own: bool
) -> Flow[Adopted]:
    """Do what there is to do with one file, which rows name as `old`, and return what became of it."""
    name = entry.name
    if old is None:
        return Adopted(name, "left_to_sweep" if own and is_key(name) else "unnamed")
    # A key that the storage has, in another folder perhaps, means the storage's file.
    if is_key(old) and (own or (yield storing(uploads.storage.exists, old, shielded=False))):
        return Adopted(name, "in_place")
    work = validate if change is None else normalize
    try:
        found = yield storing(_worked, work, folder, entry, uploads.policy, shielded=False)
    except Rejected as error:
        return Adopted(name, "rejected", error=error)
    except OSError as error:
        return Adopted(name, "unreadable", error=error)
    if change is None:
        return Adopted(name, "replaced")
    raised: list[Exception] = []
    try:
        key = yield from _replaced(uploads, found, old, _noting(raised, change))
    except Exception as error:
        # What the storage or `references` raises will come again with the next file.
        if isinstance(error, NotCommitted) or any(error is each for each in raised):
            return Adopted(name, "not_changed", error=error)
        raise
    return Adopted(name, "replaced", key)


def _replaced(
    uploads: Uploads | AsyncUploads, image: NormalizedImage, old: str, change: Callable[[str, str], object]
) -> Flow[str]:
    """Store a picture, let the application change the rows to its key, and return the key."""
    core = uploads._core()  # noqa: SLF001 - the same package
    yield from core.begin()
    try:
        key = yield from core.save(image, hand_out=False)  # the commit is the first to get it
        # Nothing is released: the old file is not the storage's.
        yield from core.commit(lambda: change(old, key))
    except BaseException as error:
        yield from core.leave(error)
        raise
    yield from core.leave(None)
    return key


def _noting(raised: list[Exception], change: Change) -> Callable[[str, str], object]:
    """Return the function, which will also note what it raises: whose error it is decides whether the rest goes on."""

    def called(old: str, key: str) -> object:
        try:
            return change(old, key)
        except Exception as error:
            raised.append(error)
            raise

    async def awaited(old: str, key: str) -> object:
        try:
            result: Any = change(old, key)
            return await result
        except Exception as error:
            raised.append(error)
            raise

    return awaited if is_async_callable(change) else called


def _in_rows(name: str, prefix: str) -> list[str]:
    """Return what rows may say of a file: its name behind the prefix, and a key as it is."""
    try:
        name.encode()
    except UnicodeEncodeError:  # not a text, so no row names it, and a database would not take the question
        return []
    return [prefix + name, name] if prefix and is_key(name) else [prefix + name]


def _is_root(storage: object, folder: Path) -> bool:
    """Tell whether the files of the storage are those of the folder."""
    return isinstance(storage, LocalStorage) and storage.path(new_key()).parent.samefile(folder)


def _listed(folder: Path) -> IO[str]:
    """
    Return a file with the names in the folder as they are now, one a line.

    Neither in memory, since there may be a million, nor read as we go: new files may come to stand in the same folder.
    """
    listing = TemporaryFile("w+", encoding="ascii")  # noqa: SIM115 - for the caller, who closes it
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not (entry.name.startswith(".") or key_beside(entry.name) or entry.is_dir(follow_symlinks=False)):
                    listing.write(json.dumps(_Entry(entry.name, entry.is_file(follow_symlinks=False))) + "\n")
        listing.seek(0)
    except BaseException:
        listing.close()
        raise
    return listing


def _some(listing: IO[str], count: int) -> list[_Entry]:
    return sorted(_Entry(*json.loads(line)) for line in islice(listing, count))


def _worked(work: Callable[..., Any], folder: Path, entry: _Entry, *arguments: object) -> Any:  # noqa: ANN401 - what the work returns
    """Do the work with a file, which is read no further than the policy allows."""
    if not entry.plain:
        raise OSError("not a plain file")
    with open(folder / entry.name, "rb", buffering=0, opener=lambda path, flags: os.open(path, flags | _PLAIN)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError("not a plain file")
        return work(file, *arguments)
