"""
PNG: all colour types and depths, interlaced or not; of an APNG the default image.

Source: PNG, third edition (W3C, 2025). Of the ancillary chunks tRNS, iCCP and eXIf are read; text is not, but inflated
within an allowance, since a bomb in it is meant for whoever reads the file next.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Final

from safeupload._formats._base import Allowance, Malformed, Rebuilt, check_pixels, inflate
from safeupload._formats._exif import read_orientation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from safeupload.policy import Policy

NAME: Final = "PNG"

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_GRAY, _RGB, _PALETTE, _GRAY_ALPHA, _RGB_ALPHA = 0, 2, 3, 4, 6
_DEPTHS: Final = {
    _GRAY: (1, 2, 4, 8, 16),
    _RGB: (8, 16),
    _PALETTE: (1, 2, 4, 8),
    _GRAY_ALPHA: (8, 16),
    _RGB_ALPHA: (8, 16),
}
_PIXEL_BYTES: Final = {_GRAY: 1, _RGB: 4, _PALETTE: 1, _GRAY_ALPHA: 4, _RGB_ALPHA: 4}  # in Pillow; I;16: 2
_SAMPLES: Final = {_GRAY: 1, _RGB: 3, _PALETTE: 1, _GRAY_ALPHA: 2, _RGB_ALPHA: 4}
_PASSES: Final = (  # of Adam7: first column and row, and the steps between them
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2),
)  # fmt: skip
_COUNTED_AT_A_TIME: Final = 1 << 20
_CRITICAL: Final = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
_ENTRIES: Final = 256


def recognise(head: bytes) -> bool:
    """Tell whether the file begins like a PNG."""
    return head.startswith(_SIGNATURE)


def rebuild(data: bytes, policy: Policy) -> Rebuilt:
    """
    Return a PNG of IHDR, PLTE, one IDAT and IEND.

    Raises `Malformed`, `TooManyPixels` and `TooComplex` ("chunks", "frames", "metadata").
    """
    metadata = Allowance("metadata", policy.max_metadata_bytes)
    frames = Allowance("frames", policy.max_frames)
    header: _Header | None = None
    palette = key = exif = b""
    icc: bytes | None = None
    pixels: list[memoryview] = []
    in_pixels = is_animation = False
    frame_count = 0
    for name, body in _chunks(data, policy):
        if header is None:
            header = _Header(name, body, policy)
        elif name == b"IHDR" or (name not in _CRITICAL and not name[0] & 0x20):
            raise Malformed(f"chunk {name!r} where none belongs")
        elif name == b"IDAT":
            if pixels and not in_pixels:
                raise Malformed("IDAT chunks are not consecutive")
            pixels.append(body)
        elif name == b"PLTE":
            if palette or pixels or not body or len(body) % 3 or len(body) > 3 * _ENTRIES:
                raise Malformed("palette out of place or of the wrong length")
            palette = bytes(body)
        elif name == b"tRNS" and not pixels:
            key = bytes(body)
        elif name == b"iCCP" and not pixels:
            icc = inflate(bytes(body).partition(b"\0")[2][1:], metadata, keep=True)
        elif name in {b"zTXt", b"iTXt"}:
            inflate(_compressed_text(name, bytes(body)), metadata, keep=False)
        elif name == b"eXIf":
            exif = exif or bytes(body)
        elif name == b"acTL":
            is_animation = is_animation or not pixels
        elif name == b"fcTL":
            frames.take()
            frame_count += 1
        in_pixels = name == b"IDAT"
    if header is None or not pixels or (header.kind == _PALETTE and not palette):
        raise Malformed("a critical chunk is missing")
    return header.rebuilt(palette, key, pixels, icc, read_orientation(exif), animated=is_animation and frame_count > 1)


def _chunks(data: bytes, policy: Policy) -> Iterator[tuple[bytes, memoryview]]:
    """
    Yield the name and the body of each chunk up to IEND, or to the end of the data.

    The CRC is checked where the picture depends on the chunk; Pillow never checks that of IDAT.
    """
    view = memoryview(data)
    allowance = Allowance("chunks", policy.max_chunks)
    position = len(_SIGNATURE)
    while position + 12 <= len(data):
        allowance.take()
        length, name = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        if end + 4 > len(data) or not name.isalpha():
            raise Malformed(f"chunk {name!r} of length {length} at {position}")
        if name in _CRITICAL or name == b"tRNS":
            (crc,) = struct.unpack_from(">I", data, end)
            if crc != zlib.crc32(view[position + 4 : end]):
                raise Malformed(f"chunk {name!r} with a wrong CRC")
        if name == b"IEND":
            return
        yield name, view[position + 8 : end]
        position = end + 4
    if position < len(data):
        raise Malformed("ends within a chunk")


def _compressed_text(name: bytes, body: bytes) -> bytes:
    """Return the compressed part of a zTXt or iTXt chunk, empty if there is none."""
    _keyword, _, rest = body.partition(b"\0")
    if name == b"zTXt":
        return rest[1:]
    if rest[:1] != b"\1":
        return b""
    _language, _, rest = rest[2:].partition(b"\0")
    _translated, _, rest = rest.partition(b"\0")
    return rest


class _Header:
    """The IHDR chunk, checked."""

    def __init__(self, name: bytes, body: memoryview, policy: Policy) -> None:
        if name != b"IHDR" or len(body) != 13:
            raise Malformed("does not begin with IHDR")
        self.body = bytes(body)
        self.width, self.height, self.depth, self.kind, *methods, self.interlace = struct.unpack(">IIBBBBB", body)
        if self.depth not in _DEPTHS.get(self.kind, ()) or any(methods) or self.interlace > 1:
            raise Malformed(
                f"IHDR with depth {self.depth}, colour type {self.kind}, methods {methods}, {self.interlace}"
            )
        check_pixels(self.width, self.height, policy)

    def rebuilt(
        self,
        palette: bytes,
        key: bytes,
        pixels: list[memoryview],
        icc: bytes | None,
        orientation: int,
        *,
        animated: bool,
    ) -> Rebuilt:
        """Return the file."""
        transparency = self._transparency(key, palette)
        head = [_SIGNATURE, *_chunk(b"IHDR", self.body)]
        if self.kind == _PALETTE:
            head += _chunk(b"PLTE", palette)
        data = b"".join((*head, *_chunk(b"IDAT", *pixels), *_chunk(b"IEND")))
        start = sum(map(len, head)) + 8
        stream = memoryview(data)[start : start + sum(map(len, pixels))]
        return Rebuilt(
            format=NAME,
            canvas=(self.width, self.height),
            frame=(0, 0, self.width, self.height),
            pieces=[data],
            pixel_bytes=2 if (self.kind, self.depth) == (_GRAY, 16) else _PIXEL_BYTES[self.kind],
            orientation=orientation,
            icc=icc,
            transparency=transparency,
            animated=animated,
            has_alpha=transparency is not None or self.kind in {_GRAY_ALPHA, _RGB_ALPHA},
            gray=self.kind in {_GRAY, _GRAY_ALPHA},
            is_complete=lambda last_pixels: self._is_complete(stream, last_pixels),
        )

    def _is_complete(self, pending: bytes | memoryview, last_pixels: bytes) -> bool:
        """
        Tell whether the stream holds all rows; Pillow leaves missing ones blank and says nothing.

        Rows are written whole and in order, so a last row that is not blank settles it. Else the stream is inflated
        once more and counted, and so is an interlaced one, whose last row is not written last.
        """
        if last_pixels.strip(b"\0") and not self.interlace:
            return True
        missing = self._raw_bytes()
        stream = zlib.decompressobj()
        while missing > 0 and (piece := stream.decompress(pending, _COUNTED_AT_A_TIME)):
            missing -= len(piece)
            pending = stream.unconsumed_tail
        return missing <= 0

    def _raw_bytes(self) -> int:
        """Return the size of the inflated picture: each row of each pass with its filter byte."""
        bits = self.depth * _SAMPLES[self.kind]
        passes = _PASSES if self.interlace else ((0, 0, 1, 1),)
        total = 0
        for left, top, across, down in passes:
            columns, rows = -(-(self.width - left) // across), -(-(self.height - top) // down)
            total += rows * (1 + -(-columns * bits // 8)) if columns > 0 and rows > 0 else 0
        return total

    def _transparency(self, key: bytes, palette: bytes) -> bytes | int | tuple[int, int, int] | None:
        """Return what tRNS says, in the depth that Pillow decodes to; None where it says nothing."""
        if self.kind == _PALETTE and key:
            return key[: len(palette) // 3]
        if self.kind == _GRAY and len(key) == 2:
            (level,) = struct.unpack(">H", key)
            return level if self.depth == 16 else _widen(level, self.depth)
        if self.kind == _RGB and len(key) == 6:
            red, green, blue = struct.unpack(">3H", key)
            # Pillow decodes 16-bit RGB to its high bytes
            return (red >> 8, green >> 8, blue >> 8) if self.depth == 16 else (red & 255, green & 255, blue & 255)
        return None


def _widen(level: int, depth: int) -> int:
    """Return a sample of up to 8 bits as 8 bits; only the low bits of a tRNS sample count."""
    top = (1 << depth) - 1
    return (level & top) * 255 // top


def _chunk(name: bytes, *parts: bytes | memoryview) -> tuple[bytes | memoryview, ...]:
    """Return the pieces of a chunk."""
    length, crc = 0, zlib.crc32(name)
    for part in parts:
        length += len(part)
        crc = zlib.crc32(part, crc)
    return (struct.pack(">I4s", length, name), *parts, struct.pack(">I", crc))
