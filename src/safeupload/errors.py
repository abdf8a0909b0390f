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
    +- Misuse               500     your code (also a RuntimeError)
       +- InvalidPolicy             a policy that cannot work (also a ValueError)
       +- UnsupportedSource         not something to read bytes from (also a TypeError)
       +- TruncatedImagesEnabled    ``PIL.ImageFile.LOAD_TRUNCATED_IMAGES`` is set in this process

The text of a `Rejected` is fit for the person who uploaded the file: it carries no path, no key and no decoder's
words. Those are in ``__cause__``, for your log.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "Corrupt",
    "Empty",
    "FormatNotAllowed",
    "InvalidPolicy",
    "Misuse",
    "NotAnImage",
    "Rejected",
    "SafeUploadError",
    "TooComplex",
    "TooLarge",
    "TooManyPixels",
    "TruncatedImagesEnabled",
    "UnsupportedSource",
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

    def __new__(cls, *args: object, **_: object) -> SafeUploadError:  # noqa: PYI034 - exceptions are pickled through this signature
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
        self.allowed = tuple(sorted(allowed))
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


class Misuse(SafeUploadError, RuntimeError):
    """Superclass of errors in the application's own code: fix the call, do not catch the error."""

    code: ClassVar[str] = "misuse"


class InvalidPolicy(Misuse, ValueError):
    """The policy cannot work; raised when it is built."""

    code: ClassVar[str] = "invalid_policy"


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


_ABSTRACT = frozenset({SafeUploadError, Rejected, Misuse})


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
