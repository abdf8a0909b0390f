"""
A folder of this machine.

The files stand in the folder itself; ``.pending`` in it holds the marks. The mark of a new file is the file as it is
being written, and what stands under its key is a hard link to it, so the mark costs no second write. The mark of an old
file is empty. Who holds a mark has an exclusive ``flock`` on it, which ends with the process: no clock and no process
number is needed to tell a crash.

Renditions come to stand beside their file once it is there itself, and go before it does: see `_beside`.

What a row may name is on the disk before anybody is given its key: the bytes (fsync of the file), then the name (fsync
of the folder).
"""

from __future__ import annotations

import errno
import itertools
import os
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

from safeupload._keys import MarkName, checked, is_key, new_mark, old_mark, parse_mark
from safeupload.errors import FileMissing, FolderNotOwned, InvalidArgument, StorageError, UnsupportedStorage
from safeupload.storage._base import NONE, Failure, File, Mark
from safeupload.storage._beside import Renditions, write
from safeupload.storage._folder import Descriptor, Folder

__all__ = ["Durability", "LocalStorage"]

#: How much is on the disk before a step counts as done: nothing, what a row may name, or every step.
Durability: TypeAlias = Literal["none", "safe", "strict"]

_PENDING: Final = ".pending"
#: Names that are tried before a mark is given up. A second one is needed only if a cleaner looks at the first between
#: its creation and its lock, which are microseconds apart; so many in a row mean that something else is wrong.
_TRIES: Final = 10
#: What a file system says that has no hard links or no locks; and what it says of a mark that somebody took away.
_UNSUPPORTED: Final = frozenset(
    {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.ENOLCK, errno.ENOENT}
)


class LocalStorage:
    """
    Pictures in a folder of this machine, which it owns: it is made if need be, with its parents.

    A folder that holds files and was never a storage is refused with `FolderNotOwned` unless ``adopt=True``; even then
    only files whose names have the form of a key are ever touched.

    `durability` is what a power loss may take: "safe" (the default) nothing that a row names; "strict" not even the
    notes that `recover` goes by, on whatever file system; "none" is for data that can be thrown away. All three survive
    the death of the process.

    Raises `UnsupportedStorage` where the promises cannot be kept: without hard links or ``flock`` (FAT, some network
    mounts, Windows), and `StorageError` where the folder cannot be made or written.
    """

    def __init__(self, root: str | os.PathLike[str], *, durability: Durability = "safe", adopt: bool = False) -> None:
        if durability not in get_args(Durability):
            raise InvalidArgument(f"durability: expected one of {get_args(Durability)}, got {durability!r}")
        if sys.platform == "win32" or os.link not in os.supports_dir_fd:
            raise UnsupportedStorage("LocalStorage needs flock and hard links, which this system does not have")
        self._durability = durability
        self._root = Path(root).absolute()
        with _reporting("open the storage"):
            self._make_root()
            self._live = Folder(os.path.realpath(self._root))
            self._pending = self._own(adopt=adopt)
            self._beside = Renditions(self._live, self._pending, durable=durability != "none")
            self._places = _Places(self._live, self._pending, self._beside, durability)
            self._probe()

    def __repr__(self) -> str:
        return f"LocalStorage({str(self._root)!r})"

    def read(self, key: str) -> bytes:
        """Return the bytes of a file, or of a rendition; raise `InvalidKey`, `FileMissing` or `StorageError`."""
        with _reporting("read the file"):
            descriptor = self._live.open(checked(key), os.O_RDONLY)
            if descriptor is None:
                raise FileMissing
            with open(descriptor.number, "rb", closefd=False) as file:
                return file.read()

    def path(self, key: str) -> Path:
        """Return where a file or a rendition stands or would stand, to serve it; `InvalidKey` if it is neither."""
        return self._root / checked(key)

    def keys(self) -> Iterator[str]:
        """Return the keys of all files, in no order; those that come or go meanwhile may be missed."""
        with _reporting("list the files"):
            yield from (entry.name for entry in self._live.scan() if is_key(entry.name))

    def new_mark(self) -> _LocalMark:
        """Return a mark for a new file; nothing happens before its `save`."""
        return _LocalMark(self._places, new_mark)

    def old_mark(self, key: str, retain: int) -> _LocalMark:
        """Return a mark for a file that is to be released; nothing happens before its `record`."""
        return _LocalMark(self._places, lambda: old_mark(key, retain))

    def marks(self) -> Iterator[MarkName]:
        """Return the names of all marks, in no order."""
        with _reporting("list the marks"):
            yield from (name for entry in self._pending.scan() if (name := parse_mark(entry.name)))

    def clock(self) -> float:
        """Return the time, in seconds, by the clock that dates files and marks."""
        with _reporting("tell the time"):
            return self._pending.clock()

    def seize(self, name: MarkName, dated: float) -> _LocalMark | None:
        """Take hold of a mark from that date or before, None if that is not possible now."""
        with _reporting("take hold of a mark"):
            if not self._is_due(name, dated):  # most are young: one look is enough
                return None
            mark = _LocalMark(self._places, lambda: name, self._pending.open(name.name))
            with ExitStack() as giving_up:
                giving_up.callback(mark.close)
                # It may have been dropped, or touched, before the lock was ours.
                if mark.lock() and self._is_due(name, dated):
                    giving_up.pop_all()
                    return mark
            return None

    def settle(self, remove: Iterable[Mark], drop: Iterable[Mark]) -> list[Failure]:
        """Remove the files of some marks and then the marks, of others the marks alone, and let go of all of them."""
        remove, drop = list(remove), list(drop)
        failures: dict[str, Failure] = {}
        for mark in remove:
            with _noting(failures, mark):
                self._unlink(mark.name.key)
        if remove and self._durability == "strict":  # or the mark could be gone for good, and the file come back
            with _noting(failures, *remove):
                self._live.sync()
        for mark in (*remove, *drop):
            if mark.name.name not in failures:
                with _noting(failures, mark):
                    self._beside.forget(mark.name.key)
                    self._pending.unlink(mark.name.name)
            mark.close()
        return list(failures.values())

    def exists(self, key: str) -> bool:
        """Tell whether there is a file under the key."""
        with _reporting("look for the file"):
            return self._live.date(key) is not None

    def files(self) -> Iterator[File]:
        """Return what `keys` returns, with dates; and keys of which a power loss has left nothing but renditions."""
        with _reporting("list the files"):
            for entry in self._live.scan():
                if is_key(entry.name):
                    with suppress(FileNotFoundError):
                        yield File(entry.name, entry.stat(follow_symlinks=False).st_mtime)
            yield from itertools.starmap(File, self._beside.alone())

    def remove(self, key: str) -> None:
        """Remove a file, with its renditions, that has no mark; that it is gone already is no error."""
        with _reporting("remove the file"):
            self._unlink(key)
            self._beside.forget(key)

    def _unlink(self, key: str) -> None:
        """Remove a file and its renditions: itself last, since what an error or a crash leaves is found by it."""
        self._beside.remove(key)
        self._live.unlink_plain(key)

    def _is_due(self, name: MarkName, dated: float) -> bool:
        """Tell whether there is such a mark, old enough and no longer retained."""
        date = self._pending.date(name.name)
        return date is not None and date <= dated and (not name.retain or date <= self._pending.clock() - name.retain)

    def _make_root(self) -> None:
        """Make the folder and those above it, where they are missing, as durable as what will be stored in it."""
        missing = [folder for folder in (self._root, *self._root.parents) if not folder.exists()]
        self._root.mkdir(parents=True, exist_ok=True)
        if self._durability != "none":
            for folder in missing:
                Folder(folder.parent).sync()

    def _own(self, *, adopt: bool) -> Folder:
        """Return the folder of the marks, by which a storage is known; make it in a folder that may become one."""
        if not adopt and not self._is_ours() and self._live.names() and not self._is_ours():
            raise FolderNotOwned(
                f"{self._root} holds files and was never a storage of safeupload; use an empty folder, or adopt=True"
            )
        with suppress(FileExistsError):
            os.mkdir(_PENDING, 0o700, dir_fd=self._live.number)
            if self._durability != "none":
                self._live.sync()
        return Folder(_PENDING, self._live)

    def _is_ours(self) -> bool:
        return os.access(_PENDING, os.F_OK, dir_fd=self._live.number)

    def _probe(self) -> None:
        """
        Try what the promises rest on: that a lock keeps others out, and that a file can have two names.

        A process that dies meanwhile leaves two marks of a key that never was; the next `recover` drops them. One that
        recovers just now may take them away, hence several tries.
        """
        if not any(self._keeps_promises() for _ in range(_TRIES)):
            raise UnsupportedStorage(f"{self._root} is on a file system without the hard links or locks that it needs")

    def _keeps_promises(self) -> bool:
        first = new_mark()
        second = old_mark(first.key, 0)
        held = self._pending.create(first.name)
        try:
            self._pending.link(first.name, self._pending, second.name)
            rival = self._pending.open(second.name)
            return held.lock() and rival is not None and not rival.lock()
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            return False
        finally:
            self._pending.unlink(first.name)
            self._pending.unlink(second.name)


class _Places(NamedTuple):
    """Where a mark and its file are."""

    live: Folder
    pending: Folder
    beside: Renditions
    durability: Durability


class _LocalMark:
    """A mark: a file in the folder of marks, and the lock on it."""

    def __init__(
        self,
        places: _Places,
        choose: Callable[[], MarkName],
        descriptor: Descriptor | None = None,
    ) -> None:
        self._live, self._pending, self._beside, self._durability = places
        self._choose = choose
        self._descriptor = descriptor
        self.name = choose()

    def save(self, data: bytes, renditions: Mapping[str, bytes] = NONE) -> None:
        """Make the mark of a new file, and the file: durable and whole once this returns. So are the renditions."""
        with _reporting("store the file"):
            write(self._create(), data, durable=self._durability != "none")
            self._sync_marks()
            try:
                self._pending.link(self.name.name, self._live, self.name.key)
            except FileExistsError:  # a machine restored from the same snapshot drew the same random bits
                self._pending.unlink(self.name.name)
                self.name = self._choose()  # that file is not ours: whoever cleans up must not know its name
                raise
            if renditions:
                self._beside.save(self.name.key, renditions)
                self._sync_marks()
            if self._durability != "none":
                self._live.sync()

    def record(self) -> None:
        """Make the mark of an old file, durable as far as the storage's level goes."""
        with _reporting("note the old file"):
            self._create()
            self._sync_marks()

    def touch(self) -> None:
        """Begin to count the mark's age from now on."""
        with _reporting("date a mark"):
            if self._descriptor is not None:
                os.utime(self._descriptor.number)

    def lock(self) -> bool:
        """Take the lock, if there is a mark, and nobody has it."""
        return self._descriptor is not None and self._descriptor.lock()

    def close(self) -> None:
        """Let go of the mark, which stays. Does nothing the second time."""
        if self._descriptor is not None:
            self._descriptor.close()

    def _create(self) -> Descriptor:
        """Make the file of the mark and lock it, under a name that no cleaner has taken in between."""
        for _ in range(_TRIES):
            self.name = self._choose()
            with suppress(FileExistsError):
                # Ours at once: what fails from here on must not leave the lock to a traceback that somebody keeps.
                self._descriptor = self._pending.create(self.name.name)
                if self._descriptor.lock() and self._pending.date(self.name.name) is not None:
                    return self._descriptor
                self.close()
                self._pending.unlink(self.name.name)
        raise StorageError("could not make a mark: every name was taken away at once")

    def _sync_marks(self) -> None:
        if self._durability == "strict":
            self._pending.sync()


@contextmanager
def _reporting(what: str) -> Generator[None]:
    """Turn the system's errors into ours; the original stays as the cause."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"could not {what}: {error.strerror or error}") from error


@contextmanager
def _noting(failures: dict[str, Failure], *marks: Mark) -> Generator[None]:
    """Note an error for each of the marks instead of raising it: what cannot be removed keeps its mark."""
    try:
        yield
    except OSError as error:
        for mark in marks:
            failures[mark.name.name] = Failure(mark.name.key, error)
