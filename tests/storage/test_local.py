"""A folder as a storage: what it refuses, what it never touches, its locks, its faults and what it syncs."""

import dataclasses
import errno
import fcntl
import gc
import math
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import pytest
from fakes import THUMB, files, picture

import safeupload
from safeupload import (
    FileMissing,
    FolderNotOwned,
    InvalidArgument,
    InvalidKey,
    NormalizedImage,
    StorageError,
    UnsupportedStorage,
    Uploads,
)
from safeupload._keys import MarkName, beside, new_key, new_mark
from safeupload.storage import BucketStorage, LocalStorage, _locks, local
from safeupload.storage._folder import Descriptor, Folder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a local storage needs flock")


def open_files() -> int:
    """Return how many descriptors this process has."""
    gc.collect()  # what other tests have left in cycles
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


class World:
    """A folder with one file that a row names."""

    def __init__(self, folder: Path, durability: local.Durability = "safe") -> None:
        self.folder = folder
        self.storage = LocalStorage(folder, durability=durability)
        self.rows: dict[int, str | None] = {}
        self.events: list[str] = []
        self.replace()

    def uploads(self) -> Uploads:
        """Return an object for the storage."""
        return Uploads(self.storage, references=self.used, on_event=lambda event: self.events.append(event.name))

    def used(self, keys: list[str]) -> list[str]:
        """Answer `references`."""
        return [key for key in keys if key in self.rows.values()]

    def replace(self, row: int = 1) -> None:
        """Replace the picture of a row."""
        with self.uploads().replace(picture("new")) as new:
            key = new.replacing(self.rows.get(row))
            new.commit(lambda: self.rows.update({row: key}))

    def two(self) -> None:
        """Replace two pictures at once."""
        with self.uploads().transaction() as tx:
            keys = {row: tx.save(picture("new")) for row in (1, 2)}
            for row in (1, 2):
                tx.release(self.rows.get(row))
            tx.commit(lambda: self.rows.update(keys))

    def delete(self) -> None:
        """Delete a row."""
        with self.uploads().transaction() as tx:
            tx.release(self.rows[1])
            tx.commit(lambda: self.rows.update({1: None}))

    def check_p5(self) -> None:
        """Check that what rows name is there, whole."""
        fresh = LocalStorage(self.folder, durability="none")
        for key in self.rows.values():
            assert key is None or fresh.read(key) == fresh.read(beside(key, THUMB)) == picture("new").data

    def check_settled(self) -> None:
        """Check that exactly what rows name is there, and nothing on record."""
        self.check_p5()
        assert files(self.folder).keys() == {key for key in self.rows.values() if key}
        assert list((self.folder / ".pending").iterdir()) == []


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Give a folder with one file."""
    return World(tmp_path / "pictures")


# --- opening ---


def test_the_folder_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its parents; a relative one stays where it was when the working folder changes."""
    monkeypatch.chdir(tmp_path)
    storage = LocalStorage("a/b/c")
    monkeypatch.chdir("/")

    assert storage.path(key := new_key()) == tmp_path / "a/b/c" / key
    assert stat.S_IMODE((tmp_path / "a/b/c/.pending").stat().st_mode) == 0o700
    assert list(storage.keys()) == []


def test_a_folder_of_others_is_refused(tmp_path: Path) -> None:
    """A storage removes files, so it must be told that it may; then only keys are its own."""
    (tmp_path / "thesis.txt").write_text("mine")
    key = new_key()
    (tmp_path / key).write_bytes(b"picture")

    with pytest.raises(FolderNotOwned, match="adopt=True"):
        LocalStorage(tmp_path)
    assert not (tmp_path / ".pending").exists()
    storage = LocalStorage(tmp_path, adopt=True)
    assert list(storage.keys()) == [key]
    LocalStorage(tmp_path)  # it is one now
    Uploads(storage, references=lambda keys: []).sweep(min_age=0, force=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mode", ".pending", "thesis.txt"]


def test_links_to_the_folder_are_followed_and_links_in_it_are_not(tmp_path: Path) -> None:
    """The root is the developer's; the record inside must be a folder of its own."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    LocalStorage(tmp_path / "link")
    assert (tmp_path / "real/.pending").is_dir()

    (tmp_path / "other").mkdir()
    (tmp_path / "other/.pending").symlink_to(tmp_path)
    with pytest.raises(StorageError):
        LocalStorage(tmp_path / "other")
    (tmp_path / "file").mkdir()
    (tmp_path / "file/.pending").write_text("")
    with pytest.raises(StorageError):
        LocalStorage(tmp_path / "file")
    (tmp_path / "no folder").write_text("")
    with pytest.raises(StorageError):
        LocalStorage(tmp_path / "no folder")


def test_arguments(tmp_path: Path) -> None:
    """A level that does not exist is refused."""
    with pytest.raises(InvalidArgument, match="durability"):
        LocalStorage(tmp_path, durability="very")  # type: ignore[arg-type]
    assert repr(LocalStorage(tmp_path / "x")) == f"LocalStorage({str(tmp_path / 'x')!r})"


def test_many_open_a_fresh_folder_at_once(tmp_path: Path) -> None:
    """Threads and processes that make the same storage do not get in each other's way."""
    for round_ in range(10):
        root = tmp_path / str(round_)
        errors: list[BaseException] = []

        def work(root: Path = root, errors: list[BaseException] = errors) -> None:
            try:
                World(root, "none")
            except BaseException as error:  # noqa: BLE001 - the test looks at them
                errors.append(error)

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert len(list(LocalStorage(root).keys())) == 6


def test_it_opens_beside_a_recovery_without_an_age(tmp_path: Path) -> None:
    """Whoever recovers everything at once may take the marks of the probe away; it tries again."""
    storage = LocalStorage(tmp_path)
    uploads = Uploads(storage, references=lambda keys: [])
    stop = threading.Event()

    def recover() -> None:
        while not stop.is_set():
            uploads.recover(min_age=0)

    thread = threading.Thread(target=recover)
    thread.start()
    try:
        for _ in range(200):
            LocalStorage(tmp_path)
    finally:
        stop.set()
        thread.join()
    assert list((tmp_path / ".pending").iterdir()) == []


@pytest.mark.parametrize(
    ("owner", "name", "taken"),
    [
        (Folder, "link", FileNotFoundError(errno.ENOENT, "No such file or directory")),
        (Folder, "open", None),
        (Descriptor, "lock", False),
    ],
    ids=["before the link", "before it is opened", "while it is locked"],
)
def test_a_probe_that_a_cleaner_disturbed_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: type, name: str, taken: object
) -> None:
    """It is neither a yes nor a no: the folder is tried again, and after a hundred tries there is an error."""
    real = getattr(owner, name)
    left = 99

    def disturbed(self: object, *arguments: object) -> object:
        nonlocal left
        if (name == "open" and ".jpg" not in str(arguments[0])) or left == 0:
            return real(self, *arguments)
        left -= 1
        if isinstance(taken, Exception):
            raise taken
        return taken

    monkeypatch.setattr(owner, name, disturbed)

    assert not isinstance(LocalStorage(tmp_path / "patient")._marked, BucketStorage)
    assert left == 0
    left = 100
    with pytest.raises(StorageError, match="taken away"):
        LocalStorage(tmp_path / "patient")
    monkeypatch.undo()
    assert list((tmp_path / "patient/.pending").iterdir()) == []
    LocalStorage(tmp_path / "patient")


def no_link(*_: object, **__: object) -> None:
    """Be a file system without hard links."""
    raise OSError(errno.EPERM, "Operation not permitted")


def no_lock(*_: object) -> None:
    """Be a file system without locks."""
    raise OSError(errno.ENOLCK, "No locks available")


@pytest.mark.parametrize(
    ("owner", "name", "value"),
    [
        (Folder, "link", no_link),
        (Descriptor, "lock", no_lock),
        (Descriptor, "lock", lambda self: True),  # a lock that keeps nobody out
        (os, "supports_dir_fd", set()),
        (sys, "platform", "win32"),
    ],
    ids=["no links", "no locks", "no exclusion", "no descriptors", "Windows"],
)
def test_a_folder_without_locks_has_leases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: object, name: str, value: object
) -> None:
    """For good: whoever opens it later keeps to them; one that had locks is refused, clearly."""
    LocalStorage(tmp_path / "locked")
    monkeypatch.setattr(owner, name, value)
    with pytest.raises(UnsupportedStorage, match=r"flock and hard links, which are missing here.*\.mode"):
        LocalStorage(tmp_path / "locked")
    storage = LocalStorage(tmp_path / "leased")
    mark = storage.new_mark()
    mark.save(b"picture")
    monkeypatch.undo()

    assert sorted(path.name for path in (tmp_path / "leased").iterdir()) == [".mode", ".pending", mark.name.key]
    assert isinstance(storage._marked, BucketStorage)
    again = LocalStorage(tmp_path / "leased")
    assert isinstance(again._marked, BucketStorage)
    assert again.seize(next(again.marks()), math.inf) is None
    assert not isinstance(LocalStorage(tmp_path / "locked")._marked, BucketStorage)
    assert list(tmp_path.glob("locked/.pending/*")) == []


def test_a_lease_is_for_folders_that_several_machines_share(tmp_path: Path) -> None:
    """Asked for at the first opening, it stays; a folder that has locks is not changed over behind others' backs."""
    LocalStorage(tmp_path / "locked")
    with pytest.raises(UnsupportedStorage, match="so far"):
        LocalStorage(tmp_path / "locked", lease=60)
    assert isinstance(LocalStorage(tmp_path / "leased", lease=60)._marked, BucketStorage)
    assert isinstance(LocalStorage(tmp_path / "leased")._marked, BucketStorage)
    (tmp_path / "locked/.mode").rmdir()
    (tmp_path / "locked/.mode").touch()
    assert isinstance(LocalStorage(tmp_path / "locked", lease=60)._marked, BucketStorage)
    for lease in (0, -1, "60"):
        with pytest.raises(InvalidArgument, match="lease"):
            LocalStorage(tmp_path / "leased", lease=lease)  # type: ignore[arg-type]


# --- names ---


@pytest.mark.parametrize(
    "key", ["../x", "x", "", ".", "a\0b", ".pending", "/etc/passwd", "AB" * 16 + ".JPG", "ab" * 16 + ".jpg\n"]
)
def test_p8_only_keys_reach_the_folder(world: World, key: str) -> None:
    """What is no key raises the same as a file that is not there, for a client."""
    for call in (world.storage.read, world.storage.path):
        with pytest.raises(InvalidKey) as caught:
            call(key)
        assert caught.value.status == 404
        assert str(caught.value) == "There is no such file."


def test_a_file_that_is_not_there(world: World) -> None:
    """It is missing, and its path is where it would be."""
    key = new_key()
    with pytest.raises(FileMissing, match="no such file"):
        world.storage.read(key)
    assert world.storage.path(key).parent == world.folder


def make_link(path: Path) -> None:
    """Make a link to something precious."""
    path.symlink_to(path.parent.parent / "precious")


def make_socket(path: Path) -> None:
    """Make a socket."""
    with socket.socket(socket.AF_UNIX) as made:
        here = os.open(path.parent, os.O_RDONLY)
        try:
            os.fchdir(here)
            made.bind(path.name)
        finally:
            os.close(here)


@pytest.mark.parametrize(
    "make", [make_link, Path.mkdir, os.mkfifo, make_socket], ids=["link", "folder", "pipe", "socket"]
)
def test_p8_what_is_no_plain_file_is_left_alone(
    world: World, make: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link, a folder, a pipe under a key's name is not read, not listed, not removed, though a row names it."""
    monkeypatch.chdir(world.folder)  # and back afterwards
    (world.folder.parent / "precious").write_text("gold")
    key = new_key()
    make(world.folder / key)
    before = world.storage.path(key).lstat()

    with pytest.raises(FileMissing):
        world.storage.read(key)
    assert key not in set(world.storage.keys())
    world.rows[2] = key
    with world.uploads().replace(picture("new")) as new:
        fresh = new.replacing(key)
        new.commit(lambda: world.rows.update({2: fresh}))
    world.uploads().sweep(min_age=0, force=True)

    assert world.storage.path(key).lstat().st_ino == before.st_ino
    assert (world.folder.parent / "precious").read_text() == "gold"
    world.storage.path(key).rename(world.folder.parent / "elsewhere")
    world.check_settled()


def test_what_is_no_mark_is_left_alone(world: World) -> None:
    """Strange names, folders and links in the record are nobody's."""
    pending = world.folder / ".pending"
    (pending / "README").write_text("")
    (pending / new_key()).mkdir()
    (pending / new_key()).symlink_to("README")
    names = sorted(path.name for path in pending.iterdir())

    assert world.uploads().recover(min_age=0) == safeupload.RecoveryReport()
    assert sorted(path.name for path in pending.iterdir()) == names


def test_listings_do_not_disturb_each_other(world: World) -> None:
    """Each has its own position in the folder."""
    for _ in range(300):
        (world.folder / new_key()).write_bytes(b"")
    expected = set(world.storage.keys())
    found: list[set[str]] = []
    threads = [threading.Thread(target=lambda: found.append(set(world.storage.keys()))) for _ in range(8)]
    for thread in threads:
        thread.start()
    half = world.storage.keys()
    next(half)
    for thread in threads:
        thread.join()

    assert found == [expected] * 8
    assert len(set(half)) == len(expected) - 1


def test_files_can_be_served_and_marks_cannot(tmp_path: Path) -> None:
    """Whatever the umask of the process."""
    old = os.umask(0o077)
    try:
        world = World(tmp_path / "pictures")
    finally:
        os.umask(old)
    (key,) = world.storage.keys()

    assert stat.S_IMODE(world.storage.path(key).stat().st_mode) == 0o644
    assert world.storage.path(key).stat().st_nlink == 1
    assert stat.S_IMODE((world.folder / ".pending").stat().st_mode) == 0o700


# --- locks ---


def test_a_live_mark_is_held_against_everybody(world: World) -> None:
    """Another object for the same folder, a thread, a process: none can take it."""
    with world.uploads().replace(picture("new")) as new:
        new.replacing(world.rows[1])
        script = (
            "import sys, safeupload; from safeupload.storage import LocalStorage;"
            "u = safeupload.Uploads(LocalStorage(sys.argv[1]), references=lambda keys: []);"
            "print(u.recover(min_age=0))"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, str(world.folder)], capture_output=True, text=True, check=True
        )
        assert "waiting=1" in done.stdout
        other = Uploads(LocalStorage(world.folder), references=world.used)
        assert other.recover(min_age=0).waiting == 1
        new.abort()
    world.check_settled()


@pytest.mark.parametrize("how", ["exits", "is killed"])
def test_a_dead_process_holds_nothing(world: World, how: str) -> None:
    """Its marks can be taken at once; a child that it forked keeps them for as long as it lives."""
    script = """
import os, signal, sys, time, safeupload
from fakes import picture
from safeupload.storage import LocalStorage
uploads = safeupload.Uploads(LocalStorage(sys.argv[1]), references=lambda keys: [])
new = uploads.replace(picture("new"))
new.__enter__()
new.replacing(None)
child = os.fork()
if child == 0:
    os.close(1)
    sys.stdin.read()
    os._exit(0)
print("ready", flush=True)
if sys.argv[2] == "is killed":
    os.kill(os.getpid(), signal.SIGKILL)
os._exit(0)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    command = [sys.executable, "-c", script, str(world.folder), how]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "ready\n"
        process.wait()
        assert world.uploads().recover(min_age=0).waiting == 1
        process.stdin.close()  # which ends the child
        for _ in range(1000):
            if world.uploads().recover(min_age=0).removed:
                break
            threading.Event().wait(0.01)
    world.check_settled()


def test_no_descriptor_is_left_or_inherited(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """After blocks of every kind, failed ones too, there are as many as before; a child gets none of them."""
    world.replace(2)
    before = open_files()
    for _ in range(5):
        world.replace()
        world.two()
        world.uploads().recover(min_age=0)
        world.uploads().sweep(min_age=0)
        with world.uploads().replace(picture("new")):
            pass
        with pytest.raises(safeupload.CommitMissing), world.uploads().replace(picture("new")) as new:
            new.replacing(None)
        with monkeypatch.context() as patch, pytest.raises(StorageError):
            patch.setattr(os, "fsync", no_link)
            world.replace()
        next(world.storage.keys())
    del new
    assert open_files() == before

    with world.uploads().replace(picture("new")):
        script = (
            "import os; print(*(os.readlink(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd') if n > '2'))"
        )
        command = [sys.executable, "-c", f"try:\n    {script}\nexcept OSError: pass"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, close_fds=False)
        assert str(world.folder) not in done.stdout


def test_a_cleaner_between_creation_and_lock(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mark that somebody has taken, or dropped, before its lock was ours is given up for another."""
    create = Folder.create
    for when in ("held", "dropped"):
        rivals: list[Descriptor] = []

        def interfering(self: Folder, name: str, when: str = when, rivals: list[Descriptor] = rivals) -> Descriptor:
            made = create(self, name)
            if len(rivals) < 2:
                rival = self.open(name)
                assert rival is not None
                assert rival.lock()
                rivals.append(rival)
                if when == "dropped":
                    self.unlink(name)
                    rival.close()
            return made

        monkeypatch.setattr(Folder, "create", interfering)
        world.replace()
        monkeypatch.undo()
        assert len(rivals) == 2
        world.check_settled()


def test_marks_that_are_always_taken_are_an_error(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends, after some tries, and leaves nothing."""
    monkeypatch.setattr(Descriptor, "lock", lambda self: False)
    with pytest.raises(StorageError, match="every name"):
        world.replace()
    monkeypatch.undo()
    world.check_settled()


def test_a_mark_that_is_touched_or_dropped_before_its_lock_is_left_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cleaner looks again once it has the lock."""
    lock = Descriptor.lock
    for act in (os.utime, os.unlink):
        mark = world.storage.new_mark()
        mark.save(picture("new").data)
        mark.close()
        path = world.folder / ".pending" / mark.name.key
        os.utime(path, (1000, 1000))

        def late(self: Descriptor, act: Callable[[Any], None] = act, path: Path = path) -> bool:
            act(path)
            return lock(self)

        monkeypatch.setattr(Descriptor, "lock", late)
        assert world.storage.seize(mark.name, 2000) is None
        monkeypatch.undo()
    assert len(list(world.storage.keys())) == 3


def test_a_key_that_exists_already_is_not_taken_over(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random bits that come twice, as on a machine restored from a snapshot, are an error; the other file stays."""
    (key,) = world.storage.keys()
    names = iter([MarkName(key, key, is_new=True), new_mark()])
    monkeypatch.setattr(_locks, "new_mark", lambda: next(names, new_mark()))
    monkeypatch.setattr(Folder, "date", lambda self, name: 0.0)
    names = iter([new_mark(), MarkName(key, key, is_new=True)])
    with pytest.raises(StorageError, match="File exists"):
        world.replace()
    monkeypatch.undo()
    world.check_settled()
    assert list(world.storage.keys()) == [key]


# --- time ---


def test_ages_count_from_the_commit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block may take long before it commits; what it leaves in doubt is as old as its commit."""
    pending = world.folder / ".pending"
    with world.uploads().replace(picture("new")) as new:
        new.replacing(world.rows[1])
        for path in pending.iterdir():
            os.utime(path, (1000, 1000))

        def commit() -> None:
            assert all(path.stat().st_mtime > 2000 for path in pending.iterdir())
            raise ConnectionResetError

        with pytest.raises(ConnectionResetError):
            new.commit(commit)
        for path in pending.iterdir():
            os.utime(path, (1000, 1000))
    assert all(path.stat().st_mtime > 2000 for path in pending.iterdir())  # and from the end of the block
    assert world.uploads().recover().waiting == 2


def test_the_clock_is_the_file_systems(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the process may be wrong."""
    import time  # noqa: PLC0415

    monkeypatch.setattr(time, "time", lambda: 0.0)
    before = (world.folder / ".pending").stat().st_mtime
    assert world.storage.clock() >= before > 1000


# --- faults ---

CALLS = ["open", "write", "fchmod", "fsync", "link", "unlink", "utime", "stat", "scandir"]


class Fault:
    """Makes the so-manyth call of the system fail."""

    def __init__(self, at: int, error: int) -> None:
        self.at = at
        self.error = error
        self.seen = 0
        self.name = ""

    @contextmanager
    def planted(self, monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
        """Plant it for the duration."""
        with monkeypatch.context() as patch:
            for name in CALLS:
                patch.setattr(os, name, self._failing(name, getattr(os, name)))
            yield

    def _failing(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def failing(*arguments: Any, **keywords: Any) -> Any:  # noqa: ANN401
            self.seen += 1
            if self.seen - 1 == self.at:
                self.name = name
                raise OSError(self.error, os.strerror(self.error))
            return call(*arguments, **keywords)

        return failing


@pytest.mark.parametrize("work", ["replace", "two", "delete"])
@pytest.mark.parametrize("durability", ["safe", "strict"])
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EACCES], ids=errno.errorcode.get)
def test_p5_any_call_may_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work: str, durability: local.Durability, error: int
) -> None:
    """Each call of the system fails once: an error of ours, or success with something on record; never a lost file."""
    at = 0
    outcomes: set[str] = set()
    kept: list[StorageError] = []
    while True:
        world = World(tmp_path / str(at), durability)
        world.replace(2)
        fault = Fault(at, error)
        with fault.planted(monkeypatch):
            try:
                getattr(world, work)()
            except StorageError as error_:
                kept.append(error_)  # as a log may: its traceback must hold no lock
                outcomes.add(f"error: {fault.name}")
            except safeupload.NotCommitted:  # who may not look cannot tell
                pytest.fail("a fault of the storage is no mistake of the application's")
            else:
                outcomes.add(f"success: {fault.name}")
        world.check_p5()
        if not fault.name:
            break
        for path in world.folder.glob("[0-9a-f]*.*"):
            assert path.read_bytes() == picture("new").data  # nothing half-written under a live name
        Uploads(LocalStorage(world.folder), references=world.used).recover(min_age=0)
        world.check_settled()
        at += 1
    assert at >= 7
    assert "success: unlink" in outcomes  # the old file could not be removed, and was later
    if work != "delete":
        assert {"error: write", "error: fsync", "error: link", "error: open"} <= outcomes


@pytest.mark.parametrize("fault", ["file", "folder"])
def test_an_error_of_fsync_is_final(world: World, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """It is never tried again: a second fsync may succeed though the data is gone."""
    calls: list[str] = []

    def fsync(number: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(number).st_mode) else "file"
        calls.append(kind)
        if kind == fault:
            raise OSError(errno.EIO, "Input/output error")

    before = set(world.storage.keys())
    with monkeypatch.context() as patch, pytest.raises(StorageError, match="could not store the file"):
        patch.setattr(os, "fsync", fsync)
        world.replace()
    assert calls.count(fault) == 1
    assert set(world.storage.keys()) == before
    world.check_settled()


def test_short_writes_are_gone_on_with(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may take less than it is given."""
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda number, data: write(number, data[:7]))
        world.replace()
    world.check_settled()


@contextmanager
def mounted(folder: Path, *words: str) -> Generator[None]:
    """Mount something, where that is possible."""
    done = subprocess.run(["/usr/bin/env", "mount", *words, str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["/usr/bin/env", "umount", "-l", str(folder)], check=True)


def test_a_full_disk(tmp_path: Path) -> None:
    """It is a clear error, and nothing half-written is left; with room again everything goes on."""
    with mounted(tmp_path, "-t", "tmpfs", "-o", "size=64k", "tmpfs"):
        world = World(tmp_path / "pictures")
        ballast = tmp_path / "ballast"
        with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(b"x" * 4096)
        with pytest.raises(StorageError, match="No space left on device") as caught:
            world.replace()
        assert caught.value.status == 503
        assert "space" not in str(caught.value.problem())
        world.check_settled()
        ballast.unlink()
        world.replace()
        world.check_settled()
        del world, file


def test_a_read_only_folder(tmp_path: Path) -> None:
    """It cannot be opened, nor written to once it has become so; what is there can be read."""
    (tmp_path / "mount").mkdir()
    with mounted(tmp_path / "mount", "-t", "tmpfs", "tmpfs"):
        world = World(tmp_path / "mount/pictures")
        subprocess.run(["/usr/bin/env", "mount", "-o", "remount,ro", str(tmp_path / "mount")], check=True)
        with pytest.raises(StorageError, match="Read-only"):
            LocalStorage(tmp_path / "mount/pictures")
        with pytest.raises(StorageError, match="Read-only"):
            LocalStorage(tmp_path / "mount/another")
        with pytest.raises(StorageError, match="Read-only"):
            world.replace()
        assert world.storage.read(str(world.rows[1])) == picture("new").data
        del world


def test_an_old_file_that_cannot_be_removed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commit has happened, so it succeeds; the file is on record, and goes once it can."""
    old = world.rows[1]
    unlink = os.unlink

    def stubborn(path: str, **keywords: Any) -> None:  # noqa: ANN401
        if path == old:
            raise PermissionError(errno.EPERM, "Operation not permitted")
        unlink(path, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", stubborn)
        world.events.clear()
        world.replace()
        assert world.events == ["saved", "committed", "failed"]
        assert len(list(world.storage.keys())) == 2
        assert world.uploads().recover(min_age=0).failed == (old,)
    assert world.uploads().recover(min_age=0).removed == (old,)
    world.check_settled()


# --- durability ---


def recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durability: local.Durability, made: NormalizedImage
) -> list[str]:
    """Return what a replacement does to the disk, and when it commits."""
    world = World(tmp_path / durability, durability)
    calls: list[str] = []

    def kind(number: int) -> str:
        if not stat.S_ISDIR(os.fstat(number).st_mode):
            return "file"
        return "marks" if Path(f"/proc/self/fd/{number}").readlink().name == ".pending" else "names"

    with monkeypatch.context() as patch:
        for name in ("write", "link", "unlink"):
            call = getattr(os, name)
            patch.setattr(os, name, noting(calls, name, call))
        patch.setattr(os, "fsync", lambda number: calls.append(f"sync {kind(number)}"))
        with world.uploads().replace(made) as new:
            calls.append("entered")
            key = new.replacing(world.rows[1])

            def commit() -> None:
                calls.append("commit")
                world.rows[1] = key

            new.commit(commit)
    return calls


def noting(calls: list[str], name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    """Return a call of the system that notes itself."""

    def noted(*arguments: Any, **keywords: Any) -> Any:  # noqa: ANN401
        calls.append(name)
        return call(*arguments, **keywords)

    return noted


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux to tell folders by their descriptors")
def test_what_each_level_syncs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With "safe" the bytes and then the name, before anybody has the key; with "strict" every mark and removal."""
    before = {
        "none": ["write", "link"],
        "safe": ["write", "sync file", "link", "sync names"],
        "strict": ["write", "sync file", "sync marks", "link", "sync names"],
    }
    # The old file's rendition, the file; of each mark what was staged, and itself.
    after = ["unlink"] * 2 + ["unlink"] * 4
    made = dataclasses.replace(picture("new"), renditions={})

    for level in get_args(local.Durability):
        recording = ["sync marks"] if level == "strict" else []
        removing = [*after[:2], "sync names", *after[2:]] if level == "strict" else after
        assert recorded(tmp_path, monkeypatch, level, made) == [
            *before[level],
            "entered",
            *recording,
            "commit",
            *removing,
        ]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux to tell folders by their descriptors")
def test_renditions_are_synced_with_their_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole, and then named, as the file is, and before anybody has its key."""
    before = {
        "none": ["write", "link", "write", "link", "unlink"],
        "safe": ["write", "sync file", "link", "write", "sync file", "link", "unlink", "sync names"],
        "strict": ["write", "sync file", "sync marks", "link", "write", "sync file", "link", "unlink", "sync marks",
                   "sync names"],
    }  # fmt: skip

    for level in get_args(local.Durability):
        calls = recorded(tmp_path, monkeypatch, level, picture("new"))
        assert calls[: calls.index("entered")] == before[level]


def test_new_folders_are_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row must not survive the folder of its file."""
    synced: set[int] = set()
    monkeypatch.setattr(os, "fsync", lambda number: synced.add(os.fstat(number).st_ino))
    LocalStorage(tmp_path / "a/b/c")

    assert synced == {(tmp_path / each).stat().st_ino for each in ("", "a", "a/b", "a/b/c")}


def test_a_mac_empties_the_drives_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There, fsync alone is not enough."""
    calls: list[int] = []
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", lambda number, command: calls.append(command))
    with (tmp_path / "x").open("wb") as file:
        Descriptor(os.dup(file.fileno())).sync()

    assert calls == [51]
