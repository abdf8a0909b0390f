"""AVIF and HEIF files from parts: boxes, items, properties and references, with sizes that may lie."""

import struct
from dataclasses import dataclass, field

IDENTITY_ALPHA = bytes(4) + b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0"


def box(kind: bytes, *parts: bytes) -> bytes:
    """Return a box."""
    content = b"".join(parts)
    return struct.pack(">I4s", 8 + len(content), kind) + content


def full(kind: bytes, version: int, flags: int, *parts: bytes) -> bytes:
    """Return a full box."""
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


def boxes(data: bytes) -> dict[bytes, list[bytes]]:
    """Return the contents of the boxes that follow one another, by type."""
    found: dict[bytes, list[bytes]] = {}
    position = 0
    while position < len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        found.setdefault(kind, []).append(data[position + 8 : position + length])
        position += length
    return found


@dataclass
class Item:
    """An item of a file that is to be written."""

    kind: bytes
    payload: bytes = b""
    properties: list[tuple[bytes, bytes]] = field(default_factory=list)
    essential: frozenset[bytes] = frozenset()
    references: list[tuple[bytes, list[int]]] = field(default_factory=list)
    method: int = 0  # 1: the payload stands in the meta box's idat
    extents: int = 1  # into how many pieces the payload is cut


def size(width: int, height: int) -> tuple[bytes, bytes]:
    """Return an ispe property."""
    return b"ispe", struct.pack(">4xII", width, height)


def file(
    items: list[Item], *, primary: int = 1, brand: bytes = b"avif", wide: bool = False, extra: bytes = b""
) -> bytes:
    """
    Return a file with those items, numbered from 1.

    With `wide` all numbers take the larger of the forms that the format has (versions 1 to 3 of the boxes).
    """
    number = ">I" if wide else ">H"
    infos = [
        full(b"infe", 3 if wide else 2, 0, struct.pack(number, index), bytes(2), item.kind, b"\0")
        for index, item in enumerate(items, 1)
    ]
    properties: list[bytes] = []
    associations = []
    for index, item in enumerate(items, 1):
        entries = []
        for kind, content in item.properties:
            properties.append(box(kind, content))
            essential = kind in item.essential
            entries.append(
                struct.pack(">H", essential << 15 | len(properties))
                if wide
                else struct.pack(">B", essential << 7 | len(properties))
            )
        associations.append(struct.pack(number, index) + bytes([len(entries)]) + b"".join(entries))
    references = [
        box(
            kind,
            struct.pack(number, index),
            struct.pack(">H", len(targets)),
            *(struct.pack(number, each) for each in targets),
        )
        for index, item in enumerate(items, 1)
        for kind, targets in item.references
    ]
    inside = b"".join(item.payload for item in items if item.method)

    def meta(start: int) -> bytes:
        offsets = {0: start, 1: 0}
        locations = []
        for index, item in enumerate(items, 1):
            pieces = []
            step = -(-len(item.payload) // item.extents) or 1
            for cut in range(0, len(item.payload), step):
                length = min(step, len(item.payload) - cut)
                pieces.append(struct.pack(">II", offsets[item.method], length))
                offsets[item.method] += length
            method = struct.pack(">H", item.method) if wide or inside else b""
            locations.append(
                struct.pack(number, index) + method + bytes(2) + struct.pack(">H", len(pieces)) + b"".join(pieces)
            )
        return full(
            b"meta",
            0,
            0,
            full(b"hdlr", 0, 0, struct.pack(">4x4s13x", b"pict")),
            full(b"pitm", int(wide), 0, struct.pack(number, primary)),
            full(b"iinf", int(wide), 0, struct.pack(number, len(items)), *infos),
            full(b"iref", int(wide), 0, *references),
            box(
                b"iprp",
                box(b"ipco", *properties),
                full(b"ipma", int(wide), int(wide), struct.pack(">I", len(items)), *associations),
            ),
            box(b"idat", inside),
            full(b"iloc", 2 if wide else int(bool(inside)), 0, b"\x44\0", struct.pack(number, len(items)), *locations),
        )

    ftyp = box(b"ftyp", brand, bytes(4), b"mif1", brand)
    outside = b"".join(item.payload for item in items if not item.method)
    start = len(ftyp) + len(meta(0)) + len(extra) + 8
    return ftyp + meta(start) + extra + box(b"mdat", outside)


def parts(data: bytes, config: bytes) -> tuple[bytes, bytes]:
    """Return the configuration and the payload of a file with one coded item, as Pillow writes it."""
    (meta,) = boxes(data)[b"meta"]
    inner = boxes(meta[4:])
    (properties,) = boxes(inner[b"iprp"][0])[b"ipco"]
    (mdat,) = boxes(data)[b"mdat"]
    return boxes(properties)[config][0], mdat


def grid(rows: int, columns: int, width: int, height: int, tiles: list[int], *, wide: bool = False) -> Item:
    """Return a grid of items."""
    payload = struct.pack(">BBBB", 0, wide, rows - 1, columns - 1) + struct.pack(
        ">II" if wide else ">HH", width, height
    )
    return Item(b"grid", payload, [size(width, height)], references=[(b"dimg", tiles)])
