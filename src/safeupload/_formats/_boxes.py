"""
Reading the container of AVIF and HEIF: boxes, items and their properties.

Source: ISO/IEC 14496-12 (boxes, items) and 23008-12 (properties).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from safeupload._formats._base import Allowance, Malformed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from safeupload.policy import Policy

_ALPHA_URNS: Final = (b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0", b"urn:mpeg:hevc:2015:auxid:1\0")

# EXIF orientation by quarter turns anticlockwise (irot) and what is exchanged after that (imir: None, rows, columns)
_ORIENTATIONS: Final[dict[tuple[int, int | None], int]] = {
    (0, None): 1, (0, 0): 4, (0, 1): 2,
    (1, None): 8, (1, 0): 5, (1, 1): 7,
    (2, None): 3, (2, 0): 2, (2, 1): 4,
    (3, None): 6, (3, 0): 7, (3, 1): 5,
}  # fmt: skip


class Cursor:
    """Reads numbers and boxes from a piece of the file."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def take(self, size: int) -> bytes:
        """Return the next bytes."""
        piece = self.data[self.position : self.position + size]
        if len(piece) < size:
            raise Malformed("a box ends too early")
        self.position += size
        return piece

    def number(self, size: int) -> int:
        """Return the next big-endian number of that many bytes."""
        return int.from_bytes(self.take(size), "big")

    def version(self) -> tuple[int, int]:
        """Return the version and the flags of a full box."""
        both = self.number(4)
        return both >> 24, both & 0xFFFFFF

    def boxes(self, chunks: Allowance) -> Iterator[tuple[bytes, bytes]]:
        """Yield the type and the content of each box up to the end."""
        for kind, start, end in _spans(self.data, self.position, chunks):
            yield kind, self.data[start:end]


def _spans(data: bytes, position: int, chunks: Allowance) -> Iterator[tuple[bytes, int, int]]:
    """Yield the type of each box and where its content begins and ends."""
    while position < len(data):
        chunks.take()
        header = data[position : position + 16]
        length, start = int.from_bytes(header[:4], "big"), position + 8
        if length == 1:  # a 64-bit length follows
            length, start = int.from_bytes(header[8:16], "big"), position + 16
        elif length == 0:  # to the end
            length = len(data) - position
        if start > position + length or position + length > len(data):
            raise Malformed(f"box {header[4:8]!r} of length {length} at {position}")
        yield header[4:8], start, position + length
        position += length


def read_items(data: bytes, chunks: Allowance) -> tuple[dict[int, Item], int, bool]:
    """Return the file's items by number, the number of the primary one, and whether there is a sequence besides."""
    meta: bytes | None = None
    is_sequence = False
    for kind, start, end in _spans(data, 0, chunks):
        if kind == b"meta" and meta is None:
            meta = data[start:end]
        is_sequence = is_sequence or kind == b"moov"
    if meta is None:
        raise Malformed("no meta box")
    items, primary = _read_meta(meta, data, chunks)
    return items, primary, is_sequence


@dataclass
class Item:
    """One item of the file, before it is known whether it is needed."""

    kind: bytes
    data: bytes = b""  # the file or the idat box that the extents point into
    extents: list[tuple[int, int]] = field(default_factory=list)
    properties: dict[bytes, bytes] = field(default_factory=dict)  # by type; the first of each is the one that counts
    essential: set[bytes] = field(default_factory=set)
    links: dict[bytes, list[int]] = field(default_factory=dict)

    def references(self, kind: bytes) -> list[int]:
        """Return the numbers of the items that this one refers to in that way."""
        return self.links.get(kind, [])

    def the(self, kind: bytes) -> bytes | None:
        """Return the content of the first property of that type."""
        return self.properties.get(kind)

    def size(self) -> tuple[int, int]:
        """Return width and height (``ispe``)."""
        extent = self.the(b"ispe")
        if extent is None or len(extent) < 12:
            raise Malformed("an item without a size")
        width, height = struct.unpack_from(">II", extent, 4)
        return width, height

    @property
    def is_alpha(self) -> bool:
        """Whether the item is an alpha plane."""
        return (self.the(b"auxC") or b"")[4:].startswith(_ALPHA_URNS)

    def orientation(self) -> int:
        """Return the EXIF orientation that ``irot`` and ``imir`` amount to."""
        turns, mirror = self.the(b"irot"), self.the(b"imir")
        return _ORIENTATIONS[turns[0] & 3 if turns else 0, mirror[0] & 1 if mirror else None]

    def aperture(self) -> tuple[int, int, int, int]:
        """
        Return the box (left, top, right, bottom) of the item that is shown (``clap``); all of it if that is nonsense.

        HEVC codes whole blocks, so encoders cut what they have padded off again.
        """
        width, height = self.size()
        clap = self.the(b"clap") or b""
        if len(clap) >= 32:
            sizes, offsets = struct.unpack_from(">4I", clap), struct.unpack_from(">4i", clap, 16)
            fractions = [*zip(sizes[::2], sizes[1::2], strict=True), *zip(offsets[::2], offsets[1::2], strict=True)]
            if all(below > 0 for _, below in fractions):
                across, down, right_by, down_by = (Fraction(above, below) for above, below in fractions)
                left, top = (width - across) / 2 + right_by, (height - down) / 2 + down_by
                box = (left, top, left + across, top + down)
                if (
                    all(edge.denominator == 1 for edge in box)
                    and 0 <= left < box[2] <= width
                    and 0 <= top < box[3] <= height
                ):
                    return int(box[0]), int(box[1]), int(box[2]), int(box[3])
        return 0, 0, width, height

    def icc(self, policy: Policy) -> bytes | None:
        """Return the embedded ICC profile."""
        content = self.the(b"colrprof") or self.the(b"colrrICC")
        if content is None:
            return None
        Allowance("metadata", policy.max_metadata_bytes).take(len(content) - 4)
        return content[4:]

    def spans(self) -> list[tuple[int, int]]:
        """Return where the item's bytes begin and end in `data`."""
        return [(start, start + length if length else len(self.data)) for start, length in self.extents]


def find(items: dict[int, Item], number: int) -> Item:
    """Return the item of that number, or raise `Malformed`."""
    if number not in items:
        raise Malformed(f"no item {number}")
    return items[number]


def _read_meta(meta: bytes, data: bytes, chunks: Allowance) -> tuple[dict[int, Item], int]:
    """Return the items by number, and the number of the primary one."""
    cursor = Cursor(meta)
    cursor.version()
    boxes: dict[bytes, bytes] = {}
    for kind, content in cursor.boxes(chunks):
        boxes.setdefault(kind, content)
    missing = {b"pitm", b"iinf", b"iloc", b"iprp"} - boxes.keys()
    if missing:
        raise Malformed(f"no box {missing}")
    items = _read_infos(Cursor(boxes[b"iinf"]), chunks)
    _read_locations(Cursor(boxes[b"iloc"]), items, data, boxes.get(b"idat", b""), chunks)
    _read_references(Cursor(boxes.get(b"iref", bytes(4))), items, chunks)
    _read_properties(Cursor(boxes[b"iprp"]), items, chunks)
    primary = Cursor(boxes[b"pitm"])
    version, _ = primary.version()
    return items, primary.number(4 if version else 2)


def _read_infos(cursor: Cursor, chunks: Allowance) -> dict[int, Item]:
    """Read ``iinf``: the items and their types."""
    version, _ = cursor.version()
    cursor.number(4 if version else 2)
    items: dict[int, Item] = {}
    for kind, content in cursor.boxes(chunks):
        info = Cursor(content)
        version, _ = info.version()
        if kind == b"infe" and version >= 2:
            number = info.number(2 if version == 2 else 4)
            info.number(2)
            items[number] = Item(info.take(4))
    return items


def _read_locations(cursor: Cursor, items: dict[int, Item], data: bytes, idat: bytes, chunks: Allowance) -> None:
    """Read ``iloc``: where the items' bytes are."""
    version, _ = cursor.version()
    sizes = cursor.number(2)
    offset_size, length_size, base_size, index_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15, sizes & 15
    for _ in range(cursor.number(2 if version < 2 else 4)):
        chunks.take()
        number = cursor.number(2 if version < 2 else 4)
        method = cursor.number(2) & 15 if version else 0
        cursor.number(2)
        base = cursor.number(base_size)
        item = items.get(number, Item(b""))
        if method > 1:
            raise Malformed(f"an item built by method {method}")
        item.data = idat if method else data
        for _ in range(cursor.number(2)):
            chunks.take()
            cursor.number(index_size if version else 0)
            item.extents.append((base + cursor.number(offset_size), cursor.number(length_size)))


def _read_references(cursor: Cursor, items: dict[int, Item], chunks: Allowance) -> None:
    """Read ``iref``: which item refers to which."""
    version, _ = cursor.version()
    width = 4 if version else 2
    for kind, content in cursor.boxes(chunks):
        reference = Cursor(content)
        source = items.get(reference.number(width), Item(b""))
        count = reference.number(2)
        chunks.take(count)
        source.links.setdefault(kind, []).extend(reference.number(width) for _ in range(count))


def _read_properties(cursor: Cursor, items: dict[int, Item], chunks: Allowance) -> None:
    """Read ``iprp``: the properties, and which item has which."""
    properties: list[tuple[bytes, bytes]] = []
    for kind, content in cursor.boxes(chunks):
        if kind == b"ipco":
            properties.extend(Cursor(content).boxes(chunks))
        elif kind == b"ipma":
            entries = Cursor(content)
            version, flags = entries.version()
            for _ in range(entries.number(4)):
                item = items.get(entries.number(4 if version else 2), Item(b""))
                for _ in range(entries.number(1)):
                    chunks.take()
                    both = entries.number(2 if flags & 1 else 1)
                    index, is_essential = (both & 0x7FFF, both >> 15) if flags & 1 else (both & 0x7F, both >> 7)
                    if index > len(properties):
                        raise Malformed("a property that is not there")
                    if index:
                        name, value = properties[index - 1]
                        # of colours, a profile and numbers (nclx) may stand side by side
                        item.properties.setdefault(name + value[:4] if name == b"colr" else name, value)
                        if is_essential:
                            item.essential.add(name)
