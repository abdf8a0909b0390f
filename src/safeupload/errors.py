"""
Everything safeupload raises on purpose.

::

    SafeUploadError                 code, status, problem()
    +- Rejected             422     their bytes: the upload is not a picture we can take
    |  +- TooLarge          413     more bytes than the policy allows
    |  +- Empty             422     no bytes at all
    |  +- NotAnImage        415     no picture format recognised
    |  +- FormatNotAllowed  415     a picture, but of a format the policy does not take
    |  +- TooManyPixels     413     more pixels than the policy allows
    |  +- TooComplex        413     more scans, chunks, frames, metadata or memory than the policy allows
    |  +- Corrupt           422     damaged, cut short or contradicting itself
    |  +- DecoderCrashed    422     the worker that decoded it died, or answered nonsense
    |  +- DecoderTimeout    422     the worker that decoded it took too long
    |  +- DecoderMemory     413     the worker that decoded it took too much memory
    |  +- CheckFailed       422     a check of the application's refused it
    +- Unavailable          503     nothing is wrong with the upload; later it may work
    |  +- StorageError      503     our folder or bucket: full, read-only, unreachable, broken
    |  |  +- InvalidKey     404     not a key that we have made
    |  |  +- FileMissing    404     no file under that key
    |  |  +- UnsupportedStorage     a folder that cannot keep what the library promises
    |  |  +- LeaseExpired           a block that took longer than its storage's lease
    |  |  +- ClockSkew              two clocks that should agree, and do not
    |  +- DecoderUnavailable 503    too many uploads wait for a worker, or none can be started
    |  +- CheckUnavailable  503     a check of the application's could not tell
    +- Misuse               500     your code (also a RuntimeError)
       +- InvalidPolicy             a policy that cannot work (also a ValueError)
       +- InvalidArgument           any other argument that cannot work (also a ValueError)
       +- UnsupportedSource         not something to read bytes from (also a TypeError)
       +- TruncatedImagesEnabled    ``PIL.ImageFile.LOAD_TRUNCATED_IMAGES`` is set in this process
       +- FolderNotOwned            a folder that holds other people's files
       +- InvalidReferences         ``references`` is not, or does not return, what it has to (also a TypeError)
       +- InvalidCheck              a check that returned something (also a TypeError)
       +- NotChecked                a picture that was made without the checks of the `Uploads`
       +- AsyncCallable             a coroutine function where a plain one is called (also a TypeError)
       +- IllegalTransition         a call that comes too early, too late, or twice
       +- NewKeyReleased            the key of a new file, given as the key of an old one
       +- CommitMissing             a block left without a commit, though its key was handed out
       +- NotCommitted              a commit that returned, and the database does not say what it should
       +- NotAborted                ``abort()``, and the database names the new key
       +- SweepRefused              a sweep that would remove too much to be right

The text of a `Rejected` is fit for the person who uploaded the file: it carries no path, no key and no decoder's
words. Those are in ``__cause__``, for your log.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "AsyncCallable",
    "CheckFailed",
    "CheckUnavailable",
    "ClockSkew",
    "CommitMissing",
    "Corrupt",
    "DecoderCrashed",
    "DecoderMemory",
    "DecoderTimeout",
    "DecoderUnavailable",
    "Empty",
    "FileMissing",
    "FolderNotOwned",
    "FormatNotAllowed",
    "IllegalTransition",
    "InvalidArgument",
    "InvalidCheck",
    "InvalidKey",
    "InvalidPolicy",
    "InvalidReferences",
    "LeaseExpired",
    "Misuse",
    "NewKeyReleased",
    "NotAborted",
    "NotAnImage",
    "NotChecked",
    "NotCommitted",
    "Rejected",
    "SafeUploadError",
    "StorageError",
    "SweepRefused",
    "TooComplex",
    "TooLarge",
    "TooManyPixels",
    "TruncatedImagesEnabled",
    "Unavailable",
    "UnsupportedSource",
    "UnsupportedStorage",
]

# Reason phrases of RFC 9110; those of http.HTTPStatus differ between Python versions.
_PHRASES = {
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    500: "Internal Server Error",
}


class SafeUploadError(Exception):
    """
    Superclass of everything safeupload raises on purpose; never raised itself.

    `code` names the error in snake_case and never changes; translate by it. `status` is a suggestion for the HTTP
    answer. Errors survive pickling, so they can cross a process or a task queue.
    """

    code: ClassVar[str] = "safeupload_error"
    status: ClassVar[int] = 500

    def __new__(cls, *args: object, **_: object) -> Self:  # exceptions are pickled through this signature
        """Refuse to make an abstract error."""
        if cls in _ABSTRACT:
            raise TypeError(f"{cls.__name__} is a family of errors; raise one of its members")
        return super().__new__(cls, *args)

    def _members(self) -> dict[str, Any]:
        """Return the extension members of `problem`: what a client may act on."""
        return {}

    def problem(self) -> dict[str, Any]:
        """
        Return the error as an RFC 9457 problem document, ready for ``application/problem+json``.

        The type is ``about:blank``, so the title is the status's own phrase; clients tell errors apart by `code`.
        """
        return {
            "type": "about:blank",
            "title": _PHRASES.get(self.status) or HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self._public_text(),
            "code": self.code,
            **self._members(),
        }

    def _public_text(self) -> str:
        """Return a text that tells a client nothing about the server."""
        return "The server could not handle the upload."


class Rejected(SafeUploadError):
    """Superclass of every refusal of an upload: the bytes are at fault, not the application."""

    code: ClassVar[str] = "rejected"
    status: ClassVar[int] = 422

    def _public_text(self) -> str:
        """Return the text for the uploader."""
        return str(self)


class TooLarge(Rejected):
    """The upload has more bytes than the policy's `max_bytes`."""

    code: ClassVar[str] = "too_large"
    status: ClassVar[int] = 413

    def __init__(self, limit: int) -> None:
        """Note the `limit` in bytes."""
        super().__init__(limit)
        self.limit = limit

    def __str__(self) -> str:
        """Say what is allowed."""
        return f"The file is larger than {_size(self.limit)}."

    def _members(self) -> dict[str, Any]:
        return {"limit": self.limit}


class Empty(Rejected):
    """The upload has no bytes."""

    code: ClassVar[str] = "empty"

    def __str__(self) -> str:
        """Say so."""
        return "The file is empty."


class NotAnImage(Rejected):
    """The bytes begin like no picture format we know."""

    code: ClassVar[str] = "not_an_image"
    status: ClassVar[int] = 415

    def __str__(self) -> str:
        """Say so."""
        return "The file is not a picture."


class FormatNotAllowed(Rejected):
    """A picture, but of a format, or a variant of one, that the policy does not take."""

    code: ClassVar[str] = "format_not_allowed"
    status: ClassVar[int] = 415

    def __init__(self, format: str, allowed: Iterable[str]) -> None:  # noqa: A002 - the field's standard term
        """Note the `format` found and the formats `allowed`."""
        self.format = format
        self.allowed: tuple[str, ...] = tuple(sorted(allowed))
        super().__init__(format, self.allowed)

    def __str__(self) -> str:
        """Say what was found and what is allowed."""
        return (
            f"Pictures of the type {self.format} are not accepted; please use {_either(self.allowed or ['another'])}."
        )

    def _members(self) -> dict[str, Any]:
        return {"format": self.format, "allowed": list(self.allowed)}


class TooManyPixels(Rejected):
    """The picture has more pixels than the policy's `max_pixels`."""

    code: ClassVar[str] = "too_many_pixels"
    status: ClassVar[int] = 413

    def __init__(self, pixels: int, limit: int) -> None:
        """Note the `pixels` (width times height) and the `limit`."""
        super().__init__(pixels, limit)
        self.pixels = pixels
        self.limit = limit

    def __str__(self) -> str:
        """Say what is allowed."""
        return f"The picture has {self.pixels:,} pixels; at most {self.limit:,} are accepted."

    def _members(self) -> dict[str, Any]:
        return {"pixels": self.pixels, "limit": self.limit}


class TooComplex(Rejected):
    """The picture would cost more to decode than the policy allows, whatever its size on disk."""

    code: ClassVar[str] = "too_complex"
    status: ClassVar[int] = 413

    def __init__(self, what: str, limit: int) -> None:
        """
        Note `what` there is too much of, and the `limit`.

        `what` is one of "scans", "chunks", "frames", "metadata" (bytes) and "memory" (bytes).
        """
        super().__init__(what, limit)
        self.what = what
        self.limit = limit

    def __str__(self) -> str:
        """Say what there is too much of, and what helps."""
        return f"The picture is too complex ({self.what}); saving it again in an image editor usually helps."

    def _members(self) -> dict[str, Any]:
        return {"what": self.what, "limit": self.limit}


class Corrupt(Rejected):
    """The picture is damaged, cut short, or its parts contradict each other."""

    code: ClassVar[str] = "corrupt"

    def __str__(self) -> str:
        """Say so."""
        return "The picture is damaged or incomplete."


class DecoderCrashed(Rejected):
    """The process that decoded the picture died, or its answer was none: see `WorkerProcesses`."""

    code: ClassVar[str] = "decoder_crashed"

    def __str__(self) -> str:
        """Say so."""
        return "The picture could not be read; saving it again in an image editor usually helps."


class DecoderTimeout(Rejected):
    """The process that decoded the picture took longer than it may: see `WorkerProcesses`."""

    code: ClassVar[str] = "decoder_timeout"

    def __str__(self) -> str:
        """Say so."""
        return "The picture takes too long to read; saving it again in an image editor usually helps."


class DecoderMemory(Rejected):
    """The process that decoded the picture needed more memory than it may have: see `WorkerProcesses`."""

    code: ClassVar[str] = "decoder_memory"
    status: ClassVar[int] = 413

    def __str__(self) -> str:
        """Say so."""
        return "The picture takes too much memory to read; a smaller one will do."


class CheckFailed(Rejected):
    """
    A check of the application's refused the upload; the check raises it.

    The text is for the uploader. For a `code` of its own, an application makes a subclass::

        class Infected(CheckFailed):
            code = "infected"
    """

    code: ClassVar[str] = "check_failed"

    def __init__(self, text: str = "The picture was refused.") -> None:
        """Note the text."""
        super().__init__(text)


class Unavailable(SafeUploadError):
    """Superclass of what keeps an upload from being stored though nothing is wrong with it; later it may work."""

    code: ClassVar[str] = "unavailable"
    status: ClassVar[int] = 503


class DecoderUnavailable(Unavailable):
    """Too many uploads wait for a process to decode them, or none can be started. Nothing is wrong with the picture."""

    code: ClassVar[str] = "decoder_unavailable"


class CheckUnavailable(Unavailable):
    """
    A check of the application's could not tell: a scanner is down, or there is a mistake in it.

    What it raised is in ``__cause__``. Nothing was stored.
    """

    code: ClassVar[str] = "check_unavailable"


class StorageError(Unavailable):
    """
    The storage failed: a full disk, a read-only folder, an input/output error. Its own error is in ``__cause__``.

    Nothing half-written stands under a key that anybody was given.
    """

    code: ClassVar[str] = "storage_error"


class InvalidKey(StorageError):
    """Not a key: one has 32 hexadecimal digits and an extension, and is made by `safeupload` alone."""

    code: ClassVar[str] = "invalid_key"
    status: ClassVar[int] = 404

    def __str__(self) -> str:
        """Say so, and not what was asked for: it may come from a client."""
        return "There is no such file."

    def _public_text(self) -> str:
        return str(self)


class FileMissing(StorageError):
    """There is no file under that key, or no longer."""

    code: ClassVar[str] = "file_missing"
    status: ClassVar[int] = 404

    def __str__(self) -> str:
        """Say so."""
        return "There is no such file."

    def _public_text(self) -> str:
        return str(self)


class UnsupportedStorage(StorageError):
    """The folder, the system or the object store lacks what is asked of it."""

    code: ClassVar[str] = "unsupported_storage"


class LeaseExpired(StorageError):
    """
    The block took longer than the storage's lease, so others may have removed its new files: nothing was committed.

    Do the slow work before the block, or give the storage a longer `lease`.
    """

    code: ClassVar[str] = "lease_expired"

    def __str__(self) -> str:
        """Say what to do."""
        return "the block took longer than the storage's lease; nothing was committed"


class ClockSkew(StorageError):
    """
    The storage's clock and this machine's differ by too much, so nobody can tell how old a mark is.

    Nothing was removed. Keep both by NTP.
    """

    code: ClassVar[str] = "clock_skew"

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


class Misuse(SafeUploadError, RuntimeError):
    """Superclass of errors in the application's own code: fix the call, do not catch the error."""

    code: ClassVar[str] = "misuse"


class InvalidPolicy(Misuse, ValueError):
    """The policy cannot work; raised when it is built."""

    code: ClassVar[str] = "invalid_policy"


class InvalidArgument(Misuse, ValueError):
    """An argument that cannot work, such as a negative age; raised where it is given."""

    code: ClassVar[str] = "invalid_argument"


class UnsupportedSource(Misuse, TypeError):
    """The source is not something bytes can be read from."""

    code: ClassVar[str] = "unsupported_source"


class TruncatedImagesEnabled(Misuse):
    """
    Somebody set ``PIL.ImageFile.LOAD_TRUNCATED_IMAGES`` in this process.

    With it Pillow passes torn files for whole ones, so no answer of ours would be worth anything.
    """

    code: ClassVar[str] = "truncated_images_enabled"

    def __str__(self) -> str:
        """Say what to do."""
        return "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is True in this process; set it to False"


class FolderNotOwned(Misuse):
    """
    The folder holds files and was never a storage.

    A storage removes files, so it must not be pointed at somebody else's by mistake; ``adopt=True`` says it is none.
    """

    code: ClassVar[str] = "folder_not_owned"


class InvalidReferences(Misuse, TypeError):
    """
    `references` is not, or does not return, what it has to: of the keys that it is given, those that rows name.

    What it returned is not believed, so nothing is removed on its word.
    """

    code: ClassVar[str] = "invalid_references"


class InvalidCheck(Misuse, TypeError):
    """A check returned something. It has to raise what it finds: nobody looks at a ``return False``."""

    code: ClassVar[str] = "invalid_check"


class NotChecked(Misuse):
    """
    The picture has not been through all checks of the `Uploads` that should store it.

    Hand the upload itself over, or give `normalize` (or the field of a form) the same checks.
    """

    code: ClassVar[str] = "not_checked"

    def __str__(self) -> str:
        """Say what to do."""
        return "the picture was made without the checks of this Uploads; give normalize the same, or pass the upload"


class AsyncCallable(Misuse, TypeError):
    """A coroutine function was given where a plain function is called; `AsyncUploads` takes it."""

    code: ClassVar[str] = "async_callable"


class IllegalTransition(Misuse):
    """The call comes too early (before ``with``), too late or twice: the transaction's `state` does not allow it."""

    code: ClassVar[str] = "illegal_transition"

    def __init__(self, state: str, call: str) -> None:
        """Note the `state` of the transaction and the `call` that it does not allow."""
        super().__init__(state, call)
        self.state = state
        self.call = call

    def __str__(self) -> str:
        """Say what was called when."""
        return f"{self.call} is not possible here: the transaction is {self.state.replace('_', ' ')}"


class NewKeyReleased(Misuse):
    """The key that this transaction has just made was given as the old one: read the row before you assign to it."""

    code: ClassVar[str] = "new_key_released"

    def __str__(self) -> str:
        """Say what to do."""
        return "this is the key of the new file, not of the old one; read the old one before you assign the new one"


class CommitMissing(Misuse):
    """
    The block was left without a commit, though the new key was handed out or an old one released.

    Nobody knows now whether a row names the new file or still names the old one, so both are kept, and `recover`
    settles it.
    """

    code: ClassVar[str] = "commit_missing"

    def __str__(self) -> str:
        """Say what to do."""
        return "the block was left without commit(session.commit) or abort(); all files are kept"


class NotCommitted(Misuse):
    """
    The commit returned, and the database does not say what it should: it names an old key still, or a new one not.

    Either the commit did nothing (another session, a row that was not assigned to, a rollback before it), or
    `references` does not look where the rows are. Everything is kept.
    """

    code: ClassVar[str] = "not_committed"


class NotAborted(Misuse):
    """`abort()` was called, and the database names the new key: it was committed. Everything is kept."""

    code: ClassVar[str] = "not_aborted"

    def __str__(self) -> str:
        """Say so."""
        return "abort() was called, but the database names the new file; all files are kept"


class SweepRefused(Misuse):
    """
    The sweep would remove so much that `references`, or its database, is more likely wrong than the files are.

    Nothing was removed. ``force=True`` removes them all the same.
    """

    code: ClassVar[str] = "sweep_refused"


_ABSTRACT = frozenset({SafeUploadError, Rejected, Unavailable, Misuse})


def _size(count: int) -> str:
    """Return a number of bytes as people say it, rounded down so that the stated size is always accepted."""
    for unit, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= unit:
            whole, tenth = divmod(count * 10 // unit, 10)
            return f"{whole}.{tenth} {name}" if tenth else f"{whole} {name}"
    return f"{count} bytes" if count != 1 else "1 byte"


def _either(names: Iterable[str]) -> str:
    """Return "A, B or C"."""
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last
