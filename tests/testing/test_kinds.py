"""The small pictures of the kit: every kind is what it says, and shows what it should."""

import dataclasses
import io

import pytest
from PIL import Image

from safeupload import AVATAR, InvalidArgument, Rejected, normalize, validate
from safeupload._samples import png
from safeupload._samples.kinds import KINDS
from safeupload.policy import _CODECS
from safeupload.testing import BENIGN, HOSTILE, Sample, picture

EVERYTHING = dataclasses.replace(AVATAR, formats=_CODECS, background=(250, 0, 250), size=(120, 80))
by_kind = pytest.mark.parametrize("kind", KINDS)
TURNED = [(kind, orientation) for kind in KINDS if KINDS[kind].has_exif for orientation in range(2, 9)]


def corners(data: bytes) -> list[tuple[int, ...]]:
    """Return the colours in the four quarters of a result, row by row."""
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (120, 80)
        found = [image.getpixel(at) for at in ((30, 20), (90, 20), (30, 60), (90, 60))]
    assert all(isinstance(colour, tuple) for colour in found)
    return [colour for colour in found if isinstance(colour, tuple)]


def near(found: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    """Tell whether two colours look the same."""
    return all(abs(one - other) <= 4 for one, other in zip(found, expected, strict=True))


def shown(kind: str) -> list[tuple[int, ...]]:
    """Return what a kind has to show in teal."""
    colours: list[tuple[int, ...]] = [(255, 255, 255), (0, 128, 128), (0, 64, 64), (0, 64, 64)]
    if kind.startswith("gray"):
        colours = [(255, 255, 255), (90, 90, 90), (45, 45, 45), (45, 45, 45)]
    if kind == "bilevel.png":
        colours = [(255, 255, 255), *[(0, 0, 0)] * 3]
    if KINDS[kind].has_alpha:
        colours[3] = (250, 0, 250)
    return colours


@by_kind
def test_a_kind_is_what_it_says(kind: str) -> None:
    """The library says of it what `info` says, and its result shows the motif, through transparency the background."""
    sample = picture(kind, colour="teal")
    result = normalize(sample.data, EVERYTHING)

    assert result.info == sample.info == validate(sample.data, EVERYTHING)
    assert all(map(near, corners(result.data), shown(kind)))
    assert sample.make() == sample.data


@pytest.mark.parametrize(("kind", "orientation"), TURNED)
def test_a_turned_picture_comes_out_upright(kind: str, orientation: int) -> None:
    """In every orientation that a file of the kind can have."""
    sample = picture(kind, orientation=orientation, size=(96, 64) if orientation < 5 else (64, 96))
    result = normalize(sample.data, EVERYTHING)

    assert result.info == sample.info
    assert (result.info.width, result.info.height, result.info.orientation) == (96, 64, orientation)
    assert all(map(near, corners(result.data), shown(kind)))


@by_kind
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (9, 2), (200, 3)], ids=str)
def test_a_kind_can_have_any_size(kind: str, size: tuple[int, int]) -> None:
    """Down to a pixel."""
    sample = picture(kind, size=size)
    info = validate(sample.data, EVERYTHING)

    assert info == sample.info
    assert (info.width, info.height) == size


@by_kind
def test_another_colour_is_another_picture(kind: str) -> None:
    """Two pictures are told apart by what comes of them."""
    assert normalize(picture(kind, colour="black").data, EVERYTHING) != normalize(
        picture(kind, colour="gold").data, EVERYTHING
    )


@pytest.mark.parametrize(
    ("mode", "kinds"),
    [
        ("1", {"bilevel.png"}),
        ("L", {"gray.jpg", "gray.png"}),
        ("LA", {"gray-alpha.png"}),
        ("P", {"palette.png", "palette-alpha.png", "still.gif", "transparent.gif", "animation.gif"}),
        ("I;16", {"gray-16.png"}),
        ("CMYK", {"cmyk.jpg"}),
    ],
)
def test_the_modes_of_pillow_are_all_there(mode: str, kinds: set[str]) -> None:
    """Another reader sees in the files what their names say; the rest are RGB or RGBA."""

    def mode_of(kind: str) -> str:
        with Image.open(io.BytesIO(picture(kind).data)) as image:
            return image.mode

    readable = [kind for kind in KINDS if KINDS[kind].format != "HEIF"]
    assert {kind for kind in readable if mode_of(kind) == mode} == kinds
    assert {mode_of(kind) for kind in readable} == {"1", "L", "LA", "P", "I;16", "CMYK", "RGB", "RGBA"}


def test_variants_are_what_they_are_called() -> None:
    """Progressive, interlaced, of 16 bits, with a key, with a profile, of several frames."""
    head = {kind: picture(kind).data for kind in KINDS}
    assert b"\xff\xc2" in head["progressive.jpg"]
    assert b"\xff\xc2" not in head["baseline.jpg"]
    assert [head[kind][24:26] for kind in ("rgb-16.png", "rgba-16.png")] == [b"\x10\x02", b"\x10\x06"]
    assert [head[kind][28] for kind in ("rgb.png", "interlaced.png", "rgba-16.png")] == [0, 1, 1]
    assert b"tRNS" in head["rgb-key.png"]
    assert b"tRNS" in head["palette-alpha.png"]
    assert b"VP8L" in head["lossless.webp"]
    assert b"VP8 " in head["lossy.webp"]
    for kind in ("animation.png", "animation.gif", "animation.webp", "animation.avif"):
        with Image.open(io.BytesIO(head[kind])) as image:
            assert getattr(image, "n_frames", 1) == 3


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
@pytest.mark.parametrize("size", [(1, 1), (3, 9), (8, 8), (17, 5)], ids=str)
def test_our_encoder_of_png_is_right(mode: str, size: tuple[int, int], *, interlaced: bool) -> None:
    """Pillow reads the pixels that went in."""
    raw = bytes(number * 37 % 256 for number in range(size[0] * size[1] * len(mode)))
    image = Image.frombytes(mode, size, raw)
    with Image.open(io.BytesIO(png.encoded(image, interlaced=interlaced))) as read:
        assert (read.mode, read.tobytes()) == (mode, raw)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "photo.jpeg"}, "'photo.jpeg' is none of baseline.jpg, "),
        ({"size": (0, 4)}, r"at least 1, got \(0, 4\)"),
        ({"orientation": 0}, "orientation: 0"),
        ({"orientation": 9}, "orientation: 9"),
        ({"kind": "still.gif", "orientation": 6}, "none that still.gif can have"),
        ({"colour": "no colour"}, "colour: unknown color"),
    ],
    ids=str,
)
def test_what_cannot_be_made_is_told(arguments: dict[str, object], message: str) -> None:
    """At once, and not when the bytes are asked for."""
    with pytest.raises(InvalidArgument, match=message):
        picture(**arguments)  # type: ignore[arg-type]


# --- the catalogue


@pytest.mark.parametrize("sample", [*BENIGN.values(), *HOSTILE.values()], ids=str)
def test_every_sample_gets_its_answer(sample: Sample) -> None:
    """A picture that is what `info` says, without a canary, or a refusal with the code."""
    if sample.code is None:
        result = normalize(sample.data, EVERYTHING)
        assert result.info == sample.info
        assert not [canary for canary in sample.canaries if canary in result.data]
    else:
        assert sample.info is None
        with pytest.raises(Rejected) as caught:
            normalize(sample.data, EVERYTHING)
        assert caught.value.code == sample.code
    assert sample.make() == sample.data
    assert len(sample.data) <= AVATAR.max_bytes
    assert all(canary in sample.data for canary in sample.canaries)


def test_the_catalogue_is_whole() -> None:
    """Every kind and orientation is in it; every code that bytes alone can bring about, but that of size, is too."""
    assert set(KINDS) < set(BENIGN)
    assert {sample.info.orientation for sample in BENIGN.values() if sample.info} == set(range(1, 9))
    assert not [sample for sample in BENIGN.values() if sample.code]
    assert not set(BENIGN) & set(HOSTILE)
    codes = {"empty", "not_an_image", "format_not_allowed", "corrupt", "too_many_pixels", "too_complex", None}
    assert {sample.code for sample in HOSTILE.values()} == codes
    assert {name: str(sample) for name, sample in HOSTILE.items()} == {name: name for name in HOSTILE}


def test_a_sample_says_what_it_is() -> None:
    """For whoever sees one in a failed test."""
    assert repr(picture(size=(3, 4), orientation=6)) == (
        "<Sample baseline.jpg: baseline JPEG, 3 x 4 pixels, orientation 6; a picture>"
    )
    assert repr(HOSTILE["empty.jpg"]) == "<Sample empty.jpg: nothing at all; empty>"
