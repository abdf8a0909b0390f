"""PNG: what is kept, what is dropped, what is refused, and what it may cost; and the checks that all formats share."""

import io
import random
import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import replace

import pytest
from builders import exif, png
from builders.png import DEPTHS, END, GRAY, GRAY_ALPHA, PALETTE, RGB, RGB_ALPHA, SIGNATURE, Chunk
from PIL import Image
from promises import check_malformed, check_too_complex

import safeupload
from safeupload import AVATAR, Corrupt, TooComplex, TooManyPixels
from safeupload._decode import decoded
from safeupload._formats import Malformed, Rebuilt, rebuild
from safeupload._formats import png as module
from safeupload._formats._base import Allowance, check_pixels, inflate

CHUNKS = png.chunks()
IHDR, IDAT = CHUNKS
SMALL = png.join(CHUNKS)
PROFILE = random.Random(1).randbytes(1000)
SAMPLES = {GRAY: 1, RGB: 3, PALETTE: 1, GRAY_ALPHA: 2, RGB_ALPHA: 4}
COMBINATIONS = [(kind, depth) for kind, depths in DEPTHS.items() for depth in depths]


def picture(
    kind: int,
    depth: int,
    *between: Chunk,
    size: tuple[int, int] = (16, 16),
    interlaced: bool = False,
    left: png.Samples | None = None,
    right: png.Samples | None = None,
) -> bytes:
    """Return a picture of two colours, by default of all zeros (left half) and of the highest samples (right half)."""
    channels = SAMPLES[kind]
    top = 1 if kind == PALETTE else (1 << depth) - 1
    first = (0,) * channels if left is None else left
    second = (top,) * channels if right is None else right
    body = png.pixels(size, lambda x, y: first if x < size[0] // 2 else second, depth, interlaced=interlaced)
    return png.join([png.header(size, kind, depth, interlaced=interlaced), *between, Chunk(b"IDAT", body)])


def seen(data: bytes) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the colours that `picture` shows on the left and on the right, over a background of blue."""
    policy = replace(AVATAR, size=(16, 16), quality=95, background=(0, 0, 255))
    image = Image.open(io.BytesIO(safeupload.normalize(data, policy).data))
    colours = [image.getpixel((x, 8)) for x in (2, 13)]
    return tuple(tuple(round(level / 16) for level in colour) for colour in colours if isinstance(colour, tuple))  # type: ignore[return-value]  # of two


BLACK, WHITE, BLUE, RED = (0, 0, 0), (16, 16, 16), (0, 0, 16), (16, 0, 0)
BLACK_AND_RED = png.palette((0, 0, 0), (255, 0, 0))


# --- what is kept and what is dropped


@pytest.mark.parametrize(
    ("head", "expected"),
    [(SIGNATURE, True), (SIGNATURE + b"x", True), (SIGNATURE[:7], False), (b"\x89PNG\n\x1a\n\0", False)],
)
def test_recognise(head: bytes, expected: bool) -> None:  # noqa: FBT001
    """A PNG begins with its signature."""
    assert module.recognise(head) is expected


def test_rebuilt_bytes() -> None:
    """A rebuilt file is the signature, IHDR, one IDAT, and IEND."""
    whole = IDAT.body
    pieces = [Chunk(b"IDAT", piece) for piece in (whole[:3], b"", whole[3:10], whole[10:])]

    assert rebuild(SMALL, AVATAR).data == SMALL
    assert rebuild(png.join([IHDR, *pieces]), AVATAR).data == SMALL


def test_p3_rebuilt_drops_the_rest() -> None:
    """Text, EXIF, profiles, suggested palettes, keys, private chunks, and trailing data leave no byte behind."""
    extra = [
        Chunk(b"tEXt", b"Comment\0canary"),
        png.compressed_text(b"canary"),
        png.international_text(b"canary", compressed=False),
        Chunk(b"eXIf", exif.orientation(6) + b"canary"),
        png.profile(b"canary"),
        *png.animation(2),
        Chunk(b"fdAT", b"\0\0\0\1canary"),
        *(Chunk(name, b"a canary") for name in (b"gAMA", b"tIME", b"prVt", b"tRNS", b"caBX")),
    ]
    early = [png.palette((1, 2, 3)), *extra]
    data = png.join([IHDR, *early, IDAT, *extra], end=bytes(END) + b"canary" + SMALL)
    result = rebuild(data, AVATAR)

    assert result.data == SMALL
    assert (result.orientation, result.icc, result.transparency, result.animated) == (6, b"canary", None, True)


def test_palette_is_kept() -> None:
    """The palette of a picture that needs one stands between IHDR and IDAT."""
    data = picture(PALETTE, 8, BLACK_AND_RED)

    assert rebuild(data, AVATAR).data == data


@pytest.mark.parametrize(("kind", "depth"), COMBINATIONS)
@pytest.mark.parametrize("interlaced", [False, True])
def test_p4_all_kinds(kind: int, depth: int, interlaced: bool) -> None:  # noqa: FBT001
    """Every colour type in every depth, interlaced or not, shows its colours."""
    palette = [BLACK_AND_RED] if kind == PALETTE else []
    left = {GRAY_ALPHA: BLUE, RGB_ALPHA: BLUE}.get(kind, BLACK)  # all zeros are transparent, where there is alpha
    right = RED if kind == PALETTE else WHITE

    assert seen(picture(kind, depth, *palette, interlaced=interlaced)) == (left, right)


@pytest.mark.parametrize(("kind", "depth"), COMBINATIONS)
@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (9, 11)])
def test_p4_same_pixels(kind: int, depth: int, interlaced: bool, size: tuple[int, int]) -> None:  # noqa: FBT001
    """The rebuilt file decodes to the pixels of the original."""
    palette = [BLACK_AND_RED] if kind == PALETTE else []
    data = picture(kind, depth, *palette, size=size, interlaced=interlaced)
    with decoded(data, AVATAR) as (image, _, _), Image.open(io.BytesIO(data)) as expected:
        assert image.mode == expected.mode
        assert image.tobytes() == expected.tobytes()


@pytest.mark.parametrize(("kind", "depth"), COMBINATIONS)
def test_description(kind: int, depth: int) -> None:
    """What is told of a picture is what its header says."""
    palette = [BLACK_AND_RED] if kind == PALETTE else []
    data = picture(kind, depth, *palette)
    gray = 2 if depth == 16 else 1

    assert rebuild(data, AVATAR) == Rebuilt(
        format="PNG",
        canvas=(16, 16),
        frame=(0, 0, 16, 16),
        pieces=[data],
        pixel_bytes={GRAY: gray, PALETTE: 1}.get(kind, 4),
        has_alpha=kind in {GRAY_ALPHA, RGB_ALPHA},
        gray=kind in {GRAY, GRAY_ALPHA},
    )


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(
    ("kind", "depth", "key", "expected"),
    [
        (GRAY, 1, b"\0\0", 0),
        (GRAY, 2, b"\0\2", 170),
        (GRAY, 4, b"\0\3", 51),
        (GRAY, 8, b"\0\x63", 99),
        (GRAY, 16, b"\x12\x34", 0x1234),
        (RGB, 8, b"\0\1\0\2\0\3", (1, 2, 3)),
        (GRAY, 16, b"\x92\x34", 0x9234),
        (RGB, 16, b"\1\2\3\4\5\6", (1, 3, 5)),
        (RGB, 16, b"\xf1\2\xf3\4\xf5\6", (0xF1, 0xF3, 0xF5)),
    ],
)
def test_p4_key(interlaced: bool, kind: int, depth: int, key: bytes, expected: object) -> None:  # noqa: FBT001
    """The colour that tRNS names is transparent, in every depth; the other is not."""
    named = struct.unpack(f">{len(key) // 2}H", key)
    data = picture(kind, depth, Chunk(b"tRNS", key), left=named, interlaced=interlaced)
    result = rebuild(data, AVATAR)

    assert (result.transparency, result.has_alpha) == (expected, True)
    assert seen(data) == (BLUE, WHITE)


@pytest.mark.parametrize(
    ("kind", "depth", "key", "expected"),
    [
        (GRAY, 1, b"\xff\xfe", 0),
        (GRAY, 2, b"\xff\xfd", 85),
        (GRAY, 4, b"\xff\xf1", 17),
        (GRAY, 8, b"\xff\x05", 5),
        (RGB, 8, b"\xff\1\xff\2\xff\3", (1, 2, 3)),
    ],
)
def test_p4_key_high_bits(kind: int, depth: int, key: bytes, expected: object) -> None:
    """Of a sample in tRNS only as many low bits count as the picture has."""
    assert rebuild(picture(kind, depth, Chunk(b"tRNS", key)), AVATAR).transparency == expected


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_p4_key_white(depth: int) -> None:
    """White can be transparent in every depth."""
    key = struct.pack(">H", (1 << depth) - 1)

    assert rebuild(picture(GRAY, depth, Chunk(b"tRNS", key)), AVATAR).transparency == 255


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("depth", DEPTHS[PALETTE])
def test_p4_palette_alpha(depth: int, interlaced: bool) -> None:  # noqa: FBT001
    """The tRNS of a palette gives the alpha of its first entries; the others are opaque."""
    first, both = (
        picture(PALETTE, depth, BLACK_AND_RED, Chunk(b"tRNS", alpha), interlaced=interlaced)
        for alpha in (b"\0", b"\xff\0")
    )

    assert seen(first) == (BLUE, RED)
    assert seen(both) == (BLACK, BLUE)
    assert rebuild(first, AVATAR).transparency == b"\0"


def test_palette_alpha_too_long() -> None:
    """Alpha for more entries than the palette has is cut off."""
    result = rebuild(picture(PALETTE, 8, BLACK_AND_RED, Chunk(b"tRNS", b"\1\2\3\4")), AVATAR)

    assert result.transparency == b"\1\2"


@pytest.mark.parametrize(
    ("kind", "depth", "key"),
    [
        (GRAY, 8, b""),
        (GRAY, 8, b"\0"),
        (GRAY, 8, b"\0\0\0"),
        (GRAY, 8, bytes(6)),
        (RGB, 8, bytes(5)),
        (RGB, 8, bytes(7)),
        (RGB, 8, bytes(2)),
        (PALETTE, 8, b""),
        (GRAY_ALPHA, 8, bytes(2)),
        (RGB_ALPHA, 8, bytes(6)),
    ],
)
def test_senseless_key(kind: int, depth: int, key: bytes) -> None:
    """A tRNS of the wrong length, or in a picture that has an alpha channel, is ignored."""
    palette = [BLACK_AND_RED] if kind == PALETTE else []
    result = rebuild(picture(kind, depth, *palette, Chunk(b"tRNS", key)), AVATAR)

    assert result.transparency is None
    assert result.has_alpha == (kind in {GRAY_ALPHA, RGB_ALPHA})


def test_key_behind_pixels() -> None:
    """A tRNS behind the pixels is ignored: nobody else sees it."""
    assert rebuild(png.join([*CHUNKS, Chunk(b"tRNS", bytes(6))]), AVATAR).transparency is None


# --- header


@pytest.mark.parametrize(
    "first", [IDAT, Chunk(b"tEXt", IHDR.body), Chunk(b"IHDR", IHDR.body[:12]), Chunk(b"IHDR", IHDR.body + b"\0")]
)
def test_first_chunk(first: Chunk) -> None:
    """The first chunk is an IHDR of 13 bytes."""
    check_malformed(png.join([first, IDAT]), "does not begin with IHDR")


def test_two_headers() -> None:
    """A second IHDR is malformed, wherever it stands."""
    check_malformed(png.join([IHDR, IHDR, IDAT]), "where none belongs")
    check_malformed(png.join([IHDR, IDAT, IHDR]), "where none belongs")


@pytest.mark.parametrize(
    ("kind", "depth"),
    [(kind, depth) for kind in range(8) for depth in (0, 1, 2, 3, 4, 8, 16, 32) if (kind, depth) not in COMBINATIONS],
)
def test_bad_kind(kind: int, depth: int) -> None:
    """A colour type, or a depth of one, that does not exist is malformed."""
    check_malformed(png.join([png.header((1, 1), kind, depth), IDAT]), f"depth {depth}, colour type {kind}")


@pytest.mark.parametrize(
    ("methods", "interlace"), [(b"\1\0", 0), (b"\0\1", 0), (b"\xff\0", 1), (b"\0\0", 2), (b"\0\0", 255)]
)
def test_bad_methods(methods: bytes, interlace: int) -> None:
    """A method of compression, filtering, or interlacing that does not exist is malformed."""
    header = png.header((1, 1), methods=methods)

    check_malformed(png.join([header._replace(body=header.body[:-1] + bytes([interlace])), IDAT]), "IHDR with depth")


@pytest.mark.parametrize("size", [(0, 1), (1, 0), (0, 0)])
def test_no_pixels(size: tuple[int, int]) -> None:
    """A picture without pixels is malformed."""
    check_malformed(png.join([png.header(size), IDAT]), "a picture of")


def test_p2_pixels() -> None:
    """A picture of as many pixels as the policy allows is taken, one with more is not."""
    assert rebuild(SMALL, replace(AVATAR, max_pixels=15)).canvas == (5, 3)
    with pytest.raises(TooManyPixels) as caught:
        rebuild(SMALL, replace(AVATAR, max_pixels=14))
    assert (caught.value.pixels, caught.value.limit) == (15, 14)


@pytest.mark.parametrize("size", [(65535, 65535), (0xFFFFFFFF, 0xFFFFFFFF), (0x7FFFFFFF, 1), (1, 50_000_001)])
def test_p2_huge(size: tuple[int, int]) -> None:
    """A header that claims billions of pixels is believed, and the picture refused for it, whatever follows."""
    with pytest.raises(TooManyPixels) as caught:
        safeupload.normalize(png.join([png.header(size), IDAT]))

    assert (caught.value.pixels, caught.value.limit) == (size[0] * size[1], 50_000_000)


# --- chunks


@pytest.mark.parametrize("name", [b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS"])
def test_crc(name: bytes) -> None:
    """A wrong CRC in a chunk that the picture depends on is malformed."""
    chunks = [png.header((16, 16), PALETTE), BLACK_AND_RED, Chunk(b"tRNS", b"\0"), Chunk(b"IDAT", b"x"), END]
    spoilt = [png.spoilt(*chunk[:2]) if chunk.name == name else chunk for chunk in chunks]

    assert rebuild(png.join(chunks, end=b""), AVATAR).format == "PNG"
    check_malformed(png.join(spoilt, end=b""), f"chunk {name!r} with a wrong CRC")


@pytest.mark.parametrize("name", [b"tEXt", b"zTXt", b"iCCP", b"eXIf", b"gAMA", b"prVt"])
def test_crc_of_the_rest(name: bytes) -> None:
    """A wrong CRC in any other chunk costs nobody the picture."""
    assert rebuild(png.with_metadata(png.spoilt(name, b"x")), AVATAR).data == SMALL


def test_pixels_consecutive() -> None:
    """Between two IDAT chunks nothing stands, not even a chunk that is dropped."""
    half = Chunk(b"IDAT", IDAT.body[:9])

    check_malformed(png.join([IHDR, half, Chunk(b"tEXt", b"a\0b"), half]), "not consecutive")
    check_malformed(png.join([IHDR, half, half, Chunk(b"prVt"), half]), "not consecutive")


@pytest.mark.parametrize("name", [b"AAAA", b"IDAt", b"ICCP", b"TRNS", b"JDAT", b"CgBI"])
def test_unknown_critical(name: bytes) -> None:
    """An unknown chunk that calls itself critical is malformed."""
    check_malformed(png.with_metadata(Chunk(name)), f"chunk {name!r} where none belongs")


@pytest.mark.parametrize("name", [b"idAT", b"aBCD", b"abcd", b"zzzz"])
def test_unknown_ancillary(name: bytes) -> None:
    """An unknown chunk that calls itself ancillary is dropped."""
    assert rebuild(png.with_metadata(Chunk(name, b"x")), AVATAR).data == SMALL


@pytest.mark.parametrize("name", [b"tEX1", b"tE t", b"\0\0\0\0", b"t\xc3\xa9x", b"tEX["])
def test_bad_name(name: bytes) -> None:
    """A chunk whose name is not of four letters is malformed."""
    check_malformed(png.with_metadata(Chunk(name)), f"chunk {name!r} of length")


def test_length_beyond_the_end() -> None:
    """A chunk, CRC included, may end with the file, not behind it."""
    last = Chunk(b"tEXt", b"12345678")

    assert rebuild(png.join([*CHUNKS, last], end=b""), AVATAR).data == SMALL
    for length in (9, 12, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF):
        check_malformed(png.join([*CHUNKS, last._replace(length=length)], end=b""), f"of length {length} at")


def test_no_end() -> None:
    """A file that ends with a whole chunk is taken without IEND; one that ends within a chunk is not."""
    assert rebuild(png.join(CHUNKS, end=b""), AVATAR).data == SMALL
    for cut in range(1, 12):
        check_malformed(png.join(CHUNKS, end=bytes(END)[:cut]), "ends within a chunk")


def test_behind_the_end() -> None:
    """What stands behind IEND is not part of the picture."""
    assert rebuild(SMALL + b"\0" * 11 + SMALL, AVATAR).data == SMALL


@pytest.mark.parametrize("chunks", [[], [IHDR], [png.header((1, 1), PALETTE), IDAT]])
def test_missing(chunks: list[Chunk]) -> None:
    """Without IHDR, without IDAT, or with a colour type that needs a palette and none, the file is malformed."""
    check_malformed(png.join(chunks), "critical chunk")


def test_only_signature() -> None:
    """A file that is cut behind its signature is malformed."""
    check_malformed(SIGNATURE, "a critical chunk is missing")


@pytest.mark.parametrize("length", [1, 2, 4, 3 * 256 + 3, 3 * 256 + 1, 0])
def test_bad_palette(length: int) -> None:
    """A palette that is empty, of more than 256 entries, or of no whole number of them is malformed."""
    check_malformed(picture(PALETTE, 8, Chunk(b"PLTE", bytes(length))), "palette")
    check_malformed(picture(RGB, 8, Chunk(b"PLTE", bytes(length))), "palette")


def test_palette_place() -> None:
    """A palette stands before the pixels, and once."""
    header = png.header((16, 16), PALETTE)

    check_malformed(png.join([header, BLACK_AND_RED, BLACK_AND_RED, IDAT]), "palette out of place")
    check_malformed(png.join([header, IDAT, BLACK_AND_RED]), "palette out of place")
    check_malformed(png.join([IHDR, IDAT, BLACK_AND_RED]), "palette out of place")


@pytest.mark.parametrize("entries", [1, 256])
def test_palette_sizes(entries: int) -> None:
    """A palette has 1 to 256 entries."""
    data = picture(PALETTE, 8, Chunk(b"PLTE", bytes(3 * entries)), right=(0,))

    assert rebuild(data, AVATAR).data == data
    assert seen(data) == (BLACK, BLACK)


def test_cut_anywhere() -> None:
    """A file that is cut anywhere is corrupt, save where only IEND is missing; so it is if IEND is glued on."""
    data = png.join([IHDR, Chunk(b"tEXt", b"a\0b"), *CHUNKS[1:]])
    whole = len(data) - len(bytes(END))
    for cut in range(len(SIGNATURE), len(data)):
        if cut != whole:
            check_malformed(data[:cut])
            with pytest.raises(Corrupt):
                safeupload.validate(data[:cut] + bytes(END))


@pytest.mark.parametrize("interlaced", [False, True])
def test_torn_pixels(interlaced: bool) -> None:  # noqa: FBT001
    """Pixel data that ends early is corrupt though every chunk and CRC is right."""
    header, pixels = png.chunks((50, 40), interlaced=interlaced)
    for cut in range(0, len(pixels.body) - 8, 5):
        torn = png.join([header, Chunk(b"IDAT", pixels.body[:cut])])

        with pytest.raises(Corrupt):
            safeupload.validate(torn)


@pytest.mark.parametrize(("kind", "depth"), COMBINATIONS)
@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (9, 11), (1100, 2)])
def test_rows_missing(kind: int, depth: int, interlaced: bool, level: int, size: tuple[int, int]) -> None:  # noqa: FBT001
    """A stream that is whole but lacks a byte of the picture is corrupt, be the picture black or not."""
    palette = [png.palette((0, 0, 0), (9, 9, 9))] if kind == PALETTE else []
    colour = (level,) * SAMPLES[kind]
    raw = zlib.decompress(png.pixels(size, lambda _x, _y: colour, depth, interlaced=interlaced))
    head = [png.header(size, kind, depth, interlaced=interlaced), *palette]

    for missing in sorted({1, 2, len(raw) // 2, len(raw)} - {0}):
        with pytest.raises(Corrupt):
            safeupload.validate(png.join([*head, Chunk(b"IDAT", zlib.compress(raw[:-missing]))]))
    for enough in (raw, raw + b"\0", raw + raw):
        assert safeupload.validate(png.join([*head, Chunk(b"IDAT", zlib.compress(enough))])).width == size[0]


@pytest.mark.parametrize(("kind", "depth"), COMBINATIONS)
@pytest.mark.parametrize("interlaced", [False, True])
def test_a_picture_is_complete_at_its_last_byte(kind: int, depth: int, interlaced: bool) -> None:  # noqa: FBT001
    """Whatever its width, a black picture of which one byte is missing is not whole, and with that byte it is."""
    palette = [png.palette((0, 0, 0), (9, 9, 9))] if kind == PALETTE else []
    for size in ((width, height) for width in range(1, 10) for height in (1, 3, 9)):
        head = [png.header(size, kind, depth, interlaced=interlaced), *palette]
        raw = zlib.decompress(png.pixels(size, lambda _x, _y: (0,) * SAMPLES[kind], depth, interlaced=interlaced))
        for stream, whole in ((raw, True), (raw[:-1], False)):
            rebuilt = rebuild(png.join([*head, Chunk(b"IDAT", zlib.compress(stream))]), AVATAR)
            assert rebuilt.is_complete(bytes(8)) is whole


def test_rows_counted_only_if_black(monkeypatch: pytest.MonkeyPatch) -> None:
    """A last row that is not black is proof enough; its picture is not inflated twice."""

    def fail(_: object) -> int:
        raise AssertionError

    monkeypatch.setattr(module._Header, "_raw_bytes", fail)

    assert safeupload.validate(picture(GRAY, 8)).width == 16
    with pytest.raises(Corrupt) as caught:
        safeupload.validate(picture(GRAY, 8, right=(0,)))
    assert isinstance(caught.value.__cause__, AssertionError)


@pytest.mark.parametrize("step", [1, 2, 7, 100])
def test_rows_counted_over_chunks(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """A black picture in many chunks, counted in steps of whatever length, is whole; one row less is not."""
    stream = zlib.compress(bytes(30 * 91), 0)
    pieces = [Chunk(b"IDAT", stream[start : start + 5]) for start in range(0, len(stream), 5)]
    monkeypatch.setattr(module, "_COUNTED_AT_A_TIME", step)

    assert safeupload.validate(png.join([png.header((30, 30)), *pieces])).height == 30
    with pytest.raises(Corrupt):
        safeupload.validate(png.join([png.header((30, 31)), *pieces]))


def test_p2_pixels_bomb() -> None:
    """Of a black picture's stream no more is inflated than the picture has: 400 MB behind it cost little."""
    stream = zlib.compressobj(9)
    bomb = b"".join(stream.compress(bytes(16 << 20)) for _ in range(25)) + stream.flush()
    head = png.header((1000, 1000), GRAY)
    plain, hidden = (png.join([head, Chunk(b"IDAT", body)]) for body in (zlib.compress(bytes(1001 * 1000)), bomb))

    def seconds(data: bytes) -> float:
        began = time.process_time()
        safeupload.validate(data)
        return time.process_time() - began

    seconds(plain)

    assert seconds(hidden) < 0.02 + 5 * seconds(plain)


# --- metadata


def test_orientation() -> None:
    """The orientation comes from the first eXIf chunk that says anything, before the pixels or behind them."""
    six, three = (Chunk(b"eXIf", exif.orientation(value)) for value in (6, 3))
    empty = Chunk(b"eXIf")

    assert rebuild(png.with_metadata(six, three), AVATAR).orientation == 6
    assert rebuild(png.with_metadata(empty, three), AVATAR).orientation == 3
    assert rebuild(png.join([*CHUNKS, three]), AVATAR).orientation == 3
    assert rebuild(png.with_metadata(Chunk(b"eXIf", exif.PREFIX + six.body)), AVATAR).orientation == 6
    assert rebuild(png.with_metadata(Chunk(b"tEXt", six.body)), AVATAR).orientation == 1


def test_profile() -> None:
    """A colour profile is inflated; one behind the pixels is ignored."""
    assert rebuild(png.with_metadata(png.profile(PROFILE)), AVATAR).icc == PROFILE
    assert rebuild(png.join([*CHUNKS, png.profile(PROFILE)]), AVATAR).icc is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no separator",
        b"name\0",
        b"name\0\0",
        b"name\0\0not zlib",
        b"name\0\0" + zlib.compress(PROFILE)[:-1],
        b"name\0\0" + zlib.compress(PROFILE)[:500],
        b"name\0\0" + zlib.compress(PROFILE)[:-4] + b"spam",
    ],
)
def test_broken_profile(body: bytes) -> None:
    """A colour profile that cannot be inflated is ignored; the picture is not refused."""
    result = rebuild(png.with_metadata(Chunk(b"iCCP", body)), AVATAR)

    assert result.icc is None
    assert result.data == SMALL


def behind_pixels(chunk: Chunk) -> bytes:
    """Return the small picture with a chunk behind its pixels."""
    return png.join([*CHUNKS, chunk])


@pytest.mark.parametrize("place", [png.with_metadata, behind_pixels])
@pytest.mark.parametrize("make", [png.compressed_text, png.international_text, png.profile])
def test_p2_metadata(place: Callable[[Chunk], bytes], make: Callable[[bytes], Chunk]) -> None:
    """Metadata that inflates to as much as the policy allows is taken; one byte more is refused."""
    data = place(make(bytes(100_000)))

    assert len(data) < 1000
    assert rebuild(data, replace(AVATAR, max_metadata_bytes=100_000)).data == SMALL
    if (place, make) == (behind_pixels, png.profile):  # where no reader looks for it
        assert rebuild(data, replace(AVATAR, max_metadata_bytes=1)).data == SMALL
    else:
        check_too_complex(data, "metadata", 99_999, replace(AVATAR, max_metadata_bytes=99_999))


@pytest.mark.parametrize("names", [b"\0\0", b"de\0\0", b"\0Bemerkung\0", b"x\0y\0"])
def test_p2_text_of_any_language(names: bytes) -> None:
    """A bomb in a text is found whether or not its language and its translated keyword are given."""
    data = png.with_metadata(Chunk(b"iTXt", b"Comment\0\1\0" + names + zlib.compress(bytes(100_000))))

    assert rebuild(data, replace(AVATAR, max_metadata_bytes=100_000)).data == SMALL
    check_too_complex(data, "metadata", 99_999, replace(AVATAR, max_metadata_bytes=99_999))


def test_p2_metadata_adds_up() -> None:
    """All compressed metadata of a file counts against one allowance."""
    data = png.with_metadata(
        png.compressed_text(bytes(100)), png.international_text(bytes(200)), png.profile(bytes(400))
    )

    assert rebuild(data, replace(AVATAR, max_metadata_bytes=700)).icc == bytes(400)
    check_too_complex(data, "metadata", 699, replace(AVATAR, max_metadata_bytes=699))


@pytest.mark.parametrize(
    "chunk",
    [
        png.international_text(zlib.compress(bytes(9999)), compressed=False),
        Chunk(b"iTXt", b"Comment\0\1"),
        Chunk(b"iTXt", b"Comment\0\1\0de"),
        Chunk(b"iTXt", b"Comment\0\1\0de\0"),
        Chunk(b"iTXt", b"Comment"),
        Chunk(b"iTXt"),
        Chunk(b"zTXt"),
        Chunk(b"zTXt", b"Comment"),
        Chunk(b"zTXt", b"Comment\0"),
        Chunk(b"zTXt", b"Comment\0\0not zlib"),
        Chunk(b"tEXt", b"Comment\0" + zlib.compress(bytes(9999))),
    ],
)
def test_text_that_inflates_to_nothing(chunk: Chunk) -> None:
    """Text that is not compressed, or is broken, costs no allowance and nobody the picture."""
    assert rebuild(png.with_metadata(chunk), replace(AVATAR, max_metadata_bytes=1)).data == SMALL


def test_p2_text_bombs() -> None:
    """60 text chunks of 1 MB each, in 60 KB, are refused when the allowance is used up."""
    data = png.with_metadata(*[png.compressed_text(bytes(1_000_000))] * 60)

    assert len(data) < 100_000
    with pytest.raises(TooComplex) as caught:
        safeupload.normalize(data)
    assert (caught.value.what, caught.value.limit) == ("metadata", AVATAR.max_metadata_bytes)


@pytest.mark.parametrize("make", [png.compressed_text, png.international_text, png.profile])
def test_p2_bomb_memory(make: Callable[[bytes], Chunk]) -> None:
    """A bomb of 50 MB never holds more than the allowance, twice for a moment, and some steps of inflating."""
    stream = zlib.compressobj(9)
    bomb = b"".join(stream.compress(bytes(1 << 20)) for _ in range(50)) + stream.flush()
    data = png.with_metadata(make(b"")._replace(body=make(b"").body.removesuffix(zlib.compress(b"", 9)) + bomb))
    policy = replace(AVATAR, max_metadata_bytes=1 << 20)
    tracemalloc.start()
    try:
        check_too_complex(data, "metadata", 1 << 20, policy)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < (2 << 20) + 4 * len(data)


def test_p2_chunks() -> None:
    """As many chunks as the policy allows are taken, one more is not; IEND is one."""
    data = png.with_metadata(*[Chunk(b"tEXt", b"a\0b")] * 7)

    assert rebuild(data, replace(AVATAR, max_chunks=10)).data == SMALL
    check_too_complex(data, "chunks", 9, replace(AVATAR, max_chunks=9))


def test_p2_default_chunks() -> None:
    """4 MB of the smallest chunks are refused by their number."""
    check_too_complex(png.with_metadata(*[Chunk(b"prVt")] * 330_000), "chunks", AVATAR.max_chunks, AVATAR)


# --- animations


def test_animation() -> None:
    """An APNG of two or more frames is animated; its default image is what is taken."""
    control, *frames = png.animation(2)

    assert rebuild(png.with_metadata(control, *frames), AVATAR).animated
    assert rebuild(png.with_metadata(*frames, control), AVATAR).animated
    assert rebuild(png.join([IHDR, control, frames[0], IDAT, frames[1], Chunk(b"fdAT", bytes(9))]), AVATAR).animated
    assert not rebuild(png.with_metadata(*png.animation(1)), AVATAR).animated
    assert not rebuild(png.with_metadata(control), AVATAR).animated
    assert not rebuild(png.with_metadata(*frames), AVATAR).animated
    assert not rebuild(png.join([IHDR, *frames, IDAT, control]), AVATAR).animated
    assert rebuild(png.join([IHDR, control, *frames, IDAT, control]), AVATAR).animated
    assert rebuild(png.with_metadata(control, *frames), AVATAR).data == SMALL


def test_p2_frames() -> None:
    """As many frames as the policy allows are taken, one more is not."""
    data = png.with_metadata(*png.animation(5))

    assert rebuild(data, replace(AVATAR, max_frames=5)).animated
    check_too_complex(data, "frames", 4, replace(AVATAR, max_frames=4))


def test_p2_default_frames() -> None:
    """The default limit is one of frames, reached before that of chunks."""
    limit = AVATAR.max_frames

    assert rebuild(png.with_metadata(*png.animation(limit)), AVATAR).animated
    check_too_complex(png.with_metadata(*png.animation(limit + 1)), "frames", limit, AVATAR)


# --- what all formats share


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (-1, 5), (5, -1), (-2, -2)])
def test_check_no_pixels(size: tuple[int, int]) -> None:
    """A side below 1 is malformed."""
    with pytest.raises(Malformed):
        check_pixels(*size, AVATAR)


def test_check_pixels() -> None:
    """As many pixels as the policy allows pass, one more does not."""
    policy = replace(AVATAR, max_pixels=77)

    check_pixels(7, 11, policy)
    check_pixels(1, 77, policy)
    with pytest.raises(TooManyPixels) as caught:
        check_pixels(78, 1, policy)
    assert (caught.value.pixels, caught.value.limit) == (78, 77)


def test_allowance() -> None:
    """An allowance counts down to nothing, and stays overdrawn."""
    allowance = Allowance("spoons", 5)
    allowance.take()
    allowance.take(4)

    assert allowance.left == 0

    for _ in range(2):
        with pytest.raises(TooComplex) as caught:
            allowance.take()
        assert (caught.value.what, caught.value.limit) == ("spoons", 5)


@pytest.mark.parametrize("length", [0, 1, 65535, 65536, 65537, 200_000])
def test_inflate(length: int) -> None:
    """A stream of just the allowed length is inflated whole, in whatever number of steps; one byte less is too few."""
    content = random.Random(2).randbytes(length)
    stream = zlib.compress(content)
    allowance = Allowance("metadata", length)

    assert inflate(stream, allowance, keep=True) == content
    assert allowance.left == 0
    assert inflate(stream, Allowance("metadata", length), keep=False) is None
    assert inflate(stream + b"more", Allowance("metadata", length), keep=True) == content
    if length:
        with pytest.raises(TooComplex):
            inflate(stream, Allowance("metadata", length - 1), keep=True)


def test_inflate_keeps_nothing() -> None:
    """What is only counted is not held, be it within the allowance."""
    stream = zlib.compress(bytes(4_000_000))
    tracemalloc.start()
    try:
        inflate(stream, Allowance("metadata", 4_000_000), keep=False)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 1_000_000


def test_inflate_broken() -> None:
    """A stream that is cut or spoilt gives nothing, but what it gave before counts."""
    content = random.Random(3).randbytes(100_000)
    stream = zlib.compress(content)
    spoilt = stream[:-1] + bytes([stream[-1] ^ 1])
    for broken in (stream[:-1], stream[:70_000], spoilt, b"", b"x", b"not a stream"):
        allowance = Allowance("metadata", len(content))

        assert inflate(broken, allowance, keep=True) is None
        assert (allowance.left < len(content)) == (len(broken) > 1000)
