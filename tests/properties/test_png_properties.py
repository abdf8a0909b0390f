"""PNG: promises for any file, put together from chunks right and wrong, or spoilt after it was whole."""

import random
import zlib
from dataclasses import replace

import pytest
from builders import exif, png
from builders.png import DEPTHS, END, GRAY, GRAY_ALPHA, PALETTE, RGB, RGB_ALPHA, SIGNATURE, Chunk
from hypothesis import given
from hypothesis import strategies as st
from promises import one_of_two

import safeupload
from safeupload import AVATAR, NormalizedImage
from safeupload._formats import rebuild

CANARY = b"<a canary in metadata>"
COMBINATIONS = [(kind, depth) for kind, depths in DEPTHS.items() for depth in depths]


def noise(kind: int, depth: int, *, interlaced: bool = False, size: tuple[int, int] = (13, 7)) -> list[Chunk]:
    """Return the chunks of a picture of noise; where there is a palette, it has all entries."""
    source = random.Random(kind << 8 | depth)
    channels = {GRAY: 1, RGB: 3, PALETTE: 1, GRAY_ALPHA: 2, RGB_ALPHA: 4}[kind]

    def pixel(_x: int, _y: int) -> png.Samples:
        return tuple(source.randrange(1 << depth) for _ in range(channels))

    palette = [Chunk(b"PLTE", source.randbytes(3 << depth))] if kind == PALETTE else []
    body = png.pixels(size, pixel, depth, interlaced=interlaced)
    half = len(body) // 2
    return [
        png.header(size, kind, depth, interlaced=interlaced),
        *palette,
        Chunk(b"IDAT", body[:half]),
        Chunk(b"IDAT", body[half:]),
    ]


CHUNKS = [noise(*each, interlaced=interlaced) for each in COMBINATIONS for interlaced in (False, True)]
#: Files by number: shorter to read than their bytes where a property fails.
numbers = st.integers(0, len(CHUNKS) - 1)


def check_stable(data: bytes, result: NormalizedImage) -> None:
    """Check that the rebuilt file is minimal, is the same once more rebuilt, and that the picture depends on it."""
    first = rebuild(data, AVATAR)
    names = [chunk.name for chunk in png.split(first.data)]

    assert names in ([b"IHDR", b"IDAT"], [b"IHDR", b"PLTE", b"IDAT"])
    assert png.join(png.split(first.data)) == first.data
    assert rebuild(first.data, AVATAR) == replace(
        first,
        orientation=1,
        icc=None,
        transparency=None,
        animated=False,
        has_alpha=png.split(first.data)[0].body[9] in {GRAY_ALPHA, RGB_ALPHA},
    )
    if (first.orientation, first.icc, first.transparency) == (1, None, None):
        assert safeupload.normalize(first.data).data == result.data


def check(data: bytes) -> None:
    """Check everything that holds for any bytes whatever."""
    result = one_of_two(data)
    if result is not None:
        check_stable(data, result)


# --- pieces of files

metadata_names = st.sampled_from([b"iCCP", b"eXIf", b"zTXt", b"iTXt", b"tEXt", b"acTL", b"fdAT", b"gAMA", b"prVt"])
names = metadata_names | st.sampled_from(
    [b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"iCCP", b"fcTL", b"CgBI", b"a\0bc"]
)
texts = st.sampled_from([b"", b"Comment\0", b"Comment\0\0", b"Comment\0\1\0de\0x\0"])
contents = st.binary(max_size=30) | st.binary(max_size=30).map(zlib.compress)
bodies = st.builds(bytes.__add__, texts, contents)
headers = st.builds(
    png.header,
    st.tuples(*[st.sampled_from([0, 1, 13, 0x7FFFFFFF, 0xFFFFFFFF])] * 2),
    st.integers(0, 7),
    st.sampled_from([1, 2, 4, 8, 16, 0, 32]),
    interlaced=st.booleans(),
)
orientations = st.builds(exif.orientation, st.integers(0, 9), st.sampled_from("<>")).map(
    lambda block: Chunk(b"eXIf", block)
)
keys = st.builds(
    lambda length, level: Chunk(b"tRNS", bytes([0, level] * 128)[:length]),
    st.sampled_from([0, 1, 2, 3, 6, 256]),
    st.integers(0, 255),
)
palettes = st.builds(lambda length: Chunk(b"PLTE", bytes(length)), st.sampled_from([0, 3, 4, 6, 48, 768, 769, 771]))
crcs = st.sampled_from([None] * 9 + [0])
lengths = st.sampled_from([None] * 9 + [0, 1, 9, 0x7FFFFFFF, 0xFFFFFFFF])
pieces = st.one_of(
    st.sampled_from([bytes(chunk) for chunks in CHUNKS for chunk in chunks]),
    st.builds(lambda *values: bytes(Chunk(*values)), names, bodies, crcs, lengths),
    st.builds(bytes, headers | orientations | keys | palettes),
    st.binary(max_size=13),
)


@st.composite
def disturbed(draw: st.DrawFn) -> bytes:
    """Draw a whole file into which pieces were put, and from which some were taken."""
    parts = [bytes(chunk) for chunk in CHUNKS[draw(numbers)]]
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(parts)))
        parts[at : at + draw(st.sampled_from([0, 0, 0, 1]))] = [draw(pieces)]
    return SIGNATURE + b"".join(parts) + draw(st.sampled_from([bytes(END), bytes(END), b""]))


@st.composite
def spoilt_inside(draw: st.DrawFn) -> bytes:
    """Draw a whole file of which bits were flipped within the chunks, with CRCs that know of it."""
    chunks = list(CHUNKS[draw(numbers)])
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(chunks) - 1))
        body = bytearray(chunks[at].body)
        if body:
            body[draw(st.integers(0, len(body) - 1))] ^= 1 << draw(st.integers(0, 7))
        chunks[at] = Chunk(chunks[at].name, bytes(body[: draw(st.none() | st.integers(0, len(body)))]))
    return png.join(chunks)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Draw a whole file of which bits were flipped, bytes replaced by others, and the end cut off."""
    data = bytearray(png.join(CHUNKS[draw(numbers)]))
    for _ in range(draw(st.integers(0, 2))):
        data[draw(st.integers(0, len(data) - 1))] ^= 1 << draw(st.integers(0, 7))
    for _ in range(draw(st.integers(0, 1))):
        at, taken = draw(st.integers(0, len(data))), draw(st.sampled_from([0, 1, 2, 9, 99]))
        other = png.join(CHUNKS[draw(numbers)])
        start = draw(st.integers(0, len(other)))
        data[at : at + taken] = other[start : start + draw(st.sampled_from([0, 1, 2, 9, 99]))]
    cut = draw(st.none() | st.integers(0, len(data)))
    return bytes(data[:cut]) + draw(st.sampled_from([b"", b"", bytes(END)]))


# --- promises


@pytest.mark.property
@given(st.lists(pieces, max_size=12), st.sampled_from([b"", bytes(END)]))
def test_p1_any_chunks(parts: list[bytes], end: bytes) -> None:
    """Any sequence of chunks, valid or not, is a clean picture or a refusal, and stays what it is when rebuilt."""
    check(SIGNATURE + b"".join(parts) + end)


@pytest.mark.property
@given(disturbed())
def test_p1_disturbed_files(data: bytes) -> None:
    """So is a file with chunks too many or too few."""
    check(data)


@pytest.mark.property
@given(spoilt_inside())
def test_p1_spoilt_chunks(data: bytes) -> None:
    """So is a file with wrong headers, palettes, or pixels under right CRCs."""
    check(data)


@pytest.mark.property
@given(mutated())
def test_p1_mutated_files(data: bytes) -> None:
    """So is a file with bits flipped, pieces of another in it, or its end cut off."""
    check(data)


@pytest.mark.property
@given(numbers, st.data())
def test_p4_whole_files(number: int, drawn: st.DataObject) -> None:
    """A whole file is taken whatever ancillary chunks stand between the others, and the pixels are the same."""
    chunks = list(CHUNKS[number])
    ancillary = st.builds(
        lambda name, body, crc: Chunk(name, body, crc=crc),
        st.sampled_from([b"zTXt", b"iTXt", b"tEXt", b"gAMA", b"prVt", b"sPLT", b"tIME", b"pHYs", b"fdAT"]),
        bodies,
        crcs,
    )
    for _ in range(drawn.draw(st.integers(0, 4))):
        names = [chunk.name for chunk in chunks]
        between = [
            at for at in range(1, len(chunks) + 1) if set(names[at - 1 : at + 1]) != {b"IDAT"} or at == len(chunks)
        ]
        at = drawn.draw(st.sampled_from(between))
        chunks[at:at] = [drawn.draw(ancillary)]

    result = one_of_two(png.join(chunks))

    assert result is not None
    assert result.data == safeupload.normalize(png.join(CHUNKS[number])).data


@pytest.mark.property
@given(numbers, st.data())
def test_p3_no_canary(number: int, drawn: st.DataObject) -> None:
    """Nothing that stands in metadata or behind the picture gets into the rebuilt file, wherever a chunk stands."""
    parts = [bytes(chunk) for chunk in CHUNKS[number]]
    planted = st.builds(
        lambda name, text, length: bytes(Chunk(name, text + CANARY, length=length)), metadata_names, texts, lengths
    )
    key = st.just(bytes(Chunk(b"tRNS", CANARY)))
    for _ in range(drawn.draw(st.integers(1, 4))):
        at = drawn.draw(st.sampled_from([1, len(parts) - 2, len(parts)]))
        parts[at:at] = [drawn.draw(planted | key)]
    data = SIGNATURE + b"".join(parts) + bytes(END) + CANARY * 2

    result = one_of_two(data)
    if result is not None:
        assert CANARY not in rebuild(data, AVATAR).data
        assert CANARY not in result.data
        check_stable(data, result)
