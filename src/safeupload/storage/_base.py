"""
What a transaction asks of a storage.

A storage holds *files* under keys, each with any number of renditions beside it, which come and go with it; and
*marks*. A mark is a durable note that the fate of one file is open; whoever works on it holds it, and nobody can hold a
mark that somebody else holds. A holder that dies lets go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple, Protocol

from safeupload._frozen import FrozenMapping
from safeupload._keys import MarkName

NONE: Final[Mapping[str, bytes]] = FrozenMapping()


class Failure(NamedTuple):
    """A file that could not be removed, so that its mark stays."""

    key: str
    error: Exception


class File(NamedTuple):
    """A file and when it was stored, by the storage's own clock."""

    key: str
    stored: float  # seconds


class Mark(Protocol):
    """A mark in the hands of one transaction or cleaner."""

    @property
    def name(self) -> MarkName:
        """Its name; that of a new mark can change until `save` or `record` has returned."""

    def save(self, data: bytes, renditions: Mapping[str, bytes] = NONE) -> None:
        """
        Make the mark of a new file, and the file: durable and whole once this returns.

        So are the renditions, by the suffixes of their names.
        """

    def record(self) -> None:
        """Make the mark of an old file, durable as far as the storage's level goes."""

    def touch(self) -> None:
        """Begin to count the mark's age from now on."""

    def close(self) -> None:
        """Let go of the mark, which stays. Does nothing the second time."""


class Storage(Protocol):
    """Files and marks. Every method blocks; all but the first three are private for now."""

    def read(self, key: str) -> bytes:
        """Return the bytes of a file, or of a rendition; raise `InvalidKey`, `FileMissing` or `StorageError`."""

    def keys(self) -> Iterator[str]:
        """Return the keys of all files, in no order; those that come or go meanwhile may be missed."""

    def new_mark(self) -> Mark:
        """Return a mark for a new file; nothing happens before its `save`."""

    def old_mark(self, key: str, retain: int) -> Mark:
        """Return a mark for a file that is to be released; nothing happens before its `record`."""

    def marks(self) -> Iterator[MarkName]:
        """Return the names of all marks, in no order."""

    def clock(self) -> float:
        """Return the time, in seconds, by the clock that dates files and marks."""

    def seize(self, name: MarkName, dated: float) -> Mark | None:
        """
        Take hold of a mark from that date or before.

        Returns None if it is younger, still retained, held by somebody else or gone.
        """

    def settle(self, remove: Iterable[Mark], drop: Iterable[Mark]) -> list[Failure]:
        """
        Remove the files of some marks and then the marks, of others the marks alone, and let go of all of them.

        Renditions go with their file. Idempotent. What cannot be removed keeps its mark and is returned; nothing is
        raised.
        """

    def exists(self, key: str) -> bool:
        """Tell whether there is a file under the key."""

    def files(self) -> Iterator[File]:
        """Return what `keys` returns, with dates; and keys of which nothing but renditions are left."""

    def remove(self, key: str) -> None:
        """Remove a file that has no mark, and its renditions; gone already is no error. Raises `StorageError`."""
