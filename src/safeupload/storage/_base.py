"""
What a transaction asks of a storage, and what a storage with leases asks of a bucket.

A storage holds *files* under keys, each with any number of renditions beside it, which come and go with it; and
*marks*. A mark is a durable note that the fate of one file is open. Whoever works on it holds it, and no cleaner takes
a mark from a transaction that may still commit. A holder that dies lets go.

How it is held is the storage's affair: by a lock that ends with the process, or by a lease, which is the mark's date
and a time from then on. Several cleaners may take one mark, as long as that leads to the same end.
`safeupload.testing.StorageContract` checks that a storage does all this.
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
        ...

    def save(self, data: bytes, renditions: Mapping[str, bytes] = NONE) -> None:
        """
        Make the mark of a new file, and the file: durable and whole once this returns.

        So are the renditions, by the suffixes of their names.
        """

    def record(self) -> None:
        """Make the mark of an old file, durable as far as the storage's level goes."""

    def touch(self) -> None:
        """Begin to count the mark's age from now on."""

    def check(self) -> None:
        """Raise `LeaseExpired` if somebody else may hold it by now. Does not block: it is called before each commit."""

    def close(self) -> None:
        """Let go of the mark, which stays. Does nothing the second time."""


class Storage(Protocol):
    """
    Files and marks. Every method blocks, and may be called from several threads.

    What goes wrong is a `StorageError`, with the original as its cause.
    """

    @property
    def tidy_interval(self) -> float:
        """Seconds that a replacement waits before it looks for stale marks again; 0 where looking costs nothing."""
        ...

    def read(self, key: str) -> bytes:
        """Return the bytes of a file, or of a rendition; raise `InvalidKey`, `FileMissing` or `StorageError`."""
        ...

    def keys(self) -> Iterator[str]:
        """Return the keys of all files, in no order; those that come or go meanwhile may be missed."""
        ...

    def new_mark(self) -> Mark:
        """Return a mark for a new file; nothing happens before its `save`."""
        ...

    def old_mark(self, key: str, retain: int) -> Mark:
        """Return a mark for a file that is to be released; nothing happens before its `record`."""
        ...

    def marks(self) -> Iterator[MarkName]:
        """Return the names of all marks, in no order."""
        ...

    def clock(self) -> float:
        """Return the time, in seconds, by the clock that dates files and marks."""
        ...

    def seize(self, name: MarkName, dated: float) -> Mark | None:
        """
        Take hold of a mark from that date or before; infinity is any date.

        Returns None if it is younger, still retained, held by somebody else or gone.
        """
        ...

    def settle(self, remove: Iterable[Mark], drop: Iterable[Mark]) -> list[Failure]:
        """
        Remove the files of some marks and then the marks, of others the marks alone, and let go of all of them.

        Renditions go with their file. Idempotent. What cannot be removed keeps its mark and is returned; nothing is
        raised.
        """
        ...

    def exists(self, key: str) -> bool:
        """Tell whether there is a file under the key."""
        ...

    def files(self) -> Iterator[File]:
        """Return what `keys` returns, with dates; and keys of which nothing but renditions are left."""
        ...

    def remove(self, key: str) -> None:
        """Remove a file that has no mark, and its renditions; gone already is no error. Raises `StorageError`."""


class Entry(NamedTuple):
    """An object in a bucket and when it was last written, by the bucket's own clock."""

    name: str
    dated: float  # seconds since 1970


class Bucket(Protocol):
    """
    Named objects: what `BucketStorage` needs of a bucket, and all that it needs.

    Names are ours, and safe in paths and addresses; some have one "/" in them. Nothing is asked about conditions,
    transactions, locks or deletes of many: several servers that speak S3 have none that can be relied on. What was
    written must be seen by whoever looks afterwards, which all of them promise.

    Methods raise what they like when they fail; the storage makes a `StorageError` of it. They should try again by
    themselves, with growing pauses, but not without end.
    """

    def put(self, name: str, data: bytes) -> None:
        """Write a whole object over what there may be, durably; nobody ever sees a part of it."""

    def get(self, name: str) -> bytes | None:
        """Return an object, None if there is none of that name."""
        ...

    def delete(self, name: str) -> None:
        """Remove an object. That there is none is no error."""

    def date(self, name: str) -> float | None:
        """Return when an object was last written, in seconds since 1970; None if there is none of that name."""
        ...

    def entries(self, folder: str) -> Iterable[Entry]:
        """
        Return the objects whose names begin with the folder's, like ".pending/", or all for "", as they come.

        Names are whole. Objects of others may be among them.
        """
        ...
