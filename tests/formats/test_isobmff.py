"""AVIF and HEIF: what is kept of the container, what is checked in it and in its bitstreams."""

import dataclasses
import io
import struct
from typing import Any

import numpy as np
import pillow_heif
import pytest
from builders import isobmff
from builders.isobmff import Item
from builders.pictures import encoded, photograph
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from promises import check_malformed, one_of_two

import safeupload
from safeupload import AVATAR, Corrupt, FormatNotAllowed, TooComplex, TooManyPixels
from safeupload._formats import avif, heif, rebuild
from safeupload._formats._base import Allowance, Malformed
from safeupload._formats._bits import Bits

POLICY = dataclasses.replace(AVATAR, formats={"AVIF", "HEIF"})
FORMATS = ["AVIF", "HEIF"]
BRANDS = {"AVIF": b"avif", "HEIF": b"heic"}


def heic(image: Image.Image, **options: Any) -> bytes:  # noqa: ANN401 - pillow-heif's own
    """Return a HEIC as pillow-heif writes it, without registering that with Pillow."""
    out = io.BytesIO()
    pillow_heif.from_pillow(image).save(out, **options)
    return out.getvalue()


def saved(image: Image.Image, name: str, **options: Any) -> bytes:  # noqa: ANN401
    """Return the picture in the format."""
    return heic(image, **options) if name == "HEIF" else encoded(image, "AVIF", **options)


def item(image: Image.Image, name: str = "AVIF") -> Item:
    """Return the picture as a coded item."""
    kind, config = (b"av01", b"av1C") if name == "AVIF" else (b"hvc1", b"hvcC")
    configuration, payload = isobmff.parts(saved(image, name), config)
    return Item(kind, payload, [isobmff.size(*image.size), (config, configuration)], frozenset({config}))


def file(*items: Item, name: str = "AVIF", **options: Any) -> bytes:  # noqa: ANN401
    """Return a file of the format with those items."""
    return isobmff.file(list(items), brand=BRANDS[name], **options)


PHOTO = photograph(96, 64)


# --- what is taken


@pytest.mark.parametrize("name", FORMATS)
def test_a_picture_is_taken(name: str) -> None:
    """A plain picture keeps its size and its pixels."""
    picture = safeupload.normalize(saved(PHOTO, name), POLICY)

    assert (picture.info.format, picture.info.width, picture.info.height) == (name, 96, 64)
    assert not picture.info.has_alpha
    assert not picture.info.animated


@pytest.mark.parametrize("name", FORMATS)
def test_on_request_only(name: str) -> None:
    """The default policy names the format and does not take it."""
    with pytest.raises(FormatNotAllowed) as caught:
        safeupload.normalize(saved(PHOTO, name))
    assert caught.value.format == name


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("wide", [False, True])
def test_both_widths_of_every_number(name: str, wide: bool) -> None:  # noqa: FBT001
    """Files whose boxes use the larger numbers are read alike."""
    assert rebuild(file(item(PHOTO, name), name=name, wide=wide), POLICY) == rebuild(
        file(item(PHOTO, name), name=name), POLICY
    )


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_that_of_the_container(orientation: int) -> None:
    """The rotation and the mirror of the container, as Pillow writes them, are the EXIF orientation again."""
    exif = Image.Exif()
    exif[0x0112] = orientation

    assert safeupload.validate(encoded(PHOTO, "AVIF", exif=exif.tobytes()), POLICY).orientation == orientation


def head(*brands: bytes, kind: bytes = b"ftyp", length: int = 0) -> bytes:
    """Return the beginning of a file with those brands, the major one first, and something behind it."""
    major, *compatible = brands
    content = b"".join((major, bytes(4), *compatible))
    return struct.pack(">I4s", length or 8 + len(content), kind) + content + b"avifheic"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (head(b"avif"), "AVIF"),
        (head(b"avis", b"msf1"), "AVIF"),
        (head(b"mif1", b"avif"), "AVIF"),
        (head(b"mif1", b"miaf", b"MA1A", b"avif"), "AVIF"),
        (head(b"heic", b"mif1"), "HEIF"),
        (head(b"mif1", b"miaf", b"heic"), "HEIF"),
        (head(b"msf1"), "HEIF"),
        (head(b"mif1", b"miaf", b"avif", length=16 + 4), "HEIF"),
        (head(b"isom", b"mp42"), None),
        (head(b"isom", b"mp42", length=1 << 31), "AVIF"),
        (head(b"avif", kind=b"ftyq"), None),
    ],
    ids=str,
)
def test_recognition_by_brand(data: bytes, expected: str | None) -> None:
    """The brands say what the file is, the major one and the compatible ones, as far as their box goes."""
    found = next((module.NAME for module in (avif, heif) if module.recognise(data)), None)

    assert found == expected


def test_orientation_in_exif_is_not_applied() -> None:
    """Of AVIF and HEIF, the standard says that EXIF has no say."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data = heic(PHOTO, exif=exif.tobytes())
    assert b"Exif" in data

    rebuilt = rebuild(file(item(PHOTO), Item(b"Exif", bytes(4) + exif.tobytes(), references=[(b"cdsc", [1])])), POLICY)
    assert rebuilt.orientation == 1
    assert b"Exif" not in rebuilt.data


@pytest.mark.parametrize("name", FORMATS)
def test_alpha_is_taken(name: str) -> None:
    """An alpha plane lets the background through."""
    picture = PHOTO.convert("RGBA")
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    policy = dataclasses.replace(POLICY, background=(0, 255, 0))
    result = safeupload.normalize(saved(picture, name, quality=90), policy)

    assert result.info.has_alpha
    shown = np.asarray(Image.open(io.BytesIO(result.data)), dtype=float)
    assert np.abs(shown[:8].mean(axis=(0, 1)) - (0, 255, 0)).max() < 20
    plain = safeupload.normalize(saved(PHOTO, name, quality=90), policy)
    opaque = np.asarray(Image.open(io.BytesIO(plain.data)), dtype=float)
    assert np.abs(shown[-8:] - opaque[-8:]).mean() < 12


@pytest.mark.parametrize("tile_alpha", [False, True])
def test_grids_are_taken(tile_alpha: bool) -> None:  # noqa: FBT001
    """A grid of tiles, with alpha planes of their own or not, is one picture."""
    whole = photograph(128, 128)
    tiles = [item(whole.crop((x, y, x + 64, y + 64))) for y in (0, 64) for x in (0, 64)]
    items = [isobmff.grid(2, 2, 120, 100, [2, 3, 4, 5]), *tiles]
    if tile_alpha:
        for number in (2, 3, 4, 5):
            plane = item(Image.new("L", (64, 64), 255))
            plane.properties.append((b"auxC", isobmff.IDENTITY_ALPHA))
            plane.references.append((b"auxl", [number]))
            items.append(plane)
    result = safeupload.normalize(file(*items), dataclasses.replace(POLICY, size=(120, 100)))

    assert (result.info.width, result.info.height, result.info.has_alpha) == (120, 100, tile_alpha)
    shown = np.asarray(Image.open(io.BytesIO(result.data)), dtype=float)
    assert np.abs(shown - np.asarray(whole.crop((0, 0, 120, 100)), dtype=float)).mean() < 5


def test_heic_grids_are_taken() -> None:
    """Phones cut their pictures into tiles."""
    data = heic(photograph(150, 110), tile_size=64)
    result = safeupload.normalize(data, POLICY)

    assert (result.info.width, result.info.height) == (150, 110)
    assert rebuild(data, POLICY).fixed_bytes > 0


@pytest.mark.parametrize("options", [{"method": 1}, {"extents": 3}], ids=repr)
def test_items_may_be_anywhere_in_the_file(options: dict[str, Any]) -> None:
    """An item's bytes may stand in the meta box, or in several pieces."""
    placed = dataclasses.replace(item(PHOTO), **options)

    assert rebuild(file(placed), POLICY).data == rebuild(file(item(PHOTO)), POLICY).data


def test_the_primary_picture_is_the_one_named() -> None:
    """Another picture in the file is left out."""
    first, second = item(PHOTO), item(photograph(40, 40))

    assert rebuild(file(first, second, primary=2), POLICY).canvas == (40, 40)
    assert rebuild(file(first, second, primary=2), POLICY).data == rebuild(file(second), POLICY).data


def test_sequences_are_told() -> None:
    """A file with a sequence beside its still picture is animated, and the sequence is dropped."""
    frames = [photograph(64, 64, seed) for seed in range(3)]
    data = encoded(frames[0], "AVIF", save_all=True, append_images=frames[1:])
    rebuilt = rebuild(data, POLICY)

    assert rebuilt.animated
    assert b"moov" not in rebuilt.data
    assert safeupload.normalize(data, POLICY).info.animated


def test_the_colour_profile_is_taken_out() -> None:
    """An ICC profile is handed on beside the file; the coding of colours stays in it."""
    with_profile = item(PHOTO)
    with_profile.properties += [(b"colr", b"prof" + b"P" * 200), (b"colr", b"nclx" + bytes([0, 1, 0, 13, 0, 6, 128]))]
    rebuilt = rebuild(file(with_profile), POLICY)

    assert rebuilt.icc == b"P" * 200
    assert b"PPPP" not in rebuilt.data
    assert b"nclx" in rebuilt.data


@pytest.mark.parametrize("kind", [b"prof", b"rICC"])
def test_the_profile_has_a_limit(kind: bytes) -> None:
    """A profile of exactly the allowance is taken, one byte more is not."""
    policy = dataclasses.replace(POLICY, max_metadata_bytes=200)
    for length, allowed in ((200, True), (201, False)):
        with_profile = item(PHOTO)
        with_profile.properties.append((b"colr", kind + bytes(length)))
        if allowed:
            assert rebuild(file(with_profile), policy).icc == bytes(200)
        else:
            with pytest.raises(TooComplex) as caught:
                rebuild(file(with_profile), policy)
            assert (caught.value.what, caught.value.limit) == ("metadata", 200)


def test_nothing_else_is_kept() -> None:
    """Metadata, thumbnails, unknown properties and unknown boxes do not reach the decoder."""
    picture = item(PHOTO)
    picture.properties += [(b"uuid", b"CANARY-1"), (b"pasp", bytes(8)), (b"clap", bytes(32))]
    others = [
        Item(b"Exif", b"CANARY-2", references=[(b"cdsc", [1])]),
        Item(b"mime", b"CANARY-3", references=[(b"cdsc", [1])]),
        dataclasses.replace(item(photograph(32, 32)), references=[(b"thmb", [1])]),
    ]
    data = file(picture, *others, extra=isobmff.box(b"free", b"CANARY-4")) + isobmff.box(b"skip", b"CANARY-5")
    rebuilt = rebuild(data, POLICY)

    assert b"CANARY" in data
    assert b"CANARY" not in rebuilt.data
    assert rebuilt.data == rebuild(file(item(PHOTO)), POLICY).data


@pytest.mark.parametrize("name", FORMATS)
def test_a_rebuilt_file_is_rebuilt_as_itself(name: str) -> None:
    """What we write is already minimal."""
    rebuilt = rebuild(saved(PHOTO, name), POLICY)

    assert rebuild(rebuilt.data, POLICY) == rebuilt


@pytest.mark.parametrize("name", FORMATS)
def test_premultiplied_colours_are_told_to_the_decoder(name: str) -> None:
    """A file whose colours are multiplied with its alpha looks like the one whose colours are not."""
    picture = photograph(96, 96).convert("RGBA")
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    plain = saved(picture, name, quality=95)
    if name == "AVIF":
        other = saved(picture, name, quality=95, alpha_premultiplied=True)
    else:
        premultiplied = Image.frombytes("RGBA", picture.size, picture.convert("RGBa").tobytes())
        other = with_prem(saved(premultiplied, name, quality=95))
    shown = [
        np.asarray(Image.open(io.BytesIO(safeupload.normalize(data, POLICY).data)), dtype=float)
        for data in (plain, other)
    ]

    assert b"prem" in rebuild(other, POLICY).data
    assert np.abs(shown[0] - shown[1]).mean() < 4


def with_prem(data: bytes) -> bytes:
    """Return a file in which the first item is said to be premultiplied with the second."""
    rebuilt = rebuild(data, POLICY).data
    (meta,) = isobmff.boxes(rebuilt)[b"meta"]
    inner = isobmff.boxes(meta[4:])
    iref = inner[b"iref"][0]
    assert iref[4:] == struct.pack(">I4sHHH", 14, b"auxl", 2, 1, 1)
    (config, *_), (_, *_) = (isobmff.boxes(inner[b"iprp"][0])[b"ipco"], [0])
    properties = isobmff.boxes(config)
    payload = isobmff.boxes(rebuilt)[b"mdat"][0]
    locations = inner[b"iloc"][0][8:]
    first, second = (struct.unpack_from(">6xII", locations, at) for at in (0, 14))
    start = rebuilt.index(payload)
    bodies = [payload[where - start : where - start + length] for where, length in (first, second)]
    kinds = [(kind, content) for kind, contents in properties.items() for content in contents]
    configs = [content for kind, content in kinds if kind == b"hvcC"]
    size = next(content for kind, content in kinds if kind == b"ispe")
    colour = Item(b"hvc1", bodies[0], [(b"ispe", size), (b"hvcC", configs[0])], references=[(b"prem", [2])])
    alpha = Item(b"hvc1", bodies[1], [(b"ispe", size), (b"hvcC", configs[-1]), (b"auxC", isobmff.IDENTITY_ALPHA)])
    alpha.references.append((b"auxl", [1]))
    return file(colour, alpha, name="HEIF")


@pytest.mark.parametrize("size", [(63, 65), (33, 21), (101, 64)])
def test_what_an_encoder_padded_is_cut_off(size: tuple[int, int]) -> None:
    """HEVC codes whole blocks; of an odd picture its own size is shown, and told."""
    picture = photograph(120, 120).resize(size)
    policy = dataclasses.replace(POLICY, size=size, quality=95)
    result = safeupload.normalize(heic(picture, quality=95), policy)
    shown = np.asarray(Image.open(io.BytesIO(result.data)), dtype=float)

    assert (result.info.width, result.info.height) == size
    assert np.abs(shown - np.asarray(picture, dtype=float)).mean() < 8


def clap(width: int, height: int, right: tuple[int, int], down: tuple[int, int]) -> tuple[bytes, bytes]:
    """Return a clean aperture of that size, its centre moved by two fractions."""
    return b"clap", struct.pack(">4I4i", width, 1, height, 1, *right, *down)


@pytest.mark.parametrize(
    ("aperture", "box"),
    [
        (clap(60, 40, (0, 1), (0, 1)), (18, 12, 78, 52)),
        (clap(95, 63, (-1, 2), (-1, 2)), (0, 0, 95, 63)),
        (clap(95, 63, (1, 2), (1, 2)), (1, 1, 96, 64)),
        (clap(95, 63, (0, 1), (0, 1)), (0, 0, 96, 64)),  # half a pixel
        (clap(96, 64, (1, 1), (0, 1)), (0, 0, 96, 64)),  # beyond the edge
        (clap(0, 64, (0, 1), (0, 1)), (0, 0, 96, 64)),
        (clap(60, 40, (0, 0), (0, 1)), (0, 0, 96, 64)),  # nothing is divided by zero
        (clap(60, 40, (0, -1), (0, 1)), (0, 0, 96, 64)),
        ((b"clap", bytes(31)), (0, 0, 96, 64)),
    ],
    ids=["centre", "top left", "bottom right", "between pixels", "outside", "empty", "zero", "negative", "short"],
)
def test_the_clean_aperture(aperture: tuple[bytes, bytes], box: tuple[int, int, int, int]) -> None:
    """The picture is what the aperture shows, where that makes sense, and all of it otherwise."""
    cropped = item(PHOTO)
    cropped.properties.append(aperture)
    found = rebuild(file(cropped), POLICY)
    left, top, right, bottom = box

    assert found.canvas == (right - left, bottom - top)
    assert found.frame == (-left, -top, 96 - left, 64 - top)
    result = safeupload.normalize(file(cropped), dataclasses.replace(POLICY, size=found.canvas, quality=95))
    shown = np.asarray(Image.open(io.BytesIO(result.data)), dtype=float)
    assert np.abs(shown - np.asarray(PHOTO.crop(box), dtype=float)).mean() < 8


# --- what is refused


def test_too_many_pixels() -> None:
    """The size in the container is judged before anything is decoded."""
    huge = item(PHOTO)
    huge.properties[0] = isobmff.size(10_000, 5_001)
    with pytest.raises(TooManyPixels) as caught:
        rebuild(file(huge), POLICY)
    assert caught.value.pixels == 50_010_000


def test_a_grid_of_too_many_pixels() -> None:
    """The tiles of a grid count whole, also where they reach beyond the picture."""
    tile = item(PHOTO)
    tile.properties[0] = isobmff.size(8000, 8000)
    with pytest.raises(TooManyPixels):
        rebuild(file(isobmff.grid(1, 1, 100, 100, [2]), tile), POLICY)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("lie", [(95, 64), (96, 63), (200, 64), (96, 640)], ids=str)
def test_a_bitstream_of_another_size(name: str, lie: tuple[int, int]) -> None:
    """A bitstream that announces another size than its item is refused before its decoder allocates."""
    lying = item(photograph(128, 128), name) if name == "HEIF" else item(PHOTO, name)
    lying.properties[0] = isobmff.size(*lie)
    check_malformed(file(lying, name=name), "another size", POLICY)


def test_an_alpha_plane_of_another_size() -> None:
    """The alpha plane covers the picture."""
    plane = item(Image.new("L", (32, 32), 255))
    plane.properties.append((b"auxC", isobmff.IDENTITY_ALPHA))
    plane.references.append((b"auxl", [1]))
    check_malformed(file(item(PHOTO), plane), "alpha plane", POLICY)


def tile_of(side: int) -> Item:
    """Return a square item."""
    return item(photograph(side, side))


@pytest.mark.parametrize(
    ("items", "because"),
    [
        ([isobmff.grid(2, 2, 120, 120, [2, 3, 4]), tile_of(64), tile_of(64), tile_of(64)], "3 tiles"),
        ([isobmff.grid(1, 2, 120, 60, [2, 1]), tile_of(64)], "2 tiles"),
        ([isobmff.grid(1, 2, 64, 64, [2, 3]), tile_of(64), tile_of(64)], "do not make up"),
        ([isobmff.grid(1, 2, 129, 64, [2, 3]), tile_of(64), tile_of(64)], "do not make up"),
        ([isobmff.grid(1, 2, 120, 65, [2, 3]), tile_of(64), tile_of(64)], "do not make up"),
        ([isobmff.grid(1, 2, 120, 60, [2, 3]), tile_of(64), tile_of(60)], "do not make up"),
        ([isobmff.grid(1, 1, 60, 60, [7]), tile_of(64)], "no item 7"),
        (
            [dataclasses.replace(isobmff.grid(1, 1, 60, 60, [2]), properties=[isobmff.size(50, 50)]), tile_of(64)],
            "make up",
        ),
        ([isobmff.grid(1, 1, 60, 60, [])], "0 tiles"),
        (
            [dataclasses.replace(isobmff.grid(1, 1, 60, 60, [2]), payload=b"\1\0\0\0\0\x3c\0\x3c"), tile_of(64)],
            "a grid of an unknown version",
        ),
        ([Item(b"iovl", b"", [isobmff.size(9, 9)])], "an item of type b'iovl'"),
        ([Item(b"av01", b"", [isobmff.size(9, 9)])], "without its configuration"),
        ([Item(b"av01", b"", [(b"av1C", bytes(4))])], "without a size"),
        ([Item(b"av01", b"", [(b"ispe", bytes(8)), (b"av1C", bytes(4))])], "without a size"),
        ([Item(b"av01", b"", [isobmff.size(0, 9), (b"av1C", bytes(4))])], "0 x 9"),
        ([Item(b"av01", b"", [isobmff.size(9, 9), (b"av1C", bytes(4))])], "another size"),
    ],
    ids=[
        "too few tiles",
        "a tile that is a grid",
        "too narrow",
        "too wide",
        "too high",
        "tiles of two sizes",
        "no such tile",
        "two sizes of a grid",
        "no tiles",
        "version of a grid",
        "overlay",
        "no configuration",
        "no size",
        "short size",
        "no width",
        "no bitstream",
    ],
)
def test_what_does_not_make_a_picture(items: list[Item], because: str) -> None:
    """Grids with holes, derived pictures, and items without what decoding needs are refused."""
    check_malformed(file(*items), because, POLICY)


@pytest.mark.parametrize(("name", "because"), [("AVIF", "another size"), ("HEIF", "without bytes")])
def test_an_item_without_bytes(name: str, because: str) -> None:
    """An item of no bytes is refused, and not made into one that has those of the item behind it."""
    colour, other = item(PHOTO, name), item(PHOTO, name)

    check_malformed(file(dataclasses.replace(colour, payload=b""), other, name=name), because, POLICY)


@pytest.mark.parametrize("name", FORMATS)
def test_more_properties_than_an_item_can_have(name: str) -> None:
    """Of several properties of one type the first is kept, however many there are in however many boxes."""
    plain = item(PHOTO, name)
    others = [isobmff.size(1, 1), plain.properties[1], *((b"pixi", bytes([number])) for number in range(125))]
    data = file(dataclasses.replace(plain, properties=[*plain.properties, *others], method=1), name=name)
    expected = file(dataclasses.replace(plain, properties=[*plain.properties, (b"pixi", b"\0")]), name=name)

    assert rebuild(associated_again(data, 2), POLICY) == rebuild(expected, POLICY)


def associated_again(data: bytes, times: int) -> bytes:
    """Return a file whose items have each of their properties so many times more."""
    start = data.index(b"ipma") - 4
    end = start + int.from_bytes(data[start : start + 4], "big")
    longer = bytearray(data[:end] + data[start:end] * times + data[end:])
    for kind in (b"meta", b"iprp"):
        at = data.index(kind) - 4
        length = int.from_bytes(data[at : at + 4], "big") + times * (end - start)
        longer[at : at + 4] = length.to_bytes(4, "big")
    return bytes(longer)


def test_an_unknown_essential_property() -> None:
    """A property without which a picture must not be shown, and which we do not know, is a refusal."""
    strange = item(PHOTO)
    strange.properties.append((b"lsel", bytes(2)))
    assert rebuild(file(strange), POLICY)
    strange.essential |= {b"lsel"}
    check_malformed(file(strange), "essential", POLICY)


def test_items_outside_the_file() -> None:
    """An item whose bytes are not in the file is refused, and so is one that repeats them without end."""
    data = file(item(PHOTO))
    check_malformed(data[: data.index(b"mdat") - 4], "outside the file", POLICY)
    twice = [isobmff.grid(1, 2, 120, 64, [2, 2]), tile_of(64)]
    assert rebuild(file(*twice), POLICY)
    small = dataclasses.replace(POLICY, max_bytes=len(file(*twice)))
    many = isobmff.grid(16, 16, 1000, 1000, [2] * 256)
    with pytest.raises(Corrupt):
        rebuild(file(many, tile_of(64)), small)


@pytest.mark.parametrize("missing", [b"pitm", b"iinf", b"iloc", b"iprp", b"meta"])
def test_missing_boxes(missing: bytes) -> None:
    """Without one of its boxes the file has no picture."""
    check_malformed(file(item(PHOTO)).replace(missing, b"free", 1), f"{missing.decode()}", POLICY)


def test_no_primary_item() -> None:
    """A primary item that is not there is no picture."""
    check_malformed(file(item(PHOTO), primary=9), "no item 9", POLICY)


def test_a_property_that_is_not_there() -> None:
    """An association with a property beyond the list is refused."""
    data = bytearray(file(item(PHOTO)))
    at = data.index(b"ipma") + 4 + 4 + 4 + 2 + 1
    data[at] = 0x7F
    check_malformed(bytes(data), "property that is not there", POLICY)


def test_an_item_built_from_others() -> None:
    """Construction from other items (method 2) is not followed."""
    data = file(dataclasses.replace(item(PHOTO), method=1))
    check_malformed(data.replace(b"\0\1\0\1\0\0\0\1", b"\0\1\0\2\0\0\0\1"), "method 2", POLICY)


@pytest.mark.parametrize("length", [0, 1, 8, 20, 40, 100, 200])
@pytest.mark.parametrize("name", FORMATS)
def test_truncation(name: str, length: int) -> None:
    """A file cut short anywhere is one clean refusal."""
    data = saved(PHOTO, name)
    for cut in (data[: 12 + length], data[: len(data) - 1 - length]):
        with pytest.raises((Corrupt, safeupload.NotAnImage)):
            safeupload.validate(cut, POLICY)


def test_boxes_with_64_bit_lengths_and_open_ends() -> None:
    """A box may have a long length, or reach to the end of the file."""
    data = file(item(PHOTO))
    at = data.index(b"mdat") - 4
    payload = data[at + 8 :]
    to_the_end = data[:at] + struct.pack(">I4s", 0, b"mdat") + payload
    assert rebuild(to_the_end, POLICY).data == rebuild(data, POLICY).data
    check_malformed(data[:at] + struct.pack(">I4sQ", 1, b"mdat", 15) + payload, "box b'mdat'", POLICY)
    check_malformed(data[:at] + struct.pack(">I4sQ", 1, b"mdat", 1 << 62) + payload, "box b'mdat'", POLICY)
    check_malformed(data[:at] + struct.pack(">I4s", 7, b"mdat") + payload, "box b'mdat'", POLICY)
    long = isobmff.box(b"free")  # a box of 16 bytes in front of nothing that the items point at
    assert rebuild(data + struct.pack(">I4sQ", 1, b"free", 16) + long, POLICY).data == rebuild(data, POLICY).data


@pytest.mark.parametrize("extra", [isobmff.box(b"free")])
def test_the_number_of_boxes_is_bounded(extra: bytes) -> None:
    """Boxes, items, extents, references, associations and units all count as chunks."""
    data = file(item(PHOTO))
    most = next(count for count in range(1, 200) if accepted(data, count))

    assert accepted(data + extra, most + 1)
    assert not accepted(data + extra, most)


def accepted(data: bytes, max_chunks: int) -> bool:
    """Tell whether that many chunks are enough."""
    try:
        rebuild(data, dataclasses.replace(POLICY, max_chunks=max_chunks))
    except TooComplex as error:
        return (error.what, error.limit) != ("chunks", max_chunks)
    return True


# --- bitstreams


def unlimited() -> Allowance:
    """Return an allowance that lasts."""
    return Allowance("chunks", 1000)


@pytest.mark.parametrize(
    "obus",
    [
        b"",
        b"\x12\x00",  # a temporal delimiter alone
        b"\x0a\x7f" + bytes(5),  # a sequence header longer than the rest
        b"\x8a\x01\x00",  # the forbidden bit
        b"\x0a" + b"\xff" * 8,  # a length without an end
        b"\x0a\x01\x00",  # a header that ends at once
        b"\x0e",  # an extension that is not there
    ],
    ids=repr,
)
def test_obus_that_make_no_picture(obus: bytes) -> None:
    """An AV1 item without one whole sequence header is refused."""
    with pytest.raises(Malformed):
        avif.sample_bytes(bytes(4), obus, (96, 64), unlimited())


@pytest.mark.parametrize(("count", "is_taken"), [(4, True), (5, False)])
def test_p2_frames_in_an_item(count: int, is_taken: bool) -> None:  # noqa: FBT001
    """An item has as many frames as AV1 has layers at most; each would be decoded."""
    picture = item(PHOTO)
    data = file(dataclasses.replace(picture, payload=picture.payload * count))

    if is_taken:
        assert rebuild(data, POLICY).canvas == (96, 64)
    else:
        check_malformed(data, "more frames", POLICY)


def test_a_second_sequence_header_must_agree() -> None:
    """Every sequence header counts, also one behind the first."""
    small, large = item(PHOTO), item(photograph(128, 128))
    config = small.properties[1][1]
    avif.sample_bytes(config, small.payload, (96, 64), unlimited())
    with pytest.raises(Malformed):
        avif.sample_bytes(config, small.payload + large.payload, (96, 64), unlimited())
    with pytest.raises(Malformed):
        avif.sample_bytes(config + large.payload, small.payload, (96, 64), unlimited())


def test_a_parameter_set_among_the_slices() -> None:
    """A HEVC item may not bring parameter sets of its own, which could announce any size."""
    picture = item(PHOTO, "HEIF")
    config = picture.properties[1][1]
    heif.sample_bytes(config, picture.payload, (96, 64), unlimited())
    for kind in (32, 33, 34):
        unit = bytes([kind << 1, 1, 0, 0])
        with pytest.raises(Malformed, match="parameter set"):
            heif.sample_bytes(config, picture.payload + struct.pack(">I", len(unit)) + unit, (96, 64), unlimited())


@pytest.mark.parametrize("payload", [b"\0\0\0", b"\0\0\0\1\x26", b"\0\0\0\x09\x26\1", b"\0\0\0\0"], ids=repr)
def test_units_that_do_not_fit(payload: bytes) -> None:
    """The units of a HEVC item fill it exactly."""
    config = item(PHOTO, "HEIF").properties[1][1]
    with pytest.raises(Malformed):
        heif.sample_bytes(config, payload, (96, 64), unlimited())


@pytest.mark.parametrize("cut", [0, 10, 22, 24, 30, -1])
def test_a_configuration_cut_short(cut: int) -> None:
    """A decoder configuration that ends too early is refused."""
    picture = item(PHOTO, "HEIF")
    with pytest.raises(Malformed):
        heif.sample_bytes(picture.properties[1][1][:cut], picture.payload, (96, 64), unlimited())


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 2**40 - 1)), max_size=8))
@pytest.mark.property
def test_bits_are_read_as_written(fields: list[tuple[int, int]]) -> None:
    """Numbers of any width come out as they went in."""
    fields = [(width, value % (1 << width)) for width, value in fields]
    text = "".join(f"{value:0{width}b}" for width, value in fields)
    text += "0" * (-len(text) % 8)
    bits = Bits(int(text or "0", 2).to_bytes(len(text) // 8, "big"))

    assert [bits.take(width) for width, _ in fields] == [value for _, value in fields]


@given(st.integers(0, 2**32 - 2))
@pytest.mark.property
def test_golomb_codes_are_read_as_written(value: int) -> None:
    """Exp-Golomb numbers come out as they went in."""
    text = f"{value + 1:b}"
    text = "0" * (len(text) - 1) + text
    text += "0" * (-len(text) % 8)

    assert Bits(int(text, 2).to_bytes(len(text) // 8, "big")).golomb() == value


def test_a_golomb_code_without_an_end() -> None:
    """Zeros for ever are refused."""
    with pytest.raises(Malformed, match="32 bits"):
        Bits(bytes(50)).golomb()


# --- any bytes


BASES = [saved(photograph(64, 48), name) for name in FORMATS] + [
    file(isobmff.grid(1, 2, 120, 60, [2, 3]), tile_of(64), tile_of(64), wide=True)
]


@given(
    base=st.sampled_from(BASES),
    changes=st.lists(st.tuples(st.integers(0, 700), st.binary(max_size=4), st.integers(0, 4)), max_size=6),
    cut=st.integers(0, 40),
)
@pytest.mark.property
def test_p1_any_change_of_a_file(base: bytes, changes: list[tuple[int, bytes, int]], cut: int) -> None:
    """A file changed anywhere becomes a picture or one refusal, and `validate` says the same as `normalize`."""
    data = bytearray(base)
    for at, new, gone in changes:
        data[at : at + gone] = new
    mutated = bytes(data[: len(data) - cut])
    one_of_two(mutated, POLICY)
