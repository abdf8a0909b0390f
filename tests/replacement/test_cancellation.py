"""
A task that is called off at any moment of a replacement loses no file, and leaves no thread behind that writes.

Every step of the storage and of the database announces itself before, during and after it is made; the task is called
off at one of these moments, at each in turn, in each of the ways there are.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import trio
from fakes import THUMB, files, picture

from safeupload import AsyncUploads, Uploads
from safeupload._keys import MarkName
from safeupload.storage import LocalStorage, MemoryStorage
from safeupload.storage._base import Failure, Mark

PAUSE = 0.001  # seconds; the middle of a step


class Moments:
    """Counts the moments, and acts at one of them."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.seen = 0
        self.act: Callable[[], object] = lambda: None
        self.acted = False
        self._lock = threading.Lock()

    def now(self) -> None:
        """Be at a moment, in any thread."""
        with self._lock:
            if self.seen == self.at:
                self.acted = True
                self.act()
            self.seen += 1


class Storage(LocalStorage):
    """A storage of slow steps, each of which has three moments."""

    moments: Moments

    def new_mark(self) -> Mark:
        """Make the mark's steps slow as well."""
        return self._slow(super().new_mark())

    def old_mark(self, key: str, retain: int) -> Mark:
        """Make the mark's steps slow as well."""
        return self._slow(super().old_mark(key, retain))

    def seize(self, name: MarkName, dated: float) -> Mark | None:
        """Take its time."""
        mark: Mark | None = self._slowly(lambda: super(Storage, self).seize(name, dated))
        return mark

    def settle(self, remove: Iterable[Mark], drop: Iterable[Mark]) -> list[Failure]:
        """Take its time."""
        failures: list[Failure] = self._slowly(lambda: super(Storage, self).settle(remove, drop))
        return failures

    def _slow(self, mark: Mark) -> Mark:
        save, record = mark.save, mark.record
        mark.save = lambda *files: self._slowly(lambda: save(*files))  # type: ignore[method-assign]
        mark.record = lambda: self._slowly(record)  # type: ignore[method-assign]
        return mark

    def _slowly(self, step: Callable[[], Any]) -> Any:  # noqa: ANN401
        self.moments.now()
        time.sleep(PAUSE)
        result = step()
        self.moments.now()
        time.sleep(PAUSE)
        self.moments.now()
        return result


class Database:
    """Two rows, and a commit that takes its time and may be interrupted on its way there or back."""

    def __init__(self, moments: Moments) -> None:
        self.rows: dict[int, str | None] = {}
        self.moments = moments
        self.commits = 0

    async def used(self, keys: list[str]) -> list[str]:
        """Answer `references`."""
        self.moments.now()
        await anyio.sleep(PAUSE)
        self.moments.now()
        return [key for key in keys if key in self.rows.values()]

    async def commit(self, changes: dict[int, str | None]) -> None:
        """Commit."""
        self.commits += 1
        self.moments.now()
        await anyio.sleep(PAUSE)
        self.moments.now()
        self.rows.update(changes)
        await anyio.sleep(PAUSE)
        self.moments.now()


Scenario = Callable[[AsyncUploads, Database], Awaitable[None]]


async def replace(uploads: AsyncUploads, database: Database) -> None:
    """Replace one picture."""
    async with uploads.replace(picture("new")) as new:
        database.moments.now()
        await anyio.lowlevel.checkpoint()
        changes: dict[int, str | None] = {1: new.replacing(database.rows[1])}
        database.moments.now()
        await anyio.lowlevel.checkpoint()
        await new.commit(lambda: database.commit(changes))


async def delete(uploads: AsyncUploads, database: Database) -> None:
    """Delete two pictures."""
    async with uploads.transaction() as tx:
        tx.release(database.rows[1])
        tx.release(database.rows[2])
        await tx.commit(lambda: database.commit({1: None, 2: None}))


async def two(uploads: AsyncUploads, database: Database) -> None:
    """Replace two pictures at once."""
    async with uploads.transaction() as tx:
        changes: dict[int, str | None] = {}
        for row in (1, 2):
            changes[row] = await tx.save(picture("new"))
            tx.release(database.rows[row])
        await tx.commit(lambda: database.commit(changes))


async def create(uploads: AsyncUploads, database: Database) -> None:
    """Add a row with a picture."""
    async with uploads.transaction() as tx:
        changes: dict[int, str | None] = {3: await tx.save(picture("new"))}
        await tx.commit(lambda: database.commit(changes))


async def refused(uploads: AsyncUploads, database: Database) -> None:
    """Try to replace a picture in vain."""

    async def commit() -> None:
        await anyio.sleep(PAUSE)
        database.moments.now()
        raise ValueError

    with suppress(ValueError):
        async with uploads.replace(picture("new")) as new:
            new.replacing(database.rows[1])
            await new.commit(commit)
    await anyio.sleep(PAUSE)


async def abort(uploads: AsyncUploads, database: Database) -> None:
    """Change one's mind."""
    async with uploads.replace(picture("new")) as new:
        new.replacing(database.rows[1])
        await new.abort()


class World:
    """A storage with two files, and the rows that name them."""

    def __init__(self, folder: Path, at: int) -> None:
        self.folder = folder
        self.moments = Moments(-1)
        self.storage = Storage(folder, durability="none")
        self.storage.moments = self.moments
        self.database = Database(self.moments)
        for row in (1, 2):
            mark = self.storage.new_mark()
            mark.save(picture(f"old{row}").data, {THUMB: picture(f"old{row}").data})
            self.storage.settle([], [mark])
            self.database.rows[row] = mark.name.key
        self.moments.at, self.moments.seen = at, 0

    def check(self) -> None:
        """Check P5, that nobody writes any more, and that `recover` leaves exactly what rows name."""
        after = self.snapshot()
        for key in self.database.rows.values():
            whole = {picture(text).data for text in ("old1", "old2", "new")}
            assert key is None or self.storage.read(key) in whole
        time.sleep(4 * PAUSE)
        assert self.snapshot() == after
        sure = LocalStorage(self.folder, durability="none")
        rows = self.database.rows.values()
        Uploads(sure, references=lambda keys: [key for key in keys if key in rows]).recover(min_age=0)
        assert files(self.folder).keys() == {key for key in rows if key}
        assert list(sure.marks()) == []

    def snapshot(self) -> dict[str, tuple[int, int]]:
        """Return what there is in the folder."""
        return {
            str(path): (path.stat().st_size, path.stat().st_mtime_ns)
            for path in self.folder.rglob("*")
            if path.is_file()
        }


async def in_task(world: World, scenario: Scenario, times: int) -> bool:
    """Cancel the task, once or twice; return whether it was told."""
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(scenario(AsyncUploads(world.storage, references=world.database.used), world.database))

    def act() -> None:
        for _ in range(times):
            loop.call_soon_threadsafe(task.cancel)

    world.moments.act = act
    await asyncio.wait([task])
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error
    return task.cancelled()


async def in_wait_for(world: World, scenario: Scenario) -> bool:
    """Let a time-out of asyncio's strike."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(None) as timeout:
            world.moments.act = lambda: loop.call_soon_threadsafe(lambda: timeout.reschedule(0))
            await scenario(AsyncUploads(world.storage, references=world.database.used), world.database)
            await asyncio.sleep(PAUSE)
    except TimeoutError:
        return True
    return False


async def in_scope(world: World, scenario: Scenario) -> bool:
    """Cancel a scope of anyio's."""
    with anyio.CancelScope() as scope:
        world.moments.act = partial(_soon(), scope.cancel)
        await scenario(AsyncUploads(world.storage, references=world.database.used), world.database)
        await anyio.sleep(PAUSE)
    return scope.cancelled_caught


def _soon() -> Callable[[Callable[[], object]], object]:
    """Return what makes a call on this event loop, from any thread."""
    try:
        return trio.lowlevel.current_trio_token().run_sync_soon
    except RuntimeError:
        return asyncio.get_running_loop().call_soon_threadsafe


WAYS: dict[str, tuple[str, Callable[[World, Scenario], Awaitable[bool]]]] = {
    "cancel": ("asyncio", lambda world, scenario: in_task(world, scenario, 1)),
    "cancel twice": ("asyncio", lambda world, scenario: in_task(world, scenario, 2)),
    "time-out": ("asyncio", in_wait_for),
    "scope": ("asyncio", in_scope),
    "trio": ("trio", in_scope),
}
MOMENTS: dict[Scenario, int] = {replace: 16, delete: 14, two: 20, abort: 8, create: 11, refused: 12}


@pytest.mark.parametrize("scenario", MOMENTS, ids=lambda scenario: scenario.__name__)
@pytest.mark.parametrize("way", WAYS)
def test_p5_p9_called_off_at_any_moment(way: str, scenario: Scenario, tmp_path: Path) -> None:
    """At each moment, in each way: no row dangles, nobody writes afterwards, the task is told, `recover` repairs."""
    backend, call_off = WAYS[way]
    at = 0
    while True:
        world = World(tmp_path / str(at), at)

        told = anyio.run(call_off, world, scenario, backend=backend)
        world.check()
        if not world.moments.acted:
            break
        assert told, f"moment {at}"
        at += 1
    assert at >= MOMENTS[scenario]


@pytest.mark.parametrize("way", ["scope", "trio"])
def test_a_commit_is_not_interrupted_by_a_scope(way: str, tmp_path: Path) -> None:
    """A scope that is cancelled during the commit waits until the old file is gone."""
    backend, call_off = WAYS[way]
    seen = _moment_of_commit(tmp_path)
    world = World(tmp_path / "now", seen)

    assert anyio.run(call_off, world, replace, backend=backend)

    assert set(world.storage.keys()) == {world.database.rows[1], world.database.rows[2]}
    assert world.storage.read(str(world.database.rows[1])) == picture("new").data
    assert list(world.storage.marks()) == []


@pytest.mark.parametrize("way", WAYS)
def test_who_is_called_off_before_the_commit_does_not_commit(way: str, tmp_path: Path) -> None:
    """A cancellation that comes while the old file is put on record is heard before the commit is called."""
    backend, call_off = WAYS[way]
    seen = _moment_of_commit(tmp_path) - 2
    world = World(tmp_path / "now", seen)

    assert anyio.run(call_off, world, replace, backend=backend)

    assert world.database.commits == 0
    world.check()


def _moment_of_commit(folder: Path) -> int:
    """Return at which moment the commit begins."""
    world = World(folder / "probe", -1)
    begins: list[int] = []
    commit = world.database.commit

    async def noting(changes: dict[int, str | None]) -> None:
        begins.append(world.moments.seen)
        await commit(changes)

    world.database.commit = noting  # type: ignore[method-assign]
    anyio.run(replace, AsyncUploads(world.storage, references=world.database.used), world.database)
    return begins[0]


def test_a_scope_that_cancels_at_every_turn_ends() -> None:
    """A scope of anyio's around somebody who awaits our task does; what is on record is all that is left to others."""
    storage = MemoryStorage()
    rows: list[str | None] = [None]

    async def used(keys: list[str]) -> list[str]:
        return [key for key in keys if key in rows]

    uploads = AsyncUploads(storage, references=used)

    async def inner(begun: asyncio.Event) -> None:
        async def commit() -> None:
            begun.set()
            await asyncio.sleep(60)

        async with uploads.replace(picture("new")) as new:
            new.replacing(rows[0])
            await new.commit(commit)

    async def outer(begun: asyncio.Event) -> None:
        await asyncio.create_task(inner(begun))

    async def main() -> None:
        begun = asyncio.Event()
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(outer, begun)
                await begun.wait()
                tasks.cancel_scope.cancel()

    asyncio.run(main())
    assert len(list(storage.keys())) == len(list(storage.marks())) == 1
    assert len(Uploads(storage, references=lambda keys: []).recover(min_age=0).removed) == 1
