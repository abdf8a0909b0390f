"""WebP: promises for any file, put together from chunks right and wrong, or spoilt after it was whole."""

from dataclasses import replace

import pytest
import reference
from builders import exif, icc, webp
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from promises import one_of_two

from safeupload import AVATAR, Rejected, normalize
from safeupload._formats import Malformed
from safeupload._formats import webp as parser

CANARY = b"<a canary of 21 bytes>"
SIZES = [(1, 1), (4, 2), (7, 9), (20, 16)]


def image(width: int, height: int) -> Image.Image:
    """Return a small RGBA image."""
    return Image.frombytes("RGBA", (width, height), reference.photograph(width, height, 4).tobytes())


BITSTREAMS = {size: (webp.lossless(image(*size)), webp.lossy(image(*size))) for size in SIZES}
ALPHAS = {size: webp.alpha(image(*size)) for size in SIZES}

# Mostly the sizes that there are bitstreams of.
sizes = st.one_of(*[st.sampled_from(SIZES)] * 4, st.tuples(st.integers(1, 9_000), st.integers(1, 9_000)))
names = st.sampled_from([b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF", b"ICCP", b"EXIF", b"XMP ", b"zzzz"])
bitstreams = st.one_of(
    st.sampled_from([chunk for both in BITSTREAMS.values() for chunk in both]),
    st.sampled_from(list(ALPHAS.values())),
    st.builds(
        lambda size, rest: webp.vp8l_head(*size, rest=rest), st.tuples(*[st.integers(1, 16_384)] * 2), st.binary()
    ),
    st.builds(lambda size: webp.vp8_head(*size), st.tuples(*[st.integers(0, 16_383)] * 2)),
)
metadata = st.one_of(
    st.builds(webp.chunk, st.just(b"EXIF"), st.integers(0, 9).map(exif.orientation)),
    st.builds(webp.chunk, st.just(b"EXIF"), st.binary(max_size=40)),
    st.builds(webp.chunk, st.just(b"ICCP"), st.sampled_from([icc.P3.data, icc.LINEAR_GRAY.data, b"", b"junk" * 99])),
    st.builds(webp.chunk, st.sampled_from([b"XMP ", b"zzzz"]), st.binary(max_size=40)),
)
raw = st.builds(webp.chunk, names, st.binary(max_size=40), length=st.none() | st.integers(0, 60), padded=st.booleans())
heads = st.builds(lambda size, flags: webp.vp8x(size[0], size[1], flags), sizes, st.integers(0, 255))
offsets = st.integers(0, 8).map(lambda half: 2 * half)
frames = st.builds(
    lambda size, parts, left, top: webp.anmf(*size, *parts, left=left, top=top),
    sizes,
    st.lists(st.one_of(bitstreams, metadata, raw), max_size=3),
    offsets,
    offsets,
)
chunks = st.one_of(bitstreams, bitstreams, metadata, heads, frames, raw, st.binary(max_size=9))


@st.composite
def whole(draw: st.DrawFn) -> list[bytes]:
    """Draw the chunks of a file that is whole: a still picture or an animation."""
    size = draw(st.sampled_from(SIZES))
    lossless, lossy = BITSTREAMS[size]
    parts = draw(st.sampled_from([[lossless], [lossy], [ALPHAS[size], lossy]]))
    if draw(st.booleans()):
        left, top = draw(offsets), draw(offsets)
        frame = webp.anmf(*size, *parts, left=left, top=top)
        canvas = size[0] + left + draw(st.integers(0, 9)), size[1] + top + draw(st.integers(0, 9))
        return [webp.vp8x(*canvas, webp.ANIMATION), webp.chunk(b"ANIM", bytes(6)), frame]
    return [webp.vp8x(*size, draw(st.integers(0, 255))), *parts]


@pytest.mark.property
@given(st.lists(heads, max_size=1), st.lists(chunks, max_size=6), st.none() | st.integers(0, 400))
def test_p1_any_chunks(head: list[bytes], parts: list[bytes], size: int | None) -> None:
    """P1: any chunks in any order are a picture or refused."""
    one_of_two(webp.riff(*head, *parts, size=size))


@pytest.mark.property
@given(whole(), st.data())
def test_p1_damaged_files(parts: list[bytes], data: st.DataObject) -> None:
    """P1: a file that was whole before bytes were changed, taken out, doubled and cut off is a picture or refused."""
    file = bytearray(webp.riff(*parts))
    for _ in range(data.draw(st.integers(1, 6))):
        position = data.draw(st.integers(4, len(file) - 1))
        match data.draw(st.sampled_from(["flip", "flip", "set", "remove", "double", "cut"])):
            case "flip":
                file[position] ^= 1 << data.draw(st.integers(0, 7))
            case "set":
                file[position] = data.draw(st.sampled_from([0, 1, 0x2F, 254, 255]))
            case "remove":
                del file[position : position + data.draw(st.integers(1, 20))]
            case "double":
                file[position:position] = file[position : position + data.draw(st.integers(1, 60))]
            case _:
                del file[position + 1 :]
        if len(file) < 13:
            break
    if len(file) > 8 and data.draw(st.booleans()):  # otherwise most are refused for their length
        file[4:8] = (len(file) - 8).to_bytes(4, "little")

    one_of_two(bytes(file))


@pytest.mark.property
@given(whole(), st.lists(metadata, max_size=3))
def test_p4_whole_files_are_accepted(parts: list[bytes], extra: list[bytes]) -> None:
    """P4: no whole file is refused, whatever its metadata."""
    assert one_of_two(webp.riff(*parts, *extra)) is not None


@pytest.mark.property
@given(whole(), st.lists(metadata, max_size=4), st.binary(max_size=40))
def test_p3_only_pixels_count(parts: list[bytes], extra: list[bytes], behind: bytes) -> None:
    """P3: metadata (but for profile and orientation), and what is behind the file, change no byte of the result."""
    words = [webp.chunk(b"XMP ", CANARY), *(chunk for chunk in extra if chunk[:4] not in {b"EXIF", b"ICCP"})]
    tags = exif.block(exif.Entry(0x010F, 2, 3, 0x4142), exif.Entry(value=1))

    plain = normalize(webp.riff(*parts))
    full = normalize(webp.riff(parts[0], *words, *parts[1:], webp.chunk(b"EXIF", tags + CANARY)) + behind)

    assert full.data == plain.data
    assert full.info == plain.info


@pytest.mark.property
@given(st.lists(heads, max_size=1), st.lists(chunks, max_size=4), whole())
def test_rebuilt_files_are_minimal(head: list[bytes], parts: list[bytes], right: list[bytes]) -> None:
    """What is rebuilt is whole, has nothing of the metadata, and is rebuilt to itself."""
    words = webp.chunk(b"XMP ", CANARY), webp.chunk(b"EXIF", CANARY), webp.chunk(b"ICCP", CANARY)
    for content in ([*head, *parts], [*right, *parts]):
        try:
            found = parser.rebuild(webp.riff(*content[:1], *words, *content[1:], *words) + CANARY, AVATAR)
        except (Malformed, Rejected):
            continue
        left, top, right_end, bottom = found.frame

        again = parser.rebuild(found.data, AVATAR)

        assert CANARY not in found.data
        assert again.canvas == (right_end - left, bottom - top)
        assert again.data == found.data
        kept = {"canvas", "frame", "icc", "animated", "has_alpha", "orientation"}
        assert replace(again, **{name: getattr(found, name) for name in kept}) == found
