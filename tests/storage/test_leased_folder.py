"""A folder without locks or links: what it does in which order, what fails, and what a crash leaves."""

import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from fakes import THUMB, files, picture

from safeupload import FolderNotOwned, InvalidArgument, StorageError, Uploads
from safeupload._keys import beside, new_key
from safeupload.storage import BucketStorage, LocalStorage
from safeupload.storage._folder import Descriptor
from safeupload.storage._locks import LockedFolder

WHOLE = picture("new").data
POSIX = sys.platform != "win32"


def refuse(*_: object, **__: object) -> None:
    """Be a system that does not have it."""
    raise OSError(errno.ENOSYS, "Function not implemented")


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalStorage:
    """Give a storage of a system without hard links, locks, and descriptors of folders."""
    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(os, "supports_dir_fd", set())
    monkeypatch.setattr(Descriptor, "lock", refuse)
    return LocalStorage(tmp_path / "pictures")


class World:
    """Rows, and a folder whose marks get old when it is told."""

    def __init__(self, storage: LocalStorage) -> None:
        self.storage = storage
        self.folder = storage.path(new_key()).parent
        self.rows: dict[int, str | None] = {}
        self.uploads = Uploads(storage, references=self.used)

    def used(self, keys: list[str]) -> list[str]:
        """Answer `references`."""
        return [key for key in keys if key in self.rows.values()]

    def replace(self) -> None:
        """Replace the picture of a row."""
        with self.uploads.replace(picture("new")) as new:
            key = new.replacing(self.rows.get(1))
            new.commit(lambda: self.rows.update({1: key}))

    def check_p5(self) -> None:
        """Check that what the row names is there, whole."""
        for key in self.rows.values():
            assert key is None or self.storage.read(key) == self.storage.read(beside(key, THUMB)) == WHOLE

    def settle(self) -> None:
        """Let the leases end, recover, and check that exactly what rows name is left."""
        for path in (self.folder / ".pending").iterdir():
            date = path.stat().st_mtime - 3600
            os.utime(path, (date, date))
        self.uploads.recover(min_age=0)
        self.check_p5()
        assert files(self.folder).keys() == {key for key in self.rows.values() if key}
        assert list((self.folder / ".pending").iterdir()) == []


@pytest.fixture
def world(storage: LocalStorage) -> World:
    """Give a folder with one picture that a row names."""
    world = World(storage)
    world.replace()
    return world


def test_pictures_are_replaced_without_links_and_locks(world: World) -> None:
    """Nothing that is hidden is called, and no file is left over."""
    world.replace()
    world.replace()

    assert len(list(world.storage.keys())) == 1
    world.settle()


#: What a system may be asked for in this kind of folder. `os.scandir` and the like are asked of paths only.
CALLS = ["open", "write", "fsync", "replace", "rename", "unlink", "utime", "stat", "lstat", "chmod", "mkdir", "scandir"]


@contextmanager
def failing(at: int, error: int, seen: list[str]) -> Generator[None]:
    """Let the so-manyth call of the system fail, and note all of them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, _failing(name, getattr(os, name), at, error, seen))
        yield


def _failing(name: str, call: Callable[..., Any], at: int, error: int, seen: list[str]) -> Callable[..., Any]:
    def failing_call(*arguments: Any, **keywords: Any) -> Any:  # noqa: ANN401
        seen.append(name)
        if len(seen) - 1 == at:
            raise OSError(error, os.strerror(error))
        return call(*arguments, **keywords)

    return failing_call


def outcome(work: Callable[[], None]) -> StorageError | None:
    """Return the error of ours that the work raises, if it does."""
    try:
        work()
    except StorageError as error:
        return error
    return None


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC], ids=errno.errorcode.get)
def test_p5_each_call_of_a_replacement_may_fail(world: World, error: int) -> None:
    """What comes out is an error of ours or a commit; the rest is settled when the lease has ended."""
    failed: set[str] = set()
    for at in range(1000):
        seen: list[str] = []
        before = world.rows[1]
        with failing(at, error, seen):
            error_of = outcome(world.replace)
        if error_of is not None:
            assert isinstance(error_of.__cause__, OSError)
            assert world.rows[1] == before
            failed.add(seen[at])
        world.check_p5()
        world.settle()
        if len(seen) <= at:
            break
    assert len(seen) > 30
    assert failed >= {"open", "write", "fsync"}


@pytest.mark.skipif(not POSIX, reason="folders are not synced there")
def test_what_a_row_names_is_synced_before_its_name(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes, then the rename, then the folder; and the mark before all of it."""
    steps: list[str] = []
    sync, replace, key = Descriptor.sync, Path.replace, new_key()

    def synced(descriptor: Descriptor) -> None:
        sync(descriptor)
        steps.append(f"sync {Path(f'/proc/self/fd/{descriptor.number}').resolve().name}")

    def replaced(path: Path, target: Path) -> Path:
        steps.append(f"rename {target.name}")
        return replace(path, target)

    monkeypatch.setattr(Descriptor, "sync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    mark = world.storage.new_mark()
    mark.save(WHOLE, {THUMB: WHOLE})
    key = mark.name.key

    thumb = beside(key, THUMB)
    assert steps == [
        *(f"sync {key}!300", "sync .pending"),
        *(f"sync .{key}.part", f"rename {key}", "sync pictures"),
        *(f"sync .{thumb}.part", f"rename {thumb}", "sync pictures"),
    ]


def test_nothing_is_synced_where_nothing_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is what "none" is for."""
    monkeypatch.setattr(Descriptor, "sync", refuse)
    world = World(LocalStorage(tmp_path / "pictures", durability="none", lease=60))
    world.replace()

    world.check_p5()


class Killed(BaseException):
    """The end of a process, which no code can take for an error."""


def test_what_a_crash_leaves_in_the_middle_of_a_file_goes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has another name, and goes with its mark."""
    write = Descriptor.write

    def torn(descriptor: Descriptor, data: bytes) -> None:
        write(descriptor, data[:10])
        if data:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Descriptor, "write", torn)
        patch.setattr(LocalStorage, "settle", lambda self, remove, drop: [])  # nothing more is done by the dead
        patch.setattr(Path, "unlink", lambda self, missing_ok=False: None)
        with suppress(Killed):
            world.replace()
    parts = [path.name for path in world.folder.iterdir() if path.name.endswith(".part")]
    assert len(parts) == 1
    assert len(list(world.storage.keys())) == 1
    world.settle()


def test_a_folder_of_others_is_refused(tmp_path: Path) -> None:
    """As one with locks is."""
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(FolderNotOwned):
        LocalStorage(tmp_path, lease=60)
    LocalStorage(tmp_path, lease=60, adopt=True)

    assert sorted(path.name for path in tmp_path.iterdir()) == [".mode", ".pending", "thesis.txt"]


@pytest.mark.skipif(not POSIX, reason="needs links")
def test_links_of_others_are_not_followed(world: World, tmp_path: Path) -> None:
    """A link under the name of a key is no file, and is neither read nor removed."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    key = new_key()
    (world.folder / key).symlink_to(secret)

    assert not world.storage.exists(key)
    assert key not in set(world.storage.keys())
    with pytest.raises(StorageError, match="no such file"):
        world.storage.read(key)
    world.storage.remove(key)
    assert (world.folder / key).is_symlink()


def test_a_file_system_without_modes_will_do(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAT refuses them."""
    monkeypatch.setattr(os, "chmod", lambda *_, **__: refuse_mode())
    world.replace()

    world.settle()


def refuse_mode() -> None:
    """Be FAT."""
    raise PermissionError(errno.EPERM, "Operation not permitted")


@pytest.mark.skipif(not POSIX, reason="folders are not synced there")
@pytest.mark.parametrize(("error", "stored"), [(errno.EINVAL, True), (errno.EIO, False)], ids=["EINVAL", "EIO"])
def test_a_folder_that_cannot_be_synced_is_not_one_that_fails(world: World, error: int, *, stored: bool) -> None:
    """Some file systems have nothing to sync in a folder, and say so."""
    fsync = os.fsync

    def failing_fsync(number: int) -> None:
        if Path(f"/proc/self/fd/{number}").resolve().is_dir():
            raise OSError(error, os.strerror(error))
        fsync(number)

    before = dict(world.rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", failing_fsync)
        if stored:
            world.replace()
        else:
            with pytest.raises(StorageError):
                world.replace()
    assert (world.rows != before) is stored
    world.settle()


# --- who decides, and who dates ---


def test_dates_are_those_of_whoever_keeps_the_folder(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A date that is set comes from the machine that sets it; so none is set, and what is dated anew is a new file."""
    monkeypatch.setattr(os, "utime", refuse)
    mark = world.storage.new_mark()
    mark.save(WHOLE)
    old = world.storage.old_mark(mark.name.key, 0)
    old.record()
    path = world.folder / ".pending" / old.name.name
    before = path.stat()
    old.touch()
    after = path.stat()

    assert before.st_ino != after.st_ino
    assert after.st_mtime_ns >= before.st_mtime_ns
    assert world.storage.clock() == pytest.approx(time.time(), abs=10)


def test_leases_of_different_length_live_side_by_side(tmp_path: Path) -> None:
    """A task with a long lease is not cleaned up by an application with a short one."""
    task, application = LocalStorage(tmp_path, lease=7200), LocalStorage(tmp_path)
    mark = task.new_mark()
    mark.save(WHOLE)
    path = tmp_path / ".pending" / mark.name.name
    os.utime(path, (time.time() - 3600, time.time() - 3600))

    assert Uploads(application, references=lambda keys: []).recover(min_age=0).waiting == 1
    os.utime(path, (time.time() - 7300, time.time() - 7300))
    assert Uploads(application, references=lambda keys: []).recover(min_age=0).removed == (mark.name.key,)


@pytest.mark.parametrize("gone", ["unmounted", "removed"])
def test_nothing_is_written_where_the_folder_was(world: World, gone: str) -> None:
    """A disk that is not mounted any more leaves an empty folder behind, and whoever writes there would lose it."""
    key = world.rows[1]
    away = world.folder.with_name("away")
    world.folder.rename(away)
    if gone == "unmounted":
        world.folder.mkdir()
    for work in (world.replace, world.uploads.sweep, lambda: world.storage.remove(str(key))):
        with pytest.raises(StorageError):
            work()
    assert world.rows[1] == key
    assert not world.folder.exists() or list(world.folder.iterdir()) == []
    if gone == "unmounted":
        world.folder.rmdir()
    away.rename(world.folder)
    world.replace()
    world.settle()


@pytest.mark.parametrize("first", ["locks", "leases"])
def test_of_two_who_open_a_folder_first_one_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """However close they are: the second, which has looked before and found nothing decided, finds it then."""
    found: list[LocalStorage] = []
    probe = LocalStorage._can_lock

    def slowly(self: LocalStorage) -> bool:
        """Be overtaken by somebody else while the folder is tried out."""
        monkeypatch.setattr(LocalStorage, "_can_lock", probe)
        found.append(LocalStorage(tmp_path, lease=60 if first == "leases" else None))
        return first == "leases"  # this one would decide otherwise

    monkeypatch.setattr(LocalStorage, "_can_lock", slowly)
    found.append(LocalStorage(tmp_path))
    kinds = {type(storage._marked) for storage in found}
    assert kinds == ({BucketStorage} if first == "leases" else {LockedFolder})


@pytest.mark.parametrize("lease", [0.5, 0, -1, "60"])
def test_a_lease_that_cannot_work_decides_nothing(tmp_path: Path, lease: Any) -> None:  # noqa: ANN401
    """It is refused before the folder is touched."""
    with pytest.raises(InvalidArgument, match="lease"):
        LocalStorage(tmp_path / "pictures", lease=lease)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not POSIX, reason="folders are not synced there")
@pytest.mark.parametrize(("durability", "syncs"), [("safe", 0), ("strict", 3)])
def test_strict_is_strict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durability: Any, syncs: int) -> None:  # noqa: ANN401
    """A file that is removed cannot come back without its mark."""
    world = World(LocalStorage(tmp_path / "pictures", durability=durability, lease=60))
    mark = world.storage.new_mark()
    mark.save(WHOLE, {THUMB: WHOLE})
    seen: list[int] = []
    monkeypatch.setattr(Descriptor, "sync", lambda self: seen.append(self.number))
    world.storage.settle([mark], [])

    assert len(seen) == syncs


@pytest.mark.skipif(not POSIX, reason="folders are not synced there")
def test_a_folder_that_cannot_be_synced_can_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a lease as without links."""
    fsync = os.fsync

    def failing_fsync(number: int) -> None:
        if Path(f"/proc/self/fd/{number}").resolve().is_dir():
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        fsync(number)

    monkeypatch.setattr(os, "fsync", failing_fsync)
    World(LocalStorage(tmp_path / "a/b", lease=60)).replace()


def test_two_write_the_same_at_the_same_time(world: World) -> None:
    """The clock and the list of renditions are everybody's; nobody's try is lost, and nothing is left over."""
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: type(world.storage.clock()), range(200)))) == 1
    assert not list(world.folder.glob("**/*.part"))


CLOCKS = """
import sys
from safeupload.storage import LocalStorage
storage = LocalStorage(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for _ in range(100):
    storage.clock()
"""


def test_several_processes_write_the_same_at_the_same_time(world: World) -> None:
    """Likewise, where no lock of one process helps."""
    command = [sys.executable, "-c", CLOCKS, str(world.folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(3)]  # type: ignore[call-overload]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    assert [process.communicate("go\n", timeout=60)[1] for process in processes] == [""] * 3
    assert not list(world.folder.glob("**/*.part"))
