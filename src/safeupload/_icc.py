"""
Rebuilding an ICC profile, as the format modules rebuild pictures: what reaches the colour library is what we wrote.

Kept are the tags that say how to get from the device's colours to the connection space, in the types that have a fixed
number of steps. Left out is above all ``mpet`` (multiProcessElements): it lists as many steps as it likes, all of which
may be the same few bytes, and the library takes every one for every node of its grid: 513 bytes took 8 seconds.

Source: ICC.1:2022, sections 7.2 (header), 9.2 (tags) and 10 (types).
"""

from __future__ import annotations

import struct
from typing import Final

# Device classes that describe pixels: display, scanner, printer and colour space. Not device links, named colours and
# abstract profiles.
_CLASSES: Final = frozenset({b"mntr", b"scnr", b"prtr", b"spac"})
_MODES: Final = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}
_CURVES: Final = frozenset({b"curv", b"para"})
_TABLES: Final = frozenset({b"mft1", b"mft2", b"mAB "})
_TYPES: Final = {
    **dict.fromkeys((b"rXYZ", b"gXYZ", b"bXYZ", b"wtpt", b"bkpt"), frozenset({b"XYZ "})),
    **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC", b"kTRC"), _CURVES),
    **dict.fromkeys((b"A2B0", b"A2B1", b"A2B2"), _TABLES),
    b"chad": frozenset({b"sf32"}),
}
_HEADER: Final = 128
_TAG_HEAD: Final = 8  # the type, and four bytes that are reserved
_MAX_TAGS: Final = 100  # there are some 60 in the standard


def rebuild_profile(icc: bytes) -> tuple[str, bytes] | None:
    """Return the Pillow mode that the profile is for and the profile anew; None if its structure makes no sense."""
    if len(icc) < _HEADER + 4 or icc[36:40] != b"acsp" or icc[12:16] not in _CLASSES or icc[16:20] not in _MODES:
        return None
    (count,) = struct.unpack_from(">I", icc, _HEADER)
    if count > _MAX_TAGS or len(icc) < _HEADER + 4 + 12 * count:
        return None
    spans: dict[bytes, tuple[int, int]] = {}
    for name, start, length in struct.iter_unpack(">4sII", icc[_HEADER + 4 : _HEADER + 4 + 12 * count]):
        is_inside = length >= _TAG_HEAD and start + length <= len(icc)
        if name in _TYPES and is_inside and icc[start : start + 4] in _TYPES[name]:
            spans.setdefault(name, (start, length))
    if sum(length for _, length in set(spans.values())) > len(icc):  # tags may be the same, but not overlap otherwise
        return None
    tags = {name: icc[start : start + length] for name, (start, length) in spans.items()}
    return _MODES[icc[16:20]], _written(icc[:_HEADER], tags)


def _written(header: bytes, tags: dict[bytes, bytes]) -> bytes:
    """Return a profile with that header and those tags, equal ones once."""
    table = [struct.pack(">I", len(tags))]
    places: dict[bytes, int] = {}
    end = _HEADER + 4 + 12 * len(tags)
    for name, tag in tags.items():
        if tag not in places:
            places[tag] = end
            end += len(tag) + -len(tag) % 4
        table.append(struct.pack(">4sII", name, places[tag], len(tag)))
    content = (tag + bytes(-len(tag) % 4) for tag in places)
    return b"".join((struct.pack(">I", end), header[4:], *table, *content))
