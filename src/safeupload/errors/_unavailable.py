"""Nothing is wrong with the upload: what it needs is out of order, or not there."""

from __future__ import annotations

from safeupload.errors._base import Unavailable


class DecoderUnavailable(Unavailable):
    """Too many uploads wait for a process to decode them, or none can be started. Nothing is wrong with the picture."""

    code = "decoder_unavailable"


class CheckUnavailable(Unavailable):
    """
    A check of the application's could not tell: a scanner is down, or there is a mistake in it.

    What it raised is in ``__cause__``. Nothing was stored.
    """

    code = "check_unavailable"


class StorageError(Unavailable):
    """
    The storage failed: a full disk, a read-only folder, an input/output error. Its own error is in ``__cause__``.

    Nothing half-written stands under a key that anybody was given.
    """

    code = "storage_error"


class InvalidKey(StorageError):
    """Not a key: one has 32 hexadecimal digits and an extension, and is made by `safeupload` alone."""

    code = "invalid_key"
    status = 404
    _text = "There is no such file."

    def _public_text(self) -> str:
        return str(self)


class FileMissing(StorageError):
    """There is no file under that key, or no longer."""

    code = "file_missing"
    status = 404
    _text = "There is no such file."

    def _public_text(self) -> str:
        return str(self)


class UnsupportedStorage(StorageError):
    """The folder, the system or the object store lacks what is asked of it."""

    code = "unsupported_storage"


class LeaseExpired(StorageError):
    """
    The block took longer than the storage's lease, so others may have removed its new files: nothing was committed.

    Do the slow work before the block, or give the storage a longer `lease`.
    """

    code = "lease_expired"
    _text = "the block took longer than the storage's lease; nothing was committed"


class ClockSkew(StorageError):
    """
    The storage's clock and this machine's differ by too much, so nobody can tell how old a mark is.

    Nothing was removed. Keep both by NTP.
    """

    code = "clock_skew"

    def __init__(self, seconds: float, limit: float) -> None:
        """Note by how many `seconds` the storage is ahead of this machine (behind: negative), and the `limit`."""
        super().__init__(seconds, limit)
        self.seconds = seconds
        self.limit = limit

    def __str__(self) -> str:
        """Say which is where."""
        where = "ahead of" if self.seconds > 0 else "behind"
        return (
            f"the storage's clock is {abs(self.seconds):.0f} s {where} this machine's, and {self.limit:.0f} s are"
            " allowed; nothing was removed"
        )
