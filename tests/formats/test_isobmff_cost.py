"""AVIF and HEIF: what many tiles share, which may be one item, costs each of them next to nothing (P2)."""

import dataclasses
import io
import struct
import time
from collections.abc import Callable

import pillow_heif
import pytest
from builders import isobmff
from builders.isobmff import Item
from builders.pictures import encoded, photograph

from safeupload import AVATAR, TooComplex
from safeupload._formats import rebuild

POLICY = dataclasses.replace(AVATAR, formats={"AVIF", "HEIF"})
SECONDS = 1.0  # of the processor; before they were bounded, these files took 3 to 7
ROWS, COLUMNS = 40, 50


def heic_tile(*, padding: int = 0) -> Item:
    """Return a tile of 64 x 64 pixels and hardly any bytes; its configuration is padded."""
    out = io.BytesIO()
    pillow_heif.from_pillow(photograph(64, 64)).save(out)
    config, _ = isobmff.parts(out.getvalue(), b"hvcC")
    properties = [isobmff.size(64, 64), (b"hvcC", config + bytes(padding))]
    return Item(b"hvc1", b"\0\0\0\2\x28\1", properties, frozenset({b"hvcC"}), method=1)


def avif_tile(*, padding: int) -> Item:
    """Return a tile whose configuration is padded with an OBU of that many bytes, more than two million."""
    config, payload = isobmff.parts(encoded(photograph(64, 64), "AVIF", quality=0), b"av1C")
    length = bytes([padding & 127 | 128, padding >> 7 & 127 | 128, padding >> 14 & 127 | 128, padding >> 21])
    properties = [isobmff.size(64, 64), (b"av1C", config[:4] + b"\x7a" + length + bytes(padding))]
    return Item(b"av01", payload, properties, frozenset({b"av1C"}), method=1)


def grid_of(tile: Item, brand: bytes = b"heic") -> bytes:
    """Return a file with a grid of many tiles, all of which are the same item."""
    grid = isobmff.grid(ROWS, COLUMNS, COLUMNS * 64, ROWS * 64, [2] * (ROWS * COLUMNS))
    grid.method = 1
    return isobmff.file([grid, tile], brand=brand, wide=True)


def inserted(data: bytes, at: int, piece: bytes, *boxes: bytes) -> bytes:
    """Return a file with a piece inserted, which makes those boxes longer."""
    longer = bytearray(data[:at] + piece + data[at:])
    for kind in boxes:
        start = data.index(kind) - 4
        struct.pack_into(">I", longer, start, int.from_bytes(data[start : start + 4], "big") + len(piece))
    return bytes(longer)


def with_many_properties() -> bytes:
    """Return a file whose tile has 9,000 properties of no meaning before its own."""
    tile = heic_tile()
    data = grid_of(dataclasses.replace(tile, properties=[(b"free", b""), *tile.properties]))
    entry = struct.pack(">IB", 2, 250) + struct.pack(">H", 2) * 250
    box = isobmff.full(b"ipma", 1, 1, struct.pack(">I", 36), *[entry] * 36)
    return inserted(data, data.index(b"ipma") - 4, box, b"meta", b"iprp")


def with_many_extents() -> bytes:
    """Return a file whose tile has 9,000 extents of no bytes behind its own."""
    data = grid_of(heic_tile())
    inside, locations = data.index(b"idat") - 4, data.index(b"iloc") - 4
    end = locations + int.from_bytes(data[locations : locations + 4], "big")
    empty = struct.pack(">II", int.from_bytes(data[inside : inside + 4], "big") - 8, 0)
    data = data[: end - 10] + struct.pack(">H", 9001) + data[end - 8 :]
    return inserted(data, end, empty * 9000, b"meta", b"iloc")


@pytest.mark.parametrize("made", [with_many_properties, with_many_extents])
def test_p2_what_each_tile_repeats(made: Callable[[], bytes]) -> None:
    """P2: thousands of properties or extents of an item are looked at for none of its uses, or the file is refused."""
    data = made()
    start = time.process_time()
    with pytest.raises(TooComplex) as caught:
        rebuild(data, POLICY)

    assert caught.value.what == "chunks"
    assert time.process_time() - start < SECONDS


@pytest.mark.parametrize("name", ["AVIF", "HEIF"])
def test_p2_a_large_configuration(name: str) -> None:
    """P2: a configuration of four million bytes is neither copied nor compared for each tile that has it."""
    large = 4_000_000
    data = grid_of(avif_tile(padding=large), b"avif") if name == "AVIF" else grid_of(heic_tile(padding=large))
    start = time.process_time()
    rebuilt = rebuild(data, POLICY)

    assert rebuilt.canvas == (COLUMNS * 64, ROWS * 64)
    assert time.process_time() - start < SECONDS
