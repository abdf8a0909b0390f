import io
from dataclasses import replace
from typing import Final

import numpy as np
import pytest
import reference
from builders import exif, icc, webp
from PIL import Image

from safeupload import AVATAR, Corrupt, ImageInfo, NotAnImage, TooComplex, TooManyPixels, normalize, validate
from safeupload._formats.webp import rebuild
from safeupload._plan import plans, render_bytes

Rows = list[list[tuple[int, ...]]]
PAPER: Final = (7, 8, 9)


def image(width: int = 4, height: int = 2, mode: str = "RGB") -> Image.Image:
    """Return an image in which no two pixels are alike; half of it is transparent if it can be."""
    result = Image.new("RGB", (width, height))
    result.putdata([(10 + 20 * x, 200 - 30 * y, 90 + x * y) for y in range(height) for x in range(width)])
    if mode == "RGBA":
        plane = Image.new("L", (width, height))
        plane.putdata([255 if (x + y) % 2 else 0 for y in range(height) for x in range(width)])
        result.putalpha(plane)
    return result


def rows(data: bytes, width: int, height: int) -> Rows:
    """Return the colours of a picture that is not scaled, with PAPER behind it."""
    drawn = reference.drawn(data, replace(AVATAR, size=(width, height), background=PAPER))
    return [[tuple(map(int, pixel)) for pixel in row] for row in drawn]


def colours(of: Image.Image) -> Rows:
    """Return the colours of an image, with PAPER behind it."""
    paper = Image.new("RGB", of.size, PAPER)
    paper.paste(of, mask=of.getchannel("A") if of.mode == "RGBA" else None)
    return [[paper.getpixel((x, y)) for x in range(of.width)] for y in range(of.height)]  # type: ignore[misc]


PIXELS: Final = webp.lossless(image())
LOSSY: Final = webp.lossy(image())
SIMPLE: Final = webp.riff(PIXELS)


# --- still pictures


def test_lossless() -> None:
    """A lossless picture shows its colours and is described as it is."""
    assert rows(SIMPLE, 4, 2) == colours(image())
    assert validate(SIMPLE) == ImageInfo(
        format="WEBP", width=4, height=2, orientation=1, animated=False, has_alpha=False, has_icc=False
    )


def test_lossless_with_alpha() -> None:
    """The alpha channel of a lossless picture lets the background through."""
    data = webp.riff(webp.lossless(image(mode="RGBA")))

    assert rows(data, 4, 2) == colours(image(mode="RGBA"))
    assert validate(data).has_alpha


def test_lossy() -> None:
    """A lossy picture shows what libwebp makes of it."""
    data = webp.riff(LOSSY)
    with Image.open(io.BytesIO(data)) as opened:
        expected = colours(opened.convert("RGB"))

    assert rows(data, 4, 2) == expected
    assert not validate(data).has_alpha


@pytest.mark.parametrize("head", [(webp.vp8x(4, 2, webp.ALPHA),), ()], ids=["extended", "simple"])
def test_lossy_with_alpha(head: tuple[bytes, ...]) -> None:
    """The alpha plane of a lossy picture lets the background through, whether or not a header announces it."""
    data = webp.riff(*head, webp.alpha(image(mode="RGBA")), LOSSY)

    drawn, plain = rows(data, 4, 2), rows(webp.riff(LOSSY), 4, 2)

    assert drawn == [[plain[y][x] if (x + y) % 2 else PAPER for x in range(4)] for y in range(2)]
    assert validate(data).has_alpha


def test_alpha_plane_beside_a_lossless_picture() -> None:
    """A lossless picture has its own alpha channel; a separate plane is passed over, as RFC 9649 asks for."""
    data = webp.riff(webp.vp8x(4, 2, webp.ALPHA), webp.alpha(image(mode="RGBA")), PIXELS)

    assert rows(data, 4, 2) == colours(image())
    assert not validate(data).has_alpha


def test_unknown_chunks() -> None:
    """Chunks that nobody knows, and XMP, are passed over, and no byte of them is rebuilt."""
    words = webp.chunk(b"XMP ", b"secret"), webp.chunk(b"zzzz", b"secret words")
    data = webp.riff(webp.vp8x(4, 2), *words, PIXELS, *words)

    assert rebuild(data, AVATAR) == rebuild(SIMPLE, AVATAR)
    assert rows(data, 4, 2) == colours(image())


def test_rebuilt_file() -> None:
    """The rebuilt file is a simple one, or one with an alpha plane; it says what it is and nothing else."""
    plane = webp.alpha(image(mode="RGBA"))
    words = webp.chunk(b"EXIF", exif.orientation(6)), webp.chunk(b"ICCP", icc.P3.data)

    lossless = rebuild(webp.riff(webp.vp8x(4, 2, 0xFF), *words, PIXELS) + b"trailing", AVATAR)
    lossy = rebuild(webp.riff(webp.vp8x(4, 2, 0xFF), *words, plane, LOSSY, *words), AVATAR)

    assert lossless.data == SIMPLE
    assert lossy.data == webp.riff(webp.vp8x(4, 2, webp.ALPHA), plane, LOSSY)


def test_trailing_data() -> None:
    """What stands behind the file, as its header tells where it ends, is no part of the picture."""
    assert rebuild(SIMPLE + PIXELS, AVATAR) == rebuild(SIMPLE, AVATAR)


# --- metadata


@pytest.mark.parametrize("prefix", [b"", b"Exif\0\0"], ids=["as specified", "as in a JPEG"])
@pytest.mark.parametrize("first", [True, False])
def test_orientation(prefix: bytes, *, first: bool) -> None:
    """The orientation is read from EXIF with and without the prefix that some writers leave, wherever it stands."""
    chunk = webp.chunk(b"EXIF", prefix + exif.orientation(6))
    data = webp.riff(webp.vp8x(4, 2, webp.EXIF), *((chunk, PIXELS) if first else (PIXELS, chunk)))

    info = validate(data)

    assert (info.orientation, info.width, info.height) == (6, 2, 4)
    assert rows(data, 2, 4) == colours(image().transpose(Image.Transpose.ROTATE_270))


def test_first_exif_counts() -> None:
    """Of two EXIF chunks the first counts."""
    chunks = [webp.chunk(b"EXIF", exif.orientation(value)) for value in (3, 6)]

    assert validate(webp.riff(webp.vp8x(4, 2), PIXELS, *chunks)).orientation == 3


def test_icc() -> None:
    """The colour profile is applied; of two the first."""
    chunks = [webp.chunk(b"ICCP", profile.data) for profile in (icc.SWAPPED, icc.P3)]
    data = webp.riff(webp.vp8x(4, 2, webp.ICC), *chunks, PIXELS)

    expected = icc.SWAPPED.to_srgb(np.asarray(image()) / 255) * 255

    assert validate(data).has_icc
    assert np.allclose(rows(data, 4, 2), expected, atol=1.01)


def test_most_metadata() -> None:
    """A colour profile as large as the policy allows is accepted, one byte more is refused."""
    data = webp.riff(webp.vp8x(4, 2, webp.ICC), webp.chunk(b"ICCP", icc.P3.data), PIXELS)
    size = len(icc.P3.data)

    assert validate(data, replace(AVATAR, max_metadata_bytes=size)).has_icc
    with pytest.raises(TooComplex) as caught:
        validate(data, replace(AVATAR, max_metadata_bytes=size - 1))

    assert (caught.value.what, caught.value.limit) == ("metadata", size - 1)


# --- animations


def animation(*frames: bytes, size: tuple[int, int] = (4, 2)) -> bytes:
    """Return an animation on a canvas."""
    head = webp.vp8x(*size, webp.ANIMATION | webp.ALPHA)
    return webp.riff(head, webp.chunk(b"ANIM", bytes(6)), *frames)


def test_animation() -> None:
    """Of an animation the first frame is shown."""
    other = webp.anmf(4, 2, webp.lossless(Image.new("RGB", (4, 2), (200, 10, 20))))
    data = animation(webp.anmf(4, 2, PIXELS), other, other)

    assert rows(data, 4, 2) == colours(image())
    assert validate(data).animated
    assert not validate(data).has_alpha


def test_animation_of_one_frame() -> None:
    """An animation of one frame is a still picture."""
    data = animation(webp.anmf(4, 2, PIXELS))

    assert rows(data, 4, 2) == colours(image())
    assert not validate(data).animated


def test_animation_with_alpha() -> None:
    """The first frame may be lossy with an alpha plane, and may hold chunks that nobody knows."""
    plane = webp.alpha(image(mode="RGBA"))
    data = animation(webp.anmf(4, 2, webp.chunk(b"zzzz", b"odd"), plane, LOSSY))

    assert rows(data, 4, 2) == rows(webp.riff(plane, LOSSY), 4, 2)


@pytest.mark.parametrize(("left", "top"), [(0, 0), (2, 0), (0, 4), (2, 4)])
def test_frame_smaller_than_the_canvas(left: int, top: int) -> None:
    """Where the first frame does not reach, up to the very edges of the canvas, the background shows."""
    data = animation(webp.anmf(4, 2, PIXELS, left=left, top=top), size=(6, 6))
    expected: Rows = [[PAPER] * 6 for _ in range(6)]
    for y, row in enumerate(colours(image())):
        expected[top + y][left : left + 4] = row

    assert rows(data, 6, 6) == expected
    assert validate(data).has_alpha


@pytest.mark.parametrize(("size", "left", "top"), [((5, 6), 2, 0), ((6, 5), 0, 4), ((3, 6), 0, 0), ((6, 1), 0, 0)])
def test_frame_outside_the_canvas(size: tuple[int, int], left: int, top: int) -> None:
    """A first frame that leaves the canvas by a pixel contradicts it."""
    with pytest.raises(Corrupt) as caught:
        validate(animation(webp.anmf(4, 2, PIXELS, left=left, top=top), size=size))

    assert "outside" in str(caught.value.__cause__)


@pytest.mark.parametrize(
    "data",
    [
        animation(),
        animation(webp.anmf(4, 2)),
        animation(webp.anmf(4, 2, webp.alpha(image(mode="RGBA")))),
        animation(webp.anmf(4, 2), PIXELS),
        animation(webp.chunk(b"ANMF", bytes(15))),
        animation(webp.anmf(4, 2, PIXELS, LOSSY)),
        webp.riff(webp.anmf(4, 2, PIXELS)),
        webp.riff(webp.anmf(4, 2, PIXELS), webp.vp8x(4, 2)),
        webp.riff(webp.vp8x(4, 2), PIXELS, webp.anmf(4, 2, PIXELS)),
        webp.riff(webp.vp8x(4, 2), PIXELS, webp.anmf(4, 2)),
    ],
    ids=[
        "no frame",
        "empty frame",
        "alpha alone",
        "bitstream outside of the frame",
        "short frame",
        "two bitstreams",
        "no canvas",
        "late canvas",
        "still picture and frame",
        "still picture and empty frame",
    ],
)
def test_broken_animation(data: bytes) -> None:
    """An animation without a whole first frame on a canvas is refused by the preflight."""
    with pytest.raises(Corrupt):
        preflight(data)


def preflight(data: bytes) -> None:
    """Run what stands before the decoder."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("safeupload._decode._load", lambda *_: pytest.fail("the decoder was asked"))
        validate(data)


def test_later_frames_are_not_looked_at() -> None:
    """What is in a later frame, or stands beside the frames, does not matter."""
    data = animation(webp.anmf(4, 2, PIXELS), webp.anmf(9, 9, b"junk", left=90), LOSSY, LOSSY)

    assert rows(data, 4, 2) == colours(image())
    assert validate(data).animated


# --- structure


@pytest.mark.parametrize(
    "data",
    [
        webp.riff(),
        webp.riff(webp.vp8x(4, 2)),
        webp.riff(PIXELS, PIXELS),
        webp.riff(PIXELS, LOSSY),
        webp.riff(PIXELS, webp.alpha(image(mode="RGBA"))),
        webp.riff(webp.alpha(image(mode="RGBA")), webp.alpha(image(mode="RGBA")), LOSSY),
        webp.riff(webp.alpha(image(mode="RGBA"))),
        webp.riff(webp.vp8x(4, 2), webp.vp8x(4, 2), PIXELS),
        webp.riff(PIXELS, webp.vp8x(4, 2)),
        webp.riff(webp.chunk(b"VP8X", bytes(9)), webp.vp8l_head(1, 1)),
    ],
    ids=[
        "nothing",
        "no bitstream",
        "twice lossless",
        "lossless and lossy",
        "late alpha",
        "two alpha planes",
        "alpha alone",
        "two canvases",
        "late canvas",
        "short canvas",
    ],
)
def test_chunks_out_of_place(data: bytes) -> None:
    """A missing, doubled or misplaced chunk is refused by the preflight."""
    with pytest.raises(Corrupt):
        preflight(data)


@pytest.mark.parametrize(
    "data",
    [
        webp.riff(PIXELS, size=len(PIXELS) + 5),
        webp.riff(PIXELS, size=0xFFFFFFFF),
        webp.riff(PIXELS, size=len(PIXELS) + 2),
        webp.riff(PIXELS, size=0),
        webp.riff(webp.chunk(b"VP8L", PIXELS[8:], length=len(PIXELS) - 7)),
        webp.riff(webp.chunk(b"VP8L", PIXELS[8:], length=0xFFFFFFFF)),
        webp.riff(PIXELS, b"1234567"),
        webp.riff(webp.vp8x(5, 2), PIXELS),
        webp.riff(webp.vp8x(4, 3), PIXELS),
        webp.riff(webp.vp8x(3, 2), PIXELS),
        webp.riff(webp.vp8x(2, 4), LOSSY),
        animation(webp.anmf(3, 2, PIXELS)),
        animation(webp.anmf(4, 1, LOSSY)),
        animation(webp.anmf(4, 3, PIXELS), size=(9, 9)),
        animation(webp.anmf(4, 2, webp.chunk(b"VP8L", PIXELS[8:], length=len(PIXELS)))),
        animation(webp.anmf(4, 2, PIXELS, b"1234567")),
        webp.riff(webp.vp8x(4, 2), webp.chunk(b"ANMF", bytes(16), length=17)),
    ],
    ids=[
        "file one byte longer",
        "file of 4 GB",
        "file shorter",
        "empty file",
        "chunk longer",
        "chunk of 4 GB",
        "half a chunk",
        "canvas wider",
        "canvas higher",
        "canvas narrower",
        "canvas turned",
        "frame narrower",
        "frame lower",
        "frame higher",
        "chunk longer than its frame",
        "half a chunk in a frame",
        "frame longer than the file",
    ],
)
def test_lying_sizes(data: bytes) -> None:
    """A size that says more than there is, or two that contradict each other, are refused by the preflight."""
    with pytest.raises(Corrupt):
        preflight(data)


@pytest.mark.parametrize(
    "bitstream",
    [
        webp.chunk(b"VP8L", PIXELS[8:12]),
        webp.chunk(b"VP8L", b"\x2e" + PIXELS[9:]),
        webp.vp8l_head(4, 2, version=1, rest=PIXELS[13:]),
        webp.chunk(b"VP8 ", LOSSY[8:17]),
        webp.vp8_head(4, 2, key_frame=False),
        webp.vp8_head(4, 2, start=b"\x9d\x01\x2b"),
        webp.vp8_head(0, 2),
        webp.vp8_head(4, 0),
    ],
    ids=[
        "short lossless",
        "lossless signature",
        "lossless version",
        "short lossy",
        "not a key frame",
        "lossy signature",
        "no width",
        "no height",
    ],
)
def test_broken_bitstream_header(bitstream: bytes) -> None:
    """A bitstream whose own header is wrong is refused by the preflight."""
    with pytest.raises(Corrupt):
        preflight(webp.riff(bitstream))


def test_scaling_bits() -> None:
    """The two bits above a lossy picture's width and height are a hint for display, not part of the size."""
    body = bytearray(LOSSY)
    body[8 + 7] |= 0x40
    body[8 + 9] |= 0x80

    assert rows(webp.riff(bytes(body)), 4, 2) == rows(webp.riff(LOSSY), 4, 2)


def test_torn_bitstream() -> None:
    """A bitstream that is cut short is damaged, even where its chunk says so."""
    whole = webp.lossless(Image.fromarray(reference.photograph(32, 32)))
    torn = webp.riff(webp.chunk(b"VP8L", whole[8 : 8 + len(whole) // 2]))

    assert validate(webp.riff(whole)).width == 32
    with pytest.raises(Corrupt):
        validate(torn)


def test_every_cut() -> None:
    """A file that ends anywhere before its header says is damaged."""
    data = webp.riff(webp.vp8x(4, 2), webp.chunk(b"EXIF", exif.orientation(6)), PIXELS)

    for length in range(1, len(data)):
        with pytest.raises(NotAnImage if length < 12 else Corrupt):
            normalize(data[:length])


@pytest.mark.parametrize("padded", [True, False])
def test_odd_chunk_at_the_end(*, padded: bool) -> None:
    """The padding byte of an odd chunk may be missing at the end of the file, since writers forget it."""
    data = webp.riff(PIXELS, webp.chunk(b"zzzz", b"odd", padded=padded))

    assert rows(data, 4, 2) == colours(image())


def test_odd_bitstream() -> None:
    """A bitstream of an odd length is rebuilt with its padding, even where the file lacks it."""
    assert int.from_bytes(PIXELS[4:8], "little") & 1

    assert rebuild(webp.riff(PIXELS[:-1]), AVATAR).data == SIMPLE


def test_odd_chunk_in_between() -> None:
    """An odd chunk is followed by a padding byte, in the file and in a frame."""
    odd = webp.chunk(b"zzzz", b"odd")

    assert rebuild(webp.riff(odd, PIXELS), AVATAR).data == SIMPLE
    assert rebuild(animation(webp.anmf(4, 2, odd, PIXELS)), AVATAR).data == SIMPLE
    with pytest.raises(Corrupt):
        validate(webp.riff(webp.chunk(b"zzzz", b"odd", padded=False), PIXELS))


# --- limits


def test_most_chunks() -> None:
    """Chunks are counted in the file and in the first frame, on each side of the limit."""
    policy = replace(AVATAR, max_chunks=6)
    extra = webp.chunk(b"zzzz", b"")

    still = webp.riff(webp.vp8x(4, 2), *[extra] * 4, PIXELS)
    moving = animation(webp.anmf(4, 2, extra, extra, PIXELS))

    assert validate(still, policy).width == validate(moving, policy).width == 4
    for data in (webp.riff(webp.vp8x(4, 2), *[extra] * 5, PIXELS), animation(webp.anmf(4, 2, *[extra] * 3, PIXELS))):
        with pytest.raises(TooComplex) as caught:
            validate(data, policy)
        assert (caught.value.what, caught.value.limit) == ("chunks", 6)


def test_default_limit_of_chunks() -> None:
    """As many chunks as a policy allows by default are accepted, one more is refused."""
    extra = webp.chunk(b"zzzz", b"")
    limit = AVATAR.max_chunks

    assert validate(webp.riff(PIXELS, extra * (limit - 1))).width == 4
    with pytest.raises(TooComplex) as caught:
        validate(webp.riff(PIXELS, extra * limit))

    assert (caught.value.what, caught.value.limit) == ("chunks", limit)


def test_default_limit_of_frames() -> None:
    """As many frames as the policy allows are accepted, one more is refused."""
    frame = webp.anmf(4, 2, PIXELS)

    assert validate(animation(frame * AVATAR.max_frames)).animated
    with pytest.raises(TooComplex) as caught:
        validate(animation(frame * (AVATAR.max_frames + 1)))

    assert (caught.value.what, caught.value.limit) == ("frames", AVATAR.max_frames)


@pytest.mark.parametrize(
    "data",
    [
        webp.riff(webp.lossless(image(7, 5))),
        webp.riff(webp.lossy(image(7, 5))),
        webp.riff(webp.vp8x(7, 5), webp.lossless(image(7, 5))),
        animation(webp.anmf(4, 2, PIXELS), size=(7, 5)),
    ],
    ids=["lossless", "lossy", "canvas", "canvas of an animation"],
)
def test_pixels(data: bytes) -> None:
    """The pixels of the bitstream and of the canvas are held against the policy, on each side of the limit."""
    assert validate(data, replace(AVATAR, max_pixels=35)).width == 7
    with pytest.raises(TooManyPixels) as caught:
        validate(data, replace(AVATAR, max_pixels=34))

    assert (caught.value.pixels, caught.value.limit) == (35, 34)


@pytest.mark.parametrize(
    "data", [webp.riff(webp.lossy(image(7, 5))), webp.riff(webp.lossless(image(7, 5)))], ids=["lossy", "lossless"]
)
def test_memory(data: bytes) -> None:
    """Decoding takes 17 bytes a pixel in Pillow; the policy bounds it on each side."""
    found = rebuild(data, AVATAR)
    needed = found.decode_bytes(1) + render_bytes(plans(found, AVATAR), found, AVATAR)

    assert found.pixel_bytes == 17
    assert validate(data, replace(AVATAR, max_decode_bytes=needed)).width == 7
    with pytest.raises(TooComplex) as caught:
        validate(data, replace(AVATAR, max_decode_bytes=needed - 1))

    assert (caught.value.what, caught.value.limit) == ("memory", needed - 1)


@pytest.mark.parametrize(("size", "error"), [((12_000, 12_000), TooManyPixels), ((5_000, 5_000), TooComplex)])
def test_tiny_bomb(size: tuple[int, int], error: type[Exception]) -> None:
    """A file of 34 bytes that claims millions of pixels is refused by its header."""
    data = webp.riff(webp.vp8l_head(*size, rest=bytes(9)))

    assert len(data) == 34
    with pytest.raises(error):
        preflight(data)


def test_memory_of_a_small_frame() -> None:
    """A small frame on a large canvas costs what the frame costs: Pillow never sees the canvas."""
    data = animation(webp.anmf(4, 2, PIXELS), size=(3000, 3000))
    needed = rebuild(SIMPLE, AVATAR).decode_bytes(1) + render_bytes(
        plans(rebuild(data, AVATAR), AVATAR), rebuild(data, AVATAR), AVATAR
    )

    assert validate(data, replace(AVATAR, max_decode_bytes=needed)).width == 3000
