"""
What a storage of your own has to do, as tests.

The checks are plain methods with plain assertions, which pytest collects; nothing here imports it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ClassVar, Final

from safeupload._image import ImageInfo, NormalizedImage
from safeupload._keys import beside, new_key
from safeupload._uploads import Uploads
from safeupload.errors import FileMissing, InvalidKey, LeaseExpired
from safeupload.storage import Mark, MarkName, Storage

__all__ = ["StorageContract"]

_DATA: Final = bytes(range(256)) * 100
_RENDITIONS: Final = {"-thumb.webp": b"a small one", "-large.png": b"a large one"}
_INFO: Final = ImageInfo(format="PNG", width=1, height=1, orientation=1, animated=False, has_alpha=False, has_icc=False)
_PICTURE: Final = NormalizedImage(data=_DATA, width=1, height=1, sha256="", info=_INFO)
_MINUTE: Final = 60  # seconds
_LATER: Final = 1_000_000  # seconds: no test takes so long

#: Nothing that a client could make of a name may reach a path, an address, or somebody else's object.
_NO_KEYS: Final = (
    "",
    "default.jpg",
    "../secret.jpg",
    ".pending/" + "0" * 32 + ".jpg",
    "0" * 31 + ".jpg",
    "0" * 32 + ".png",
    "A" * 32 + ".jpg",
    "0" * 32 + ".jpg\n",
    "0" * 32 + "-../x.webp",
    "0" * 32 + "-Thumb.webp",
    "\uff10" * 32 + ".jpg",
)


class StorageContract:
    """
    What every storage has to do, as tests: subclass it, and give it an empty storage by a fixture.

    ::

        class TestMyStorage(StorageContract):
            patience = 3  # lease, skew and a second

            @pytest.fixture
            def storage(self):
                return BucketStorage(MyBucket(), lease=1, skew=1)

    `patience` says how many seconds after the end of its holder a mark can be taken by somebody else: 0 for locks, the
    lease and the skew for leases. Override `another` if two objects can work on one storage, as in two processes.
    """

    patience: ClassVar[float] = 0

    def another(self, storage: Storage) -> Storage:
        """Return a second object for the same storage, as another process would have one."""
        return storage

    def test_a_saved_file_is_there_and_on_record(self, storage: Storage) -> None:
        """A file, its date, its mark: all are there once `save` has returned, for others too."""
        mark = storage.new_mark()
        assert [*storage.keys(), *storage.marks()] == [], "nothing happens before save()"
        mark.save(_DATA)

        other = self.another(storage)
        assert other.read(mark.name.key) == _DATA
        assert list(other.keys()) == [mark.name.key]
        assert other.exists(mark.name.key)
        assert list(other.marks()) == [mark.name]
        (file,) = other.files()
        assert file.key == mark.name.key
        assert abs(file.stored - other.clock()) < _MINUTE, "files and clock() are dated by one clock"
        mark.check()

    def test_renditions_come_and_go_with_their_file(self, storage: Storage) -> None:
        """They are read by their names, are no keys, and are removed by whoever removes their file."""
        mark = storage.new_mark()
        mark.save(_DATA, _RENDITIONS)
        names = [beside(mark.name.key, suffix) for suffix in _RENDITIONS]

        other = self.another(storage)
        assert [other.read(name) for name in names] == list(_RENDITIONS.values())
        assert list(other.keys()) == [mark.name.key]
        assert [file.key for file in other.files()] == [mark.name.key]
        assert other.settle([mark], []) == []
        assert [_missing(storage, name) for name in (mark.name.key, *names)] == [True, True, True]
        assert list(storage.files()) == []

    def test_a_mark_is_dropped_and_its_file_stays(self, storage: Storage) -> None:
        """What a commit does for a new file."""
        mark = storage.new_mark()
        mark.save(_DATA, _RENDITIONS)
        assert storage.settle([], [mark]) == []

        assert list(storage.marks()) == []
        assert storage.read(mark.name.key) == _DATA

    def test_settling_twice_is_no_error(self, storage: Storage) -> None:
        """Nor is it to settle what was never there, or to remove what is gone."""
        mark = storage.new_mark()
        mark.save(_DATA)
        for _ in range(2):
            assert storage.settle([mark], []) == []
            assert storage.settle([], [mark]) == []
            storage.remove(mark.name.key)
        assert storage.settle([storage.new_mark()], [storage.old_mark(new_key(), 0)]) == []
        assert [*storage.files(), *storage.marks()] == []

    def test_a_file_without_a_mark_is_removed(self, storage: Storage) -> None:
        """What a sweep does; others stay."""
        marks = [storage.new_mark() for _ in range(3)]
        for mark in marks:
            mark.save(_DATA, _RENDITIONS)
        storage.settle([], marks)
        storage.remove(marks[0].name.key)

        assert sorted(storage.keys()) == sorted(mark.name.key for mark in marks[1:])
        assert not storage.exists(marks[0].name.key)
        assert _missing(storage, beside(marks[0].name.key, "-thumb.webp"))
        assert storage.read(beside(marks[1].name.key, "-thumb.webp")) == b"a small one"

    def test_several_marks_can_be_on_one_file(self, storage: Storage) -> None:
        """Each is a note of its own, and goes alone."""
        new = storage.new_mark()
        new.save(_DATA)
        olds = [storage.old_mark(new.name.key, 0), storage.old_mark(new.name.key, 0), storage.old_mark(new.name.key, 9)]
        for old in olds:
            old.record()
        assert set(storage.marks()) == {mark.name for mark in (new, *olds)}
        assert {name.retain for name in storage.marks()} == {0, 9}
        storage.settle([], [new, olds[0]])

        assert set(storage.marks()) == {mark.name for mark in olds[1:]}
        assert storage.read(new.name.key) == _DATA

    def test_what_somebody_works_on_is_left_alone(self, storage: Storage) -> None:
        """A mark is held from `save` or `record` on, whatever age a cleaner asks for."""
        new = storage.new_mark()
        new.save(_DATA)
        old = storage.old_mark(new.name.key, 0)
        old.record()
        new.touch()
        old.touch()

        assert [self._seize(storage, name) for name in (new.name, old.name)] == [None, None]

    def test_what_nobody_works_on_any_more_is_settled(self, storage: Storage) -> None:
        """A mark can be taken once its holder is gone; not if it is too young, or retained, or gone itself."""
        marks = {name: storage.new_mark() for name in ("taken", "held", "gone")}
        for mark in marks.values():
            mark.save(_DATA, _RENDITIONS)
        old, retained = (storage.old_mark(marks["taken"].name.key, retain) for retain in (0, _LATER))
        for mark in (old, retained):
            mark.record()
        storage.settle([], [marks["gone"]])
        for mark in (marks["taken"], old, retained):
            mark.close()
            mark.close()
        if self.patience:
            self._check_that_leases_overlap(storage, marks["held"])
        time.sleep(self.patience)

        assert self._seize(storage, marks["taken"].name, storage.clock() - _LATER) is None, "it is too young"
        assert self._seize(storage, retained.name) is None, "it is retained"
        assert self._seize(storage, marks["gone"].name) is None, "it is gone"
        if self._seize(storage, marks["held"].name) is not None:
            assert _expired(marks["held"]), "who has lost a mark must be told so before a commit"
        taken, also = (self._seize(storage, mark.name) for mark in (marks["taken"], old))
        assert taken is not None
        assert also is not None
        if not self.patience:
            assert self._seize(storage, old.name) is None, "what one cleaner has locked, no other can take"
        assert storage.settle([taken], [also]) == []
        assert sorted(storage.keys()) == sorted(marks[name].name.key for name in ("held", "gone"))
        assert {name.key for name in storage.marks()} == {marks["held"].name.key, retained.name.key}

    def _check_that_leases_overlap(self, storage: Storage, mark: Mark) -> None:
        """At the moment when a holder is told that it has lost its mark, no cleaner may have it yet."""
        for _ in range(int(100 * self.patience)):  # hundredths of a second
            if _expired(mark):
                break
            time.sleep(0.01)
        assert self._seize(storage, mark.name) is None, "a cleaner has to wait longer than the holder"
        mark.touch()
        assert _expired(mark), "a lease that has ended is not renewed"

    def test_a_retained_file_goes_when_its_time_has_come(self, storage: Storage) -> None:
        """The time counts from the last `touch`, as every age does."""
        retained, touched = storage.old_mark(new_key(), 1), storage.old_mark(new_key(), 0)
        for mark in (retained, touched):
            mark.record()
            mark.touch()
        retained.close()
        then = storage.clock()
        time.sleep(self.patience + 1.1)

        assert self._seize(storage, retained.name) is not None
        touched.touch()
        touched.close()
        dated = math.inf if self.patience else then  # a lease begins anew, and so does an age
        assert self._seize(storage, touched.name, dated) is None, "it was touched since"

    def test_no_mark_is_missed(self, storage: Storage) -> None:
        """A listing has all of them, however many pages that takes: who misses one takes a file from somebody."""
        marks = [storage.old_mark(new_key(), 0) for _ in range(1001)]
        with ThreadPoolExecutor(8) as pool:
            for done in [pool.submit(mark.record) for mark in marks]:
                done.result()

        assert {mark.name for mark in marks} == set(self.another(storage).marks())
        for mark in marks:
            mark.close()

    def test_names_of_others_are_refused(self, storage: Storage) -> None:
        """What is no key is `InvalidKey`, what is not there `FileMissing`."""
        for name in _NO_KEYS:
            try:
                storage.read(name)
            except InvalidKey:
                continue
            raise AssertionError(f"read({name!r}) must raise InvalidKey")
        assert _missing(storage, new_key())
        assert _missing(storage, beside(new_key(), "-thumb.webp"))
        assert not storage.exists(new_key())

    def test_threads_do_not_get_in_each_other_s_way(self, storage: Storage) -> None:
        """The async class calls from many threads."""

        def work(number: int) -> tuple[str, bytes]:
            mark = storage.new_mark()
            mark.save(_DATA + bytes([number]), _RENDITIONS)
            storage.settle([], [mark])
            return mark.name.key, storage.read(mark.name.key)

        with ThreadPoolExecutor(8) as pool:
            made = dict(pool.map(work, range(24)))
        assert sorted(data[-1] for data in made.values()) == list(range(24))
        assert sorted(storage.keys()) == sorted(made)
        assert list(storage.marks()) == []

    def test_a_picture_is_replaced(self, storage: Storage) -> None:
        """The whole of it: a commit, one that is refused, and what is left then."""
        row: list[str | None] = [None]

        def used(keys: Iterable[str]) -> list[str]:
            return [key for key in keys if key == row[0]]

        uploads = Uploads(storage, references=used)
        for _ in range(2):
            with uploads.replace(_PICTURE) as new:
                key = new.replacing(row[0])
                new.commit(partial(row.__setitem__, 0, key))
        assert list(storage.keys()) == row
        assert list(storage.marks()) == []
        with uploads.replace(_PICTURE) as new:
            new.replacing(row[0])
            new.abort()
        assert list(storage.keys()) == row
        assert list(storage.marks()) == []
        assert uploads.sweep(min_age=0).examined == 1

    def _seize(self, storage: Storage, name: MarkName, dated: float = math.inf) -> Mark | None:
        """Take hold of a mark as another process would: by what it finds listed, if it does."""
        other = self.another(storage)
        listed = {found: found for found in other.marks()}
        return other.seize(listed.get(name, name), dated)


def _missing(storage: Storage, name: str) -> bool:
    try:
        storage.read(name)
    except FileMissing:
        return True
    return False


def _expired(mark: Mark) -> bool:
    try:
        mark.check()
    except LeaseExpired:
        return True
    return False
