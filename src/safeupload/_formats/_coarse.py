"""
What of a progressive JPEG is enough for a decode at 1/8, where a block of 8 x 8 samples becomes one.

That is its DC coefficient; the AC coefficients, by far the most of the file, need not be decoded. The result is the
same to the bit, if libjpeg is told that they are all zero: where it does not know them, it guesses them from the blocks
around, and the DC coefficient as well (jdcoefct.c, decompress_smooth_data). So each component that loses its AC scans
gets one that says "zero" for all of its blocks at once.

A component of half the resolution is decoded to 2 x 2 samples a block, as libjpeg does in place of enlarging it
(jdmaster.c, jpeg_core_output_dimensions); it keeps its scans.

Source: ITU-T T.81, G.1.2.2 (runs of blocks without coefficients) and annex C (Huffman codes).
"""

from __future__ import annotations

import struct
from typing import Final

_LONGEST: Final = 14  # a run of 2**14 blocks and more, up to 32,767, whose length takes 14 more bits
_RUN: Final = (1 << 15) - 2  # blocks in each: the longest run whose code, 0x3FFE, needs no stuffing


def is_coarse(sampling: tuple[int, int], most: tuple[int, int]) -> bool:
    """Tell whether a component with that sampling, of a frame with that at most, is decoded to one sample a block."""
    return any(whole % (2 * part) for part, whole in zip(sampling, most, strict=True))


def empty_scan(component: int, blocks: int) -> bytes:
    """Return the segments, with their markers, that say of a component that all its AC coefficients are zero."""
    runs, rest = divmod(blocks, _RUN)
    bits = rest.bit_length() - 1 if rest else 0
    # Two codes of two bits: 00 for the long runs, 01 for the rest.
    table = bytes([0x10, 0, 2, *[0] * 14, _LONGEST << 4, bits << 4 if bits != _LONGEST else 0])
    code = 0 if bits == _LONGEST else 1
    entropy = b"\x3f\xfe" * runs
    if rest:
        word = code << bits | rest - (1 << bits)
        spare = -(2 + bits) % 8
        word = word << spare | (1 << spare) - 1  # padded with ones
        entropy += word.to_bytes((2 + bits + spare) // 8, "big").replace(b"\xff", b"\xff\0")
    return b"".join(
        (
            b"\xff\xdd\x00\x04\x00\x00",  # no restarts
            b"\xff\xc4" + struct.pack(">H", 2 + len(table)) + table,
            b"\xff\xda\x00\x08\x01" + bytes([component, 0x00, 1, 63, 0]),
            entropy,
        )
    )
