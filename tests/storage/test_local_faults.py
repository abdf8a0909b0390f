"""
What a disk can do to a folder: each call of each step fails once; files that do not go; the power itself.

`test_local` lets whole replacements fail; here are the single steps, opening, and cleaning.
"""

import errno
import fcntl
import gc
import logging
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from fakes import THUMB, files, picture

from safeupload import StorageError, Uploads
from safeupload.storage import LocalStorage, local
from safeupload.storage._base import Mark

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a local storage needs flock")

WHOLE = picture("new").data
RENDITIONS = {THUMB: WHOLE}
CALLS = [
    *((os, name) for name in ("open", "write", "fchmod", "fsync", "link", "unlink", "utime", "stat", "fstat")),
    *((os, name) for name in ("scandir", "listdir", "mkdir")),
    (fcntl, "flock"),
]


class Log(logging.Handler):
    """Keeps all records, and with them the tracebacks of what failed, as some handlers do."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        self.records.append(record)


@contextmanager
def logged_here() -> Generator[Log]:
    """Keep the log here and nowhere else. No fixture: pytest listens to what does not propagate before a test."""
    handler = Log()
    logger = logging.getLogger("safeupload")
    logger.propagate = False
    logger.addHandler(handler)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
        logger.propagate = True


class Happens(BaseException):
    """Raised by nobody but a test, so that no code can take it for an error of the system."""


class Moment:
    """Counts the calls of the system, and does something before the so-manyth."""

    def __init__(self, at: int, act: Callable[[], None]) -> None:
        self.at = at
        self.act = act
        self.seen = 0
        self.name = ""

    @contextmanager
    def watched(self, monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
        """Watch the calls for the duration."""
        with monkeypatch.context() as patch:
            for module, name in CALLS:
                patch.setattr(module, name, self._watching(name, getattr(module, name)))
            patch.setattr(os, "supports_dir_fd", {*os.supports_dir_fd, os.link})  # as the real one is
            yield

    def _watching(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def watching(*arguments: Any, **keywords: Any) -> Any:  # noqa: ANN401
            self.seen += 1
            if self.seen - 1 == self.at:
                self.name = name
                self.act()
            return call(*arguments, **keywords)

        return watching


def failing_with(number: int) -> Callable[[], None]:
    """Return what raises this error of the system."""

    def fail() -> None:
        raise OSError(number, os.strerror(number))

    return fail


def open_files() -> int:
    """Return how many descriptors this process has."""
    gc.collect()  # what other tests have left in cycles
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


class World:
    """A folder with a file that is referenced, two on record that nobody names, and one that is not on record."""

    def __init__(self, root: Path, durability: local.Durability) -> None:
        self.root = root
        self.storage = LocalStorage(root, durability=durability)
        self.named = self.store()
        self.storage.settle([], [self.named])
        self.left = self.store()
        self.left_too = self.store()
        self.held: Mark = self.storage.old_mark(self.named.name.key, 0)
        self.lost = self.store()
        self.storage.settle([], [self.lost])
        self.told: dict[str, bool] = {}  # which files are gone, as `settle` says

    def store(self) -> Mark:
        """Store a file, and leave its mark."""
        mark = self.storage.new_mark()
        mark.save(WHOLE, RENDITIONS)
        mark.close()
        return mark

    def uploads(self) -> Uploads:
        """Return an object of another process."""
        return Uploads(LocalStorage(self.root), references=self.used)

    def used(self, keys: list[str]) -> list[str]:
        """Answer `references`."""
        return [key for key in keys if key == self.named.name.key]

    def check(self) -> None:
        """Check that nothing is half-written, and that cleaning leaves exactly what is referenced."""
        assert all(path.read_bytes() == WHOLE for path in self.root.glob("[0-9a-f]*.*"))
        for key, gone in self.told.items():
            assert (self.root / ".pending" / key).exists() is not gone
            assert not (gone and (self.root / key).exists())
        self.uploads().recover(min_age=0)
        assert list((self.root / ".pending").iterdir()) == []
        self.storage.remove(self.lost.name.key)
        assert files(self.root) == {self.named.name.key: WHOLE}


def save(world: World) -> None:
    """Store a new file."""
    mark = world.storage.new_mark()
    try:
        mark.save(WHOLE, RENDITIONS)
    finally:
        mark.close()


def record(world: World) -> None:
    """Put an old file on record."""
    try:
        world.held.record()
        world.held.touch()
    finally:
        world.held.close()


def seize(world: World) -> None:
    """Take hold of a mark."""
    mark = world.storage.seize(world.left.name, 1e12)
    if mark is not None:
        mark.close()


def settle(world: World) -> None:
    """Remove a file and its mark, and drop the mark of another; tell truly what is gone."""
    marks: list[Mark] = []
    try:
        for name in (world.left.name, world.left_too.name):
            seized = world.storage.seize(name, 1e12)
            assert seized is not None
            marks.append(seized)
    except BaseException:
        for mark in marks:
            mark.close()
        raise
    stuck = {failure.key for failure in world.storage.settle(marks, [])}
    world.told = {mark.name.key: mark.name.key not in stuck for mark in marks}


def read(world: World) -> None:
    """Read a file."""
    assert world.storage.read(world.named.name.key) == WHOLE


def look(world: World) -> None:
    """List everything, and tell the time."""
    assert world.named.name.key in set(world.storage.keys())
    assert world.named.name.key in {file.key for file in world.storage.files()}
    assert world.left.name in set(world.storage.marks())
    assert world.storage.exists(world.named.name.key)
    assert world.storage.clock() > 1000


def remove(world: World) -> None:
    """Remove a file that is not on record."""
    world.storage.remove(world.lost.name.key)


def open_new(world: World) -> None:
    """Make another storage."""
    LocalStorage(world.root.parent / f"{world.root.name}-new/pictures")


def recover(world: World) -> None:
    """Settle all marks."""
    Uploads(world.storage, references=world.used).recover(min_age=0)


def sweep(world: World) -> None:
    """Look at all files."""
    Uploads(world.storage, references=world.used).sweep(min_age=0, force=True)


def abort(world: World) -> None:
    """Change one's mind."""
    with Uploads(world.storage, references=world.used).replace(picture("new")) as new:
        new.replacing(world.named.name.key)
        new.abort()


STEPS = [save, record, seize, settle, read, look, remove, open_new, recover, sweep, abort]


@pytest.mark.parametrize("durability", ["safe", "strict"])
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_p5_each_call_of_each_step_may_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: Callable[[World], None], durability: local.Durability
) -> None:
    """What is raised is an error of ours; no lock or descriptor stays behind; cleaning repairs the rest."""
    before = open_files()
    failed: set[str] = set()
    with logged_here():
        kept: list[StorageError] = []  # as the log keeps others: their tracebacks must hold no lock
        for at in range(1000):
            world = World(tmp_path / str(at), durability)
            moment = Moment(at, failing_with(errno.EIO))
            with moment.watched(monkeypatch):
                try:
                    step(world)
                except StorageError as error:
                    kept.append(error)
                    failed.add(moment.name)
            world.check()
            if not moment.name:
                break
    assert moment.name == ""
    assert {type(error.__cause__) for error in kept} == {OSError}
    del world, kept
    assert open_files() == before
    assert failed


def test_an_error_of_close_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has to be on the disk has been synced; the number is free, and may be another file's already."""
    storage = LocalStorage(tmp_path)
    close = os.close
    closed: list[int] = []

    def failing(number: int) -> None:
        closed.append(number)
        close(number)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "close", failing)
        mark = storage.new_mark()
        mark.save(WHOLE)
        mark.close()
        mark.close()
        assert len(closed) == 1
        seized = storage.seize(mark.name, 1e12)
        assert seized is not None
        assert storage.settle([seized], []) == []
        assert len(closed) == 2
    assert list(storage.keys()) == []
    assert list(storage.marks()) == []


def test_one_file_that_stays_keeps_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several files settled at once, each that cannot be removed keeps its mark, and only that one."""
    storage = LocalStorage(tmp_path)
    world = [storage.new_mark() for _ in range(3)]
    for mark in world:
        mark.save(WHOLE, RENDITIONS)
    unlink = os.unlink
    live = storage._marked._live.number  # type: ignore[attr-defined]

    def stubborn(name: str, **keywords: Any) -> None:  # noqa: ANN401
        if name == world[1].name.key and keywords["dir_fd"] == live:
            raise PermissionError(errno.EPERM, "Operation not permitted")
        unlink(name, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", stubborn)
        failures = storage.settle(world, [])

    assert [failure.key for failure in failures] == [world[1].name.key]
    assert [name.key for name in storage.marks()] == list(storage.keys()) == [world[1].name.key]
    assert storage.seize(world[1].name, 1e12) is not None  # nobody holds it


def test_a_file_that_the_system_keeps(tmp_path: Path) -> None:
    """An immutable old file is on record after the commit, and goes once the system lets it."""
    storage = LocalStorage(tmp_path)
    rows: list[str] = []
    events: list[str] = []
    uploads = Uploads(
        storage,
        references=lambda keys: [key for key in keys if key in rows],
        on_event=lambda event: events.append(event.name),
    )
    for _ in range(2):
        immutable = bool(rows) and chattr("+i", storage.path(rows[0]))
        if rows and not immutable:
            pytest.skip("cannot make a file immutable")
        old = list(rows)
        try:
            with uploads.replace(picture("new")) as new:
                key = new.replacing(old[0] if old else None)
                new.commit(lambda key=key: rows.__setitem__(slice(None), [key]))  # type: ignore[misc]
            if old:
                assert new.state == "committed"
                assert uploads.recover(min_age=0).failed == tuple(old)
        finally:
            if immutable:
                chattr("-i", storage.path(old[0]))

    assert events[-2:] == ["failed", "recovered"]
    assert "failed" in events[: events.index("recovered")]
    assert uploads.recover(min_age=0).removed == tuple(old)
    assert list(storage.keys()) == rows
    assert list(storage.marks()) == []


def chattr(what: str, path: Path) -> bool:
    """Change an attribute of a file, where that is possible."""
    with suppress(OSError):
        done = subprocess.run(["/usr/bin/env", "chattr", what, str(path)], capture_output=True, check=False)
        return done.returncode == 0
    return False


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG], ids=errno.errorcode.get)
def test_a_disk_that_fills_up_in_the_middle_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """After some bytes there is no room: an error, nothing under a live name, and what is left on record goes."""
    storage = LocalStorage(tmp_path)
    write = os.write
    written: list[int] = []

    def filling(number: int, data: bytes) -> int:
        if written:
            raise OSError(code, os.strerror(code))
        written.append(write(number, data[:5]))
        return written[0]

    mark = storage.new_mark()
    with monkeypatch.context() as patch, pytest.raises(StorageError) as caught:
        patch.setattr(os, "write", filling)
        mark.save(WHOLE, RENDITIONS)
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == code
    assert written == [5]
    assert list(storage.keys()) == []
    assert storage.settle([mark], []) == []
    assert list((tmp_path / ".pending").iterdir()) == []


# --- a real loss of power ---

#: Linux: the file system stops at once, and does not write what its journal holds.
SHUTDOWN = 0x8004587D
WITHOUT_THE_JOURNAL = struct.pack("I", 2)


class Losses(NamedTuple):
    """What was found: moments, those with a lost or torn file, those that `recover` and `sweep` did not settle."""

    tried: int
    lost: int
    not_recovered: int
    not_swept: int


class Disk:
    """A file system of its own, in a file."""

    def __init__(self, folder: Path) -> None:
        self.image = folder / "image"
        self.mount = folder / "mount"
        self.mount.mkdir()
        with self.image.open("wb") as file:
            file.truncate(64 << 20)
        command("mkfs.ext4", "-q", "-F", str(self.image))

    @contextmanager
    def mounted(self) -> Generator[None]:
        """Mount it, for as long as it is used."""
        command("mount", "-o", "loop", str(self.image), str(self.mount))
        try:
            with logged_here():  # tracebacks in the log hold descriptors
                yield
        except BaseException:  # as that of a failed test does
            subprocess.run(["/usr/bin/env", "umount", "-l", str(self.mount)], check=False)
            raise
        gc.collect()
        subprocess.run(["/usr/bin/env", "umount", str(self.mount)], check=True)

    def lose_power(self) -> None:
        """Lose what is not on the disk, and end whatever is being done."""
        number = os.open(self.mount, os.O_RDONLY)
        try:
            fcntl.ioctl(number, SHUTDOWN, WITHOUT_THE_JOURNAL)
        finally:
            os.close(number)
        raise Happens


def command(*words: str) -> None:
    """Run a tool of the system; skip where it is missing or not allowed."""
    done = subprocess.run(["/usr/bin/env", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{words[0]}: {done.stderr.strip()}")


def change(root: Path, durability: local.Durability, rows: dict[int, str | None], work: str) -> None:
    """Do one piece of work; the rows are a database that keeps every commit."""
    uploads = Uploads(LocalStorage(root, durability=durability), references=naming(rows))
    with uploads.transaction() as tx:
        changes: dict[int, str | None] = {}
        for row in {"replace": [1], "create": [3], "delete": [1], "two": [1, 2]}[work]:
            changes[row] = None if work == "delete" else tx.save(picture("new"))
            tx.release(rows.get(row))
        tx.commit(lambda: rows.update(changes))


def naming(rows: dict[int, str | None]) -> Callable[[list[str]], list[str]]:
    """Return `references` for these rows."""
    return lambda keys: [key for key in keys if key in rows.values()]


def are_whole(root: Path, keys: Iterable[str]) -> bool:
    """Tell whether files have come back with all their bytes."""
    found = files(root)
    return all(found.get(key) == WHOLE for key in keys)


def lose_power_everywhere(
    disk: Disk, monkeypatch: pytest.MonkeyPatch, work: str, durability: local.Durability
) -> Losses:
    """Lose the power before every call of the system, and after the last; look what has come back."""
    lost = not_recovered = not_swept = 0
    for at in range(1000):
        rows: dict[int, str | None] = {}
        root = disk.mount / f"{work}-{durability}-{at}"
        moment = Moment(at, disk.lose_power)
        with disk.mounted():
            for row in (1, 2):
                mark = LocalStorage(root).new_mark()
                mark.save(WHOLE, RENDITIONS)
                mark.close()
                rows[row] = mark.name.key
            (root / ".pending" / str(rows[1])).unlink()
            (root / ".pending" / str(rows[2])).unlink()
            os.sync()
            del mark
            with moment.watched(monkeypatch):
                try:
                    change(root, durability, rows, work)
                except (Happens, StorageError):
                    assert moment.name  # once the power is lost, what cleans up meets errors
            if not moment.name:
                with suppress(Happens):
                    disk.lose_power()
        with disk.mounted():
            named = {key for key in rows.values() if key}
            uploads = Uploads(LocalStorage(root), references=naming(rows))
            torn = not are_whole(root, named)
            uploads.recover(min_age=0)
            lost += torn or not are_whole(root, named)
            not_recovered += files(root).keys() != named or any((root / ".pending").iterdir())
            uploads.sweep(min_age=0, force=True)
            not_swept += files(root).keys() != named
            del uploads
        if not moment.name:
            return Losses(at + 1, lost, not_recovered, not_swept)
    pytest.fail("the work has no end")


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.skipif(
    os.environ.get("SAFEUPLOAD_POWER_LOSS") != "1",
    reason="mounts a file system and stops it; set SAFEUPLOAD_POWER_LOSS=1 to allow that",
)
def test_p5_p7_survive_a_real_power_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No file that a row names is lost or torn, however the disk comes back; without syncs some are."""
    disk = Disk(tmp_path)
    found: dict[str, Losses] = {}
    levels: tuple[local.Durability, ...] = ("safe", "strict", "none")
    for durability in levels:
        for work in ("replace", "create", "delete", "two"):
            found[f"{durability} {work}"] = lose_power_everywhere(disk, monkeypatch, work, durability)
    with capsys.disabled():
        for name, losses in found.items():
            print(f"\n{name}: {losses}", end="")  # noqa: T201 - the figures are what it is run for

    for name, losses in found.items():
        if not name.startswith("none"):
            assert (losses.lost, losses.not_swept) == (0, 0), name
        if name.startswith("strict"):
            assert losses.not_recovered == 0, name
    assert found["none replace"].lost > 0  # or the power was not lost
