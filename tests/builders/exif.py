"""EXIF blocks from their entries: a TIFF header and one directory, in either byte order, right or wrong."""

import struct
from collections.abc import Iterable
from typing import NamedTuple

PREFIX = b"Exif\0\0"  # what a JPEG puts before the block, and a PNG does not
ORIENTATION = 0x0112
SHORT, LONG = 3, 4


class Entry(NamedTuple):
    """One entry of the directory; `values` is how many values it claims to have, the first of them is `value`."""

    tag: int = ORIENTATION
    kind: int = SHORT
    values: int = 1
    value: int = 6


def header(order: str = "<", *, start: int = 8) -> bytes:
    """Return the header of a block that is little-endian ("<") or big-endian (">")."""
    return {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", start)


def directory(entries: Iterable[Entry], order: str = "<", *, claimed: int | None = None) -> bytes:
    """Return a directory that claims to have as many entries as it has, or as many as `claimed`."""
    packed = [struct.pack(order + ("HHII" if entry.kind == LONG else "HHIHxx"), *entry) for entry in entries]
    return struct.pack(order + "H", len(packed) if claimed is None else claimed) + b"".join(packed) + bytes(4)


def block(*entries: Entry, order: str = "<") -> bytes:
    """Return a valid block with these entries."""
    return header(order) + directory(entries, order)


def orientation(value: int, order: str = "<") -> bytes:
    """Return a valid block that says how the picture is to be turned."""
    return block(Entry(value=value), order=order)
