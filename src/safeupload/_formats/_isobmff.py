"""
The container of AVIF and HEIF: boxes, items and their properties.

Source: ISO/IEC 14496-12 (boxes, items) and 23008-12 (properties, grids), as MIAF (23000-22) narrows them: the primary
item is one coded picture or a grid of them, with one alpha plane at most. Orientation is what the ``irot`` and ``imir``
properties say; EXIF has no say in these formats.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from safeupload._formats._base import Allowance, Malformed, Rebuilt, check_pixels
from safeupload._formats._boxes import Cursor, Item, find, read_items

if TYPE_CHECKING:
    from collections.abc import Callable

    from safeupload.policy import Policy

# Measured in Pillow 13 and pillow-heif 1.8: what is decoded is held twice, as planes and on the way to RGB; the picture
# itself takes 3 to 4 bytes a pixel in the library and 4 in Pillow.
_COPIES: Final = 2
_OUTPUT_BYTES: Final = 8

# Items are numbered with 16 bits where we write them.
_MOST_ITEMS: Final = 0xFFFF

_KEPT: Final = (b"ispe", b"pixi", b"auxC", b"colrnclx")
_DROPPED: Final = frozenset({b"irot", b"imir", b"clap", b"pasp", b"clli", b"mdcv", b"cclv", b"amve", b"a1lx", b"colr"})


@dataclass(frozen=True, kw_only=True)
class Codec:
    """
    What distinguishes the formats that share the container.

    `brand` is the one of the file that is written, `item` the type of a coded item, `config` the property that
    configures its decoder. `sample_bytes` gets that, the item's bytes and its size; it returns how many bytes the
    samples of a pixel take in the bitstream's own layout, and raises `Malformed` if that has another size.
    """

    name: str
    brand: bytes
    item: bytes
    config: bytes
    sample_bytes: Callable[[bytes, bytes, tuple[int, int], Allowance], float]


def brands(head: bytes) -> frozenset[bytes]:
    """Return the brands of a file that begins with ``ftyp``, the major one and the compatible ones."""
    if head[4:8] != b"ftyp":
        return frozenset()
    length = min(int.from_bytes(head[:4], "big"), len(head))
    return frozenset({head[8:12], *(head[at : at + 4] for at in range(16, length - 3, 4))})


def rebuild(data: bytes, policy: Policy, codec: Codec) -> Rebuilt:
    """
    Return a file with the primary picture, its tiles and its alpha plane, and nothing else.

    Raises `Malformed`, `TooManyPixels` and `TooComplex` ("chunks", "metadata").
    """
    chunks = Allowance("chunks", policy.max_chunks)
    items, number, is_sequence = read_items(data, chunks)
    primary = find(items, number)
    width, height = primary.size()
    writer = _Writer(items, codec, policy, chunks)
    writer.add(number)
    left, top, right, bottom = primary.aperture()
    return Rebuilt(
        format=codec.name,
        canvas=(right - left, bottom - top),
        frame=(-left, -top, width - left, height - top),
        pieces=[writer.file()],
        pixel_bytes=_OUTPUT_BYTES,
        fixed_bytes=int(writer.coded_bytes),
        orientation=primary.orientation(),
        icc=primary.icc(policy),
        animated=is_sequence,
        has_alpha=writer.has_alpha,
    )


class _Writer:
    """Collects the items that are needed and writes them into a file of their own."""

    def __init__(self, items: dict[int, Item], codec: Codec, policy: Policy, chunks: Allowance) -> None:
        self._kept = codec.config, *_KEPT
        self._items, self._codec, self._policy, self._chunks = items, codec, policy, chunks
        self._written: list[tuple[Item, bytes, list[tuple[bytes, list[int]]]]] = []  # with payload and references
        self._spent = 0
        self.coded_bytes = 0.0  # of all that is decoded, padding of grids included
        self.has_alpha = False
        self._alphas = {target: item for item in items.values() if item.is_alpha for target in item.references(b"auxl")}

    def add(self, number: int) -> int:
        """Add an item with all that it is made of and its alpha plane; return its number in the new file."""
        item = find(self._items, number)
        added = self._add(item)
        alpha = self._alphas.get(number)
        if alpha is not None:
            if alpha.size() != item.size():
                raise Malformed("an alpha plane of another size")
            self.has_alpha = True
            plane = self._add(alpha)
            self._written[plane - 1][2].append((b"auxl", [added]))
            if item.references(b"prem"):  # the colours are premultiplied with it
                self._written[added - 1][2].append((b"prem", [plane]))
        return added

    def _add(self, item: Item) -> int:
        check_pixels(*item.size(), self._policy)
        for kind in item.essential - _DROPPED - set(self._kept):
            raise Malformed(f"an essential property {kind!r}")
        if item.kind == self._codec.item:
            return self._add_coded(item)
        if item.kind == b"grid":
            return self._add_grid(item)
        raise Malformed(f"an item of type {item.kind!r}")

    def _payload(self, item: Item) -> bytes:
        self._chunks.take(len(item.extents))  # once more for each use: many tiles may be the same item
        spans = item.spans()
        self._spent += sum(end - start for start, end in spans)
        if self._spent > self._policy.max_bytes or any(not 0 <= start <= end <= len(item.data) for start, end in spans):
            raise Malformed("items outside the file, or of more bytes than it has")
        return b"".join(item.data[start:end] for start, end in spans)

    def _add_coded(self, item: Item) -> int:
        payload, config, (width, height) = self._payload(item), item.the(self._codec.config), item.size()
        if config is None:
            raise Malformed("a coded item without its configuration")
        samples = self._codec.sample_bytes(config, payload, (width, height), self._chunks)
        if not payload:  # written, a length of 0 would mean all that follows: the bytes of other items
            raise Malformed("an item without bytes")
        self.coded_bytes += _COPIES * samples * width * height
        return self._append(item, payload, [])

    def _add_grid(self, item: Item) -> int:
        layout = Cursor(self._payload(item))
        if layout.number(1):
            raise Malformed("a grid of an unknown version")
        wide = layout.number(1) & 1
        rows, columns = layout.number(1) + 1, layout.number(1) + 1
        size = layout.number(4 if wide else 2), layout.number(4 if wide else 2)
        numbers = item.references(b"dimg")
        tiles = [find(self._items, number) for number in numbers]
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
        number = self._append(item, payload, references)
        references.append((b"dimg", [self.add(tile) for tile in numbers]))
        return number

    def _append(self, item: Item, payload: bytes, references: list[tuple[bytes, list[int]]]) -> int:
        """Take an item into the new file, and return its number there."""
        if len(self._written) == _MOST_ITEMS:
            raise Malformed("more items than can be numbered")
        self._written.append((item, payload, references))
        return len(self._written)

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
        locations: list[bytes] = []
        infos: list[bytes] = []
        references: list[bytes] = []
        associations: list[bytes] = []
        properties: dict[tuple[bytes, bytes], int] = {}  # the boxes may be large, and belong to many items
        for number, (item, payload, links) in enumerate(self._written, 1):
            locations.append(struct.pack(">HHHII", number, 0, 1, start, len(payload)))
            start += len(payload)
            infos.append(_full_box(b"infe", 0, struct.pack(">HH4sx", number, 0, item.kind)))
            references += [
                _box(kind, struct.pack(f">HH{len(targets)}H", number, len(targets), *targets))
                for kind, targets in links
            ]
            kept = [(kind, item.properties[kind]) for kind in self._kept if kind in item.properties]
            indices = [
                properties.setdefault(each, len(properties) + 1) | (each[0] == self._codec.config) << 15
                for each in kept
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
                _box(b"ipco", *(_box(kind[:4], content) for kind, content in properties)),
                _full_box(b"ipma", 1, struct.pack(">I", count), *associations),
            ),
        )


def _box(kind: bytes, *parts: bytes) -> bytes:
    """Return a box."""
    content = b"".join(parts)
    return struct.pack(">I4s", 8 + len(content), kind) + content


def _full_box(kind: bytes, flags: int, *parts: bytes) -> bytes:
    """Return a full box; infe is written in version 2, the others in version 0."""
    version = 2 if kind == b"infe" else 0
    return _box(kind, struct.pack(">I", version << 24 | flags), *parts)
