"""
The container of AVIF and HEIF: boxes, items and their properties.

Source: ISO/IEC 14496-12 (boxes, items) and 23008-12 (properties, grids), as MIAF (23000-22) narrows them: the primary
item is one coded picture or a grid of them, with one alpha plane at most. Orientation is what the ``irot`` and ``imir``
properties say; EXIF has no say in these formats. The clean aperture (``clap``) is not applied, as browsers do not.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from safeupload._formats._base import Allowance, Malformed, Rebuilt, check_pixels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from safeupload.policy import Policy

_ALPHA_URNS: Final = (b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0", b"urn:mpeg:hevc:2015:auxid:1\0")
_KEPT: Final = frozenset({b"ispe", b"pixi", b"auxC"})
_DROPPED: Final = frozenset({b"irot", b"imir", b"clap", b"pasp", b"clli", b"mdcv", b"cclv", b"amve", b"a1lx", b"colr"})

# EXIF orientation by quarter turns anticlockwise (irot) and what is exchanged after that (imir: None, rows, columns)
_ORIENTATIONS: Final = {
    (0, None): 1, (0, 0): 4, (0, 1): 2,
    (1, None): 8, (1, 0): 5, (1, 1): 7,
    (2, None): 3, (2, 0): 2, (2, 1): 4,
    (3, None): 6, (3, 0): 7, (3, 1): 5,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Codec:
    """
    What distinguishes the formats that share the container.

    `brand` is the one of the file that is written, `item` the type of a coded item, `config` the property that
    configures its decoder. `check_coded` gets that, the item's bytes and its size, and raises `Malformed` if the
    bitstream would decode to another size.
    """

    name: str
    brand: bytes
    item: bytes
    config: bytes
    pixel_bytes: int
    check_coded: Callable[[bytes, bytes, tuple[int, int], Allowance], None]


def brands(head: bytes) -> tuple[bytes, frozenset[bytes]]:
    """Return the major brand and all brands of a file that begins with ``ftyp``; empty if it does not."""
    if head[4:8] != b"ftyp":
        return b"", frozenset()
    length = min(int.from_bytes(head[:4], "big"), len(head))
    compatible = {head[at : at + 4] for at in range(16, length - 3, 4)}
    return head[8:12], frozenset({head[8:12], *compatible})


def rebuild(data: bytes, policy: Policy, codec: Codec) -> Rebuilt:
    """
    Return a file with the primary picture, its tiles and its alpha plane, and nothing else.

    Raises `Malformed`, `TooManyPixels` and `TooComplex` ("chunks", "metadata").
    """
    chunks = Allowance("chunks", policy.max_chunks)
    meta, is_sequence = _top_level(data, chunks)
    items, number = _read_meta(meta, data, chunks)
    primary = _item(items, number)
    size = primary.size()
    writer = _Writer(items, codec, policy, chunks)
    writer.add(number)
    return Rebuilt(
        format=codec.name,
        canvas=size,
        frame=(0, 0, *size),
        data=writer.file(),
        pixel_bytes=codec.pixel_bytes,
        fixed_bytes=codec.pixel_bytes * (writer.coded_pixels - size[0] * size[1]),
        orientation=primary.orientation(),
        icc=primary.icc(policy),
        animated=is_sequence,
        has_alpha=writer.has_alpha,
    )


# --- reading


class _Cursor:
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


def _top_level(data: bytes, chunks: Allowance) -> tuple[bytes, bool]:
    """Return the content of the ``meta`` box, and whether there is a sequence of pictures besides."""
    meta: bytes | None = None
    is_sequence = False
    for kind, start, end in _spans(data, 0, chunks):
        if kind == b"meta" and meta is None:
            meta = data[start:end]
        is_sequence = is_sequence or kind == b"moov"
    if meta is None:
        raise Malformed("no meta box")
    return meta, is_sequence


@dataclass
class _Item:
    """One item of the file, before it is known whether it is needed."""

    kind: bytes
    data: bytes = b""  # the file or the idat box that the extents point into
    extents: list[tuple[int, int]] = field(default_factory=list)
    properties: list[tuple[bytes, bytes]] = field(default_factory=list)
    essential: set[bytes] = field(default_factory=set)
    links: dict[bytes, list[int]] = field(default_factory=dict)

    def references(self, kind: bytes) -> list[int]:
        """Return the numbers of the items that this one refers to in that way."""
        return self.links.get(kind, [])

    def the(self, kind: bytes) -> bytes | None:
        """Return the content of the first property of that type."""
        return next((content for name, content in self.properties if name == kind), None)

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

    def icc(self, policy: Policy) -> bytes | None:
        """Return the embedded ICC profile."""
        for name, content in self.properties:
            if name == b"colr" and content[:4] in {b"prof", b"rICC"}:
                Allowance("metadata", policy.max_metadata_bytes).take(len(content) - 4)
                return content[4:]
        return None

    def spans(self) -> list[tuple[int, int]]:
        """Return where the item's bytes begin and end in `data`."""
        return [(start, start + length if length else len(self.data)) for start, length in self.extents]


def _item(items: dict[int, _Item], number: int) -> _Item:
    if number not in items:
        raise Malformed(f"no item {number}")
    return items[number]


def _read_meta(meta: bytes, data: bytes, chunks: Allowance) -> tuple[dict[int, _Item], int]:
    """Return the items by number, and the number of the primary one."""
    cursor = _Cursor(meta)
    cursor.version()
    boxes: dict[bytes, bytes] = {}
    for kind, content in cursor.boxes(chunks):
        boxes.setdefault(kind, content)
    missing = {b"pitm", b"iinf", b"iloc", b"iprp"} - boxes.keys()
    if missing:
        raise Malformed(f"no box {missing}")
    items = _read_infos(_Cursor(boxes[b"iinf"]), chunks)
    _read_locations(_Cursor(boxes[b"iloc"]), items, data, boxes.get(b"idat", b""), chunks)
    _read_references(_Cursor(boxes.get(b"iref", bytes(4))), items, chunks)
    _read_properties(_Cursor(boxes[b"iprp"]), items, chunks)
    primary = _Cursor(boxes[b"pitm"])
    version, _ = primary.version()
    return items, primary.number(4 if version else 2)


def _read_infos(cursor: _Cursor, chunks: Allowance) -> dict[int, _Item]:
    """Read ``iinf``: the items and their types."""
    version, _ = cursor.version()
    cursor.number(4 if version else 2)
    items = {}
    for kind, content in cursor.boxes(chunks):
        info = _Cursor(content)
        version, _ = info.version()
        if kind == b"infe" and version >= 2:
            number = info.number(2 if version == 2 else 4)
            info.number(2)
            items[number] = _Item(info.take(4))
    return items


def _read_locations(cursor: _Cursor, items: dict[int, _Item], data: bytes, idat: bytes, chunks: Allowance) -> None:
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
        item = items.get(number, _Item(b""))
        if method > 1:
            raise Malformed(f"an item built by method {method}")
        item.data = idat if method else data
        for _ in range(cursor.number(2)):
            chunks.take()
            cursor.number(index_size if version else 0)
            item.extents.append((base + cursor.number(offset_size), cursor.number(length_size)))


def _read_references(cursor: _Cursor, items: dict[int, _Item], chunks: Allowance) -> None:
    """Read ``iref``: which item refers to which."""
    version, _ = cursor.version()
    width = 4 if version else 2
    for kind, content in cursor.boxes(chunks):
        reference = _Cursor(content)
        source = items.get(reference.number(width), _Item(b""))
        count = reference.number(2)
        chunks.take(count)
        source.links.setdefault(kind, []).extend(reference.number(width) for _ in range(count))


def _read_properties(cursor: _Cursor, items: dict[int, _Item], chunks: Allowance) -> None:
    """Read ``iprp``: the properties, and which item has which."""
    properties: list[tuple[bytes, bytes]] = []
    for kind, content in cursor.boxes(chunks):
        if kind == b"ipco":
            properties.extend(_Cursor(content).boxes(chunks))
        elif kind == b"ipma":
            entries = _Cursor(content)
            version, flags = entries.version()
            for _ in range(entries.number(4)):
                item = items.get(entries.number(4 if version else 2), _Item(b""))
                for _ in range(entries.number(1)):
                    chunks.take()
                    both = entries.number(2 if flags & 1 else 1)
                    index, is_essential = (both & 0x7FFF, both >> 15) if flags & 1 else (both & 0x7F, both >> 7)
                    if index > len(properties):
                        raise Malformed("a property that is not there")
                    if index:
                        item.properties.append(properties[index - 1])
                        if is_essential:
                            item.essential.add(properties[index - 1][0])


# --- writing


class _Writer:
    """Collects the items that are needed and writes them into a file of their own."""

    def __init__(self, items: dict[int, _Item], codec: Codec, policy: Policy, chunks: Allowance) -> None:
        self._items, self._codec, self._policy, self._chunks = items, codec, policy, chunks
        self._written: list[tuple[_Item, bytes, list[tuple[bytes, list[int]]]]] = []  # with payload and references
        self._spent = 0
        self.coded_pixels = 0  # of the colours, padding of grids included
        self.has_alpha = False
        self._alphas = {target: item for item in items.values() if item.is_alpha for target in item.references(b"auxl")}

    def add(self, number: int) -> int:
        """Add an item with all that it is made of and its alpha plane; return its number in the new file."""
        item = _item(self._items, number)
        added = self._add(item)
        alpha = self._alphas.get(number)
        if alpha is not None and not item.is_alpha:
            if alpha.size() != item.size():
                raise Malformed("an alpha plane of another size")
            self.has_alpha = True
            self._written[self._add(alpha) - 1][2].append((b"auxl", [added]))
        return added

    def _add(self, item: _Item) -> int:
        check_pixels(*item.size(), self._policy)
        for kind in item.essential - _KEPT - _DROPPED - {self._codec.config}:
            raise Malformed(f"an essential property {kind!r}")
        if item.kind == self._codec.item:
            return self._add_coded(item)
        if item.kind == b"grid":
            return self._add_grid(item)
        raise Malformed(f"an item of type {item.kind!r}")

    def _payload(self, item: _Item) -> bytes:
        spans = item.spans()
        self._spent += sum(end - start for start, end in spans)
        if self._spent > self._policy.max_bytes or any(not 0 <= start <= end <= len(item.data) for start, end in spans):
            raise Malformed("items outside the file, or of more bytes than it has")
        return b"".join(item.data[start:end] for start, end in spans)

    def _add_coded(self, item: _Item) -> int:
        payload, config, (width, height) = self._payload(item), item.the(self._codec.config), item.size()
        if config is None:
            raise Malformed("a coded item without its configuration")
        self._codec.check_coded(config, payload, (width, height), self._chunks)
        self.coded_pixels += 0 if item.is_alpha else width * height
        self._written.append((item, payload, []))
        return len(self._written)

    def _add_grid(self, item: _Item) -> int:
        layout = _Cursor(self._payload(item))
        layout.number(1)
        wide = layout.number(1) & 1
        rows, columns = layout.number(1) + 1, layout.number(1) + 1
        size = layout.number(4 if wide else 2), layout.number(4 if wide else 2)
        numbers = item.references(b"dimg")
        tiles = [_item(self._items, number) for number in numbers]
        if len(tiles) != rows * columns or any(tile.kind != self._codec.item for tile in tiles):
            raise Malformed(f"{len(tiles)} tiles for a grid of {columns} x {rows}")
        width, height = tiles[0].size()
        check_pixels(columns * width, rows * height, self._policy)
        fits = all(
            low < whole <= high
            for low, whole, high in (
                ((columns - 1) * width, size[0], columns * width),
                ((rows - 1) * height, size[1], rows * height),
            )
        )
        if not fits or size != item.size() or any(tile.size() != (width, height) for tile in tiles):
            raise Malformed("tiles that do not make up the picture")
        payload = struct.pack(">BBBBII", 0, 1, rows - 1, columns - 1, *size)
        references: list[tuple[bytes, list[int]]] = []
        self._written.append((item, payload, references))
        number = len(self._written)
        references.append((b"dimg", [self.add(tile) for tile in numbers]))
        return number

    def file(self) -> bytes:
        """Return the file; item 1 is the primary one."""
        ftyp = _box(b"ftyp", self._codec.brand, bytes(4), self._codec.brand, b"mif1miaf")
        meta = self._meta(0)
        return b"".join((
            ftyp,
            self._meta(len(ftyp) + len(meta) + 8),
            _box(b"mdat", *(payload for _, payload, _ in self._written)),
        ))  # fmt: skip

    def _meta(self, start: int) -> bytes:
        """Return the meta box for payloads that begin at `start`; its length does not depend on that."""
        locations, infos, references, associations = [], [], [], []
        properties: dict[bytes, int] = {}
        for number, (item, payload, links) in enumerate(self._written, 1):
            locations.append(struct.pack(">HHHII", number, 0, 1, start, len(payload)))
            start += len(payload)
            infos.append(_full_box(b"infe", 2, struct.pack(">HH4sx", number, 0, item.kind)))
            references += [
                _box(kind, struct.pack(f">HH{len(targets)}H", number, len(targets), *targets))
                for kind, targets in links
            ]
            kept = [(kind, content) for kind, content in item.properties if self._is_kept(kind, content)]
            indices = [
                properties.setdefault(_box(kind, content), len(properties) + 1) | (kind == self._codec.config) << 15
                for kind, content in kept
            ]
            associations.append(struct.pack(f">HB{len(indices)}H", number, len(indices), *indices))
        count = len(self._written)
        return _full_box(
            b"meta",
            0,
            _full_box(b"hdlr", 0, struct.pack(">4x4s13x", b"pict")),
            _full_box(b"pitm", 0, struct.pack(">H", 1)),
            _full_box(b"iloc", 0, struct.pack(">HH", 0x4400, count), *locations),
            _full_box(b"iinf", 0, struct.pack(">H", count), *infos),
            _full_box(b"iref", 0, *references) if references else b"",
            _box(
                b"iprp",
                _box(b"ipco", *properties),
                _full_box(b"ipma", 1, struct.pack(">I", count), *associations),
            ),
        )

    def _is_kept(self, kind: bytes, content: bytes) -> bool:
        """Tell whether the decoder needs the property."""
        return kind in _KEPT or kind == self._codec.config or (kind == b"colr" and content[:4] == b"nclx")


def _box(kind: bytes, *parts: bytes) -> bytes:
    """Return a box."""
    content = b"".join(parts)
    return struct.pack(">I4s", 8 + len(content), kind) + content


def _full_box(kind: bytes, flags: int, *parts: bytes) -> bytes:
    """Return a full box; infe is written in version 2, the others in version 0."""
    version = 2 if kind == b"infe" else 0
    return _box(kind, struct.pack(">I", version << 24 | flags), *parts)
