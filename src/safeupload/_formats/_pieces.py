"""A file of several pieces, which a decoder reads as one: the largest of them is a part of the upload, not copied."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import TypeAlias

Piece: TypeAlias = bytes | memoryview


class PiecewiseFile(io.RawIOBase):
    """The pieces, one behind the other, to be read and sought in."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._pieces = pieces
        self._starts = [0, *accumulate(map(len, pieces))]
        self._position = 0

    def readable(self) -> bool:
        """Say so."""
        return True

    def seekable(self) -> bool:
        """Say so."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a position, which may be behind the end, and return it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._starts[-1]}[whence]
        self._position = max(0, base + offset)
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        """Return so many bytes, or fewer only at the end."""
        start = self._position
        whole = self._starts[-1]
        end = whole if size is None or size < 0 else min(start + size, whole)
        if start >= end:
            return b""
        self._position = end
        first, last = bisect_right(self._starts, start) - 1, bisect_right(self._starts, end - 1)
        parts = [
            piece[max(0, start - begin) : end - begin]
            for piece, begin in zip(self._pieces[first:last], self._starts[first:last], strict=True)
        ]
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)
