"""
Settling what others have left, by their marks.

A file that no row names is removed, then its mark. A mark that somebody holds is left alone, and so is a young one: its
process may be dead while the database server is still committing for it.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import islice
from typing import Final, TypeVar

from safeupload._drive import Flow, storing
from safeupload._events import Observer
from safeupload._keys import MarkName
from safeupload._references import AsyncReferences, References, ask
from safeupload.errors import StorageError
from safeupload.storage._base import Failure, Mark, Storage

T = TypeVar("T")

#: Marks settled with one question to the database. Each is an open file meanwhile, and a process has 1,024 by default.
_MARKS: Final = 100

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
    dated = yield storing(latest, storage, min_age)
    removed: list[str] = []
    failed: list[str] = []
    kept = waiting = 0
    for batch in batches(names, _MARKS):
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


def _listed(storage: Storage, look: int | None) -> list[MarkName]:
    """Return all marks, or some, by lot: those that come first in a listing may be retained, and always the same."""
    if look is None:
        return list(storage.marks())
    some = list(islice(storage.marks(), _MANY))
    return random.sample(some, look) if len(some) > look else some


def _retained(storage: Storage, ours: AbstractSet[MarkName]) -> set[str]:
    """Return the keys of files that marks of others retain."""
    return {name.key for name in storage.marks() if name.retain and name not in ours}


def latest(storage: Storage, min_age: float) -> float:
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


def batches(items: list[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
