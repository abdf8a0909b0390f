"""What a folder and its marks promise by themselves: names, kinds of files, ages, and who opens it first."""

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from safeupload import InvalidKey, StorageError, UnsupportedStorage, Uploads
from safeupload._keys import MarkName, new_key, new_mark, old_mark
from safeupload.storage import LocalStorage, _locks
from safeupload.storage._base import Mark
from safeupload.storage._folder import Descriptor, Folder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a local storage needs flock")


def saved(storage: LocalStorage, data: bytes = b"picture") -> Mark:
    """Store a file and return its mark, which nobody holds any more."""
    mark = storage.new_mark()
    mark.save(data)
    mark.close()
    return mark


def marks_in(root: Path) -> set[str]:
    """Return the names of all that is in the folder of marks."""
    return {path.name for path in root.glob(".p*/*")}


# --- opening ---

OPEN_ALL = """
import sys
from safeupload.storage import LocalStorage
print("ready", flush=True)
sys.stdin.readline()
for number in range(40):
    mark = LocalStorage(f"{sys.argv[1]}/{number}/pictures", durability="none").new_mark()
    mark.save(b"picture")
"""


def test_processes_open_fresh_folders_at_once(tmp_path: Path) -> None:
    """Each becomes one storage, in which every process has stored its file; none of them fails."""
    command = [sys.executable, "-c", OPEN_ALL, str(tmp_path)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        errors = [process.communicate(timeout=60)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()

    assert errors == ["", "", ""]
    for number in range(40):
        assert len(list(LocalStorage(tmp_path / f"{number}/pictures").keys())) == 3


@pytest.mark.parametrize("lease", [None, 60])
def test_what_is_ours_alone_is_closed_to_others(tmp_path: Path, lease: int | None) -> None:
    """Whatever the umask, only the owner can read or write the marks and what tells how they are held."""
    before = os.umask(0)
    try:
        LocalStorage(tmp_path / "pictures", lease=lease)
    finally:
        os.umask(before)

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "pictures").iterdir()}
    assert modes.pop(".pending") == 0o700
    assert modes.pop(".mode") == (0o700 if lease is None else 0o600)
    assert all(mode & 0o077 == 0 for mode in modes.values())


def test_a_probe_that_cannot_be_removed_is_in_nobodys_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder is opened, and is the same storage for whoever comes next."""
    rmdir = os.rmdir

    def failing(path: Any, **options: Any) -> None:  # noqa: ANN401
        if ".probe" in str(path):
            raise PermissionError(errno.EACCES, "no")
        rmdir(path, **options)

    monkeypatch.setattr(os, "rmdir", failing)
    key = saved(LocalStorage(tmp_path)).name.key
    monkeypatch.undo()

    assert any(path.name.startswith(".probe") for path in tmp_path.iterdir())
    assert list(LocalStorage(tmp_path).keys()) == [key]


def test_what_a_crash_of_the_trial_leaves_are_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`recover` knows their names, and drops them: one after the other, since they are one file under one lock."""
    storage = LocalStorage(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Folder, "unlink", lambda self, name: None)
        LocalStorage(tmp_path)
    names = list(storage.marks())

    assert len(names) == len(marks_in(tmp_path)) == 2
    assert len({name.key for name in names}) == 1
    assert [name.retain for name in names] == [0, 0]
    for left in (1, 0):
        Uploads(storage, references=lambda keys: []).recover(min_age=0)
        assert len(marks_in(tmp_path)) == left


def test_a_removal_that_is_not_synced_keeps_its_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With "strict" the mark goes when the removal is on the disk: else the file could come back without one."""
    storage = LocalStorage(tmp_path, durability="strict")
    marks = [saved(storage), saved(storage)]
    held = [mark for name in storage.marks() if (mark := storage.seize(name, float("inf")))]

    def failing(self: Descriptor) -> None:
        raise OSError(errno.EIO, "no")

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "sync", failing)
        failures = storage.settle(held, [])

    assert {failure.key for failure in failures} == {mark.name.key for mark in marks}
    assert {name.key for name in storage.marks()} == {mark.name.key for mark in marks}


def test_a_descriptor_is_closed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second time could close a file of another thread."""
    storage = LocalStorage(tmp_path)
    key = saved(storage).name.key
    close = os.close
    errors: list[OSError] = []

    def closing(number: int) -> None:
        try:
            close(number)
        except OSError as error:
            errors.append(error)
            raise

    monkeypatch.setattr(os, "close", closing)
    assert storage.read(key) == b"picture"
    assert errors == []


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EMFILE], ids=errno.errorcode.get)
def test_a_fault_while_opening_is_not_taken_for_a_lack_of_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """A disk that fails is a passing error; only a file system that cannot do it is refused for good."""

    def failing(*arguments: object, **keywords: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Folder, "link", failing)
    with pytest.raises(StorageError, match="could not open the storage") as caught:
        LocalStorage(tmp_path)
    assert not isinstance(caught.value, UnsupportedStorage)
    assert marks_in(tmp_path) == set()


# --- names and kinds ---


@pytest.mark.parametrize("key", [None, 7, b"x" * 36, Path("x"), ["x"]], ids=lambda key: type(key).__name__)
def test_p8_what_is_no_string_is_no_key(tmp_path: Path, key: Any) -> None:  # noqa: ANN401
    """It is refused as every other foreign name is, not with a TypeError."""
    storage = LocalStorage(tmp_path)
    for call in (storage.read, storage.path):
        with pytest.raises(InvalidKey):
            call(key)


def test_p8_a_device_is_left_alone(tmp_path: Path) -> None:
    """One under the name of a key is not read, listed or removed, nor is it settled by a mark."""
    storage = LocalStorage(tmp_path)
    mark = storage.old_mark(new_key(), 0)
    path = tmp_path / mark.name.key
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    except OSError as error:
        pytest.skip(f"cannot make a device: {error.strerror}")
    mark.record()

    assert list(storage.keys()) == []
    assert list(storage.files()) == []
    assert not storage.exists(mark.name.key)
    storage.remove(mark.name.key)
    assert storage.settle([mark], []) == []
    assert stat.S_ISCHR(path.lstat().st_mode)
    assert marks_in(tmp_path) == set()


def test_what_stands_under_the_name_of_a_mark_is_seized_only_if_it_is_a_file(tmp_path: Path) -> None:
    """A pipe does not block, a link is not followed, a folder is not opened."""
    storage = LocalStorage(tmp_path)
    precious = tmp_path / "precious"
    precious.write_text("gold")
    pipe, link, folder = new_mark(), new_mark(), old_mark(new_key(), 0)
    os.mkfifo(tmp_path / ".pending" / pipe.name)
    (tmp_path / ".pending" / link.name).symlink_to(precious)
    (tmp_path / ".pending" / folder.name).mkdir()

    assert [storage.seize(name, 1e12) for name in (pipe, link, folder)] == [None, None, None]
    assert list(storage.marks()) == []
    assert precious.read_text() == "gold"


def test_a_name_that_is_taken_is_never_opened_for_writing(tmp_path: Path) -> None:
    """Neither a file nor a link under the name of a new mark is touched; the mark takes another name."""
    storage = LocalStorage(tmp_path)
    precious = tmp_path / "precious"
    precious.write_text("gold")
    (tmp_path / ".pending/file").write_text("gold")
    (tmp_path / ".pending/link").symlink_to(precious)
    pending = Folder(tmp_path / ".pending")
    for name in ("file", "link"):
        with pytest.raises(FileExistsError):
            pending.create(name)

    mark = storage.new_mark()
    (tmp_path / ".pending" / mark.name.name).symlink_to(precious)
    taken = mark.name
    mark.save(b"picture")
    assert mark.name != taken
    assert storage.read(mark.name.key) == b"picture"
    assert precious.read_text() == (tmp_path / ".pending/file").read_text() == "gold"


def test_a_thousand_listings_at_once_are_all_complete(tmp_path: Path) -> None:
    """Of the files, with and without dates, and of the marks; none sees another's position."""
    storage = LocalStorage(tmp_path, durability="none")
    names = {saved(storage).name.key for _ in range(50)}

    def listed(number: int) -> set[str]:
        if number % 3 == 0:
            return set(storage.keys())
        if number % 3 == 1:
            return {file.key for file in storage.files()}
        return {name.key for name in storage.marks()}

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(listed, range(1000)))
    assert all(each == names for each in found)


def test_files_that_go_during_a_listing_are_left_out(tmp_path: Path) -> None:
    """Somebody removes them all the time; the dates of those that are left are right."""
    storage = LocalStorage(tmp_path, durability="none")
    for _ in range(20):
        (tmp_path / new_key()).write_bytes(b"picture")
    listing = storage.files()
    first = next(listing)
    for key in set(storage.keys()) - {first.key}:
        storage.remove(key)

    assert list(listing) == []
    assert first.stored == (tmp_path / first.key).stat().st_mtime


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_modes_do_not_depend_on_the_umask(tmp_path: Path, umask: int) -> None:
    """A file can be served by another user; marks of old files concern nobody else."""
    old = os.umask(umask)
    try:
        (tmp_path / "pictures").mkdir()
        (tmp_path / "pictures").chmod(0o755)
        storage = LocalStorage(tmp_path / "pictures")
        new = saved(storage)
        released = storage.old_mark(new.name.key, 0)
        released.record()
        released.close()
    finally:
        os.umask(old)

    assert stat.S_IMODE(storage.path(new.name.key).stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "pictures/.pending").stat().st_mode) & 0o077 == 0
    assert stat.S_IMODE((tmp_path / "pictures/.pending" / released.name.name).stat().st_mode) & 0o077 == 0


# --- who takes which name ---


@pytest.mark.parametrize("when", ["held", "dropped"])
def test_a_mark_that_was_taken_before_its_lock_gets_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """The name that a cleaner has looked at is not used again, since it may remove the file of that name yet."""
    storage = LocalStorage(tmp_path)
    create = Folder.create
    names: list[str] = []
    rivals: list[Descriptor] = []

    def interfering(folder: Folder, name: str) -> Descriptor:
        made = create(folder, name)
        names.append(name)
        if len(names) <= 3:
            rival = folder.open(name)
            assert rival is not None
            assert rival.lock()
            rivals.append(rival)
            if when == "dropped":
                folder.unlink(name)
                rival.close()
        return made

    monkeypatch.setattr(Folder, "create", interfering)
    mark = saved(storage)

    assert len(set(names)) == len(names) == 4
    assert names[-1] == mark.name.name
    assert marks_in(tmp_path) == {mark.name.name}
    assert set(storage.keys()) == {mark.name.key}


def test_a_key_that_is_taken_stays_its_owners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second file under one key is an error, and cleaning up after it removes nothing of the first."""
    storage = LocalStorage(tmp_path)
    first = saved(storage, b"first")
    storage.settle([], [first])
    before = storage.path(first.name.key).stat()
    names: Iterator[MarkName] = iter([first.name, first.name])
    monkeypatch.setattr(_locks, "new_mark", lambda: next(names, None) or new_mark())

    second = storage.new_mark()
    with pytest.raises(StorageError) as caught:
        second.save(b"second")
    assert isinstance(caught.value.__cause__, FileExistsError)
    assert second.name.key != first.name.key
    assert storage.settle([second], []) == []

    after = storage.path(first.name.key).stat()
    assert (after.st_ino, after.st_mtime_ns, after.st_nlink) == (before.st_ino, before.st_mtime_ns, 1)
    assert storage.read(first.name.key) == b"first"
    assert marks_in(tmp_path) == set()


# --- ages ---


@pytest.mark.parametrize(("date", "taken"), [(1000.0, True), (999.0, True), (1000.5, False), (1001.0, False)])
def test_a_mark_is_old_enough_from_its_date_on(tmp_path: Path, date: float, *, taken: bool) -> None:
    """The one from that very moment is, the next is not."""
    storage = LocalStorage(tmp_path)
    mark = saved(storage)
    os.utime(tmp_path / ".pending" / mark.name.name, (date, date))

    held = storage.seize(mark.name, 1000.0)
    assert (held is not None) is taken
    assert storage.seize(mark.name, 1000.0) is None  # it is held, or too young


@pytest.mark.parametrize(("date", "taken"), [(6400.0, True), (6399.0, True), (6400.5, False), (10000.0, False)])
def test_a_released_file_stays_for_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, date: float, *, taken: bool
) -> None:
    """By the storage's clock and the date of the mark, whatever age a cleaner asks for."""
    storage = LocalStorage(tmp_path)
    mark = storage.old_mark(new_key(), 3600)
    mark.record()
    mark.close()
    os.utime(tmp_path / ".pending" / mark.name.name, (date, date))
    monkeypatch.setattr(Folder, "clock", lambda self: 10000.0)

    assert (storage.seize(mark.name, 1e12) is not None) is taken


def test_the_clock_goes_on_though_nothing_happens(tmp_path: Path) -> None:
    """It dates the folder before it looks, and never says less than what a file of now is dated."""
    storage = LocalStorage(tmp_path)
    mark = saved(storage)
    os.utime(tmp_path / ".pending", (1000, 1000))  # as if nothing had been made or removed for long
    date = (tmp_path / ".pending" / mark.name.name).stat().st_mtime

    assert storage.clock() >= date - 1  # whose last digits come from another clock of the system


@pytest.mark.parametrize(("min_age", "removed"), [(0, True), (60, False)])
def test_a_clock_that_lags_keeps_nothing_for_ever(tmp_path: Path, min_age: int, *, removed: bool) -> None:
    """A mark from the future is young; asked for no age at all, it is settled all the same."""
    storage = LocalStorage(tmp_path)
    mark = saved(storage)
    later = storage.clock() + 3600
    os.utime(tmp_path / ".pending" / mark.name.name, (later, later))
    report = Uploads(storage, references=lambda keys: []).recover(min_age=min_age)

    assert report.removed == ((mark.name.key,) if removed else ())
    assert report.waiting == (0 if removed else 1)
