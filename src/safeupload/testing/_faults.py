"""A storage whose calls fail when a test says so."""

from __future__ import annotations

import errno
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, TypeVar, get_args

from safeupload._keys import MarkName
from safeupload.errors import InvalidArgument, LeaseExpired, StorageError
from safeupload.storage import Failure, File, Mark, Storage
from safeupload.storage._base import NONE

__all__ = ["FaultyCall", "FaultyStorage"]

T = TypeVar("T")

#: The calls that can fail: those of `Storage`, and ``save``, ``record``, ``touch`` and ``check`` of its marks.
FaultyCall: TypeAlias = Literal[
    "read", "keys", "marks", "files", "exists", "remove", "clock", "seize", "settle", "save", "record", "touch", "check"
]
_CALLS: Final = get_args(FaultyCall)


@dataclass
class _Plan:
    """What becomes of some calls: `skip` of that kind are left alone, then comes the turn of `left`."""

    call: FaultyCall
    skip: int
    left: float
    after: bool
    error: BaseException | None
    seconds: float
    begun: bool = False


class FaultyStorage:
    """
    A storage that does what the one within it does, until a test says that a call is to fail, or to take its time.

    ::

        storage = FaultyStorage(MemoryStorage())
        storage.fail("save")                                   # the next one fails, and nothing is stored
        storage.fail("save", after=True)                       # in the one after that it is, and nobody is told
        storage.fail("read", nth=2, error=TimeoutError())      # the second one from now on
        storage.slow("settle", seconds=3)

    `calls` has the names of all calls so far, in their order. `planned` tells which faults are still to come: a test
    should end with none, or it has not tested what it says. May be used from several threads, as every storage.
    What else the storage within has, such as ``path`` or ``url``, is there too.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.calls: list[FaultyCall] = []
        self._plans: list[_Plan] = []
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<FaultyStorage with {len(self.planned)} faults to come, of {self.storage!r}>"

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the storage within has
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.storage, name)

    def fail(
        self,
        call: FaultyCall,
        *,
        nth: int = 1,
        times: float = 1,
        after: bool = False,
        error: BaseException | None = None,
    ) -> None:
        """
        Let a call fail; said twice for the same one, the second is for the one after it.

        Args:
            call: which: "save" (a new file), "settle" (files that go, and marks), "record" (the mark of an old file),
                "read", or any other of `FaultyCall`.
            nth: the how-manieth of that kind from now on; 1 is the next.
            times: how many in a row; ``math.inf`` for all that follow.
            after: it takes effect first, as when only the reply is lost. A listing then breaks off at its end.
            error: by default an `OSError` (EIO), of "check" a `LeaseExpired`. An `Exception` that is no `StorageError`
                becomes the cause of one, as every storage does it: `TimeoutError()` is a time-out. What is no
                `Exception` (KeyboardInterrupt, a cancellation) is raised as it is.

        "settle" raises no `Exception`, by its protocol: it returns the failures.

        Raises:
            InvalidArgument: there is no such call, or `nth` or `times` is below 1.

        """
        self._plan(call, nth, times, 0, after=after, error=_raised(call, error))

    def slow(self, call: FaultyCall, *, seconds: float, nth: int = 1, times: float = 1) -> None:
        """
        Let a call wait that many `seconds` before it does what it does, or fails: both can be said of one call.

        Said twice for the same one, the second is for the one after it; for the rest see `fail`.
        """
        if not seconds >= 0:
            raise InvalidArgument(f"seconds: expected at least 0, got {seconds!r}")
        self._plan(call, nth, times, seconds, after=False, error=None)

    @property
    def planned(self) -> list[FaultyCall]:
        """The calls that are to fail or to be slow and were not made yet; "for ever" counts until the first of them."""
        with self._lock:
            return [plan.call for plan in self._plans if not (plan.begun and math.isinf(plan.left))]

    def _plan(
        self, call: FaultyCall, nth: int, times: float, seconds: float, *, after: bool, error: BaseException | None
    ) -> None:
        if call not in _CALLS:
            raise InvalidArgument(f"call: {call!r} is none of {', '.join(_CALLS)}")
        if nth < 1 or not times >= 1:
            raise InvalidArgument(f"nth and times: expected at least 1, got {nth!r} and {times!r}")
        with self._lock:
            self._plans.append(_Plan(call, nth - 1, times, after, error, seconds))

    # --- the protocol, around the storage within ----------------------------------------------------------------------

    @property
    def tidy_interval(self) -> float:
        """Seconds between looks for stale marks: those of the storage within."""
        return self.storage.tidy_interval

    def read(self, key: str) -> bytes:
        """Return the bytes of a file, or of a rendition."""
        return self._make("read", lambda: self.storage.read(key))

    def keys(self) -> Iterator[str]:
        """Return the keys of all files."""
        return self._list("keys", self.storage.keys)

    def new_mark(self) -> Mark:
        """Return a mark for a new file."""
        return _FaultyMark(self, self.storage.new_mark())

    def old_mark(self, key: str, retain: int) -> Mark:
        """Return a mark for a file that is to be released."""
        return _FaultyMark(self, self.storage.old_mark(key, retain))

    def marks(self) -> Iterator[MarkName]:
        """Return the names of all marks."""
        return self._list("marks", self.storage.marks)

    def clock(self) -> float:
        """Return the storage's time."""
        return self._make("clock", self.storage.clock)

    def seize(self, name: MarkName, dated: float) -> Mark | None:
        """Take hold of a mark."""
        mark = self._make("seize", lambda: self.storage.seize(name, dated))
        return None if mark is None else _FaultyMark(self, mark)

    def settle(self, remove: Iterable[Mark], drop: Iterable[Mark]) -> list[Failure]:
        """Remove files and marks; those of a call that fails are returned, and let go."""
        gone, dropped = [_within(mark) for mark in remove], [_within(mark) for mark in drop]
        done = False

        def settle() -> list[Failure]:
            nonlocal done
            done = True
            return self.storage.settle(gone, dropped)

        try:
            return self._make("settle", settle)
        except StorageError as error:
            if not done:
                for mark in (*gone, *dropped):
                    mark.close()
            return [Failure(mark.name.key, error) for mark in (*gone, *dropped)]

    def exists(self, key: str) -> bool:
        """Tell whether there is a file under the key."""
        return self._make("exists", lambda: self.storage.exists(key))

    def files(self) -> Iterator[File]:
        """Return the keys of all files, with dates."""
        return self._list("files", self.storage.files)

    def remove(self, key: str) -> None:
        """Remove a file that has no mark."""
        self._make("remove", lambda: self.storage.remove(key))

    # --- the faults ---------------------------------------------------------------------------------------------------

    def _due(self, call: FaultyCall) -> list[_Plan]:
        """Note a call, and return what is planned for it."""
        due: list[_Plan] = []
        with self._lock:
            self.calls.append(call)
            for plan in [plan for plan in self._plans if plan.call == call]:
                if plan.skip:
                    plan.skip -= 1
                    continue
                if any((other.error is None) is (plan.error is None) for other in due):
                    continue  # its turn is the next call: one call fails but once, and waits but once
                due.append(plan)
                plan.begun = True
                plan.left -= 1
                if plan.left < 1:
                    self._plans.remove(plan)
        return due

    def _make(self, call: FaultyCall, function: Callable[[], T]) -> T:
        """Make a call, with what is planned for it."""
        due = self._due(call)
        for plan in due:
            time.sleep(plan.seconds)
        _fail(due, after=False)
        result = function()
        _fail(due, after=True)
        return result

    def _list(self, call: FaultyCall, function: Callable[[], Iterator[T]]) -> Iterator[T]:
        """Make a call that returns an iterator, which is where it fails afterwards."""
        due = self._due(call)
        for plan in due:
            time.sleep(plan.seconds)
        _fail(due, after=False)
        return _ending(function(), due)


class _FaultyMark:
    """A mark of a faulty storage."""

    def __init__(self, storage: FaultyStorage, mark: Mark) -> None:
        self._storage = storage
        self.mark = mark

    @property
    def name(self) -> MarkName:
        """Its name."""
        return self.mark.name

    def save(self, data: bytes, renditions: Mapping[str, bytes] = NONE) -> None:
        """Make the mark of a new file, and the file."""
        self._make("save", lambda: self.mark.save(data, renditions))

    def record(self) -> None:
        """Make the mark of an old file."""
        self._make("record", self.mark.record)

    def touch(self) -> None:
        """Begin to count the mark's age from now on."""
        self._make("touch", self.mark.touch)

    def check(self) -> None:
        """Raise `LeaseExpired` if somebody else may hold it."""
        self._make("check", self.mark.check)

    def close(self) -> None:
        """Let go of the mark."""
        self.mark.close()

    def _make(self, call: FaultyCall, function: Callable[[], None]) -> None:
        self._storage._make(call, function)


def _within(mark: Mark) -> Mark:
    return mark.mark if isinstance(mark, _FaultyMark) else mark


def _raised(call: FaultyCall, error: BaseException | None) -> BaseException:
    """Return what a storage raises for an error of its disk or its network."""
    if isinstance(error, StorageError) or (error is not None and not isinstance(error, Exception)):
        return error
    if error is None and call == "check":
        return LeaseExpired()
    failure = StorageError(f"could not {call}: a fault that a test has planned")
    failure.__cause__ = error or OSError(errno.EIO, "Input/output error")
    return failure


def _fail(due: list[_Plan], *, after: bool) -> None:
    for plan in due:
        if plan.error is not None and plan.after is after:
            raise plan.error.with_traceback(None)  # or that of the last time grows


def _ending(listing: Iterator[T], due: list[_Plan]) -> Iterator[T]:
    yield from listing
    _fail(due, after=True)
