"""AVIF and HEIF: the numbers of the container in all their forms, what their sum may be, and how we write them."""

import dataclasses
import struct

import pytest
from builders import isobmff
from builders.isobmff import Item, box, full
from builders.pictures import encoded, photograph
from PIL import Image
from promises import check_malformed

import safeupload
from safeupload import AVATAR, TooManyPixels
from safeupload._formats import avif, rebuild
from safeupload._formats._base import Allowance
from safeupload._formats._boxes import Cursor, _read_infos, _read_locations, _read_properties, _read_references
from safeupload._formats._boxes import Item as Found

POLICY = dataclasses.replace(AVATAR, formats={"AVIF"})
PHOTO = photograph(96, 64)


def item(image: Image.Image) -> Item:
    """Return the picture as a coded item."""
    configuration, payload = isobmff.parts(encoded(image, "AVIF"), b"av1C")
    return Item(b"av01", payload, [isobmff.size(*image.size), (b"av1C", configuration)], frozenset({b"av1C"}))


def file(*items: Item) -> bytes:
    """Return a file with those items."""
    return isobmff.file(list(items))


def plenty() -> Allowance:
    """Return an allowance that lasts."""
    return Allowance("chunks", 10_000)


TILE = item(photograph(64, 64))


# --- what it may cost


def coded_bytes(*items: Item) -> float:
    """Return what decoding items takes: their samples, twice."""
    total = 0.0
    for each in items:
        width, height = struct.unpack(">II", each.properties[0][1][4:])
        total += 2 * avif.sample_bytes(each.properties[1][1], each.payload, (width, height), plenty()) * width * height
    return total


def test_p2_memory_of_a_grid() -> None:
    """Every tile and every alpha plane counts, with all of its pixels."""
    plane = item(Image.new("L", (64, 64), 255))
    plane.properties.append((b"auxC", isobmff.IDENTITY_ALPHA))
    plane.references.append((b"auxl", [2]))

    assert coded_bytes(TILE) >= 2 * 64 * 64
    assert rebuild(file(TILE), POLICY).fixed_bytes == coded_bytes(TILE)
    grid = isobmff.grid(2, 2, 120, 100, [2, 3, 4, 5])
    assert rebuild(file(grid, TILE, TILE, TILE, TILE), POLICY).fixed_bytes == coded_bytes(TILE) * 4
    grid = isobmff.grid(1, 2, 120, 60, [2, 3])
    assert rebuild(file(grid, TILE, TILE, plane), POLICY).fixed_bytes == coded_bytes(TILE, TILE, plane)


def test_p2_bytes_of_items() -> None:
    """The bytes of all items together may be as many as an upload may have, and not one more."""
    for items, count in (((TILE,), 1), ((isobmff.grid(1, 2, 120, 60, [2, 2]), TILE), 2)):
        needed = count * len(TILE.payload) + sum(len(each.payload) for each in items if each.kind == b"grid")
        data = file(*items)
        assert rebuild(data, dataclasses.replace(POLICY, max_bytes=needed))
        check_malformed(data, "more bytes", dataclasses.replace(POLICY, max_bytes=needed - 1))


@pytest.mark.parametrize("more", [253, 254, 600])
def test_p1_more_properties_than_can_be_counted(more: int) -> None:
    """However often a file gives a property to an item, in several lists, it is written once."""
    data = file(dataclasses.replace(TILE, method=1))  # its bytes are found by a place in the meta box
    start = data.index(b"ipma") - 4
    (length,) = struct.unpack_from(">I", data, start)
    old = data[start : start + length]
    counts = [200] * (more // 200) + [more % 200]  # beside the size and the configuration
    lists = [struct.pack(">HB", 1, count) + b"\1" * count for count in counts]
    new = full(b"ipma", 0, 0, struct.pack(">I", 1 + len(lists)), old[16:], *lists)

    assert rebuild(grown(data, start, old, new), POLICY) == rebuild(data, POLICY)


def grown(data: bytes, start: int, old: bytes, new: bytes) -> bytes:
    """Return a file in which one box, in iprp in meta, is another one."""
    out = bytearray(data[:start] + new + data[start + len(old) :])
    for name in (b"iprp", b"meta"):
        at = data.index(name) - 4
        (length,) = struct.unpack_from(">I", data, at)
        struct.pack_into(">I", out, at, length + len(new) - len(old))
    return bytes(out)


def test_p1_more_items_than_can_be_numbered() -> None:
    """A grid of 65,536 tiles, which a policy may allow, is one item more than numbers have room for."""
    tile = item(photograph(16, 16))
    grid = isobmff.grid(256, 256, 4096, 4096, [2] * 32_768)
    grid.references.append((b"dimg", [2] * 32_768))
    policy = dataclasses.replace(POLICY, max_chunks=1 << 20, max_bytes=1 << 28)

    check_malformed(file(grid, tile), "than can be numbered", policy)


# --- numbers


def test_a_size_of_32_bits() -> None:
    """It is never negative."""
    huge = dataclasses.replace(TILE, properties=[isobmff.size(1 << 31, 1), TILE.properties[1]])

    with pytest.raises(TooManyPixels) as caught:
        rebuild(file(huge), POLICY)
    assert caught.value.pixels == 1 << 31


def test_a_length_of_64_bits() -> None:
    """Its highest byte counts."""
    data = file(TILE)

    assert rebuild(data + struct.pack(">I4sQ", 1, b"free", 24) + bytes(8), POLICY) == rebuild(data, POLICY)
    check_malformed(data + struct.pack(">I4sQ", 1, b"free", (1 << 56) + 24) + bytes(8), "box b'free'", POLICY)


def test_an_extent_to_the_end() -> None:
    """A length of 0 means all that follows."""
    data = file(TILE)
    start = data.index(b"mdat") + 4
    extent = struct.pack(">II", start, len(TILE.payload))
    assert data.count(extent) == 1

    assert rebuild(data.replace(extent, struct.pack(">II", start, 0)), POLICY) == rebuild(data, POLICY)


def test_wide_grids() -> None:
    """The size of a grid may take 16 or 32 bits."""
    found = [rebuild(file(isobmff.grid(1, 2, 120, 60, [2, 2], wide=wide), TILE), POLICY) for wide in (False, True)]

    assert found[0] == found[1]


def test_long_grids() -> None:
    """A row or a column may have more than 128 tiles."""
    tile = item(photograph(16, 16))
    for rows, columns in ((1, 200), (200, 1)):
        grid = isobmff.grid(rows, columns, 16 * columns, 16 * rows, [2] * 200)
        data = rebuild(file(grid, tile), POLICY).data
        assert struct.pack(">BBBBII", 0, 1, rows - 1, columns - 1, 16 * columns, 16 * rows) in data


def test_a_grid_that_is_too_low() -> None:
    """A last row of tiles that is not seen does not belong to the picture."""
    check_malformed(file(isobmff.grid(2, 1, 64, 64, [2, 2]), TILE), "do not make up", POLICY)


def test_a_grid_with_an_alpha_plane_of_its_own() -> None:
    """It belongs to the grid, not to one of its tiles."""
    plane = item(Image.linear_gradient("L").resize((120, 60)))
    plane.properties.append((b"auxC", isobmff.IDENTITY_ALPHA))
    plane.references.append((b"auxl", [1]))
    data = file(isobmff.grid(1, 2, 120, 60, [2, 3]), TILE, TILE, plane)

    assert safeupload.normalize(data, POLICY).info.has_alpha
    assert box(b"auxl", struct.pack(">HHH", 4, 1, 1)) in rebuild(data, POLICY).data


def test_items_that_refer_to_none() -> None:
    """An alpha plane of nothing is none; a grid of nothing is no picture."""
    plane = item(Image.new("L", (64, 64), 255))
    plane.properties.append((b"auxC", isobmff.IDENTITY_ALPHA))

    assert not rebuild(file(TILE, plane), POLICY).has_alpha
    check_malformed(file(dataclasses.replace(isobmff.grid(1, 1, 60, 60, []), references=[])), "0 tiles", POLICY)


def test_a_flat_aperture() -> None:
    """One without height shows nothing, so all is shown."""
    flat = dataclasses.replace(
        TILE, properties=[*TILE.properties, (b"clap", struct.pack(">4I4i", 60, 1, 0, 1, 0, 1, 0, 1))]
    )

    assert rebuild(file(flat), POLICY).canvas == (64, 64)


def test_a_profile_behind_other_colours() -> None:
    """What is not a profile is not taken for one, whatever comes first."""
    nclx = b"nclx" + bytes([0, 1, 0, 13, 0, 6, 128])
    for others in ([(b"colr", nclx)], [(b"uuid", b"prof" + bytes(9))]):
        coloured = dataclasses.replace(TILE, properties=[*TILE.properties, *others, (b"colr", b"prof" + b"P" * 50)])
        assert rebuild(file(coloured), POLICY).icc == b"P" * 50


def test_a_still_picture_is_not_animated() -> None:
    """It says so in so many words."""
    assert rebuild(file(TILE), POLICY).animated is False


def test_an_item_in_a_box_that_is_not_there() -> None:
    """Its bytes are nowhere."""
    data = file(dataclasses.replace(TILE, method=1))
    at = data.index(b"idat")

    check_malformed(data[:at] + b"free" + data[at + 4 :], "outside the file", POLICY)


# --- boxes, one by one


def test_other_boxes_among_the_items() -> None:
    """They are passed over, whatever their version, and so are entries of versions before 2."""
    entry = full(b"infe", 2, 0, struct.pack(">HH4s", 7, 0, b"av01"))
    for other in (full(b"free", 2, 0), full(b"infe", 1, 0), full(b"infe", 0, 0, bytes(4))):
        content = full(b"iinf", 0, 0, struct.pack(">H", 2), other, entry)[8:]
        assert _read_infos(Cursor(content), plenty()).keys() == {7}


@pytest.mark.parametrize(("version", "index"), [(0, 4), (1, 0), (1, 4), (1, 8), (2, 4)])
def test_extents_with_an_index(version: int, index: int) -> None:
    """From version 1 on an extent may begin with an index, which nobody needs; before, those bits say nothing."""
    number = ">I" if version == 2 else ">H"
    method = b"\0\0" if version else b""
    entries = b"".join(
        struct.pack(number, each) + method + struct.pack(">HH", 0, 1) + b"\1" * (index if version else 0)
        + struct.pack(">II", 10 * each, each)
        for each in (9, 5)
    )  # fmt: skip
    items = {5: Found(b"av01")}
    content = full(b"iloc", version, 0, bytes([0x44, index]), struct.pack(number, 2), entries)[8:]
    _read_locations(Cursor(content), items, b"data", b"idat", plenty())

    assert (items[5].extents, items[5].data) == ([(50, 5)], b"data")


@pytest.mark.parametrize("version", [0, 1])
def test_references_of_both_widths(version: int) -> None:
    """The numbers of items have 16 bits or 32; references of an item that is not there are passed over."""
    form = ">I" if version else ">H"
    boxes = [
        box(b"dimg", struct.pack(form, source) + struct.pack(">H", 2) + struct.pack(form, 8) + struct.pack(form, 9))
        for source in (4, 5)
    ]
    items = {5: Found(b"grid")}
    _read_references(Cursor(full(b"iref", version, 0, *boxes)[8:]), items, plenty())

    assert items[5].references(b"dimg") == [8, 9]


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("wide", [0, 1])
def test_associations_of_both_widths(version: int, wide: int) -> None:
    """A property's number has 7 bits or 15, the first bit tells whether it is essential; strange items are passed."""
    form = ">I" if version else ">H"
    most = 300 if wide else 127
    properties = box(b"ipco", *(box(b"p%03d" % number, bytes([number & 255])) for number in range(1, most + 1)))
    indices = [(most, True), (1, False), (2, True), (0, True)]
    packed = b"".join(
        struct.pack(">H", essential << 15 | index) if wide else struct.pack(">B", essential << 7 | index)
        for index, essential in indices
    )
    entries = b"".join(struct.pack(form, number) + bytes([4]) + packed for number in (4, 5))
    association = full(b"ipma", version, wide, struct.pack(">I", 2), entries)
    items = {5: Found(b"av01")}
    _read_properties(Cursor(properties + association), items, plenty())

    assert list(items[5].properties) == [b"p%03d" % most, b"p001", b"p002"]
    assert items[5].essential == {b"p%03d" % most, b"p002"}


# --- what we write


def test_what_we_write_is_by_the_book() -> None:
    """Brands, versions and flags are those of the standard, and only the configuration is essential."""
    plane = item(Image.new("L", (120, 60), 255))
    plane.properties.append((b"auxC", isobmff.IDENTITY_ALPHA))
    plane.references.append((b"auxl", [1]))
    written = isobmff.boxes(rebuild(file(isobmff.grid(1, 2, 120, 60, [2, 3]), TILE, TILE, plane), POLICY).data)

    assert list(written) == [b"ftyp", b"meta", b"mdat"]
    assert written[b"ftyp"] == [b"avif" + bytes(4) + b"avif" + b"mif1" + b"miaf"]
    (meta,) = written[b"meta"]
    inner = {kind: contents[0] for kind, contents in isobmff.boxes(meta[4:]).items()}
    assert list(inner) == [b"hdlr", b"pitm", b"iloc", b"iinf", b"iref", b"iprp"]
    assert [meta[:4], *(inner[kind][:4] for kind in (b"hdlr", b"pitm", b"iloc", b"iinf", b"iref"))] == [bytes(4)] * 6
    assert inner[b"pitm"][4:] == b"\0\1"
    assert inner[b"iloc"][4:8] == b"\x44\0\0\4"
    places = [struct.unpack_from(">HHHII", inner[b"iloc"], 8 + 14 * at) for at in range(4)]
    assert [place[:3] for place in places] == [(number, 0, 1) for number in (1, 2, 3, 4)]
    infos = isobmff.boxes(inner[b"iinf"][6:])[b"infe"]
    assert [struct.unpack(">IHH4sx", each)[:3] for each in infos] == [(2 << 24, number, 0) for number in (1, 2, 3, 4)]
    association = isobmff.boxes(inner[b"iprp"])[b"ipma"][0]
    assert association[:8] == b"\0\0\0\1\0\0\0\4"
    (properties,) = isobmff.boxes(inner[b"iprp"])[b"ipco"]
    assert set(kinds_of(properties)) == {b"ispe", b"av1C", b"auxC"}
    kinds = kinds_of(properties)
    at, essential = 8, []
    for _ in range(4):
        count = association[at + 2]
        for (each,) in struct.iter_unpack(">H", association[at + 3 : at + 3 + 2 * count]):
            essential.append((kinds[(each & 0x7FFF) - 1], bool(each >> 15)))
        at += 3 + 2 * count
    assert {kind for kind, value in essential if value} == {b"av1C"}
    assert {kind for kind, value in essential if not value} == {b"ispe", b"auxC"}


def kinds_of(boxes: bytes) -> list[bytes]:
    """Return the types of the boxes that follow one another."""
    kinds, position = [], 0
    while position < len(boxes):
        length, kind = struct.unpack_from(">I4s", boxes, position)
        kinds.append(kind)
        position += length
    return kinds


def test_no_box_of_references_without_any() -> None:
    """An empty one is not written."""
    assert b"iref" not in rebuild(file(TILE), POLICY).data
