"""
A folder whose marks are held by locks.

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
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from safeupload._keys import MarkName, checked, is_key, new_mark, old_mark, parse_mark
from safeupload.errors import FileMissing, StorageError
from safeupload.storage._base import NONE, Failure, File, Mark
from safeupload.storage._beside import Renditions, write
from safeupload.storage._folder import Descriptor, Folder, reporting

#: Names that are tried before a mark is given up. A second one is needed only if a cleaner looks at the first between
#: its creation and its lock, which are microseconds apart; so many in a row mean that something else is wrong.
_TRIES: Final = 10
#: How often a folder is tried while a cleaner takes the marks of the trial away; it wins about every second time, so
#: that so many in a row mean that something else is wrong.
_PROBES: Final = 100
#: What a file system says that has no hard links or no locks.
_UNSUPPORTED: Final = frozenset(
    {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.ENOLCK}
)


class LockedFolder:
    """A folder that is there, with that of its marks; `durable` says whether files are synced, `strict` marks."""

    tidy_interval = 0.0

    def __init__(self, root: Path, pending: str, *, durable: bool, strict: bool) -> None:
        self._live = Folder(os.path.realpath(root))
        self._pending = Folder(pending, self._live)
        self._beside = Renditions(self._live, self._pending, durable=durable)
        self._places = _Places(self._live, self._pending, self._beside, durable, strict)

    def read(self, key: str) -> bytes:
        """Return the bytes of a file, or of a rendition; raise `InvalidKey`, `FileMissing` or `StorageError`."""
        with reporting("read the file"):
            descriptor = self._live.open(checked(key), os.O_RDONLY)
            if descriptor is None:
                raise FileMissing
            with open(descriptor.number, "rb", closefd=False) as file:
                return file.read()

    def keys(self) -> Iterator[str]:
        """Return the keys of all files, in no order; those that come or go meanwhile may be missed."""
        with reporting("list the files"):
            yield from (entry.name for entry in self._live.scan() if is_key(entry.name))

    def new_mark(self) -> LockedMark:
        """Return a mark for a new file; nothing happens before its `save`."""
        return LockedMark(self._places, new_mark)

    def old_mark(self, key: str, retain: int) -> LockedMark:
        """Return a mark for a file that is to be released; nothing happens before its `record`."""
        return LockedMark(self._places, lambda: old_mark(key, retain))

    def marks(self) -> Iterator[MarkName]:
        """Return the names of all marks, in no order."""
        with reporting("list the marks"):
            yield from (name for entry in self._pending.scan() if (name := parse_mark(entry.name)))

    def clock(self) -> float:
        """Return the time, in seconds, by the clock that dates files and marks."""
        with reporting("tell the time"):
            return self._pending.clock()

    def seize(self, name: MarkName, dated: float) -> LockedMark | None:
        """Take hold of a mark from that date or before, None if that is not possible now."""
        with reporting("take hold of a mark"):
            if not self._is_due(name, dated):  # most are young: one look is enough
                return None
            mark = LockedMark(self._places, lambda: name, self._pending.open(name.name))
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
        if remove and self._places.strict:  # or the mark could be gone for good, and the file come back
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
        with reporting("look for the file"):
            return self._live.date(key) is not None

    def files(self) -> Iterator[File]:
        """Return what `keys` returns, with dates; and keys of which a power loss has left nothing but renditions."""
        with reporting("list the files"):
            for entry in self._live.scan():
                if is_key(entry.name):
                    with suppress(FileNotFoundError):
                        yield File(entry.name, entry.stat(follow_symlinks=False).st_mtime)
            yield from itertools.starmap(File, self._beside.alone())

    def remove(self, key: str) -> None:
        """Remove a file, with its renditions, that has no mark; that it is gone already is no error."""
        with reporting("remove the file"):
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

    def keeps_promises(self) -> bool:
        """
        Try what the promises rest on: that a lock keeps others out, and that a file can have two names.

        A process that dies meanwhile leaves two marks of a key that never was. They are one file, under one lock, so
        `recover` drops them one at a time. One that recovers just now may take them away, hence several tries.
        """
        with reporting("open the storage"):
            for _ in range(_PROBES):
                answer = self._keeps_promises()
                if answer is not None:
                    return answer
        raise StorageError("could not try the folder: every mark was taken away at once")

    def _keeps_promises(self) -> bool | None:
        """Return the answer; none if somebody who recovers has been at these marks."""
        first = new_mark()
        second = old_mark(first.key, 0)
        held = self._pending.create(first.name)
        try:
            self._pending.link(first.name, self._pending, second.name)
            rival = self._pending.open(second.name)
            return None if rival is None or not held.lock() else not rival.lock()
        except FileNotFoundError:
            return None
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
    durable: bool
    strict: bool


class LockedMark:
    """A mark: a file in the folder of marks, and the lock on it."""

    def __init__(
        self,
        places: _Places,
        choose: Callable[[], MarkName],
        descriptor: Descriptor | None = None,
    ) -> None:
        self._live, self._pending, self._beside, self._durable, self._strict = places
        self._choose = choose
        self._descriptor = descriptor
        self.name = choose()

    def save(self, data: bytes, renditions: Mapping[str, bytes] = NONE) -> None:
        """Make the mark of a new file, and the file: durable and whole once this returns. So are the renditions."""
        with reporting("store the file"):
            write(self._create(), data, durable=self._durable)
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
            if self._durable:
                self._live.sync()

    def record(self) -> None:
        """Make the mark of an old file, durable as far as the storage's level goes."""
        with reporting("note the old file"):
            self._create()
            self._sync_marks()

    def touch(self) -> None:
        """Begin to count the mark's age from now on."""
        with reporting("date a mark"):
            if self._descriptor is not None:
                os.utime(self._descriptor.number)

    def check(self) -> None:
        """Do nothing: a lock does not expire."""

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
        if self._strict:
            self._pending.sync()


@contextmanager
def _noting(failures: dict[str, Failure], *marks: Mark) -> Generator[None]:
    """Note an error for each of the marks instead of raising it: what cannot be removed keeps its mark."""
    try:
        yield
    except OSError as error:
        for mark in marks:
            failures[mark.name.name] = Failure(mark.name.key, error)
