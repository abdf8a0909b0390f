"""`FaultyStorage`: a storage as long as nothing is planned, and then what was planned."""

import errno
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import THUMB, picture

from safeupload import FileMissing, InvalidArgument, LeaseExpired, StorageError, Uploads
from safeupload._keys import new_key
from safeupload.storage import Failure, LocalStorage, Mark, MemoryStorage, Storage
from safeupload.testing import Database, FaultyStorage, StorageContract


class TestFaultyStorage(StorageContract):
    """With nothing planned it is a storage."""

    @pytest.fixture
    def storage(self) -> Storage:
        """Give an empty one."""
        return FaultyStorage(MemoryStorage())


class TestFaultyFolder(StorageContract):
    """Around a folder, too; the other process knows nothing of it."""

    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        """Give an empty one."""
        return FaultyStorage(LocalStorage(tmp_path))

    def another(self, storage: Storage) -> Storage:
        """Open the folder once more."""
        assert isinstance(storage, FaultyStorage)
        return LocalStorage(storage.path("0" * 32 + ".jpg").parent)


def _saved(storage: Storage) -> str:
    mark = storage.new_mark()
    mark.save(b"data", {THUMB: b"small"})
    return mark.name.key


#: Each call, and a way to make it on a storage with one file and its mark.
CALLS: dict[str, Callable[[Any, str], object]] = {
    "read": lambda storage, key: storage.read(key),
    "keys": lambda storage, key: list(storage.keys()),
    "marks": lambda storage, key: list(storage.marks()),
    "files": lambda storage, key: list(storage.files()),
    "exists": lambda storage, key: storage.exists(key),
    "remove": lambda storage, key: storage.remove(key),
    "clock": lambda storage, key: storage.clock(),
    "seize": lambda storage, key: storage.seize(next(storage.storage.marks()), math.inf),
    "save": lambda storage, key: storage.new_mark().save(b"data"),
    "record": lambda storage, key: storage.old_mark(key, 0).record(),
    "touch": lambda storage, key: storage.new_mark().touch(),
    "check": lambda storage, key: storage.new_mark().check(),
}
by_call = pytest.mark.parametrize("call", CALLS)


@by_call
@pytest.mark.parametrize("after", [False, True])
def test_a_call_fails_once(call: Any, *, after: bool) -> None:  # noqa: ANN401
    """It raises what a storage raises, once; then all is as before, and what took effect is seen."""
    storage = FaultyStorage(MemoryStorage())
    key = _saved(storage)
    storage.fail(call, after=after)
    assert storage.planned == [call]

    with pytest.raises(StorageError) as caught:
        CALLS[call](storage, key)
    assert storage.planned == []
    cause = caught.value.__cause__
    if call == "check":
        assert isinstance(caught.value, LeaseExpired)
    else:
        assert isinstance(cause, OSError)
        assert cause.errno == errno.EIO
    files = {"save": 2 if after else 1, "remove": 0 if after else 1}
    assert len(list(storage.keys())) == files.get(call, 1)
    assert len(list(storage.marks())) == (2 if after and call in {"save", "record"} else 1)
    CALLS[call](storage, _saved(storage))


@by_call
def test_the_nth_call_fails_and_so_many_after_it(call: Any) -> None:  # noqa: ANN401
    """Those before and those after it do not; calls of other kinds are not counted."""
    storage = FaultyStorage(MemoryStorage())
    storage.fail(call, nth=3, times=2)
    told = []
    for _ in range(6):
        key = _saved(storage.storage)
        _ = storage.tidy_interval
        try:
            CALLS[call](storage, key)
        except StorageError:
            told.append(True)
        else:
            told.append(False)
        for mark in list(storage.storage.marks()):
            storage.storage.settle([], [storage.storage.old_mark(mark.key, 0)])
    assert told == [False, False, True, True, False, False]
    assert storage.calls == [call] * 6
    assert storage.planned == []


def test_for_ever_is_for_ever() -> None:
    """And counts as met once it has begun."""
    storage = FaultyStorage(MemoryStorage())
    storage.fail("clock", times=math.inf)
    assert storage.planned == ["clock"]
    for _ in range(3):
        with pytest.raises(StorageError):
            storage.clock()
    assert storage.planned == []


def test_a_fault_that_has_half_come_is_still_to_come() -> None:
    """A test that expects two has not seen them."""
    storage = FaultyStorage(MemoryStorage())
    storage.fail("clock", times=2)
    with pytest.raises(StorageError):
        storage.clock()
    assert storage.planned == ["clock"]


@pytest.mark.parametrize("error", [TimeoutError("slow"), ValueError("what")], ids=repr)
def test_an_error_becomes_the_cause(error: Exception) -> None:
    """As every storage does it."""
    storage = FaultyStorage(MemoryStorage())
    storage.fail("read", error=error)
    with pytest.raises(StorageError) as caught:
        storage.read(new_key())
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [FileMissing(), LeaseExpired(), KeyboardInterrupt()], ids=repr)
def test_an_error_of_a_storage_s_and_what_is_no_exception_are_raised_as_they_are(error: BaseException) -> None:
    """The very same object."""
    storage = FaultyStorage(MemoryStorage())
    storage.fail("read", error=error)
    with pytest.raises(type(error)) as caught:
        storage.read(new_key())
    assert caught.value is error


def test_settling_fails_by_what_it_returns() -> None:
    """Before: files and marks stay, and a cleaner can take them; after: they are gone, and are told to be there."""
    for after in (False, True):
        storage = FaultyStorage(MemoryStorage())
        marks = [storage.new_mark(), storage.new_mark()]
        for mark in marks:
            mark.save(b"data")
        storage.fail("settle", after=after)
        failures = storage.settle(marks[:1], marks[1:])
        assert [failure.key for failure in failures] == [mark.name.key for mark in marks]
        assert all(isinstance(failure.error, StorageError) for failure in failures)
        assert len(list(storage.keys())) == (1 if after else 2)
        left = list(storage.marks())
        assert len(left) == (0 if after else 2)
        assert all(storage.seize(name, math.inf) is not None for name in left)


def test_the_storage_within_sees_its_own_marks() -> None:
    """Whatever they carry besides what every mark has."""
    seen: list[Mark] = []

    class Careful(MemoryStorage):
        def settle(self, remove: Iterable[Mark], drop: Iterable[Mark]) -> list[Failure]:
            seen.extend([*(remove := list(remove)), *(drop := list(drop))])
            return super().settle(remove, drop)

    storage = FaultyStorage(Careful())
    old = storage.old_mark(_saved(storage), 0)
    old.record()
    assert storage.settle([storage.new_mark()], [old]) == []
    assert [type(mark) for mark in seen] == [type(MemoryStorage().new_mark())] * 2


def test_settling_can_be_interrupted() -> None:
    """What is no `Exception` gets through."""
    storage = FaultyStorage(MemoryStorage())
    storage.fail("settle", error=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        storage.settle([], [])


def test_a_listing_breaks_off_at_its_end() -> None:
    """Afterwards means when everything was listed."""
    storage = FaultyStorage(MemoryStorage())
    key = _saved(storage)
    storage.fail("keys", after=True)
    listing: Iterator[str] = storage.keys()
    assert next(listing) == key
    with pytest.raises(StorageError):
        next(listing)


def test_a_slow_call_takes_its_time_and_can_fail_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """It sleeps before it does anything."""
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    storage = FaultyStorage(MemoryStorage())
    storage.slow("save", seconds=3)
    storage.slow("marks", seconds=4)
    storage.fail("save", error=TimeoutError())
    with pytest.raises(StorageError):
        _saved(storage)
    assert slept == [3, 0]
    assert (list(storage.keys()), list(storage.marks())) == ([], [])
    assert slept == [3, 0, 4]
    assert storage.planned == []


def test_what_the_storage_within_has_is_there(tmp_path: Path) -> None:
    """Such as the path of a file; and what it has not, is not."""
    storage = FaultyStorage(LocalStorage(tmp_path))
    key = _saved(storage)
    assert storage.path(key).read_bytes() == b"data"
    assert storage.read(key.replace(".jpg", THUMB)) == b"small"
    assert repr(storage).startswith("<FaultyStorage with 0 faults to come, of LocalStorage(")
    assert not hasattr(storage, "nothing")
    assert not hasattr(storage, "_root")


@pytest.mark.parametrize(
    "arguments",
    [{"call": "write"}, {"call": "save", "nth": 0}, {"call": "save", "times": 0}, {"call": "save", "times": math.nan}],
    ids=str,
)
def test_a_fault_that_cannot_come_is_refused(arguments: dict[str, Any]) -> None:
    """When it is planned, so that no test waits for it in vain."""
    storage = FaultyStorage(MemoryStorage())
    with pytest.raises(InvalidArgument):
        storage.fail(**arguments)
    with pytest.raises(InvalidArgument):
        storage.slow("save", seconds=-1)
    assert storage.planned == []


def test_threads_share_the_plans() -> None:
    """Of many calls at once, exactly as many fail as were planned."""
    storage = FaultyStorage(MemoryStorage())
    storage.fail("clock", nth=10, times=7)
    failed = []

    def work() -> None:
        for _ in range(50):
            try:
                storage.clock()
            except StorageError:
                failed.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(failed), len(storage.calls), storage.planned) == (7, 200, [])


@pytest.mark.parametrize("call", ["save", "record", "touch", "check", "settle", "marks"])
@pytest.mark.parametrize("after", [False, True])
def test_whatever_fails_the_row_s_picture_is_there(call: Any, *, after: bool) -> None:  # noqa: ANN401
    """P5: any one fault in a replacement leaves a file for the row, and `recover` leaves no other."""
    storage, database = FaultyStorage(MemoryStorage()), Database({"ada": None})
    uploads = Uploads(storage, references=database.references)

    def replace() -> None:
        with database.session() as session, uploads.replace(picture()) as new:
            session["ada"] = new.replacing(session["ada"])
            new.commit(session.commit)

    replace()
    before = database.rows["ada"]
    storage.fail(call, after=after)
    try:
        replace()
    except StorageError:
        assert database.rows["ada"] == before
    key = database.rows["ada"]
    assert key is not None
    assert storage.read(key) == picture().data
    uploads.recover(min_age=0)
    assert list(storage.keys()) == [key]
