import io
import struct
import time
from dataclasses import replace

import numpy as np
import pytest
import reference
from builders import gif
from builders.gif import Colour
from PIL import Image

from safeupload import AVATAR, Corrupt, ImageInfo, NotAnImage, TooComplex, TooManyPixels, normalize, validate
from safeupload._formats import Rebuilt
from safeupload._formats.gif import rebuild
from safeupload._plan import plans, render_bytes

RED, GREEN, BLUE, YELLOW = (200, 10, 20), (30, 190, 40), (50, 60, 180), (170, 160, 70)
TABLE = (RED, GREEN, BLUE, YELLOW)
OTHER = (BLUE, YELLOW, RED, GREEN)
PAPER = (7, 8, 9)
Rows = list[list[Colour]]


def rows(data: bytes, width: int, height: int) -> Rows:
    """Return the colours of a picture that is not scaled, with PAPER behind it."""
    drawn = reference.drawn(data, replace(AVATAR, size=(width, height), background=PAPER))
    return [[(int(red), int(green), int(blue)) for red, green, blue in row] for row in drawn]


def small(*before: bytes, after: bytes = b"", trailer: bytes = gif.TRAILER) -> bytes:
    """Return a 2 x 2 picture of the four colours, with other blocks before and after it."""
    return gif.file(gif.screen(2, 2, TABLE), *before, gif.frame(2, 2, [0, 1, 2, 3]), after, trailer=trailer)


SMALL_ROWS: Rows = [[RED, GREEN], [BLUE, YELLOW]]


def rebuilt(data: bytes) -> Rebuilt:
    """Return what the preflight makes of a file."""
    return rebuild(data, AVATAR)


# --- what is in a picture


@pytest.mark.parametrize("version", [b"87a", b"89a"])
def test_plain_picture(version: bytes) -> None:
    """A picture of either version shows its colours and is described as it is."""
    data = gif.file(gif.screen(2, 2, TABLE), gif.frame(2, 2, [0, 1, 2, 3]), version=version)

    assert rows(data, 2, 2) == SMALL_ROWS
    assert validate(data) == ImageInfo(
        format="GIF", width=2, height=2, orientation=1, animated=False, has_alpha=False, has_icc=False
    )


def test_local_colour_table() -> None:
    """A frame's own colour table takes the place of the global one."""
    data = gif.file(gif.screen(2, 2, TABLE), gif.frame(2, 2, [0, 1, 2, 3], table=OTHER))

    assert rows(data, 2, 2) == [[BLUE, YELLOW], [RED, GREEN]]


def test_local_colour_table_alone() -> None:
    """A frame's own colour table is enough."""
    data = gif.file(gif.screen(2, 2), gif.frame(2, 2, [0, 1, 2, 3], table=OTHER))

    assert rows(data, 2, 2) == [[BLUE, YELLOW], [RED, GREEN]]


def test_no_colour_table() -> None:
    """A picture without any colour table is not refused; its indices are shades of grey."""
    data = gif.file(gif.screen(2, 1), gif.frame(2, 1, [3, 1]))

    assert rows(data, 2, 1) == [[(3, 3, 3), (1, 1, 1)]]


@pytest.mark.parametrize("size", [2, 4, 8, 16, 32, 64, 128, 256])
def test_colour_table_sizes(size: int) -> None:
    """A colour table of each size is read in full, and goes into the rebuilt file in full."""
    table = [(index, 255 - index, 77) for index in range(size)]
    data = gif.file(gif.screen(2, 1, table), gif.frame(2, 1, [size - 1, 0], code_size=8))

    assert rows(data, 2, 1) == [[table[-1], table[0]]]


def test_short_colour_table() -> None:
    """An index behind the end of the colour table is no reason to refuse a picture."""
    data = gif.file(gif.screen(2, 1, TABLE[:2]), gif.frame(2, 1, [1, 3]))

    assert rows(data, 2, 1) == [[GREEN, (0, 0, 0)]]


def test_interlaced() -> None:
    """An interlaced picture shows what it shows when it is not interlaced."""
    indices = [[(x * y + y) % 4 for x in range(5)] for y in range(19)]
    plain = gif.file(gif.screen(5, 19, TABLE), gif.frame(5, 19, [index for row in indices for index in row]))
    interlaced = gif.file(gif.screen(5, 19, TABLE), gif.frame(5, 19, gif.interlace(indices), interlaced=True))

    assert rows(plain, 5, 19) == rows(interlaced, 5, 19) == [[TABLE[index] for index in row] for row in indices]


@pytest.mark.parametrize("code_size", range(1, 12))
def test_code_sizes(code_size: int) -> None:
    """Every first code size from 1 to 11 bits is decoded, as browsers do."""
    data = gif.file(gif.screen(2, 1, TABLE), gif.frame(2, 1, [1, 0], code_size=code_size))

    assert rows(data, 2, 1) == [[GREEN, RED]]


@pytest.mark.parametrize("code_size", [0, 12, 255])
def test_code_sizes_out_of_range(code_size: int) -> None:
    """A first code size that leaves no room for codes, or more than 12 bits for them, is refused by the preflight."""
    data = gif.file(gif.screen(1, 1, TABLE), gif.frame(1, 1, code_size=code_size, pixels=gif.chain(bytes(40))))

    with pytest.raises(Corrupt) as caught:
        validate(data)

    assert "code size" in str(caught.value.__cause__)


# --- transparency


@pytest.mark.parametrize("index", range(4))
def test_transparent_colour(index: int) -> None:
    """The background shows through the transparent colour, be it the first one or another."""
    data = small(gif.control(transparent=index))
    expected = [PAPER if colour == index else TABLE[colour] for colour in range(4)]

    assert rows(data, 2, 2) == [expected[:2], expected[2:]]
    assert validate(data).has_alpha


def test_transparent_colour_of_a_shade_table() -> None:
    """Transparency holds where the colour table consists of shades of grey, which Pillow treats as another mode."""
    shades = [(level, level, level) for level in range(256)]
    data = gif.file(gif.screen(2, 1, shades), gif.control(200), gif.frame(2, 1, [200, 201], code_size=8))

    assert rows(data, 2, 1) == [[PAPER, shades[201]]]


def test_transparent_colour_beyond_the_table() -> None:
    """A transparent colour that no pixel has changes no pixel."""
    assert rows(small(gif.control(transparent=255)), 2, 2) == SMALL_ROWS


def test_control_without_transparency() -> None:
    """A graphic control that only tells a delay makes nothing transparent, whatever its index field says."""
    data = small(gif.extension(0xF9, struct.pack("<BHB", 0, 10, 1)))

    assert rows(data, 2, 2) == SMALL_ROWS
    assert not validate(data).has_alpha


def test_last_control_counts() -> None:
    """Of several graphic controls before a frame the last one counts."""
    assert rows(small(gif.control(0), gif.control(1)), 2, 2) == [[RED, PAPER], [BLUE, YELLOW]]
    assert rows(small(gif.control(0), gif.control()), 2, 2) == SMALL_ROWS


def test_control_of_a_later_frame() -> None:
    """The transparent colour of the second frame does not touch the first."""
    assert rows(small(after=gif.control(1) + gif.frame(2, 2)), 2, 2) == SMALL_ROWS


def test_short_control() -> None:
    """A graphic control that is too short to have a transparent index is passed over."""
    assert rows(small(gif.extension(0xF9, b"\1\0\0")), 2, 2) == SMALL_ROWS


# --- screen and frame


def test_frame_smaller_than_the_screen() -> None:
    """Where the first frame does not reach the background shows, not the screen's own background colour."""
    data = gif.file(gif.screen(4, 3, TABLE, background=3), gif.frame(2, 1, [0, 1], left=1, top=1))

    assert rows(data, 4, 3) == [[PAPER] * 4, [PAPER, RED, GREEN, PAPER], [PAPER] * 4]
    assert validate(data).has_alpha


@pytest.mark.parametrize(
    ("left", "top", "expected"),
    [
        (1, 0, [[PAPER, RED, GREEN], [PAPER, BLUE, YELLOW]]),
        (0, 1, [[PAPER, PAPER], [RED, GREEN], [BLUE, YELLOW]]),
        (1, 1, [[PAPER, PAPER, PAPER], [PAPER, RED, GREEN], [PAPER, BLUE, YELLOW]]),
    ],
)
def test_frame_beyond_the_screen(left: int, top: int, expected: Rows) -> None:
    """The screen grows until it holds the first frame; what else has become of it is transparent."""
    data = gif.file(gif.screen(2, 2, TABLE), gif.frame(2, 2, [0, 1, 2, 3], left=left, top=top))

    info = validate(data)

    assert (info.width, info.height) == (len(expected[0]), len(expected))
    assert rows(data, info.width, info.height) == expected


@pytest.mark.parametrize(
    ("screen", "size", "corner"),
    [
        ((40_000, 3), (40_000, 1), (0, 2)),
        ((3, 40_000), (1, 40_000), (2, 0)),
        ((7, 7), (2, 2), (40_000, 1)),
        ((7, 7), (2, 2), (1, 40_000)),
    ],
)
def test_numbers_of_sixteen_bits(screen: tuple[int, int], size: tuple[int, int], corner: tuple[int, int]) -> None:
    """Sizes and places of more than 32,767 are read as they are, and written so."""
    (left, top), (width, height) = corner, size
    found = rebuilt(gif.file(gif.screen(*screen, TABLE), gif.frame(*size, left=left, top=top, pixels=b"\1x\0")))

    assert found.frame == (left, top, left + width, top + height)
    assert found.canvas == (max(screen[0], left + width), max(screen[1], top + height))
    assert rebuilt(found.data).canvas == size


@pytest.mark.parametrize("size", [(0, 0), (0, 2), (2, 0), (1, 1)])
def test_screen_without_room(size: tuple[int, int]) -> None:
    """A screen that is too small, or of no size at all, leaves the frame as it is and nothing transparent."""
    data = gif.file(gif.screen(*size, TABLE), gif.frame(2, 2, [0, 1, 2, 3]))

    assert rows(data, 2, 2) == SMALL_ROWS
    assert not validate(data).has_alpha


@pytest.mark.parametrize("size", [(0, 0), (0, 2), (2, 0)])
def test_empty_frame(size: tuple[int, int]) -> None:
    """A first frame without pixels is refused, however large the screen."""
    with pytest.raises(Corrupt) as caught:
        validate(gif.file(gif.screen(5, 5, TABLE), gif.frame(*size)))

    assert "0" in str(caught.value.__cause__)


# --- other blocks


@pytest.mark.parametrize(
    "block",
    [
        gif.comment(b"secret words"),
        gif.comment(b""),
        gif.application(),
        gif.application(b"secret words", b"XMP DataXMP"),
        gif.plain_text(b"secret words"),
        gif.extension(0xC4, b"secret words", b"secret words"),
    ],
    ids=["comment", "empty comment", "loop", "xmp", "plain text", "unknown"],
)
def test_extensions(block: bytes) -> None:
    """Extensions are passed over before and after the frame, and no byte of them is rebuilt."""
    data = small(block, after=block)

    assert rebuilt(data) == rebuilt(small())
    assert rows(data, 2, 2) == SMALL_ROWS


@pytest.mark.parametrize("block", [b"\x00", b"\x3b", b"\xff", b"junk", b"\x20\xfe\x01x\x00"])
def test_unknown_block_before_the_frame(block: bytes) -> None:
    """Nothing but extensions may come before the first frame, not even the end of the file."""
    with pytest.raises(Corrupt):
        validate(small(block))


@pytest.mark.parametrize("block", [1, 2, 3, 253, 254, 255])
def test_blocks_of_each_length(block: int) -> None:
    """Pixels are the same however they are cut into sub-blocks."""
    indices = [(x * 7 + x // 11) % 4 for x in range(40 * 50)]
    data = gif.file(gif.screen(40, 50, TABLE), gif.frame(40, 50, indices, block=block))

    assert rows(data, 40, 50) == [
        [TABLE[index] for index in indices[start : start + 40]] for start in range(0, 2000, 40)
    ]


def test_runs_of_full_blocks() -> None:
    """Runs of full sub-blocks, of 255 bytes or of 254, cost next to nothing of the allowance, however they mix."""
    run = (
        (b"\xff" + b"\n" * 255) * 9000
        + (b"\xfe" + b"\xff" * 254) * 9000
        + (b"\xff" + b"\xfe" * 255 + b"\xfe" + b"\n" * 254)
    )
    data = small(b"!\xfe" + run + b"\0")

    assert rows(data, 2, 2) == SMALL_ROWS
    assert rebuild(data, replace(AVATAR, max_chunks=12)) == rebuilt(small())


# --- limits


def one_byte_blocks(count: int) -> bytes:
    """Return a picture that takes `count` of the allowance for chunks, most of it by blocks of one byte."""
    return small(b"!\xfe" + b"\x01x" * (count - 3) + b"\0")  # two chains end, and the frame has one short block


def test_most_chunks() -> None:
    """As many short blocks as the policy allows are accepted."""
    assert rows(one_byte_blocks(AVATAR.max_chunks), 2, 2) == SMALL_ROWS


def test_too_many_chunks() -> None:
    """One short block more than the policy allows is refused."""
    with pytest.raises(TooComplex) as caught:
        validate(one_byte_blocks(AVATAR.max_chunks + 1))

    assert (caught.value.what, caught.value.limit) == ("chunks", AVATAR.max_chunks)


def test_chunks_after_the_first_frame() -> None:
    """Short blocks behind the first frame count as well."""
    with pytest.raises(TooComplex) as caught:
        validate(small(after=b"!\xfe" + b"\x01x" * AVATAR.max_chunks + b"\0"))

    assert caught.value.what == "chunks"


def test_chunks_in_the_pixels() -> None:
    """Short blocks of the pixels count as well."""
    pixels = gif.chain(gif.lzw([0] * 4, 2), 1)
    data = gif.file(gif.screen(2, 2, TABLE), gif.frame(2, 2, pixels=pixels))
    blocks = len(pixels) // 2 + 1

    assert validate(data, replace(AVATAR, max_chunks=blocks)).width == 2
    with pytest.raises(TooComplex) as caught:
        validate(data, replace(AVATAR, max_chunks=blocks - 1))

    assert (caught.value.what, caught.value.limit) == ("chunks", blocks - 1)


def animation(frames: int) -> bytes:
    """Return an animation with a delay for each frame."""
    return small(gif.application(), gif.control(delay=4), after=(gif.control(delay=4) + gif.frame(1, 1)) * (frames - 1))


def test_most_frames() -> None:
    """As many frames as the policy allows are accepted; the first is shown."""
    assert validate(animation(AVATAR.max_frames)).animated
    assert rows(animation(AVATAR.max_frames), 2, 2) == SMALL_ROWS


@pytest.mark.parametrize("frames", [AVATAR.max_frames + 1, 100_000])
def test_too_many_frames(frames: int) -> None:
    """More frames than the policy allows are refused, and soon."""
    data = animation(frames)
    begin = time.perf_counter()

    with pytest.raises(TooComplex) as caught:
        validate(data)

    assert (caught.value.what, caught.value.limit) == ("frames", AVATAR.max_frames)
    assert time.perf_counter() - begin < 1


def test_frames_with_tables() -> None:
    """Frames are counted behind their own colour tables."""
    data = small(after=gif.frame(1, 1, table=OTHER) + gif.frame(1, 1, table=TABLE))

    assert validate(data, replace(AVATAR, max_frames=3)).animated
    with pytest.raises(TooComplex) as caught:
        validate(data, replace(AVATAR, max_frames=2))

    assert (caught.value.what, caught.value.limit) == ("frames", 2)


def test_one_frame_allowed() -> None:
    """A policy can refuse animations by allowing one frame."""
    policy = replace(AVATAR, max_frames=1)

    assert not validate(small(), policy).animated
    with pytest.raises(TooComplex) as caught:
        validate(animation(2), policy)

    assert (caught.value.what, caught.value.limit) == ("frames", 1)


@pytest.mark.parametrize(
    "data",
    [
        gif.file(gif.screen(0, 0, TABLE), gif.frame(7, 5)),
        gif.file(gif.screen(7, 5, TABLE), gif.frame(1, 1)),
        gif.file(gif.screen(1, 1, TABLE), gif.frame(1, 1, left=6, top=4)),
    ],
    ids=["frame", "screen", "grown screen"],
)
def test_pixels(data: bytes) -> None:
    """The pixels of the frame and of the whole picture are held against the policy, on each side of the limit."""
    assert validate(data, replace(AVATAR, max_pixels=35)).width == 7
    with pytest.raises(TooManyPixels) as caught:
        validate(data, replace(AVATAR, max_pixels=34))

    assert (caught.value.pixels, caught.value.limit) == (35, 34)


def test_memory() -> None:
    """Decoding takes a byte for each pixel of the frame, whatever the screen; the policy bounds it on each side."""
    data = gif.file(gif.screen(90, 90, TABLE), gif.frame(7, 5))
    needed = rebuilt(gif.file(gif.screen(7, 5, TABLE), gif.frame(7, 5))).decode_bytes(1)
    needed += render_bytes(plans(rebuilt(data), AVATAR), rebuilt(data), AVATAR)

    moved = rebuilt(gif.file(gif.screen(90, 90, TABLE), gif.frame(7, 5, left=50, top=60)))

    assert rebuilt(data).pixel_bytes == 1
    assert moved.decode_bytes(1) == rebuilt(data).decode_bytes(1)
    assert validate(data, replace(AVATAR, max_decode_bytes=needed)).width == 90
    with pytest.raises(TooComplex) as caught:
        validate(data, replace(AVATAR, max_decode_bytes=needed - 1))

    assert (caught.value.what, caught.value.limit) == ("memory", needed - 1)


# --- damage


def test_every_cut() -> None:
    """A file that ends anywhere before its first frame does is damaged; from there on it is whole."""
    data = small(gif.comment(b"hello"), gif.control(1), after=gif.frame(2, 2, table=OTHER))
    whole = small(gif.comment(b"hello"), gif.control(1), trailer=b"")

    assert data.startswith(whole)
    for length in range(1, len(whole)):
        with pytest.raises(NotAnImage if length < 6 else Corrupt):
            normalize(data[:length])
    for length in range(len(whole), len(data)):
        assert rows(data[:length], 2, 2) == [[RED, PAPER], [BLUE, YELLOW]]


@pytest.mark.parametrize("codes", [b"\x0c", b"\x4c\x01"], ids=["without end code", "with end code"])
def test_missing_pixels(codes: bytes) -> None:
    """A first frame whose sub-blocks are whole but hold only one of four pixels is damaged."""
    data = gif.file(gif.screen(2, 2, TABLE), gif.frame(2, 2, pixels=gif.chain(codes)))

    with pytest.raises(Corrupt):
        validate(data)


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"\0",
        b"\xff" * 50,
        b"!",
        b"!\xfe\xff",
        b",\0\0",
        gif.frame(2, 2)[:-1],
        gif.frame(2, 2, table=OTHER)[:14],
        b";" + gif.frame(2, 2),
        b"<?php phpinfo(); ?>",
    ],
)
def test_junk_behind_the_first_frame(junk: bytes) -> None:
    """Whatever is broken behind the first frame harms nobody, and none of it is rebuilt."""
    data = small(after=junk)

    assert rows(data, 2, 2) == SMALL_ROWS
    assert rebuilt(data).data == rebuilt(small()).data


def test_animated() -> None:
    """Two frames make an animation, and so does a second that is cut short; behind the trailer there is none."""
    assert validate(small(after=gif.frame(1, 1))).animated
    assert validate(small(after=gif.frame(1, 1)[:5], trailer=b"")).animated
    assert not validate(small(trailer=gif.TRAILER + gif.frame(1, 1))).animated
    assert not validate(small(after=gif.comment(b"no frame"))).animated


def test_rebuilt_file() -> None:
    """The rebuilt file has the frame alone: no screen around it, no extension but transparency, nothing behind it."""
    data = gif.file(
        gif.screen(9, 9, TABLE, background=2),
        gif.comment(b"words"),
        gif.control(3, delay=50),
        gif.frame(2, 1, [2, 3], left=4, top=5, table=OTHER),
        gif.frame(9, 9),
    )

    found = rebuilt(data)

    assert found.data == gif.file(gif.screen(2, 1, OTHER), gif.control(3), gif.frame(2, 1, [2, 3]))
    assert (found.canvas, found.frame, found.transparency) == ((9, 9), (4, 5, 6, 6), 3)


def test_pillow_agrees() -> None:
    """A file that Pillow wrote shows what Pillow shows."""
    picture = reference.photograph(64, 48)
    data = encoded(picture)

    expected = np.round(reference.decode(data)[0] * 255).astype(np.uint8)

    assert np.array_equal(reference.drawn(data, replace(AVATAR, size=(64, 48))), expected)


def encoded(rows: reference.Bytes) -> bytes:
    """Return rows as a GIF of Pillow's."""
    out = io.BytesIO()
    Image.fromarray(rows).save(out, "GIF")
    return out.getvalue()
