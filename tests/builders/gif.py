"""GIF files written block by block, right or wrong as the test wants them."""

import struct
from collections.abc import Iterable, Sequence

Colour = tuple[int, int, int]

TRAILER = b";"


def file(screen: bytes, *blocks: bytes, version: bytes = b"89a", trailer: bytes = TRAILER) -> bytes:
    """Return a GIF of a logical screen and blocks."""
    return b"GIF" + version + screen + b"".join(blocks) + trailer


def screen(width: int, height: int, table: Sequence[Colour] = (), *, background: int = 0) -> bytes:
    """Return a logical screen descriptor, with a global colour table if there are colours."""
    return struct.pack("<HHBBB", width, height, _flags(table), background, 0) + _table(table)


def frame(
    width: int,
    height: int,
    indices: Iterable[int] | None = None,
    *,
    left: int = 0,
    top: int = 0,
    table: Sequence[Colour] = (),
    interlaced: bool = False,
    code_size: int = 2,
    block: int = 255,
    pixels: bytes | None = None,
) -> bytes:
    """Return an image descriptor with its pixels: `indices` in the order they are stored, or ready-made `pixels`."""
    if pixels is None:
        pixels = chain(lzw([0] * (width * height) if indices is None else indices, code_size), block)
    flags = _flags(table) | (0x40 if interlaced else 0)
    descriptor = struct.pack("<BHHHHB", 0x2C, left, top, width, height, flags)
    return descriptor + _table(table) + bytes([code_size]) + pixels


def control(transparent: int | None = None, *, delay: int = 0) -> bytes:
    """Return a graphic control extension."""
    body = struct.pack("<BHB", 0 if transparent is None else 1, delay, transparent or 0)
    return extension(0xF9, body)


def comment(text: bytes) -> bytes:
    """Return a comment extension."""
    return b"!\xfe" + chain(text)


def application(body: bytes = b"\x01\x00\x00", name: bytes = b"NETSCAPE2.0") -> bytes:
    """Return an application extension; by default the one that repeats an animation."""
    return extension(0xFF, name, body)


def plain_text(text: bytes) -> bytes:
    """Return a plain text extension."""
    return extension(0x01, struct.pack("<HHHHBBBB", 0, 0, 8, 8, 8, 8, 0, 1), text)


def extension(label: int, *bodies: bytes) -> bytes:
    """Return an extension with one sub-block for each body but the empty ones, which would end it."""
    return bytes([0x21, label]) + b"".join(bytes([len(body)]) + body for body in bodies if body) + b"\0"


def chain(data: bytes, block: int = 255) -> bytes:
    """Return data as a chain of sub-blocks of `block` bytes, ended by an empty one."""
    pieces = (data[start : start + block] for start in range(0, len(data), block))
    return b"".join(bytes([len(piece)]) + piece for piece in pieces) + b"\0"


def lzw(indices: Iterable[int], code_size: int) -> bytes:
    """
    Return an LZW stream that starts anew before each index.

    It compresses nothing, but its codes never grow, so it is right for every code size.
    """
    clear = 1 << code_size
    bits = count = 0
    for code in (*(code for index in indices for code in (clear, index)), clear + 1):
        bits |= code << count
        count += code_size + 1
    return bits.to_bytes((count + 7) // 8, "little")


def interlace(rows: Sequence[Sequence[int]]) -> list[int]:
    """Return the indices of rows in the order in which an interlaced frame stores them."""
    order = [row for start, step in ((0, 8), (4, 8), (2, 4), (1, 2)) for row in range(start, len(rows), step)]
    return [index for row in order for index in rows[row]]


def _flags(table: Sequence[Colour]) -> int:
    return 0x80 | (max(2, len(table)) - 1).bit_length() - 1 if table else 0


def _table(table: Sequence[Colour]) -> bytes:
    """Return a colour table, filled up with black to a power of two."""
    size = 3 << (_flags(table) & 7) + 1 if table else 0
    return b"".join(bytes(colour) for colour in table).ljust(size, b"\0")
