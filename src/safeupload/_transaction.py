"""
The replacement, step by step, for `with` and `async with` alike.

Every method that is a `Flow` yields what there is to do and decides by the answers; `_drive` does it. The table of
states and the laws behind it are in `_machine`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from safeupload._drive import CHECKPOINT, Flow, asking, storing
from safeupload._events import Observer
from safeupload._image import NormalizedImage
from safeupload._keys import named, new_suffix
from safeupload._machine import Does, Happened, State, Step, following
from safeupload._outcome import outcome
from safeupload._recovery import MIN_AGE, Pause, tidy
from safeupload._references import AsyncReferences, References, ask
from safeupload.errors import CommitMissing, IllegalTransition, NewKeyReleased, NotAborted, NotCommitted, StorageError
from safeupload.storage._base import Failure, Mark, Storage

T = TypeVar("T")


class Core:
    """One transaction: its state, the marks of its new files, and those of the old ones that it releases."""

    def __init__(
        self,
        storage: Storage,
        references: References | AsyncReferences,
        retain: int,
        observe: Observer,
        *,
        min_age: float = MIN_AGE,
        pause: Pause | None = None,
    ) -> None:
        self.state: State = "staged"
        self._storage = storage
        self._references = references
        self._retain = retain
        self._observe = observe
        self._min_age = min_age
        self._pause = pause or Pause()
        self._new: dict[str, Mark] = {}
        self._old: dict[str, Mark] = {}
        self._recorded: set[str] = set()
        self._begun = False
        self._holding = False  # marks, which others must leave alone
        self._seen = False  # a key was handed out, or a file released: a row may depend on this transaction

    # --- what the application says ------------------------------------------------------------------------------------

    def begin(self) -> Flow[None]:
        """Enter the block; settle a few marks that others have left, so that nobody has to."""
        if self._begun:
            raise IllegalTransition(self.state, "entering the block again")
        self._begun = True
        yield from tidy(self._storage, self._references, self._observe, self._min_age, self._pause)

    def save(self, image: NormalizedImage, *, hand_out: bool) -> Flow[str]:
        """Store a file under a fresh key, durably, and return the key."""
        self._check(Happened.SAVED, "save()")
        started = time.perf_counter()
        mark = self._storage.new_mark()
        self._holding = True
        try:
            yield storing(mark.save, image.data, _beside(image), shielded=False)
        except BaseException:
            yield storing(self._storage.settle, [mark], [])  # nobody has its key
            raise
        key = mark.name.key
        self._new[key] = mark
        self._seen |= hand_out
        self._observe("saved", [key], state=self.state, seconds=time.perf_counter() - started)
        return key

    def replacing(self, old: object) -> str:
        """Note what a row held, and hand out the key of the one new file."""
        self.release(old, "replacing()")
        self._seen = True
        (key,) = self._new
        return key

    def release(self, old: object, call: str = "release()") -> None:
        """Note what a row held: it is removed once the commit has happened, if it is a file of ours."""
        self._check(Happened.SAVED, call)
        key, foreign = named(old)
        if key in self._new:
            raise NewKeyReleased
        if foreign:
            self._observe("foreign_value", state=self.state)
        elif key is not None:
            self._old.setdefault(key, self._storage.old_mark(key, self._retain))
            self._seen = True

    def commit(self, call: Callable[[], Any], happened: Callable[[], bool] | None = None) -> Flow[Any]:
        """
        Call the application's commit, find out what became of it, act on that, and return what the call returned.

        `happened` tells, where that can be known (Django), whether the database has committed.
        """
        self._check(Happened.COMMIT_CALLED, "commit()")
        started = time.perf_counter()
        yield storing(self._record, shielded=False)
        yield CHECKPOINT
        for mark in self._new.values():
            mark.check()  # at the last moment: what has expired may be removed while the commit is on its way
        self._move(Happened.COMMIT_CALLED)
        try:
            result = yield asking(call)
        except BaseException as error:
            yield from self._after_error(error, happened, started)
            raise
        yield from self._after_return(happened, started)
        return result

    def abort(self) -> Flow[None]:
        """Take the caller's word that nothing was or will be committed; ask the database all the same."""
        self._check(Happened.ABORT_CALLED, "abort()")
        if self._move(Happened.ABORT_CALLED).does is not Does.ASK:
            return
        started = time.perf_counter()
        answer: frozenset[str] = frozenset()
        if self._seen:
            answer = yield from self._ask(started)
        if answer.intersection(self._new):
            yield from self._become(Happened.UNKNOWN, started)
            raise NotAborted
        yield from self._become(Happened.REFUTED, started, answer)

    def finish(self, call: Callable[[], Any], happened: Callable[[], bool]) -> Flow[None]:
        """Let a framework leave its own block, which commits, whether or not there is something of ours in it."""
        if self._seen and self.state == "staged":
            yield from self.commit(call, happened)
        else:
            yield asking(call)

    def roll_back(self) -> Flow[None]:
        """Take a framework's word that it has rolled back; the exception that made it do so is told already."""
        if self._seen and self.state == "staged":
            try:
                yield from self.abort()
            except Exception as error:  # noqa: BLE001
                self._observe("failed", self._keys(), state=self.state, error=error)

    def leave(self, error: BaseException | None) -> Flow[None]:
        """Leave the block, with the exception that ends it if there is one."""
        missing = self._seen and self.state == "staged"
        yield from self._become(Happened.LEFT if self._seen else Happened.LEFT_UNSEEN, time.perf_counter())
        if self._holding:  # something has kept us from letting go when it was time
            yield storing(self._let_go)
        if missing and error is None:
            raise CommitMissing

    # --- what the database says ---------------------------------------------------------------------------------------

    def _after_return(self, happened: Callable[[], bool] | None, started: float) -> Flow[None]:
        answer = yield from self._ask(started)
        if happened is not None and not happened() and self._shows_nothing(answer):
            yield from self._become(Happened.REFUTED, started, answer)  # rolled back on purpose
            return
        missing = self._new.keys() - answer
        if missing:  # another transaction may have replaced the new file since
            missing -= yield from self._settled_elsewhere(missing)
        still = answer.intersection(self._old)
        if missing or still:
            yield from self._become(Happened.UNKNOWN, started)
            raise NotCommitted(missing, still)
        yield from self._become(Happened.CONFIRMED, started)

    def _after_error(self, error: BaseException, happened: Callable[[], bool] | None, started: float) -> Flow[None]:
        sure = happened is not None and happened()
        answer: frozenset[str] | None = None
        if sure or outcome(error) != "unknown":
            try:
                answer = yield from ask(self._references, self._keys())
            except Exception as failure:  # noqa: BLE001 - the commit's own error is the one to raise
                self._observe("failed", self._keys(), state=self.state, error=failure)
        if answer is None:
            yield from self._become(Happened.UNKNOWN, started)
        elif sure and not answer.intersection(self._old):
            yield from self._become(Happened.CONFIRMED, started)
        elif not sure and self._shows_nothing(answer):
            yield from self._become(Happened.REFUTED, started, answer)
        else:
            yield from self._become(Happened.UNKNOWN, started)

    def _ask(self, started: float) -> Flow[frozenset[str]]:
        """Ask about all files of the transaction; without an answer it stays in doubt."""
        try:
            return (yield from ask(self._references, self._keys()))
        except BaseException:
            yield from self._become(Happened.UNKNOWN, started)
            raise

    def _shows_nothing(self, answer: frozenset[str]) -> bool:
        """Tell whether the database looks as it did before: no new key, or, if there is none, every old one."""
        if self._new:
            return not answer.intersection(self._new)
        return answer.issuperset(self._old)

    # --- what becomes of the files ------------------------------------------------------------------------------------

    def _check(self, happened: Happened, call: str) -> None:
        """Raise `IllegalTransition` if this is not the time for the call."""
        if not self._begun:
            raise IllegalTransition("not begun", call)
        following(self.state, happened, call)

    def _move(self, happened: Happened) -> Step:
        step = following(self.state, happened)
        self.state = step.state
        return step

    def _become(self, happened: Happened, started: float, answer: frozenset[str] = frozenset()) -> Flow[None]:
        """Go one line of the table, and do with the files what it says."""
        before = self.state
        does = self._move(happened).does
        if self._keys() and (self.state != before or happened is Happened.UNKNOWN) and self.state != "staged":
            self._observe(self.state, self._keys(), state=self.state, seconds=time.perf_counter() - started)
        if does is Does.RELEASE:
            if self._retain:
                yield from self._attempt(self._record)  # it stays so long from now on
            yield from self._settle([] if self._retain else self._old.values(), self._new.values(), started)
        elif does is Does.DISCARD:
            recorded = self._old.keys() & self._recorded
            unnamed = recorded - answer  # though we have not released them
            if unnamed:
                unnamed -= yield from self._settled_elsewhere(unnamed)
            yield from self._settle(self._new.values(), [self._old[key] for key in recorded - unnamed], started)
        elif does is Does.LET_GO:
            yield from self._attempt(self._let_go_on_record)

    def _settle(self, remove: Iterable[Mark], drop: Iterable[Mark], started: float) -> Flow[None]:
        """Settle marks and let go of all others. What fails stays on record, and is not the caller's concern."""
        remove, drop = list(remove), list(drop)

        def settle() -> list[Failure]:
            try:
                return self._storage.settle(remove, drop)
            finally:
                self._let_go()

        failures = yield storing(settle)
        for failure in failures:
            self._observe("failed", [failure.key], state=self.state, error=failure.error)
        gone = {mark.name.key for mark in remove} - {failure.key for failure in failures}
        for key in self._old.keys() & gone:
            self._observe("released", [key], state=self.state, seconds=time.perf_counter() - started)

    def _attempt(self, function: Callable[[], Any]) -> Flow[Any]:
        """Let the storage do what may fail without harm: the marks that are there already tell the rest."""
        try:
            return (yield storing(function))
        except StorageError as error:
            self._observe("failed", self._keys(), state=self.state, error=error)

    def _record(self) -> None:
        """Put on record which files are at stake; the marks' age counts from now on."""
        self._holding = True
        for key, mark in self._old.items():
            if key in self._recorded:
                mark.touch()
            else:
                mark.record()
                self._recorded.add(key)
        for mark in self._new.values():
            mark.touch()

    def _let_go_on_record(self) -> None:
        """Leave all to others, who find on record what is at stake."""
        try:
            self._record()
        finally:
            self._let_go()

    def _let_go(self) -> None:
        """Leave what marks there are to others."""
        for mark in (*self._new.values(), *self._old.values()):
            mark.close()
        self._holding = False

    def _settled_elsewhere(self, keys: Iterable[str]) -> Flow[set[str]]:
        """Return those of the keys that another transaction has released, and settles: marked by it as old, or gone."""
        ours = {mark.name.name for mark in self._old.values()}

        def look() -> set[str]:
            # The marks first: it removes its mark after the file.
            others = {name.key for name in self._storage.marks() if not name.is_new and name.name not in ours}
            return {key for key in keys if key in others or not self._storage.exists(key)}

        return (yield from self._attempt(look)) or set()

    def _keys(self) -> list[str]:
        return [*self._new, *self._old]


def _beside(image: NormalizedImage) -> dict[str, bytes]:
    """Return the renditions by the suffixes of their files."""
    return {new_suffix(name, each.extension): each.data for name, each in image.renditions.items()}
