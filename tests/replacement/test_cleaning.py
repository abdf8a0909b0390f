"""Settling what others have left: `recover`, what every replacement does of it by itself, and `sweep`."""

import asyncio
import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fakes import picture

from safeupload import AsyncUploads, RecoveryReport, StorageError, SweepRefused, SweepReport, Uploads
from safeupload._drive import drive
from safeupload._events import Event, Observer
from safeupload._keys import MarkName
from safeupload._recovery import _FEW, _LOOK, _MARKS, MIN_AGE, recover
from safeupload._sweep import _FILES, sweep
from safeupload.storage import LocalStorage, MemoryStorage
from safeupload.storage._base import Failure, File, Mark, Storage


class Clocked(MemoryStorage):
    """A storage whose time stands still until it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 1e9

    def clock(self) -> float:
        """Return the time."""
        return self.time

    def seize(self, name: MarkName, dated: float) -> Any:  # noqa: ANN401
        """Take hold of a mark."""
        mark = self._marks.get(name.name)
        if mark is not None:
            mark.touch = lambda: None  # type: ignore[method-assign]
        return super().seize(name, dated)


class World:
    """A storage, and the keys that rows name."""

    def __init__(self, storage: Any = None) -> None:  # noqa: ANN401
        self.storage: Any = MemoryStorage() if storage is None else storage
        self.rows: set[str] = set()
        self.asked: list[list[str]] = []
        self.events: list[Event] = []

    def used(self, keys: list[str]) -> list[str]:
        """Answer `references`."""
        self.asked.append(list(keys))
        return [key for key in keys if key in self.rows]

    def uploads(self, **options: Any) -> Uploads:  # noqa: ANN401
        """Return the object that is tried."""
        return Uploads(self.storage, references=self.used, on_event=self.events.append, **options)

    def leave(self, *, named: bool = False, old: bool = False, retain: int = 0) -> str:
        """Leave a file with a mark that nobody holds, like a crash; return its key."""
        new = self.storage.new_mark()
        new.save(b"picture")
        key: str = new.name.key
        if old:
            mark = self.storage.old_mark(key, retain)
            mark.record()
            mark.close()
            self.storage.settle([], [new])
        new.close()
        if named:
            self.rows.add(key)
        return key

    def file(self, *, named: bool = False) -> str:
        """Store a file that no mark tells of."""
        key = self.leave(named=named)
        for name in list(self.storage.marks()):
            if name.key == key:
                self.storage.settle([], [self.storage.seize(name, math.inf)])
        return key

    def stored(self) -> set[str]:
        """Return what is stored."""
        return set(self.storage.keys())

    def marks(self) -> list[MarkName]:
        """Return what is on record."""
        return list(self.storage.marks())


@pytest.fixture(params=["memory", "local"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    """Give a world with each kind of storage."""
    return World(MemoryStorage() if request.param == "memory" else LocalStorage(tmp_path, durability="none"))


@pytest.mark.parametrize("old", [False, True])
def test_recover_asks_and_acts(world: World, *, old: bool) -> None:
    """A file that no row names goes, one that a row names stays; both marks go. Then there is nothing to do."""
    kept, gone = world.leave(named=True, old=old), world.leave(old=old)
    unmarked = world.file()

    assert world.uploads().recover(min_age=0) == RecoveryReport(removed=(gone,), kept=1)
    assert world.stored() == {kept, unmarked}
    assert world.marks() == []
    assert world.uploads().recover(min_age=0) == RecoveryReport()
    assert [event.name for event in world.events] == ["recovered"]
    assert world.events[0].keys == (gone,)


def test_recover_leaves_alone_what_somebody_holds(world: World) -> None:
    """The marks of a block that is still running are nobody else's business, from whatever object."""
    with world.uploads().replace(picture()) as new:
        key = new.replacing(None)
        assert world.uploads().recover(min_age=0) == RecoveryReport(waiting=1)
        assert world.stored() == {key}
        world.rows.add(key)
        new.commit(lambda: None)
    assert world.stored() == {key}


def test_recover_leaves_alone_what_is_young(world: World) -> None:
    """By default a minute; a young mark waits, whatever a row names."""
    world.leave()

    assert world.uploads().recover() == RecoveryReport(waiting=1)
    assert world.uploads().recover(min_age=timedelta(hours=1)) == RecoveryReport(waiting=1)
    assert world.asked == []


@pytest.mark.parametrize(("age", "settled"), [(MIN_AGE - 1, 0), (MIN_AGE, 1), (MIN_AGE + 1, 1)])
def test_the_age_has_two_sides(age: float, settled: int) -> None:
    """A mark is settled at the minimum age, and not before."""
    world = World(Clocked())
    world.leave()
    next(iter(world.storage._marks.values())).date = world.storage.time - age

    assert len(world.uploads().recover().removed) == settled


@pytest.mark.parametrize(("age", "settled"), [(99, 0), (100, 1)])
def test_retained_files_have_an_age_of_their_own(age: float, settled: int) -> None:
    """A retained file stays so long, however small the minimum age."""
    world = World(Clocked())
    world.leave(old=True, retain=100)
    next(iter(world.storage._marks.values())).date = world.storage.time - age

    assert len(world.uploads().recover(min_age=0).removed) == settled


def test_retain_keeps_old_files_from_the_commit_on(world: World) -> None:
    """The old file is there after the commit, on record; a sweep does not take it; when it is time it goes."""
    uploads = world.uploads(retain=timedelta(minutes=5))
    old = world.file(named=True)
    with uploads.replace(picture()) as new:
        key = new.replacing(old)

        def commit() -> None:
            world.rows = {key}

        new.commit(commit)

    assert new.state == "committed"
    assert world.stored() == {key, old}
    assert [(name.key, name.retain) for name in world.marks()] == [(old, 300)]
    assert uploads.recover(min_age=0) == RecoveryReport(waiting=1)
    assert uploads.sweep(min_age=0) == SweepReport(examined=2, referenced=1, marked=1)
    assert world.uploads().recover(min_age=0).waiting == 1  # whoever recovers


def test_a_replacement_settles_a_few_stale_marks() -> None:
    """An application that never calls `recover` converges: four marks each time, and never a young one."""
    world = World(Clocked())
    for _ in range(2 * _FEW + 1):
        world.leave()
    for mark in world.storage._marks.values():
        mark.date = world.storage.time - MIN_AGE
    world.leave()
    next(reversed(world.storage._marks.values())).date = world.storage.time - MIN_AGE + 1

    left = []
    for _ in range(4):
        with world.uploads().replace(picture()):
            pass
        left.append(len(world.stored()))
    assert left == [_FEW + 2, 2, 1, 1]


def test_a_pause_ends_where_there_is_more_to_do() -> None:
    """Where looks are rare, the next replacement looks again at once if the last one settled as much as it may."""
    world = World(Clocked())
    world.storage.tidy_interval = 1000.0
    for _ in range(2 * _FEW + 1):
        world.leave()
    for mark in world.storage._marks.values():
        mark.date = world.storage.time - MIN_AGE
    uploads = world.uploads()

    left = []
    for _ in range(4):
        with uploads.transaction():
            pass
        left.append(len(world.stored()))
    assert left == [_FEW + 1, 1, 0, 0]
    world.leave()
    next(iter(world.storage._marks.values())).date = world.storage.time - MIN_AGE
    with uploads.transaction():
        pass
    assert len(world.stored()) == 1


def test_a_replacement_looks_at_a_bounded_number_of_marks() -> None:
    """A long record does not make uploads slow: so many are looked at, and no more."""
    looked: list[str] = []

    class Counting(Clocked):
        def seize(self, name: MarkName, dated: float) -> Any:  # noqa: ANN401
            looked.append(name.name)
            return super().seize(name, dated)

    world = World(Counting())
    for _ in range(_LOOK + 50):
        world.leave()
    for mark in world.storage._marks.values():
        mark.date = world.storage.time

    with world.uploads().transaction():
        pass
    assert len(looked) == _LOOK


def test_a_replacement_goes_on_though_it_cannot_clean(caplog: pytest.LogCaptureFixture) -> None:
    """What fails before it is logged; whatever is wrong there is no reason to refuse the upload."""
    world = World(Clocked())
    world.leave()
    next(iter(world.storage._marks.values())).date = 0
    failing = True

    def used(keys: list[str]) -> list[str]:
        if failing:
            raise LookupError("no database")
        return world.used(keys)

    uploads = Uploads(world.storage, references=used)
    with uploads.replace(picture()) as new:
        failing = False
        world.rows.add(new.replacing(None))
        new.commit(lambda: None)

    assert new.state == "committed"
    assert "no database" in caplog.text


def test_references_that_fail_stop_a_recovery(world: World) -> None:
    """Nothing is removed, the marks stay, and nobody holds them."""
    key = world.leave()

    def used(keys: list[str]) -> list[str]:
        raise LookupError

    for _ in range(2):
        with pytest.raises(LookupError):
            Uploads(world.storage, references=used).recover(min_age=0)
    assert world.stored() == {key}
    assert world.uploads().recover(min_age=0).removed == (key,)


def test_no_age_is_none(tmp_path: Path) -> None:
    """With an age of 0 all is settled that nobody holds, also where a clock lags behind what it has dated."""
    world = World(LocalStorage(tmp_path, durability="none"))
    key = world.leave()
    for path in (tmp_path / ".pending").iterdir():
        os.utime(path, (time.time() + 100, time.time() + 100))

    assert world.uploads().recover(min_age=1).waiting == 1
    assert world.uploads().recover(min_age=0).removed == (key,)


def test_a_look_does_not_age_a_mark(world: World) -> None:
    """Who took hold of it and let it go again leaves it as young as it was, for whoever comes next."""
    world.leave()
    (name,) = world.marks()
    for dated in (math.inf, math.inf, world.storage.clock() - 10):
        mark = world.storage.seize(name, dated)
        assert (mark is None) is (dated < math.inf)
        if mark is not None:
            mark.close()


def test_many_marks_are_settled_in_batches(world: World) -> None:
    """As many as a process can have open files for, at a time."""
    gone = {world.leave() for _ in range(_MARKS + 1)}
    kept = {world.leave(named=True) for _ in range(_MARKS // 2)}

    report = world.uploads().recover(min_age=0)

    assert set(report.removed) == gone
    assert report.kept == len(kept)
    assert world.stored() == kept
    assert sorted(map(len, world.asked)) == [_MARKS // 2 + 1, _MARKS]


def test_the_async_class_recovers_and_sweeps(world: World) -> None:
    """The same flows, with `await`."""
    gone, kept, swept = world.leave(), world.leave(named=True), world.file()
    world.file(named=True)

    async def used(keys: list[str]) -> list[str]:
        return world.used(keys)

    async def main() -> None:
        uploads = AsyncUploads(world.storage, references=used)
        assert await uploads.recover(min_age=0) == RecoveryReport(removed=(gone,), kept=1)
        assert (await uploads.sweep(min_age=0)).removed == (swept,)

    asyncio.run(main())
    assert kept in world.stored()


def test_sweep_removes_what_nobody_knows_of(world: World) -> None:
    """No row, no mark, old enough: such a file goes."""
    named = {world.file(named=True) for _ in range(3)}
    marked, gone = world.leave(), world.file()

    report = world.uploads().sweep(min_age=0)

    assert report == SweepReport(examined=5, referenced=3, marked=1, removed=(gone,))
    assert world.stored() == named | {marked}
    assert [event.name for event in world.events] == ["swept"]
    assert world.uploads().sweep(min_age=0).removed == ()


def test_a_sweep_counts(world: World) -> None:
    """Several files of each kind are counted each; what it has removed is told, and how long it took."""
    for _ in range(4):
        world.file(named=True)
    for _ in range(2):
        world.leave()
    gone = {world.file() for _ in range(2)}

    report = world.uploads().sweep(min_age=0)

    assert (report.examined, report.referenced, report.marked) == (8, 4, 2)
    (told,) = world.events
    assert set(report.removed) == gone == set(told.keys)
    assert 0 < told.seconds < 10
    for _ in range(2):
        world.file()
    assert world.uploads().sweep().young == 2


def test_young_and_old_files_are_looked_at_to_the_end() -> None:
    """A storage of several batches is swept as a whole, wherever in it the unnamed files are."""
    world = World()
    first = {world.file() for _ in range(2)}
    for _ in range(_FILES):
        world.file(named=True)
    last = {world.file() for _ in range(2)}

    assert set(world.uploads().sweep(min_age=0).removed) == first | last


def test_marks_are_listed_seldom() -> None:
    """A listing costs as much as the storage is large, so it is made for many unnamed files at once."""
    world = World()
    listed = 0
    marks = world.storage.marks

    def counting() -> Iterator[MarkName]:
        nonlocal listed
        listed += 1
        found: Iterator[MarkName] = marks()
        return found

    for _ in range(2 * _FILES):
        world.file(named=True)
    unnamed = [world.file() for _ in range(_FILES)]
    world.storage.marks = counting
    world.rows |= {*unnamed}
    world.uploads().sweep(min_age=0)
    assert listed == 0
    world.rows -= {*unnamed}
    world.uploads().sweep(min_age=0, dry_run=True)
    assert listed == 2  # once for all that are unnamed, and once more before they are removed


def test_a_sweep_that_is_cancelled_stops_before_it_removes() -> None:
    """Its looks and questions are not shielded: whoever gives up a sweep of a large store does not wait for it."""
    world = World()
    for _ in range(3):
        world.file(named=True)
    world.file()
    flow = sweep(world.storage, world.used, Observer(None), 0, 10, dry_run=False, force=False)
    call = next(flow)
    shielded = []
    with contextlib.suppress(StopIteration):
        while True:
            shielded.append((getattr(call.function, "func", call.function).__name__, call.shielded))
            call = flow.send(call.function())
    looks = {name for name, value in shielded if not value}
    assert {"_some", "_marked", "used"} <= looks
    assert {name for name, value in shielded if value} == {"latest", "remove"}


def test_sweep_leaves_young_files_alone(world: World) -> None:
    """By default those of the last day."""
    world.file(named=True)
    world.file()

    assert world.uploads().sweep() == SweepReport(examined=2, referenced=1, young=1)
    assert world.uploads().sweep(min_age=timedelta(seconds=1000)).young == 1


@pytest.mark.parametrize(("age", "gone"), [(86399, 0), (86400, 1)])
def test_the_age_of_files_has_two_sides(age: float, gone: int) -> None:
    """A file is old enough after a day, and not before."""
    world = World(Clocked())
    world.file(named=True)
    key = world.file()
    world.storage._files[key] = (b"", world.storage.time - age)

    assert len(world.uploads().sweep().removed) == gone


def test_a_dry_run_removes_nothing(world: World) -> None:
    """It says what would go."""
    world.file(named=True)
    gone = world.file()

    report = world.uploads().sweep(min_age=0, dry_run=True)

    assert (report.removed, report.dry_run) == ((gone,), True)
    assert gone in world.stored()
    assert world.events == []


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 1000])
def test_the_limit_is_a_fuse(world: World, limit: int) -> None:
    """No more than that go at once; the report says how many are left."""
    for _ in range(4):
        world.file(named=True)
    for _ in range(3):
        world.file()

    report = world.uploads().sweep(min_age=0, limit=limit)

    assert (len(report.removed), report.remaining) == (min(limit, 3), max(0, 3 - limit))
    assert len(world.stored()) == 7 - min(limit, 3)


@pytest.mark.parametrize(("named", "unnamed", "refused"), [(0, 1, True), (1, 1, False), (1, 2, True), (3, 3, False)])
def test_a_sweep_against_the_wrong_database_is_refused(world: World, named: int, unnamed: int, refused: bool) -> None:  # noqa: FBT001
    """If rows name no file, or less than half of them, nothing goes unless it is forced."""
    for _ in range(named):
        world.file(named=True)
    for _ in range(unnamed):
        world.file()

    if refused:
        for dry_run in (True, False):
            with pytest.raises(SweepRefused, match="no row names" if not named else "more than half"):
                world.uploads().sweep(min_age=0, dry_run=dry_run)
        assert len(world.stored()) == named + unnamed
    assert len(world.uploads().sweep(min_age=0, force=True).removed) == unnamed
    assert len(world.stored()) == named


def test_an_empty_storage_is_swept_in_peace(world: World) -> None:
    """There is nothing to refuse."""
    assert world.uploads().sweep(min_age=0) == SweepReport()
    world.leave()
    assert world.uploads().sweep(min_age=0) == SweepReport(examined=1, marked=1)


def test_many_files_are_asked_about_in_batches() -> None:
    """As many keys at a time as every database takes parameters."""
    world = World()
    for _ in range(_FILES + 5):
        world.file(named=True)

    world.uploads().sweep(min_age=0)

    assert [len(keys) for keys in world.asked] == [_FILES, 5]


def test_files_are_listed_before_marks_and_marks_before_rows() -> None:
    """A file that loses its mark and gets its row between two of these looks is not taken for nobody's."""
    for moment in ("files", "marks", "references"):
        for count in range(4):
            world = World(MemoryStorage())
            world.file(named=True)
            mark = world.storage.new_mark()
            mark.save(b"picture")
            _run_hooked(world, moment, count, _committing(world, mark))
            assert world.rows <= world.stored(), (moment, count)
            assert mark.name.key in world.stored()


@pytest.mark.parametrize("what", ["row", "mark"])
def test_a_file_that_is_taken_meanwhile_keeps_no_other(what: str) -> None:
    """One that gets its row, or a mark, between the looks is left alone, and what comes behind it is removed."""
    world = World()
    for _ in range(3):
        world.file(named=True)
    unnamed = [world.file() for _ in range(3)]
    asked = 0

    def used(keys: list[str]) -> list[str]:
        nonlocal asked
        asked += 1
        if asked == 1 and what == "mark":
            taken = world.storage.old_mark(unnamed[0], 0)
            marks = world.storage.marks
            calls = 0

            def later() -> Iterator[MarkName]:
                nonlocal calls
                calls += 1
                if calls == 2:
                    taken.record()
                found: Iterator[MarkName] = marks()
                return found

            world.storage.marks = later
        if asked == 2 and what == "row":
            world.rows.add(unnamed[0])
        return world.used(keys)

    report = Uploads(world.storage, references=used).sweep(min_age=0)

    assert list(report.removed) == unnamed[1:]
    assert unnamed[0] in world.stored()


def _committing(world: World, mark: Any) -> Callable[[], None]:  # noqa: ANN401
    def commit() -> None:
        world.rows.add(mark.name.key)
        world.storage.settle([], [mark])

    return commit


def _run_hooked(world: World, moment: str, count: int, act: Callable[[], None]) -> None:
    """Sweep, and let somebody act before the so-manyth call of this kind."""
    calls = 0

    def hook(kind: str) -> None:
        nonlocal calls
        if kind == moment:
            if calls == count:
                act()
            calls += 1

    storage: Any = world.storage
    marks, files, used = storage.marks, storage.files, world.used

    def hooked_marks() -> Iterator[MarkName]:
        hook("marks")
        found: Iterator[MarkName] = marks()
        return found

    def hooked_files() -> Iterator[File]:
        hook("files")
        found: Iterator[File] = files()
        return found

    def hooked_used(keys: list[str]) -> list[str]:
        hook("references")
        return used(keys)

    storage.marks, storage.files = hooked_marks, hooked_files
    Uploads(storage, references=hooked_used).sweep(min_age=0, force=True)
    storage.marks, storage.files = marks, files
    if calls <= count:
        act()


def test_a_file_that_is_released_meanwhile_is_retained() -> None:
    """A mark that comes after the first look is seen at the second."""
    for count in range(1, 4):
        world = World(MemoryStorage())
        world.file(named=True)
        old = world.file(named=True)

        def release(world: World = world, old: str = old) -> None:
            mark = world.storage.old_mark(old, 1000)
            mark.record()
            world.rows.discard(old)
            mark.close()

        _run_hooked(world, "references", count - 1, release)
        assert old in world.stored()


def test_what_cannot_be_removed_is_told_and_left(caplog: pytest.LogCaptureFixture) -> None:
    """One stubborn file keeps no other from being removed; its mark stays for the next time."""
    stubborn = ""

    class Stubborn(MemoryStorage):
        def settle(self, remove: Any, drop: Any) -> Any:  # noqa: ANN401
            failures = [Failure(mark.name.key, OSError()) for mark in remove if mark.name.key == stubborn]
            for mark in remove:
                mark.close()
            super().settle([mark for mark in remove if mark.name.key != stubborn], drop)
            return failures

        def remove(self, key: str) -> None:
            if key == stubborn:
                raise StorageError("no")
            super().remove(key)

    world = World(Stubborn())
    world.file(named=True)
    world.file(named=True)
    stubborn, other = world.leave(), world.leave()

    report = world.uploads().recover(min_age=0)
    assert (report.removed, report.failed) == ((other,), (stubborn,))
    assert [name.key for name in world.marks()] == [stubborn]
    assert [event.name for event in world.events] == ["failed", "recovered"]
    world.storage._marks.clear()
    world.events.clear()
    assert world.uploads().sweep(min_age=0).failed == (stubborn,)
    assert [(event.name, event.keys) for event in world.events] == [("failed", (stubborn,)), ("swept", ())]
    assert "no" in caplog.text.splitlines()[-1]  # the reason, behind its traceback
    stubborn = ""
    assert len(world.uploads().sweep(min_age=0).removed) == 1


def test_a_mark_that_cannot_be_opened_keeps_no_other_from_being_settled(caplog: pytest.LogCaptureFixture) -> None:
    """It counts as failed."""
    locked = ""

    class Locked(MemoryStorage):
        def seize(self, name: MarkName, dated: float) -> Any:  # noqa: ANN401
            if name.key == locked:
                raise StorageError("permission denied")
            return super().seize(name, dated)

    world = World(Locked())
    locked, other = world.leave(), world.leave()

    assert world.uploads().recover(min_age=0) == RecoveryReport(removed=(other,), failed=(locked,))
    assert "permission denied" in caplog.text


def test_progress_is_told() -> None:
    """A long sweep says how far it is."""
    world = World()
    for _ in range(_FILES + 1):
        world.file(named=True)
    told: list[int] = []
    flow = sweep(world.storage, world.used, Observer(None), 0, 10, dry_run=True, force=False, progress=told.append)
    drive(flow)
    assert told == [_FILES, _FILES + 1]


def test_recover_holds_no_more_than_it_may(world: World) -> None:
    """With a bound on what is settled, no mark beyond it is taken in hand."""
    storage: Storage = world.storage
    for _ in range(10):
        world.leave()
    report = drive(recover(storage, world.used, Observer(None), 0, most=3))
    assert len(report.removed) == 3
    mark: Mark | None = storage.seize(next(storage.marks()), math.inf)
    assert mark is not None
    mark.close()
