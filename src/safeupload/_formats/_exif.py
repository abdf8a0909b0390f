"""The one thing we want from EXIF: which way is up."""

from __future__ import annotations

import struct
from typing import Final

_PREFIX: Final = b"Exif\0\0"
_ORIENTATION: Final = 0x0112
_KINDS: Final = {3: "H", 4: "I"}  # SHORT, as the standard has it, and LONG, as some write
_UPRIGHT: Final = 1
_LAST: Final = 8


def read_orientation(exif: bytes) -> int:
    """
    Return tag 0x0112 of the first directory, 1 to 8; 1 where it is missing or makes no sense.

    Never raises and follows no pointer but the first: EXIF is the least trustworthy part of a picture, and a broken one
    is no reason to refuse it. Source: EXIF 2.32 (CIPA DC-008), sections 4.5 and 4.6.
    """
    tiff = exif.removeprefix(_PREFIX)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return _UPRIGHT
    try:
        (start,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, start)
    except struct.error:
        return _UPRIGHT
    entries = tiff[start + 2 : start + 2 + 12 * count]
    entry = struct.Struct(order + "HHI4s")
    for tag, kind, values, field in entry.iter_unpack(entries[: len(entries) // 12 * 12]):
        if tag == _ORIENTATION:
            (value,) = struct.unpack_from(order + _KINDS.get(kind, "H"), field)
            return value if kind in _KINDS and values == 1 and _UPRIGHT <= value <= _LAST else _UPRIGHT
    return _UPRIGHT
