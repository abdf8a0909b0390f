"""A dictionary that behaves like a storage, for tests and documentation: it ends with the process."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping

from safeupload._keys import MarkName, beside, checked, is_key, key_beside, new_mark, old_mark
from safeupload.errors import FileMissing
from safeupload.storage._base import NONE, Failure, File, Mark

__all__ = ["MemoryStorage"]


class MemoryStorage:
    """Pictures in memory: for tests, since nothing survives the process. Otherwise it does what `LocalStorage` does."""

    tidy_interval: float = 0.0

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: dict[str, tuple[bytes, float]] = {}
        self._marks: dict[str, _MemoryMark] = {}

    def __repr__(self) -> str:
        return f"<MemoryStorage with {len(self._files)} files>"

    def read(self, key: str) -> bytes:
        """Return the bytes of a file, or of a rendition; raise `InvalidKey` or `FileMissing`."""
        with self._lock:
            try:
                return self._files[checked(key)][0]
            except KeyError:
                raise FileMissing from None

    def keys(self) -> Iterator[str]:
        """Return the keys of all files, in no order; those that come or go meanwhile may be missed."""
        with self._lock:
            return iter([name for name in self._files if is_key(name)])

    def new_mark(self) -> Mark:
        """Return a mark for a new file; nothing happens before its `save`."""
        return _MemoryMark(self._lock, self._files, self._marks, new_mark())

    def old_mark(self, key: str, retain: int) -> Mark:
        """Return a mark for a file that is to be released; nothing happens before its `record`."""
        return _MemoryMark(self._lock, self._files, self._marks, old_mark(key, retain))

    def marks(self) -> Iterator[MarkName]:
        """Return the names of all marks, in no order."""
        with self._lock:
            return iter([mark.name for mark in self._marks.values()])

    def clock(self) -> float:
        """Return the time, in seconds, by the clock that dates files and marks."""
        return time.monotonic()

    def seize(self, name: MarkName, dated: float) -> Mark | None:
        """Take hold of a mark from that date or before, None if that is not possible now."""
        with self._lock:
            mark = self._marks.get(name.name)
            if mark is None or mark.held or mark.date > min(dated, self.clock() - name.retain):
                return None
            taken = _MemoryMark(self._lock, self._files, self._marks, name, mark.date)
            self._marks[name.name] = taken  # the former holder's handle is worth nothing from now on
            return taken

    def settle(self, remove: Iterable[Mark], drop: Iterable[Mark]) -> list[Failure]:
        """Remove the files of some marks and then the marks, of others the marks alone, and let go of all of them."""
        remove = list(remove)
        with self._lock:
            for mark in remove:
                self._remove(mark.name.key)
            for mark in (*remove, *drop):
                self._marks.pop(mark.name.name, None)
        return []

    def exists(self, key: str) -> bool:
        """Tell whether there is a file under the key."""
        with self._lock:
            return key in self._files

    def files(self) -> Iterator[File]:
        """Return what `keys` returns, with dates."""
        with self._lock:
            return iter([File(name, stored) for name, (_, stored) in self._files.items() if is_key(name)])

    def remove(self, key: str) -> None:
        """Remove a file, with its renditions, that has no mark; that it is gone already is no error."""
        with self._lock:
            self._remove(key)

    def _remove(self, key: str) -> None:
        for name in [name for name in self._files if name == key or key_beside(name) == key]:
            del self._files[name]


class _MemoryMark:
    """A mark: an entry in a dictionary, and whether somebody holds it."""

    def __init__(
        self,
        lock: threading.Lock,
        files: dict[str, tuple[bytes, float]],
        marks: dict[str, _MemoryMark],
        name: MarkName,
        date: float = 0,
    ) -> None:
        self._lock = lock
        self._files = files
        self._marks = marks
        self.name = name
        self.date: float = date
        self.held: bool = True

    def save(self, data: bytes, renditions: Mapping[str, bytes] = NONE) -> None:
        """Make the mark of a new file, the file, and its renditions."""
        self.record()
        with self._lock:
            self._files[self.name.key] = (data, self.date)
            for suffix, rendition in renditions.items():
                self._files[beside(self.name.key, suffix)] = (rendition, self.date)

    def record(self) -> None:
        """Make the mark."""
        self.touch()
        with self._lock:
            self._marks[self.name.name] = self

    def touch(self) -> None:
        """Begin to count the mark's age from now on."""
        self.date = time.monotonic()

    def check(self) -> None:
        """Do nothing: what is held stays held."""

    def close(self) -> None:
        """Let go of the mark, which stays."""
        self.held = False
