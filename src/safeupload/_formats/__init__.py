"""
One small module per picture format: it recognises, checks, bounds and rebuilds.

Law of this package: a decoder never sees the upload. It sees a file that we wrote, with nothing in it but the parts a
picture needs, and only after its cost has been bounded from its header.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from safeupload._formats import avif, gif, heif, jpeg, png, webp
from safeupload._formats._base import Malformed, Rebuilt
from safeupload.errors import Corrupt, FormatNotAllowed, NotAnImage

if TYPE_CHECKING:
    from safeupload.policy import Policy

__all__ = ["Malformed", "Rebuilt", "rebuild"]


class _Format(Protocol):
    """What a format module offers."""

    @property
    def NAME(self) -> str:  # noqa: N802 - a constant of the module
        """The format's name, as in `Policy.formats`."""
        ...

    def recognise(self, head: bytes) -> bool:
        """Tell whether the file begins like one of this format."""
        ...

    def rebuild(self, data: bytes, policy: Policy) -> Rebuilt:
        """Check and bound the file, and return it rebuilt."""
        ...


_FORMATS: Final[tuple[_Format, ...]] = (jpeg, png, gif, webp, avif, heif)

# What else people upload, so that they are told what it is and not that it is no picture.
_KNOWN: Final = (
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"BM", "BMP"),
    (b"8BPS", "PSD"),
    (b"\0\0\1\0", "ICO"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"<svg", "SVG"),
)
_HEAD: Final = 64


def rebuild(data: bytes, policy: Policy) -> Rebuilt:
    """
    Recognise the format by its first bytes, have it rebuilt, and bound the memory of its decoding.

    Raises `NotAnImage`, `FormatNotAllowed`, `TooManyPixels`, `TooComplex` and `Corrupt`.
    """
    head = data[:_HEAD]
    found = next((module for module in _FORMATS if module.recognise(head)), None)
    if found is None:
        name = next((name for magic, name in _KNOWN if head.startswith(magic)), None)
        if name is None:
            raise NotAnImage
        raise FormatNotAllowed(name, policy.formats)
    if found.NAME not in policy.formats:
        raise FormatNotAllowed(found.NAME, policy.formats)
    try:
        return found.rebuild(data, policy)
    except Malformed as error:
        raise Corrupt from error
