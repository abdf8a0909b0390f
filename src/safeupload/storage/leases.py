"""
A storage on named objects and their dates: a mark is a small object, and who has written it holds it for a while.

Nothing here needs a lock, a condition or a transaction of the bucket. Two clocks are used, and never compared to tell
an age. The holder of a mark counts from before it was written, by the clocks of its own machine, and commits nothing
once its lease has ended. A cleaner compares the mark's date with that of an object that it writes then and there, both
dated by the bucket, and waits for longer than the lease, which the mark's name tells. What P5 rests on beyond P5
elsewhere, and with it that no sweep removes what a row may still come to name (P7):

- a commit that was begun takes effect within the minimum age of whoever cleans up;
- the bucket's dates are right to within `skew` of each other; a cleaner that finds them further than that from its own
  machine's time removes nothing;
- of two clocks of the holder's machine, one that nobody sets and that of the day, one goes on whatever happens to it;
- what was written is seen by whoever looks afterwards.

P6 and P8 rest on none of these. Everything else is harmless at any time: a mark that is written late, or twice, or
removed twice only makes somebody ask the database once more. A file that lands after its transaction has given it up
has no row, and is found by a sweep.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Final

from safeupload._arguments import Duration, seconds
from safeupload._keys import (
    LONGEST,
    MarkName,
    beside,
    checked,
    is_key,
    is_suffix,
    key_beside,
    new_mark,
    old_mark,
    parse_mark,
    suffix_of,
)
from safeupload.errors import ClockSkew, FileMissing, InvalidArgument, StorageError
from safeupload.storage import _clocks as clocks
from safeupload.storage._base import Bucket, Failure, File, Mark
from safeupload.storage._lease import MARKS, Lease, reporting

__all__ = ["BucketStorage"]

#: How long a block may take from storing its file to its commit. Far longer than a request lasts, and short enough that
#: what a crash leaves is gone within minutes.
LEASE: Final = timedelta(minutes=5)
#: By how much two clocks may differ. Machines that are kept by NTP differ by milliseconds, dates of S3 are
#: rounded to seconds, those of FAT to two; requests to S3 are refused from 900 on.
SKEW: Final = timedelta(minutes=1)
_PRECISION: Final = 1  # second
#: How long a reading of the clock is used, in seconds. It only gets more careful with time: see `_now`.
_READING: Final = 30.0
#: How often a replacement looks for stale marks, in seconds: a listing costs as much as a dozen reads.
_TIDY_INTERVAL: Final = 60.0

_SUFFIXES: Final = ".renditions/"
_CLOCK: Final = ".clock"


def lease_seconds(name: str, value: Duration) -> int:
    """Return a lease or a skew in whole seconds; raise `InvalidArgument` if it is none, or finer than dates are."""
    whole = math.ceil(seconds(name, value))
    if not _PRECISION <= seconds(name, value) <= LONGEST:
        raise InvalidArgument(f"{name}: expected at least {_PRECISION} s, as precise as dates are, got {value!r}")
    return whole


class BucketStorage:
    """
    Pictures in a bucket: anything with the five methods of `Bucket`. For S3, GCS and Azure there is `ObjectStorage`.

    Files stand under their keys, renditions beside them; ``.pending/`` holds the marks, ``.renditions/`` the suffixes
    that renditions have had here, ``.clock`` the time. A lifecycle rule must never remove any of them.

    `lease` is how long a block may take between storing its file and its commit; after that it raises `LeaseExpired`
    and commits nothing. `skew` is how far the bucket's clock may be from a machine's. What crashes leave can be settled
    once both have passed.
    """

    tidy_interval = _TIDY_INTERVAL

    def __init__(self, bucket: Bucket, *, lease: Duration = LEASE, skew: Duration = SKEW) -> None:
        self._bucket = bucket
        self._lease = lease_seconds("lease", lease)
        self._skew = lease_seconds("skew", skew)
        self._known: frozenset[str] = frozenset()
        self._listed: tuple[frozenset[str], float] | None = None
        self._reading: tuple[float, float] | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._bucket!r})"

    def read(self, key: str) -> bytes:
        """Return the bytes of a file, or of a rendition; raise `InvalidKey`, `FileMissing` or `StorageError`."""
        with reporting("read the file"):
            data = self._bucket.get(checked(key))
        if data is None:
            raise FileMissing
        return data

    def keys(self) -> Iterator[str]:
        """Return the keys of all files, in no order; those that come or go meanwhile may be missed."""
        with reporting("list the files"):
            yield from (entry.name for entry in self._bucket.entries("") if is_key(entry.name))

    def new_mark(self) -> Lease:
        """Return a mark for a new file; nothing happens before its `save`."""
        return self._mark(new_mark(self._lease))

    def old_mark(self, key: str, retain: int) -> Lease:
        """Return a mark for a file that is to be released; nothing happens before its `record`."""
        return self._mark(old_mark(key, retain, self._lease))

    def marks(self) -> Iterator[MarkName]:
        """Return the names of all marks, in no order, with their dates."""
        with reporting("list the marks"):
            for entry in self._bucket.entries(MARKS):
                name = parse_mark(entry.name.removeprefix(MARKS), entry.dated)
                if name is not None:
                    yield name

    def clock(self) -> float:
        """
        Return the time, in seconds, by the clock that dates files and marks: write something, and see how it is dated.

        Raises `ClockSkew` if that is not what this machine takes for the time.
        """
        with reporting("tell the time"):
            before = clocks.today()
            self._bucket.put(_CLOCK, b"")
            date = self._bucket.date(_CLOCK)
            after = clocks.today()
        if date is None:
            raise StorageError("could not tell the time: what was just written is not there")
        if not before - self._skew <= date <= after + self._skew:
            raise ClockSkew(date - (before if date < before else after), self._skew)
        self._reading = date, clocks.elapsed()
        return date

    def seize(self, name: MarkName, dated: float) -> Lease | None:
        """
        Take hold of a mark from that date or before whose lease has ended long ago, None if that is not possible now.

        Its owner may have a longer lease than we give, or a shorter one: an older version, or a task of another kind.

        Several cleaners may hold it at once: each asks the database, and does what the others do.
        """
        latest = min(dated, self._now() - name.retain) - max(self._lease, name.lease) - self._skew
        if name.dated is not None and name.dated > latest:  # most are young, and never get older than they were
            return None
        with reporting("take hold of a mark"):
            date = self._bucket.date(MARKS + name.name)
        return None if date is None or date > latest else self._mark(name)

    def settle(self, remove: Iterable[Mark], drop: Iterable[Mark]) -> list[Failure]:
        """Remove the files of some marks and then the marks, of others the marks alone."""
        failures: list[Failure] = []
        suffixes: frozenset[str] | None = None
        for mark, goes in [*((mark, True) for mark in remove), *((mark, False) for mark in drop)]:
            try:
                with reporting("remove the file" if goes else "drop a mark"):
                    if goes:
                        suffixes = self._suffixes() if suffixes is None else suffixes
                        self._unlink(mark.name.key, suffixes)
                    self._bucket.delete(MARKS + mark.name.name)
            except StorageError as error:
                failures.append(Failure(mark.name.key, error))
        return failures

    def exists(self, key: str) -> bool:
        """Tell whether there is a file under the key."""
        with reporting("look for the file"):
            return self._bucket.date(key) is not None

    def files(self) -> Iterator[File]:
        """
        Return what `keys` returns, with dates; and keys of which a late write has left nothing but renditions.

        Buckets list by name, so a rendition is followed by its file. Where one does not, more is looked up; a key may
        then come twice.
        """
        alone: File | None = None
        with reporting("list the files"):
            for entry in self._bucket.entries(""):
                key = entry.name if is_key(entry.name) else key_beside(entry.name)
                if key is None:
                    continue
                if alone is not None and alone.key != key:
                    if self._bucket.date(alone.key) is None:
                        yield alone
                    alone = None
                if key == entry.name:
                    alone = None
                    yield File(key, entry.dated)
                else:
                    self._learn(suffix_of(entry.name))
                    alone = File(key, entry.dated)
            if alone is not None and self._bucket.date(alone.key) is None:
                yield alone

    def remove(self, key: str) -> None:
        """Remove a file, with its renditions, that has no mark; that it is gone already is no error."""
        with reporting("remove the file"):
            # A sweep has just seen the names of all renditions, so it need not ask anew for each of its files.
            fresh = self._listed is not None and clocks.elapsed() - self._listed[1] < _READING
            suffixes = self._listed[0] if self._listed is not None and fresh else self._suffixes()
            self._unlink(key, self._known | suffixes)

    def _mark(self, name: MarkName) -> Lease:
        return Lease(name, self._lease, self._bucket, self._store)

    def _unlink(self, key: str, suffixes: Iterable[str]) -> None:
        """Remove a file and its renditions: itself last, since what an error or a crash leaves is found by it."""
        for suffix in suffixes:
            self._bucket.delete(beside(key, suffix))
        self._bucket.delete(key)

    def _store(self, key: str, data: bytes, renditions: Mapping[str, bytes]) -> None:
        """Write a file, then what stands beside it, all of whose suffixes are on the list before."""
        for suffix in renditions:
            self._learn(suffix)
        self._bucket.put(key, data)
        for suffix, rendition in renditions.items():
            self._bucket.put(beside(key, suffix), rendition)

    def _suffixes(self) -> frozenset[str]:
        """Return the suffixes that renditions have had here, whatever today's policy says."""
        found = {entry.name.removeprefix(_SUFFIXES) for entry in self._bucket.entries(_SUFFIXES)}
        suffixes = frozenset(filter(is_suffix, found))
        self._listed = suffixes, clocks.elapsed()
        return suffixes

    def _learn(self, suffix: str) -> None:
        """Put a suffix on the list, once for each process."""
        if suffix not in self._known:
            self._bucket.put(_SUFFIXES + suffix, b"")
            self._known |= {suffix}

    def _now(self) -> float:
        """
        Return a time that the storage's clock has reached.

        A reading and what has gone by since it was taken: its date is rounded down, and was made before it was read.
        """
        if self._reading is not None:
            date, taken = self._reading
            since = clocks.elapsed() - taken
            if since < _READING:
                return date + since
        return self.clock()
