"""PNG files from their parts, since Pillow writes neither 16-bit colours nor interlaced ones."""

from __future__ import annotations

import struct
import zlib
from typing import Final

from PIL import Image

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"

_COLOUR_TYPES: Final = {"L": 0, "RGB": 2, "LA": 4, "RGBA": 6}
#: Where each pass of an interlaced picture begins, and its steps (PNG specification, 8.1).
_ADAM7: Final = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_WHOLE: Final = ((0, 0, 1, 1),)


def chunk(name: bytes, body: bytes) -> bytes:
    """Return a chunk with its length and its CRC."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def file(
    size: tuple[int, int], colour: int, pixels: bytes, before: bytes = b"", *, depth: int = 8, interlaced: bool = False
) -> bytes:
    """Return a file of one IDAT, the `pixels` as zlib left them, and of what stands `before` it."""
    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, interlaced)
    return SIGNATURE + chunk(b"IHDR", header) + before + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def encoded(image: Image.Image, before: bytes = b"", *, depth: int = 8, interlaced: bool = False) -> bytes:
    """Return an image of mode L, LA, RGB or RGBA as a file; with 16 bits a sample, each byte stands twice."""
    width, height = image.size
    pixels = image.tobytes()
    size = len(pixels) // (width * height)
    if depth == 16:  # noqa: PLR2004 - bits
        pixels = bytes(level for level in pixels for _ in range(2))
        size *= 2
    rows: list[bytes] = []
    for left, top, across, down in _ADAM7 if interlaced else _WHOLE:
        if left >= width:
            continue  # a pass without columns has no rows either
        for y in range(top, height, down):
            starts = range((y * width + left) * size, (y + 1) * width * size, across * size)
            rows.append(b"\0" + b"".join(pixels[start : start + size] for start in starts))
    data = zlib.compress(b"".join(rows), 9)
    return file(image.size, _COLOUR_TYPES[image.mode], data, before, depth=depth, interlaced=interlaced)
