"""GIF: promises for any file, put together from blocks right and wrong, or spoilt after it was whole."""

import struct
from dataclasses import replace

import pytest
from builders import gif
from hypothesis import given
from hypothesis import strategies as st
from promises import one_of_two

from safeupload import AVATAR, Rejected, normalize
from safeupload._formats import Malformed
from safeupload._formats import gif as parser

CANARY = b"<a canary of 21 bytes>"
TABLES = [(), [(9, 9, 9), (200, 0, 0)], [(level, 255 - level, 40) for level in range(0, 256, 16)]]

tables = st.sampled_from(TABLES)
# Mostly small; a canvas of many pixels takes a while to shrink, and one of too many is refused at once.
sides = st.one_of(st.integers(0, 12), st.integers(0, 12), st.integers(0, 12), st.sampled_from([0, 700, 65_535]))
places = st.one_of(st.just(0), st.integers(0, 9), st.integers(0, 600))
screens = st.builds(gif.screen, sides, sides, tables, background=st.integers(0, 255))
codes = st.one_of(st.none(), st.lists(st.integers(0, 3), max_size=150))
frames = st.builds(
    gif.frame,
    st.integers(0, 12),
    st.integers(0, 12),
    codes,
    left=places,
    top=places,
    table=tables,
    interlaced=st.booleans(),
    code_size=st.sampled_from([2, 2, 2, 3, 8, 11]),
    block=st.sampled_from([1, 7, 254, 255]),
)
raw_frames = st.builds(
    gif.frame,
    sides,
    sides,
    table=tables,
    code_size=st.integers(0, 14),
    pixels=st.one_of(st.binary(max_size=60), st.binary(max_size=600).map(gif.chain)),
)
controls = st.builds(gif.control, st.none() | st.integers(0, 255), delay=st.integers(0, 65_535))
texts = st.one_of(
    st.binary(max_size=700).map(gif.comment),
    st.just(gif.application()),
    st.binary(max_size=40).map(gif.plain_text),
    st.builds(gif.extension, st.integers(0, 255), st.binary(max_size=9), st.binary(max_size=255)),
)
blocks = st.one_of(frames, frames, raw_frames, controls, texts, st.binary(max_size=9), st.just(gif.TRAILER))


@st.composite
def whole(draw: st.DrawFn, *, frame_count: int = 1) -> tuple[bytes, list[bytes]]:
    """Draw a screen, and the blocks of a file that is whole: each frame has its pixels and a table."""
    parts = []
    for _ in range(draw(st.integers(1, frame_count))):
        width, height = draw(st.integers(1, 40)), draw(st.integers(1, 40))
        seed = draw(st.integers(0, 9))
        parts += draw(st.lists(controls, max_size=1))
        parts.append(
            gif.frame(
                width,
                height,
                [(seed * x + x // 7) % 4 for x in range(width * height)],
                left=draw(st.integers(0, 9)),
                top=draw(st.integers(0, 9)),
                table=draw(tables),
                interlaced=draw(st.booleans()),
            )
        )
    return gif.screen(draw(st.integers(0, 50)), draw(st.integers(0, 50)), TABLES[2]), parts


@pytest.mark.property
@given(screens, st.lists(blocks, max_size=8), st.sampled_from([b"", gif.TRAILER, b"\0\0"]))
def test_p1_any_blocks(screen: bytes, parts: list[bytes], trailer: bytes) -> None:
    """P1: any blocks in any order are a picture or refused."""
    one_of_two(gif.file(screen, *parts, trailer=trailer))


@pytest.mark.property
@given(whole(frame_count=3), st.data())
def test_p1_damaged_files(parts: tuple[bytes, list[bytes]], data: st.DataObject) -> None:
    """P1: a file that was whole before bytes were changed, taken out, doubled and cut off is a picture or refused."""
    file = bytearray(gif.file(parts[0], *parts[1]))
    for _ in range(data.draw(st.integers(1, 6))):
        position = data.draw(st.integers(6, len(file) - 1))
        match data.draw(st.sampled_from(["flip", "set", "remove", "double", "cut"])):
            case "flip":
                file[position] ^= 1 << data.draw(st.integers(0, 7))
            case "set":
                file[position] = data.draw(st.sampled_from([0, 1, 0x2C, 0x3B, 0x21, 0xF9, 254, 255]))
            case "remove":
                del file[position : position + data.draw(st.integers(1, 20))]
            case "double":
                file[position:position] = file[position : position + data.draw(st.integers(1, 300))]
            case _:
                del file[position + 1 :]
        if len(file) < 8:
            break

    one_of_two(bytes(file))


@pytest.mark.property
@given(whole(frame_count=3))
def test_p4_whole_files_are_accepted(parts: tuple[bytes, list[bytes]]) -> None:
    """P4: no whole file is refused, wherever its frames are and however large its screen says it is."""
    result = one_of_two(gif.file(parts[0], *parts[1]))

    assert result is not None
    assert result.info.animated == (sum(part[0] == 0x2C for part in parts[1]) > 1)


@pytest.mark.property
@given(whole(), st.lists(texts, max_size=4), st.lists(blocks, max_size=4), st.data())
def test_p3_only_pixels_count(
    parts: tuple[bytes, list[bytes]], extra: list[bytes], behind: list[bytes], data: st.DataObject
) -> None:
    """P3: extensions before the first frame, and anything behind it, change no byte of the result."""
    screen, found = parts
    extra = [text for text in extra if text[1] != 0xF9]
    mixed = [*extra, *found] if data.draw(st.booleans()) else [*found[:-1], *extra, found[-1]]

    plain = normalize(gif.file(screen, *found))
    full = normalize(gif.file(screen, *mixed, gif.comment(CANARY), *behind))

    assert full.data == plain.data
    assert replace(full.info, animated=False) == plain.info


@pytest.mark.property
@given(screens, st.lists(blocks, max_size=6))
def test_rebuilt_files_are_minimal(screen: bytes, parts: list[bytes]) -> None:
    """What is rebuilt is whole, has nothing of the metadata, and is rebuilt to itself."""
    try:
        # Without the comments first: a frame that claims more bytes than it has would take one for its pixels.
        bare = parser.rebuild(gif.file(screen, *parts), AVATAR)
    except (Malformed, Rejected):
        return
    found = parser.rebuild(gif.file(screen, gif.comment(CANARY), *parts, gif.comment(CANARY)), AVATAR)
    left, top, right, bottom = found.frame

    again = parser.rebuild(found.data, AVATAR)

    assert again.data == found.data
    assert again.transparency == found.transparency
    assert (again.canvas, again.frame) == ((right - left, bottom - top), (0, 0, right - left, bottom - top))
    assert struct.unpack_from("<HH", found.data, 6) == again.canvas
    assert found.data == bare.data
