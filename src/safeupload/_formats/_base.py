"""What the format modules share: the result of a rebuild, and the checks against a policy."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from safeupload.errors import TooComplex, TooManyPixels

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from safeupload._formats._pieces import Piece
    from safeupload.policy import Policy

#: What Pillow takes besides for each row (pointers to it) and for each column (two rows of the file, of up to 8 bytes a
#: pixel): nothing in a photograph, most of a picture one pixel high.
_EDGE_BYTES: Final = 16

_COARSE: Final = 8

#: Output of one step of a bounded inflate; the smaller, the less memory a bomb gets.
_INFLATE_STEP: Final = 1 << 16


class Malformed(Exception):
    """The file breaks a rule of its format; the text says which, for the log."""


def _always(_: bytes) -> bool:
    """Tell that a picture is complete, of a decoder that raises if it is not."""
    return True


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """
    A file that we wrote ourselves, with everything its decoder must not have to find out.

    `pieces` make up the file; they may be parts of the upload. `coarse_pieces`, if any, are enough for a decode at 1/8.
    `canvas` is the size of the picture as stored, `frame` the box (left, top, right, bottom) of it that the file
    covers: the first frame of an animation may be smaller than the canvas. `pixel_bytes` is what the decoder takes a
    pixel of the frame, `fixed_bytes` what it takes besides. `transparency` is what Pillow calls so: alpha per palette
    entry, or the sample(s) that mean "transparent", in the decoded depth. `gray` tells that the file is, whatever mode
    Pillow decodes it to. `is_complete` tells, from the raw last pixels of the raster, whether all of it was decoded,
    where a decoder does not raise if it was not.
    """

    format: str
    canvas: tuple[int, int]
    frame: tuple[int, int, int, int]
    pieces: Sequence[Piece] = field(repr=False)
    pixel_bytes: int
    fixed_bytes: int = 0
    scalable: bool = False
    coarse_pieces: Sequence[Piece] | None = field(default=None, repr=False)
    orientation: int = 1
    icc: bytes | None = field(default=None, repr=False)
    transparency: bytes | int | tuple[int, int, int] | None = None
    animated: bool = False
    has_alpha: bool = False
    gray: bool = False
    is_complete: Callable[[bytes], bool] = field(default=_always, repr=False, compare=False)

    def pieces_at(self, scale: int) -> Sequence[Piece]:
        """Return the pieces that a decode at 1/`scale` needs."""
        return self.coarse_pieces if scale == _COARSE and self.coarse_pieces is not None else self.pieces

    @property
    def data(self) -> bytes:
        """The file, in one."""
        return b"".join(self.pieces)

    def decode_bytes(self, scale: int) -> int:
        """Return the memory a decode at 1/`scale` needs, in bytes."""
        left, top, right, bottom = self.frame
        width, height = -(-(right - left) // scale), -(-(bottom - top) // scale)
        files = 2 * sum(map(len, self.pieces))  # the one we wrote, and the copy that is fed to some decoders
        return files + self.fixed_bytes + self.pixel_bytes * width * height + _EDGE_BYTES * (width + height)


def check_pixels(width: int, height: int, policy: Policy) -> None:
    """Raise `Malformed` for an empty picture, `TooManyPixels` for one above the policy."""
    if width < 1 or height < 1:
        raise Malformed(f"a picture of {width} x {height} pixels")
    if width * height > policy.max_pixels:
        raise TooManyPixels(width * height, policy.max_pixels)


class Allowance:
    """Counts something down and raises `TooComplex` when there is too much of it."""

    def __init__(self, what: str, limit: int) -> None:
        """Allow `limit` of `what`."""
        self._what = what
        self._limit = limit
        self._left = limit

    @property
    def left(self) -> int:
        """How much may still come."""
        return self._left

    def take(self, count: int = 1) -> None:
        """Take `count` off, or raise `TooComplex`."""
        self._left -= count
        if self._left < 0:
            raise TooComplex(self._what, self._limit)


def inflate(data: bytes, allowance: Allowance, *, keep: bool) -> bytes | None:
    """
    Inflate a zlib stream within the allowance; return its bytes if `keep`, None if it is broken or not kept.

    Raises `TooComplex` as soon as the output exceeds the allowance, having held no more than that.
    """
    stream = zlib.decompressobj()
    parts: list[bytes] = []
    pending = data
    try:
        while not stream.eof and (piece := stream.decompress(pending, min(_INFLATE_STEP, allowance.left + 1))):
            allowance.take(len(piece))
            if keep:
                parts.append(piece)
            pending = stream.unconsumed_tail
    except zlib.error:
        return None
    return b"".join(parts) if keep and stream.eof else None
