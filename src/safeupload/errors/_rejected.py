"""Their bytes: the upload is not a picture we can take."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from safeupload.errors._base import Rejected


class TooLarge(Rejected):
    """The upload has more bytes than the policy's `max_bytes`."""

    code = "too_large"
    status = 413

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

    code = "empty"
    _text = "The file is empty."


class NotAnImage(Rejected):
    """The bytes begin like no picture format we know."""

    code = "not_an_image"
    status = 415
    _text = "The file is not a picture."


class FormatNotAllowed(Rejected):
    """A picture, but of a format, or a variant of one, that the policy does not take."""

    code = "format_not_allowed"
    status = 415

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

    code = "too_many_pixels"
    status = 413

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

    code = "too_complex"
    status = 413

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

    code = "corrupt"
    _text = "The picture is damaged or incomplete."


class DecoderCrashed(Rejected):
    """The process that decoded the picture died, or its answer was none: see `WorkerProcesses`."""

    code = "decoder_crashed"
    _text = "The picture could not be read; saving it again in an image editor usually helps."


class DecoderTimeout(Rejected):
    """The process that decoded the picture took longer than it may: see `WorkerProcesses`."""

    code = "decoder_timeout"
    _text = "The picture takes too long to read; saving it again in an image editor usually helps."


class DecoderMemory(Rejected):
    """The process that decoded the picture needed more memory than it may have: see `WorkerProcesses`."""

    code = "decoder_memory"
    status = 413
    _text = "The picture takes too much memory to read; a smaller one will do."


class CheckFailed(Rejected):
    """
    A check of the application's refused the upload; the check raises it.

    The text is for the uploader. For a `code` of its own, an application makes a subclass::

        class Infected(CheckFailed):
            code = "infected"
    """

    code = "check_failed"

    def __init__(self, text: str = "The picture was refused.") -> None:
        """Note the text."""
        super().__init__(text)


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
