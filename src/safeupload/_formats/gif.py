"""
GIF: the first frame.

Source: CompuServe, Graphics Interchange Format, version 89a. Where browsers and the specification differ (a frame
beyond the screen, places that no frame covers) we do what browsers do: the screen grows, the rest is transparent.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Final

from safeupload._formats._base import Allowance, Malformed, Rebuilt, check_pixels

if TYPE_CHECKING:
    from safeupload.policy import Policy

NAME: Final = "GIF"

_IMAGE, _EXTENSION = 0x2C, 0x21
_GRAPHIC_CONTROL: Final = 0xF9
_HAS_TABLE, _INTERLACED = 0x80, 0x40
_CODE_SIZES: Final = range(
    1, 12
)  # of the first LZW code; 2 to 8 by the specification, 1 to 11 in real files and browsers

# Encoders fill their blocks, so runs of full ones (255 bytes, or 254 as some write) are passed over at the speed of C,
# some thousand at a time, since a match holds the GIL until it returns.
_FULL_BLOCKS: Final = re.compile(rb"(?:\xff.{255}|\xfe.{254}){0,4096}+", re.DOTALL)


def recognise(head: bytes) -> bool:
    """Tell whether the file begins like a GIF."""
    return head.startswith((b"GIF87a", b"GIF89a"))


def rebuild(data: bytes, policy: Policy) -> Rebuilt:
    """
    Return a GIF of the first frame alone, as large as that frame.

    Raises `Malformed`, `TooManyPixels` and `TooComplex` ("chunks", "frames").
    """
    reader = _Reader(data, policy)
    screen_width, screen_height, flags = reader.unpack("<6xHHBxx")
    table = reader.colour_table(flags)
    transparent = reader.skip_to_frame()
    left, top, width, height, flags = reader.unpack("<x4HB")
    canvas = max(screen_width, left + width), max(screen_height, top + height)
    check_pixels(width, height, policy)
    check_pixels(*canvas, policy)
    table = reader.colour_table(flags) or table
    start = reader.position
    (code_size,) = reader.unpack("B")
    if code_size not in _CODE_SIZES:
        raise Malformed(f"LZW code size {code_size}")
    reader.skip_blocks()
    entries = len(table) // 3
    return Rebuilt(
        format=NAME,
        canvas=canvas,
        frame=(left, top, left + width, top + height),
        pieces=[
            b"GIF89a",
            struct.pack("<HHBxx", width, height, _HAS_TABLE | entries.bit_length() - 2 if table else 0),
            table,
            b"!\xf9\x04\x01\0\0%c\0" % transparent if transparent is not None else b"",
            struct.pack("<BxxxxHHB", _IMAGE, width, height, flags & _INTERLACED),
            memoryview(data)[start : reader.position],
            b";",
        ],
        pixel_bytes=1,
        transparency=transparent,
        animated=reader.has_more_frames(),
        has_alpha=transparent is not None or (width, height) != canvas,
    )


class _Reader:
    """Walks the blocks of a file."""

    def __init__(self, data: bytes, policy: Policy) -> None:
        self._data = data
        self._chunks = Allowance("chunks", policy.max_chunks)
        self._frames = Allowance("frames", policy.max_frames)
        self.position = 0

    def unpack(self, layout: str) -> tuple[int, ...]:
        """Return the numbers that stand here, and go behind them."""
        size = struct.calcsize(layout)
        piece = self._take(size)
        return struct.unpack(layout, piece)

    def _take(self, size: int) -> bytes:
        piece = self._data[self.position : self.position + size]
        if len(piece) < size:
            raise Malformed(f"ends within a block at {self.position}")
        self.position += size
        return piece

    def colour_table(self, flags: int) -> bytes:
        """Return the colour table that the flags announce, empty if there is none, and go behind it."""
        return self._take(3 << (flags & 7) + 1) if flags & _HAS_TABLE else b""

    def skip_blocks(self) -> None:
        """Go behind a chain of sub-blocks, each a length and as many bytes, ended by a length of 0."""
        while True:
            run = _FULL_BLOCKS.match(self._data, self.position)
            self.position = run.end() if run else self.position
            self._chunks.take()
            (length,) = self.unpack("B")
            if not length:
                return
            self._take(length)

    def skip_to_frame(self) -> int | None:
        """Go to the next image descriptor; return the transparent index that the extensions before it name."""
        transparent = None
        while True:
            (kind,) = self.unpack("B")
            if kind == _IMAGE:
                self.position -= 1
                self._frames.take()
                return transparent
            if kind != _EXTENSION:
                raise Malformed(f"block {kind:#x} before a frame")
            (label,) = self.unpack("B")
            control = self._data[self.position : self.position + 5]
            if label == _GRAPHIC_CONTROL and len(control) == 5 and control[0] >= 4:
                transparent = control[4] if control[1] & 1 else None
            self.skip_blocks()

    def has_more_frames(self) -> bool:
        """Go through the frames that follow, if any; what is broken behind the first one harms nobody."""
        found = False
        try:
            while True:
                self.skip_to_frame()
                found = True
                *_, flags = self.unpack("<x4HB")
                self.colour_table(flags)
                self.unpack("B")
                self.skip_blocks()
        except Malformed:
            return found
