import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import pytest
import reference
from builders import exif
from PIL import Image, ImageOps

from safeupload import AVATAR, Policy, _colour, _render
from safeupload._formats import Rebuilt
from safeupload._plan import plans
from safeupload._render import render

Key = bytes | int | tuple[int, int, int] | None
PAPER = (250, 120, 30)


class Raster(NamedTuple):
    """What a decoder gives, and what it means: colours and alpha from 0 to 1."""

    image: Image.Image
    colours: reference.Floats
    alpha: reference.Floats
    key: Key = None


def rebuilt(raster: Raster, **fields: object) -> Rebuilt:
    """Return what belongs to a raster that fills its canvas."""
    fields.setdefault("canvas", raster.image.size)
    fields.setdefault("frame", (0, 0, *raster.image.size))
    return Rebuilt(format="PNG", pieces=[], pixel_bytes=4, transparency=raster.key, **fields)  # type: ignore[arg-type]


def drawn(raster: Raster, policy: Policy, **fields: object) -> reference.Bytes:
    """Return the rows that are made from a raster, as they are before they become a JPEG."""
    found = rebuilt(raster, **fields)
    with patch.object(_render, "_encode", lambda image, _policy: image.tobytes()):
        rows = render(raster.image, found, plans(found, policy), policy)[0].data
    return np.frombuffer(rows, np.uint8).reshape(policy.size[1], policy.size[0], 3)


# --- one raster of each mode


def plane(width: int, height: int, seed: int) -> reference.Bytes:
    """Return one smooth channel, stretched to all levels from 0 to 255."""
    rows = reference.photograph(width, height, 1, seed=seed)[..., 0].astype(np.float64)
    return np.clip((rows - 100) * 3 + 128, 0, 255).astype(np.uint8)


def no_alpha(rows: reference.Bytes) -> reference.Floats:
    """Return an alpha channel for rows that have none."""
    return np.ones((*rows.shape[:2], 1))


def bilevel(width: int, height: int) -> Raster:
    """Return black and white."""
    rows = plane(width, height, 1) > 128
    return Raster(Image.fromarray(rows), rows[..., None].astype(np.float64), np.ones((height, width, 1)))


def bilevel_key(width: int, height: int) -> Raster:
    """Return black and white, where white is transparent; the key is in 8 bits."""
    image, colours, _, _ = bilevel(width, height)
    return Raster(image, colours, 1 - colours, 255)


def gray(width: int, height: int) -> Raster:
    """Return 8-bit grey."""
    rows = plane(width, height, 2)
    return Raster(Image.fromarray(rows), rows[..., None] / 255, no_alpha(rows))


def gray_key(width: int, height: int) -> Raster:
    """Return 8-bit grey of which white is transparent."""
    image, colours, _, _ = gray(width, height)
    return Raster(image, colours, (colours < 1).astype(np.float64), 255)


def gray_alpha(width: int, height: int) -> Raster:
    """Return grey with alpha."""
    rows = np.dstack([plane(width, height, 3), plane(width, height, 4)])
    return Raster(Image.frombytes("LA", (width, height), rows.tobytes()), rows[..., :1] / 255, rows[..., 1:] / 255)


def deep(width: int, height: int) -> Raster:
    """Return 16-bit grey."""
    rows = plane(width, height, 5).astype(np.uint16) * 257 - plane(width, height, 6) // 2
    rows[rows > 65_280] = 65_535
    return Raster(Image.fromarray(rows), rows[..., None] / 65_535, np.ones((height, width, 1)))


def deep_key(width: int, height: int) -> Raster:
    """Return 16-bit grey of which white is transparent."""
    image, colours, _, _ = deep(width, height)
    return Raster(image, colours, (colours < 1).astype(np.float64), 65_535)


def paletted(width: int, height: int) -> Raster:
    """Return a picture with a palette."""
    rows = reference.photograph(width, height, seed=7)
    image = Image.fromarray(rows).quantize(64)
    return Raster(image, np.asarray(image.convert("RGB")) / 255, no_alpha(rows))


def paletted_alpha(width: int, height: int) -> Raster:
    """Return a picture with alpha for the first entries of its palette."""
    image, colours, _, _ = paletted(width, height)
    levels = np.array([*range(0, 256, 8), *[255] * 224])
    return Raster(image, colours, levels[np.asarray(image)][..., None] / 255, bytes(range(0, 256, 8)))


def paletted_key(width: int, height: int) -> Raster:
    """Return a picture with one transparent entry in its palette."""
    image, colours, _, _ = paletted(width, height)
    return Raster(image, colours, (np.asarray(image) != 5)[..., None].astype(np.float64), 5)


def rgb(width: int, height: int) -> Raster:
    """Return RGB."""
    rows = reference.photograph(width, height, seed=8)
    return Raster(Image.fromarray(rows), rows / 255, no_alpha(rows))


def rgb_key(width: int, height: int) -> Raster:
    """Return RGB in which a colour is transparent; others differ from it in one channel."""
    rows = np.array(rgb(width, height).image) // 64 * 64
    key = (128, 128, 64)
    alpha = (rows != np.array(key)).any(axis=2)[..., None].astype(np.float64)
    return Raster(Image.fromarray(rows), rows / 255, alpha, key)


def rgba(width: int, height: int) -> Raster:
    """Return RGB with alpha."""
    rows = np.dstack([reference.photograph(width, height, seed=9), plane(width, height, 10)])
    return Raster(Image.fromarray(rows), rows[..., :3] / 255, rows[..., 3:] / 255)


def cmyk(width: int, height: int) -> Raster:
    """Return CMYK with as much black ink as a press would use."""
    rows = reference.photograph(width, height, 4, seed=11)
    rows[..., 3] //= 4
    light = (1 - rows[..., :3] / 255) * (1 - rows[..., 3:] / 255)
    return Raster(Image.frombytes("CMYK", (width, height), rows.tobytes()), light, no_alpha(rows))


MODES = [
    bilevel,
    bilevel_key,
    gray,
    gray_key,
    gray_alpha,
    deep,
    deep_key,
    paletted,
    paletted_alpha,
    paletted_key,
    rgb,
    rgb_key,
    rgba,
    cmyk,
]
Maker = Callable[[int, int], Raster]
every_mode = pytest.mark.parametrize("make", MODES, ids=lambda make: make.__name__)


@every_mode
def test_unscaled_pixels(make: Maker) -> None:
    """A picture of the result's size keeps every pixel, within the two levels that 8-bit alpha arithmetic costs."""
    raster = make(40, 30)
    policy = Policy(size=(40, 30), background=PAPER)

    expected = reference.finish(three(raster.colours), raster.alpha, policy)

    assert np.abs(drawn(raster, policy) - expected).max() <= 2


def three(colours: reference.Floats) -> reference.Floats:
    """Return grey as RGB."""
    return np.repeat(colours, 3, axis=2) if colours.shape[2] == 1 else colours


@every_mode
@pytest.mark.parametrize("size", [(150, 90), (500, 333), (1203, 905)], ids=["resampled", "halved", "averaged"])
def test_scaled_pixels(make: Maker, size: tuple[int, int]) -> None:
    """A picture made smaller is that of the careful reference, by whichever steps it is made."""
    raster = make(*size)
    policy = Policy(size=(100, 70), background=PAPER)

    expected = reference.finish(three(raster.colours), raster.alpha, policy)

    assert reference.psnr(drawn(raster, policy), expected) >= 40


@pytest.mark.parametrize("size", [(140, 90), (100, 60), (61, 35), (17, 9)])
def test_kernel(size: tuple[int, int]) -> None:
    """Even noise, which every other way of resampling changes a lot, comes out as LANCZOS makes it."""
    rows = np.random.default_rng(3).integers(60, 200, (66, 100, 3), dtype=np.uint8)
    raster = Raster(Image.fromarray(rows), rows / 255, no_alpha(rows))

    expected = reference.finish(raster.colours, raster.alpha, Policy(size=size))

    assert reference.psnr(drawn(raster, Policy(size=size)), expected) >= 45


@every_mode
@pytest.mark.parametrize("orientation", [1, 6])
def test_strips(make: Maker, orientation: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture that is converted a few rows at a time is, to the bit, what it is when converted at once."""
    raster = make(413, 331)
    policy = Policy(size=(37, 41), background=PAPER)

    whole = drawn(raster, policy, orientation=orientation)
    for pixels in (1, 5_000):
        monkeypatch.setattr(_render, "_STRIP_PIXELS", pixels)
        assert np.array_equal(drawn(raster, policy, orientation=orientation), whole)


@pytest.mark.parametrize("frame", [(5, 7, 300, 200), (0, 0, 300, 200), (113, 131, 413, 331), (0, 170, 413, 172)])
def test_strips_of_a_frame(frame: tuple[int, int, int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame that covers a part of the canvas is drawn alike in strips and at once, and as the reference draws it."""
    left, top, right, bottom = frame
    raster = rgb(right - left, bottom - top)
    policy = Policy(size=(37, 41), background=PAPER)
    colours, alpha = np.zeros((331, 413, 3)), np.zeros((331, 413, 1))
    colours[top:bottom, left:right] = raster.colours
    alpha[top:bottom, left:right] = 1

    whole = drawn(raster, policy, canvas=(413, 331), frame=frame)
    monkeypatch.setattr(_render, "_STRIP_PIXELS", 1)

    assert reference.psnr(whole, reference.finish(colours, alpha, policy)) >= 40
    assert np.array_equal(drawn(raster, policy, canvas=(413, 331), frame=frame), whole)


@pytest.mark.parametrize("frame", [(0, 0, 50, 100), (0, 0, 1, 1), (950, 0, 1000, 100)])
def test_frame_outside_of_the_crop(frame: tuple[int, int, int, int]) -> None:
    """Where the crop shows nothing of a frame, the result is all background."""
    left, top, right, bottom = frame
    policy = Policy(size=(50, 50), background=PAPER)

    result = drawn(rgb(right - left, bottom - top), policy, canvas=(1000, 100), frame=frame)

    assert (result == PAPER).all()


def test_strips_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """No conversion ever has more pixels than a strip, so that a large picture is never there twice."""
    seen: list[int] = []
    straight = _render._straight

    def noted(image: Image.Image, area: tuple[int, int, int, int], found: Rebuilt) -> Image.Image:
        part = straight(image, area, found)
        seen.append(part.width * part.height)
        return part

    monkeypatch.setattr(_render, "_straight", noted)
    drawn(rgba(2100, 1500), Policy(size=(90, 90)))

    assert len(seen) > 1
    assert max(seen) <= _render._STRIP_PIXELS


# --- transparency


def hidden(mode: str) -> Raster:
    """Return grey on the left, and on the right a bright colour under alpha 0."""
    image = Image.new("RGBA", (60, 60), (100, 100, 100, 255))
    image.paste((255, 0, 255, 0) if mode != "LA" else (255, 255, 255, 0), (30, 0, 60, 60))
    nothing = np.zeros((60, 60, 1))
    if mode == "P":
        paletted = Image.new("P", (60, 60), 0)
        paletted.putpalette([100, 100, 100, 255, 0, 255])
        paletted.paste(1, (30, 0, 60, 60))
        return Raster(paletted, nothing, nothing, 1)
    if mode == "RGB":
        return Raster(image.convert("RGB"), nothing, nothing, (255, 0, 255))
    return Raster(image.convert(mode), nothing, nothing)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB"])
@pytest.mark.parametrize("side", [7, 20, 60, 90])
@pytest.mark.parametrize("paper", [(0, 0, 0), (100, 100, 100), (40, 40, 40)])
def test_hidden_colours_do_not_bleed(mode: str, side: int, paper: tuple[int, int, int]) -> None:
    """Colours under alpha 0 never show, not even along the edge, at whatever scale."""
    policy = Policy(size=(side, side), background=paper)
    shown = np.zeros((60, 60, 1))
    shown[:, :30] = 1

    result = drawn(hidden(mode), policy).astype(int)

    assert (result.max(axis=2) - result.min(axis=2) <= 1).all()
    assert reference.psnr(result, reference.finish(np.full((60, 60, 3), 100 / 255), shown, policy)) >= 40


@pytest.mark.parametrize("paper", [(0, 0, 0), (255, 255, 255), (1, 128, 254)])
@pytest.mark.parametrize("make", [gray_alpha, rgba, paletted_alpha], ids=lambda make: make.__name__)
def test_backgrounds(make: Maker, paper: tuple[int, int, int]) -> None:
    """The policy's background shows through, in its own colour."""
    raster = make(60, 40)
    policy = Policy(size=(30, 20), background=paper)

    expected = reference.finish(three(raster.colours), raster.alpha, policy)

    assert reference.psnr(drawn(raster, policy), expected) >= 40


def test_wholly_transparent() -> None:
    """A picture of nothing is the background."""
    image = Image.new("RGBA", (50, 50), (255, 0, 0, 0))
    nothing = np.zeros((50, 50, 1))

    assert (drawn(Raster(image, nothing, nothing), Policy(size=(30, 30), background=PAPER)) == PAPER).all()


# --- 16 bits


def test_every_deep_level() -> None:
    """All 65,536 levels become the nearest of 256, black stays black and white stays white."""
    levels = np.arange(65_536, dtype=np.uint16).reshape(256, 256)
    raster = Raster(Image.fromarray(levels), levels[..., None] / 65_535, np.ones((256, 256, 1)))

    result = drawn(raster, Policy(size=(256, 256)))

    assert np.array_equal(result[..., 0], np.floor(levels / 257 + 0.5))


@pytest.mark.parametrize("key", [0, 1, 255, 256, 0x1234, 0x3412, 65_535])
def test_deep_key_is_one_level(key: int) -> None:
    """A transparent 16-bit level is that one level, not its neighbours nor those that share a byte with it."""
    near = [key, key ^ 1, key ^ 0x0100, key ^ 0x8000, (key & 255) << 8 | key >> 8]
    levels = np.array([near], dtype=np.uint16)
    raster = Raster(Image.fromarray(levels), levels[..., None] / 65_535, np.ones((1, 5, 1)), key)

    result = drawn(raster, Policy(size=(5, 1), background=PAPER))

    assert [tuple(pixel) == PAPER for pixel in result[0]] == [level == key for level in near]


# --- upright


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientations(orientation: int) -> None:
    """A picture is turned as Pillow's exif_transpose turns it."""
    raster = rgb(40, 30)
    tagged = raster.image.copy()
    tagged.getexif()[0x0112] = orientation
    expected = ImageOps.exif_transpose(tagged)

    result = drawn(raster, Policy(size=expected.size), orientation=orientation)

    assert np.array_equal(result, np.asarray(expected))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientations_of_a_crop(orientation: int) -> None:
    """A picture that is cropped, scaled and turned is that of the reference, which turns it first."""
    raster = rgba(417, 300)
    policy = Policy(size=(31, 67), background=PAPER)

    expected = reference.finish(raster.colours, raster.alpha, policy, orientation=orientation)

    assert reference.psnr(drawn(raster, policy, orientation=orientation), expected) >= 40


# --- the file


def segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the marker and the body of each segment of a JPEG up to its first scan."""
    assert data[:2] == b"\xff\xd8"
    position = 2
    while True:
        assert data[position] == 0xFF
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        yield data[position + 1], data[position + 4 : position + 2 + length]
        if data[position + 1] == 0xDA:
            return
        position += 2 + length


@every_mode
def test_clean_file(make: Maker) -> None:
    """The file is a baseline RGB JPEG with one JFIF header, tables, one scan, and nothing else."""
    raster = make(90, 80)
    found = rebuilt(raster)
    data = render(raster.image, found, plans(found, AVATAR), AVATAR)[0].data

    parts = list(segments(data))

    assert [marker for marker, _ in parts] == [0xE0, 0xDB, 0xDB, 0xC0, 0xC4, 0xC4, 0xC4, 0xC4, 0xDA]
    assert parts[0][1] == b"JFIF\0\1\1\0\0\1\0\1\0\0"
    assert parts[3][1][:6] == b"\x08\x01\x2c\x01\x2c\x03"
    assert data.index(b"\xff\xd9") == len(data) - 2


def test_raster_metadata_stays_behind() -> None:
    """Nothing that a decoder left on the raster reaches the file."""
    raster = rgb(90, 80)
    found = rebuilt(raster)
    clean = render(raster.image, found, plans(found, AVATAR), AVATAR)[0].data

    for image in (raster.image.copy(), raster.image.copy().convert("RGBA")):
        image.info |= {
            "comment": b"secret",
            "exif": b"Exif\0\0" + exif.orientation(6),
            "xmp": b"secret",
            "icc_profile": b"secret",
            "dpi": (72, 72),
            "quality": 1,
            "progressive": True,
        }
        assert render(image, found, plans(found, AVATAR), AVATAR)[0].data == clean


def test_a_profile_is_opened_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many strips a picture is converted in, its profile, which may be large, is read once."""
    opened: list[bytes] = []
    monkeypatch.setattr(_colour, "rebuild_profile", opened.append)
    monkeypatch.setattr(_render, "_STRIP_PIXELS", 1)
    image = Image.new("RGBA", (700, 700), (1, 2, 3, 4))
    found = replace(rebuilt(Raster(image, np.zeros((700, 700, 3)), np.zeros((700, 700, 1)))), icc=b"profile")
    render(image, found, plans(found, AVATAR), AVATAR)

    assert opened == [b"profile"]


@pytest.mark.parametrize("quality", [1, 50, 85, 95])
def test_quality(quality: int) -> None:
    """The policy's quality decides on the quantization tables, as Pillow reckons it."""
    policy = replace(AVATAR, quality=quality, size=(64, 64))
    raster = rgb(64, 64)
    out = io.BytesIO()
    raster.image.save(out, "JPEG", quality=quality)

    assert render(raster.image, rebuilt(raster), plans(rebuilt(raster), policy), policy)[0].data == out.getvalue()


@pytest.mark.parametrize("size", [(1, 1), (300, 300), (4096, 64)])
def test_noise(size: tuple[int, int]) -> None:
    """Noise, which compresses worst, is encoded at the highest quality and at every size."""
    rows = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    raster = Raster(Image.fromarray(rows), rows / 255, no_alpha(rows))
    policy = Policy(size=size, quality=95)

    data = render(raster.image, rebuilt(raster), plans(rebuilt(raster), policy), policy)[0].data

    assert reference.opened(data).shape == (size[1], size[0], 3)
