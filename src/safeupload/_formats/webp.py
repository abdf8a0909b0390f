"""
WebP: lossy, lossless and with alpha; of an animation the first frame.

Source: WebP Container Specification (Google); for the sizes in the bitstreams RFC 6386, section 9.1, and RFC 9649,
section 3.4.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from safeupload._formats._base import Allowance, Malformed, Rebuilt, check_pixels
from safeupload._formats._exif import read_orientation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from safeupload.policy import Policy

NAME: Final = "WEBP"

_ALPHA_FLAG: Final = 0x10
# libwebp's animation decoder keeps two canvases of 4 bytes a pixel; Pillow adds a copy and its own raster, and lossless
# pictures take 4 bytes more while they are decoded. Pillow offers no other decoder for still pictures.
_PIXEL_BYTES: Final = 17


def recognise(head: bytes) -> bool:
    """Tell whether the file begins like a WebP."""
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def rebuild(data: bytes, policy: Policy) -> Rebuilt:
    """
    Return a still WebP of one bitstream, with its alpha plane if it has one.

    Raises `Malformed`, `TooManyPixels` and `TooComplex` ("chunks", "frames", "metadata").
    """
    picture = _Picture(policy)
    chunks = Allowance("chunks", policy.max_chunks)
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise Malformed("ends before its RIFF chunk does")
    for name, body in _chunks(memoryview(data)[12:end], chunks):
        picture.add_chunk(name, body, chunks)
    return picture.rebuilt()


def _chunks(view: memoryview, chunks: Allowance) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the name and the body of each chunk."""
    position = 0
    while position < len(view):
        chunks.take()
        if position + 8 > len(view):
            raise Malformed("ends within a chunk header")
        name, length = struct.unpack_from("<4sI", view, position)
        position += 8
        if position + length > len(view):
            raise Malformed(f"chunk {name!r} of length {length} does not fit")
        yield name, view[position : position + length]
        position += length + (length & 1)


def _bitstream_size(name: bytes, body: memoryview) -> tuple[int, int, bool]:
    """Return width, height and whether there is an alpha channel, as the bitstream itself says."""
    if name == b"VP8L":
        if len(body) >= 5 and body[0] == 0x2F:
            (bits,) = struct.unpack_from("<I", body, 1)
            if not bits >> 29:  # the version
                return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bool(bits >> 28 & 1)
    elif len(body) >= 10 and bytes(body[3:6]) == b"\x9d\x01\x2a" and not body[0] & 1:
        width, height = struct.unpack_from("<HH", body, 6)
        return width & 0x3FFF, height & 0x3FFF, False
    raise Malformed(f"{name!r} does not begin like one")


def _u24(body: memoryview, position: int) -> int:
    """Return a 24-bit number."""
    return int.from_bytes(body[position : position + 3], "little")


@dataclass
class _Picture:
    """What has been read so far."""

    policy: Policy
    canvas: tuple[int, int] | None = None
    corner: tuple[int, int] = (0, 0)
    size: tuple[int, int] | None = None  # of the frame, if its header has been read
    alpha: memoryview | None = None
    bitstream: tuple[bytes, memoryview] | None = None
    frame_count: int = 0
    icc: bytes | None = field(default=None, repr=False)
    exif: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        self._frames = Allowance("frames", self.policy.max_frames)
        self._metadata = Allowance("metadata", self.policy.max_metadata_bytes)

    def add_chunk(self, name: bytes, body: memoryview, chunks: Allowance) -> None:
        """Take in a chunk of the file."""
        if name == b"VP8X":
            if self.canvas is not None or self.bitstream is not None or len(body) < 10:
                raise Malformed("VP8X out of place or too short")
            self.canvas = _u24(body, 4) + 1, _u24(body, 7) + 1
            check_pixels(*self.canvas, self.policy)
        elif name == b"ANMF":
            self._frames.take()
            self.frame_count += 1
            if self.frame_count == 1:
                self._add_first_frame(body, chunks)
        elif not self.frame_count and name in {b"ALPH", b"VP8 ", b"VP8L"}:
            self._add_bitstream(name, body)
        elif name == b"ICCP" and self.icc is None:
            self._metadata.take(len(body))
            self.icc = bytes(body)
        elif name == b"EXIF":
            self.exif = self.exif or bytes(body)

    def _add_first_frame(self, body: memoryview, chunks: Allowance) -> None:
        if self.canvas is None or self.bitstream is not None or len(body) < 16:
            raise Malformed("a frame out of place or too short")
        self.corner = 2 * _u24(body, 0), 2 * _u24(body, 3)
        self.size = _u24(body, 6) + 1, _u24(body, 9) + 1
        if any(low + length > whole for low, length, whole in zip(self.corner, self.size, self.canvas, strict=True)):
            raise Malformed("a frame outside the canvas")
        for name, part in _chunks(body[16:], chunks):
            if name in {b"ALPH", b"VP8 ", b"VP8L"}:
                self._add_bitstream(name, part)

    def _add_bitstream(self, name: bytes, body: memoryview) -> None:
        if self.bitstream is not None or (name == b"ALPH" and self.alpha is not None):
            raise Malformed("two bitstreams for one frame")
        if name == b"ALPH":
            self.alpha = body
        else:
            self.bitstream = name, body

    def rebuilt(self) -> Rebuilt:
        """Return the file."""
        if self.bitstream is None:
            raise Malformed("no bitstream")
        name, body = self.bitstream
        width, height, has_alpha = _bitstream_size(name, body)
        canvas = self.canvas or (width, height)
        if (width, height) != (self.size or canvas):
            raise Malformed(f"a bitstream of {width} x {height} pixels where {self.size or canvas} were announced")
        check_pixels(width, height, self.policy)
        chunks = [_chunk(name, body)]
        if self.alpha is not None and name == b"VP8 ":
            has_alpha = True
            size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
            chunks[:0] = _chunk(b"VP8X", struct.pack("<I6s", _ALPHA_FLAG, size)), _chunk(b"ALPH", self.alpha)
        content = b"WEBP" + b"".join(chunks)
        left, top = self.corner
        return Rebuilt(
            format=NAME,
            canvas=canvas,
            frame=(left, top, left + width, top + height),
            pieces=[_chunk(b"RIFF", content)],
            pixel_bytes=_PIXEL_BYTES,
            orientation=read_orientation(self.exif),
            icc=self.icc,
            animated=self.frame_count > 1,
            has_alpha=has_alpha or (width, height) != canvas,
        )


def _chunk(name: bytes, body: bytes | memoryview) -> bytes:
    """Return a chunk, padded to an even length."""
    return struct.pack("<4sI", name, len(body)) + body + b"\0" * (len(body) & 1)
