"""A mark that is held for a while, by two clocks of its holder's machine."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Final

from safeupload._keys import MarkName
from safeupload.errors import LeaseExpired, SafeUploadError, StorageError
from safeupload.storage import _clocks as clocks
from safeupload.storage._base import NONE, Bucket

#: Where the marks are, in a bucket.
MARKS: Final = ".pending/"


class Lease:
    """
    A mark, and until when it is ours, by two clocks: a machine that is stopped for a while may stop one of them.

    Args:
        name: its name.
        seconds: how long it is ours, from before it is written.
        bucket: where it is.
        store: writes a file and its renditions there.

    """

    def __init__(
        self, name: MarkName, seconds: int, bucket: Bucket, store: Callable[[str, bytes, Mapping[str, bytes]], None]
    ) -> None:
        self.name = name
        self._seconds = seconds
        self._bucket = bucket
        self._store = store
        self._until: tuple[float, float] | None = None

    def save(self, data: bytes, renditions: Mapping[str, bytes] = NONE) -> None:
        """Make the mark of a new file, and the file: durable and whole once this returns. So are the renditions."""
        self.record()
        with reporting("store the file"):
            self._store(self.name.key, data, renditions)
        self.check()  # or a cleaner may have come and gone before the file was there

    def record(self) -> None:
        """Make the mark."""
        with reporting("make a mark"):
            self._write()

    def touch(self) -> None:
        """
        Begin to count the mark's age from now on.

        That of a new file is left as it is while more than half of its lease remains: a cleaner's age begins when the
        lease ends, so the commit has its time as it is. One that has expired is somebody else's.
        """
        left = self._left()
        if self.name.is_new and not 0 < left <= self._seconds / 2:
            return
        with reporting("date a mark"):
            self._write()

    def check(self) -> None:
        """Raise `LeaseExpired` if it has ended."""
        if self.name.is_new and self._left() <= 0:
            raise LeaseExpired

    def close(self) -> None:
        """Do nothing: nobody is kept out by who holds it, but by its date."""

    def _left(self) -> float:
        return 0.0 if self._until is None else min(self._until[0] - clocks.elapsed(), self._until[1] - clocks.today())

    def _write(self) -> None:
        """Write the mark; what counts is when it was begun, and that a lease had not ended before it was renewed."""
        until = clocks.elapsed() + self._seconds, clocks.today() + self._seconds
        self._bucket.put(MARKS + self.name.name, b"")
        if self._until is None or self._left() > 0:
            self._until = until


@contextmanager
def reporting(what: str) -> Generator[None]:
    """Turn a bucket's errors into ours; the original stays as the cause."""
    try:
        yield
    except SafeUploadError:
        raise
    except Exception as error:
        raise StorageError(f"could not {what}: {str(error) or type(error).__name__}") from error
