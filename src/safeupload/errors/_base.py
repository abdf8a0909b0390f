"""What all errors have in common, and their three families."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, ClassVar, Final, Self

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
    _text: ClassVar[str] = ""  # of errors that have only one

    def __init_subclass__(cls) -> None:
        """Let tracebacks and pickles name the module that an application imports from."""
        if cls.__module__.startswith("safeupload.errors."):
            cls.__module__ = "safeupload.errors"

    def __new__(cls, *args: object, **_: object) -> Self:  # exceptions are pickled through this signature
        """Refuse to make an abstract error."""
        if cls in _ABSTRACT:
            raise TypeError(f"{cls.__name__} is a family of errors; raise one of its members")
        return super().__new__(cls, *args)

    def __str__(self) -> str:
        return self._text or super().__str__()

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

    code = "rejected"
    status = 422

    def _public_text(self) -> str:
        """Return the text for the uploader."""
        return str(self)


class Unavailable(SafeUploadError):
    """Superclass of what keeps an upload from being stored though nothing is wrong with it; later it may work."""

    code = "unavailable"
    status = 503


class Misuse(SafeUploadError, RuntimeError):
    """Superclass of errors in the application's own code: fix the call, do not catch the error."""

    code = "misuse"


_ABSTRACT: Final = frozenset({SafeUploadError, Rejected, Unavailable, Misuse})
