"""
Settling what others have left: by their marks (`recover`), and by looking at every file (`sweep`).

One rule for both: a file that no row names is removed, then its mark. A mark that somebody holds is left alone, and so
is a young one: its process may be dead while the database server is still committing for it.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import islice
from typing import Final, TypeVar

from safeupload._drive import Flow, storing
from safeupload._events import Observer
from safeupload._keys import MarkName
from safeupload._references import AsyncReferences, References, ask
from safeupload.errors import StorageError, SweepRefused
from safeupload.storage._base import Failure, File, Mark, Storage

T = TypeVar("T")

#: Marks settled with one question to the database. Each is an open file meanwhile, and a process has 1,024 by default.
_MARKS: Final = 100
#: Keys of files asked about in one question. SQLite before 3.32 takes no more than 999 parameters.
_FILES: Final = 900

#: What a replacement does for others, before its own work: list so many marks, in a few milliseconds or ten requests;
#: look at so many of them, chosen by lot, for a millisecond or two; and settle so many, so that an application that
#: never calls `recover` removes faster than it can leave behind.
_MANY: Final = 10_000
_LOOK: Final = 256
_FEW: Final = 4
#: The age from which a replacement, and by default `recover`, settles a mark, in seconds.
MIN_AGE: Final = 60.0


@dataclass(frozen=True, kw_only=True)
class RecoveryReport:
    """
    What `recover` did.

    `removed` are the keys of files that no row names, which are gone now; `kept` counts the marks of files that a row
    names or another mark retains; `waiting` those that somebody works on, that are too young or still retained;
    `failed` are the keys of files that could not be removed: the log says why, and the next `recover` tries again.
    """

    removed: tuple[str, ...] = ()
    kept: int = 0
    waiting: int = 0
    failed: tuple[str, ...] = ()


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


def recover(
    storage: Storage,
    references: References | AsyncReferences,
    observe: Observer,
    min_age: float,
    *,
    look: int | None = None,
    most: int | None = None,
) -> Flow[RecoveryReport]:
    """Settle all marks that are at least `min_age` seconds old; or look at some of them and settle at most so many."""
    started = time.perf_counter()
    names = yield storing(_listed, storage, look)
    if not names:  # as nearly always
        return RecoveryReport()
    dated = yield storing(_latest, storage, min_age)
    removed: list[str] = []
    failed: list[str] = []
    kept = waiting = 0
    for batch in _batches(names, _MARKS):
        marks: list[Mark] = []
        room = math.inf if most is None else most - len(removed) - kept - len(failed)
        try:
            failures = yield storing(_seize, storage, batch, dated, room, marks)
            named = yield from ask(references, [mark.name.key for mark in marks], shielded=False)
            unnamed = [mark for mark in marks if mark.name.key not in named]
            if unnamed:  # one may be left of a transaction whose file another one has replaced since, and retains
                retained = yield storing(_retained, storage, {mark.name for mark in unnamed})
                unnamed = [mark for mark in unnamed if mark.name.key not in retained]
        except BaseException:
            yield storing(_close, marks)
            raise
        stuck = len(failures)
        failures += yield storing(storage.settle, unnamed, [mark for mark in marks if mark not in unnamed])
        for failure in failures:
            observe("failed", [failure.key], error=failure.error)
        lost = {failure.key for failure in failures}
        removed += sorted({mark.name.key for mark in unnamed} - lost)
        failed += sorted(lost)
        kept += len(marks) - len(unnamed)
        waiting += len(batch) - len(marks) - stuck
    report = RecoveryReport(removed=tuple(removed), kept=kept, waiting=waiting, failed=tuple(failed))
    if removed or kept or failed:
        observe("recovered", removed, seconds=time.perf_counter() - started)
    return report


class Pause:
    """The time for which replacements leave stale marks alone, where a look at them costs a request."""

    def __init__(self) -> None:
        self._until = -math.inf

    def lasts(self) -> bool:
        """Tell whether it is still going on."""
        return time.monotonic() < self._until

    def begin(self, seconds: float) -> None:
        """Begin a new one."""
        self._until = time.monotonic() + seconds

    def end(self) -> None:
        """End it: there is more to do."""
        self._until = -math.inf


def tidy(
    storage: Storage, references: References | AsyncReferences, observe: Observer, min_age: float, pause: Pause
) -> Flow[None]:
    """Settle a few stale marks; that it fails is no reason to refuse the upload that comes along."""
    if pause.lasts():
        return
    pause.begin(storage.tidy_interval)  # before the look, or all that begin now would look
    try:
        report = yield from recover(storage, references, observe, min_age, look=_LOOK, most=_FEW)
    except Exception as error:  # noqa: BLE001 - logged; whatever it is will come up where it matters
        observe("failed", error=error)
    else:
        if len(report.removed) + report.kept + len(report.failed) >= _FEW:
            pause.end()


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
    dated = yield storing(_latest, storage, min_age)
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
    for keys in _batches(chosen, _FILES):
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


def _listed(storage: Storage, look: int | None) -> list[MarkName]:
    """Return all marks, or some, by lot: those that come first in a listing may be retained, and always the same."""
    if look is None:
        return list(storage.marks())
    some = list(islice(storage.marks(), _MANY))
    return random.sample(some, look) if len(some) > look else some


def _retained(storage: Storage, ours: AbstractSet[MarkName]) -> set[str]:
    """Return the keys of files that marks of others retain."""
    return {name.key for name in storage.marks() if name.retain and name not in ours}


def _marked(storage: Storage) -> set[str]:
    return {name.key for name in storage.marks()}


def _latest(storage: Storage, min_age: float) -> float:
    """Return the date from which on something is too young; a clock may lag behind what it has just dated."""
    return storage.clock() - min_age if min_age else math.inf


def _seize(storage: Storage, names: Iterable[MarkName], dated: float, room: float, marks: list[Mark]) -> list[Failure]:
    """
    Take hold of marks, at most so many, adding each at once to those that the caller will let go of.

    One that cannot be opened, another user's perhaps, must not keep all others from being settled.
    """
    failures: list[Failure] = []
    for name in names:
        if len(marks) >= room:
            break
        try:
            mark = storage.seize(name, dated)
        except StorageError as error:
            failures.append(Failure(name.key, error))
        else:
            if mark is not None:
                marks.append(mark)
    return failures


def _close(marks: Iterable[Mark]) -> None:
    for mark in marks:
        mark.close()


def _some(items: Iterator[T], count: int) -> list[T]:
    return list(islice(items, count))


def _batches(items: list[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
