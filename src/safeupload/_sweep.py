"""Settling what nobody has a mark of, by looking at every file: one that no row names is removed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from safeupload._drive import Flow, storing
from safeupload._events import Observer
from safeupload._recovery import batches, latest
from safeupload._references import AsyncReferences, References, ask
from safeupload.errors import StorageError, SweepRefused
from safeupload.storage._base import File, Storage

#: Keys of files asked about in one question. SQLite before 3.32 takes no more than 999 parameters.
_FILES: Final = 900


@dataclass(frozen=True, kw_only=True)
class SweepReport:
    """
    What `sweep` found and did.

    Of all files `examined`, `referenced` are named by a row, `marked` are left to a transaction or to `recover`, and
    `young` are unnamed but younger than the minimum age. `removed` are the keys that are gone (with `dry_run`: that
    would be), at most the limit; `remaining` counts those beyond it; `failed` are the keys of those that could not be
    removed.
    """

    examined: int = 0
    referenced: int = 0
    marked: int = 0
    young: int = 0
    removed: tuple[str, ...] = ()
    remaining: int = 0
    failed: tuple[str, ...] = ()
    dry_run: bool = False


def sweep(
    storage: Storage,
    references: References | AsyncReferences,
    observe: Observer,
    min_age: float,
    limit: int,
    *,
    dry_run: bool,
    force: bool,
    progress: Callable[[int], object] | None = None,
) -> Flow[SweepReport]:
    """
    Look at every file, then remove at most `limit` of those that no row names, no mark protects and age allows.

    The first look counts, to tell whether the database is the right one. The second, at what the first would remove,
    lists marks before it asks the database: in the other order a file could lose its mark and get its row in between.
    Whoever releases a file meanwhile has marked it before its row was gone, so what is retained is seen to be.
    """
    started = time.perf_counter()
    dated = yield storing(latest, storage, min_age)
    files = storage.files()
    examined = referenced = marked = young = unwanted = 0
    unnamed: list[File] = []
    chosen: list[str] = []
    more = True
    while more:
        batch = yield storing(_some, files, _FILES, shielded=False)
        more = bool(batch)
        named = yield from ask(references, [file.key for file in batch], shielded=False)
        referenced += len(named)
        unnamed += [file for file in batch if file.key not in named]
        examined += len(batch)
        if progress is not None and more:
            progress(examined)
        if not unnamed or (more and len(unnamed) < _FILES):  # marks cost a listing, so they are asked for seldom
            continue
        marks = yield storing(_marked, storage, shielded=False)
        for file in unnamed:
            if file.key in marks:
                marked += 1
            elif file.stored > dated:
                young += 1
            else:
                unwanted += 1
                if len(chosen) < limit:
                    chosen.append(file.key)
        unnamed.clear()
    chosen = list(dict.fromkeys(chosen))  # a listing that is in no order can tell of one twice
    if unwanted and not force:
        _check(examined, referenced, unwanted)
    removed: list[str] = []
    failed: list[str] = []
    for keys in batches(chosen, _FILES):
        marks = yield storing(_marked, storage, shielded=False)
        named = yield from ask(references, keys, shielded=False)
        for key in keys:
            if key in marks or key in named:
                continue
            try:
                if not dry_run:
                    yield storing(storage.remove, key)
            except StorageError as error:
                observe("failed", [key], error=error)
                failed.append(key)
            else:
                removed.append(key)
    if not dry_run:
        observe("swept", removed, seconds=time.perf_counter() - started)
    return SweepReport(
        examined=examined,
        referenced=referenced,
        marked=marked,
        young=young,
        removed=tuple(removed),
        remaining=unwanted - len(chosen),
        failed=tuple(failed),
        dry_run=dry_run,
    )


def _check(examined: int, referenced: int, unwanted: int) -> None:
    """Refuse a sweep that looks like one against the wrong database."""
    if not referenced:
        reason = f"no row names any of the {examined} files"
    elif unwanted * 2 > examined:
        reason = f"{unwanted} of {examined} files would go, more than half"
    else:
        return
    raise SweepRefused(
        f"{reason}: does references look at the right database, and at every column that holds keys?"
        " To see what would go: dry_run=True, force=True"
    )


def _marked(storage: Storage) -> set[str]:
    return {name.key for name in storage.marks()}


def _some(files: Iterator[File], count: int) -> list[File]:
    return list(islice(files, count))
