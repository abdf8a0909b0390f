"""
PNG files from their chunks: valid by default, with a wrong CRC or length where a test asks for one.

The encoder writes every combination of colour type, depth and interlacing, most of which Pillow cannot write.
"""

import struct
import zlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GRAY, RGB, PALETTE, GRAY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
DEPTHS = {
    GRAY: (1, 2, 4, 8, 16),
    RGB: (8, 16),
    PALETTE: (1, 2, 4, 8),
    GRAY_ALPHA: (8, 16),
    RGB_ALPHA: (8, 16),
}

_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_WHOLE = ((0, 0, 1, 1),)

Samples = tuple[int, ...]


class Chunk(NamedTuple):
    """One chunk; `crc` and `length` are what it claims, and the truth where they are None."""

    name: bytes
    body: bytes = b""
    crc: int | None = None
    length: int | None = None

    def __bytes__(self) -> bytes:
        """Return the chunk as it stands in a file."""
        crc = zlib.crc32(self.name + self.body) if self.crc is None else self.crc
        length = len(self.body) if self.length is None else self.length
        return struct.pack(">I", length) + self.name + self.body + struct.pack(">I", crc)


END = Chunk(b"IEND")


def spoilt(name: bytes, body: bytes = b"") -> Chunk:
    """Return a chunk whose CRC is wrong by one bit."""
    return Chunk(name, body, crc=zlib.crc32(name + body) ^ 1)


def join(chunks: Iterable[Chunk], *, end: bytes = bytes(END)) -> bytes:
    """Return a file of these chunks and what stands at its end."""
    return SIGNATURE + b"".join(map(bytes, chunks)) + end


def split(data: bytes) -> list[Chunk]:
    """Return the chunks of a valid file, without IEND and what follows it."""
    chunks = []
    position = len(SIGNATURE)
    while data[position + 4 : position + 8] != END.name:
        (length,) = struct.unpack_from(">I", data, position)
        chunks.append(Chunk(data[position + 4 : position + 8], data[position + 8 : position + 8 + length]))
        position += 12 + length
    return chunks


def header(
    size: tuple[int, int], kind: int = RGB, depth: int = 8, *, interlaced: bool = False, methods: bytes = b"\0\0"
) -> Chunk:
    """Return IHDR; `methods` are those of compression and of filtering."""
    return Chunk(b"IHDR", struct.pack(">IIBB2sB", *size, depth, kind, methods, interlaced))


def pixels(
    size: tuple[int, int],
    pixel: Callable[[int, int], Samples],
    depth: int = 8,
    *,
    interlaced: bool = False,
) -> bytes:
    """Return the body of IDAT; `pixel` gives the samples at x, y."""
    rows = []
    for left, top, step_x, step_y in _ADAM7 if interlaced else _WHOLE:
        columns = range(left, size[0], step_x)
        if columns:
            rows += [_row([pixel(x, y) for x in columns], depth) for y in range(top, size[1], step_y)]
    return zlib.compress(b"".join(rows))


def _row(samples: list[Samples], depth: int) -> bytes:
    """Return a row without a filter, padded to whole bytes."""
    bits = "".join(f"{sample:0{depth}b}" for pixel in samples for sample in pixel)
    bits += "0" * (-len(bits) % 8)
    return b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")


def palette(*colours: tuple[int, int, int]) -> Chunk:
    """Return PLTE."""
    return Chunk(b"PLTE", b"".join(map(bytes, colours)))


def chunks(size: tuple[int, int] = (5, 3), *, interlaced: bool = False) -> list[Chunk]:
    """Return the chunks of a small RGB picture: IHDR and one IDAT."""
    return [
        header(size, interlaced=interlaced),
        Chunk(b"IDAT", pixels(size, lambda x, y: (40 * x % 256, 60 * y % 256, 99), interlaced=interlaced)),
    ]


def with_metadata(*extra: Chunk) -> bytes:
    """Return a small picture with further chunks between IHDR and IDAT."""
    first, *rest = chunks()
    return join([first, *extra, *rest])


def compressed_text(text: bytes, *, keyword: bytes = b"Comment") -> Chunk:
    """Return zTXt."""
    return Chunk(b"zTXt", keyword + b"\0\0" + zlib.compress(text, 9))


def international_text(text: bytes, *, compressed: bool = True) -> Chunk:
    """Return iTXt, with a language and a translated keyword before the text."""
    content = zlib.compress(text, 9) if compressed else text
    return Chunk(b"iTXt", b"Comment\0" + bytes([compressed, 0]) + b"de\0Bemerkung\0" + content)


def profile(icc: bytes) -> Chunk:
    """Return iCCP."""
    return Chunk(b"iCCP", b"a profile\0\0" + zlib.compress(icc, 9))


def animation(frames: int) -> list[Chunk]:
    """Return the chunks that make a picture the first of an animation: acTL and an fcTL for each frame."""
    control = Chunk(b"acTL", struct.pack(">II", frames, 0))
    return [control, *(Chunk(b"fcTL", struct.pack(">I22x", number)) for number in range(frames))]
