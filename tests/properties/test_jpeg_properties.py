"""JPEG: promises for any file, put together from parts right and wrong, or spoilt after it was whole."""

import random
from dataclasses import replace

import pytest
from builders import exif, jpeg
from builders.jpeg import AC, COM, DC, EOI, SOI, Part, Scan
from hypothesis import given
from hypothesis import strategies as st
from promises import one_of_two

import safeupload
from safeupload import AVATAR, NormalizedImage
from safeupload._formats import rebuild

CANARY = b"<a canary in metadata>"
LOOKAHEAD = b"\xff\x00" * 8  # stands in a rebuilt file of one scan for EOI

FILES = [
    jpeg.picture(),
    jpeg.picture(mode="L", restart=2),
    jpeg.picture(mode="CMYK", subsampling=2),
    jpeg.picture(progressive=True, subsampling=1),
    jpeg.picture(mode="L", progressive=True, restart=1),
    jpeg.join(jpeg.flat((17, 9), [DC, AC])),
    jpeg.join(
        jpeg.flat((17, 9), [Scan((n,)) for n in (1, 2, 3)], sampling=[(2, 1), (1, 1), (1, 1)], progressive=False)
    ),
]
PARTS = [jpeg.split(data) for data in FILES]
#: Decoded at 1/8, where a progressive picture is left without most of its scans.
TINY = replace(AVATAR, size=(1, 1))


#: Files by number: shorter to read than their bytes where a property fails.
numbers = st.integers(0, len(FILES) - 1)


def check_stable(data: bytes, result: NormalizedImage) -> None:
    """Check that the rebuilt file, once more rebuilt, is the same, and that the picture depends on nothing else."""
    first = rebuild(data, AVATAR)
    again = first.data if first.data.endswith(EOI) else first.data.removesuffix(LOOKAHEAD) + EOI

    assert rebuild(again, AVATAR) == replace(first, orientation=1, icc=None)
    if first.orientation == 1 and first.icc is None:
        assert safeupload.normalize(again).data == result.data


def check(data: bytes) -> None:
    """Check everything that holds for any bytes whatever."""
    result = one_of_two(data)
    if result is not None:
        check_stable(data, result)
    tiny = one_of_two(data, TINY)  # which may be right about what is decoded, and need not see damage in what is not
    assert result is None or tiny is not None


# --- pieces of files

markers = st.integers(0, 255)
silent_markers = st.sampled_from([COM, 0xCC, 0xDC, 0xE5, 0xED, 0xEF])
metadata_markers = st.sampled_from([COM, *range(0xE0, 0xF0), 0xCC, 0xDC])
lengths = st.none() | st.integers(0, 99) | st.just(0xFFFF)
magics = st.sampled_from(
    [b"", jpeg.JFIF, b"JFIF\0", b"Adobe\0\x64\0\0\0\0\2", exif.PREFIX, b"ICC_PROFILE\0\1\1", b"MPF\0"]
)
bodies = st.builds(bytes.__add__, magics, st.binary(max_size=30))
scans = st.builds(
    Scan,
    st.lists(st.integers(0, 4), max_size=5).map(tuple),
    st.sampled_from([0, 0, 1, 5, 63, 64]),
    st.sampled_from([0, 0, 5, 63, 63, 64]),
    st.integers(0, 3),
    st.integers(0, 3),
)
factors = st.tuples(st.integers(0, 5), st.integers(0, 5)) | st.just((1, 1))
frames = st.builds(
    jpeg.frame,
    st.tuples(*[st.sampled_from([0, 1, 8, 17, 65535])] * 2),
    st.lists(factors, max_size=5),
    marker=st.integers(0xC0, 0xCF),
    precision=st.sampled_from([8, 8, 8, 12, 0]),
)
orientations = st.builds(exif.orientation, st.integers(0, 9), st.sampled_from("<>")).map(
    lambda block: Part(jpeg.APP1, exif.PREFIX + block)
)
profiles = st.builds(jpeg.profile_part, st.integers(0, 3), st.integers(0, 3), st.binary(max_size=9))
pieces = st.one_of(
    st.sampled_from([bytes(part) for parts in PARTS for part in parts]),
    st.builds(bytes, st.builds(Part, metadata_markers, bodies, st.just(b""), lengths)),
    st.builds(bytes, st.builds(Part, markers, bodies, st.just(b""), lengths)),
    st.builds(bytes, frames | orientations | profiles),
    st.builds(lambda scan, entropy: bytes(Part(jpeg.SOS, scan.header, entropy)), scans, st.binary(max_size=40)),
    st.binary(max_size=9),
    st.sampled_from([SOI, EOI, b"\xff", b"\xff\xff", b"\xff\0", b"\xff\x01", b"\xff\xd0"]),
)


# What stands between two segments and says nothing of the picture.
dropped = st.one_of(
    st.builds(lambda marker, body: bytes(Part(marker, body)), silent_markers, st.binary(max_size=40)),
    st.sampled_from([b"\0", b"\xff\0", b"junk", *(fill + bytes(Part(COM)) for fill in (b"\xff", b"\xff" * 9))]),
)
planted = st.one_of(
    st.builds(
        lambda marker, magic, length: bytes(Part(marker, magic + CANARY, length=length)),
        metadata_markers,
        magics,
        st.none() | st.none() | st.integers(2, 40),
    ),
    # What is behind the segment is no part of a scan.
    st.builds(lambda marker, magic: bytes(Part(marker, magic)) + CANARY, metadata_markers, magics),
)


@st.composite
def disturbed(draw: st.DrawFn) -> bytes:
    """Draw a whole file into which pieces were put, and from which some were taken."""
    parts = [bytes(part) for part in PARTS[draw(numbers)]]
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(parts)))
        parts[at : at + draw(st.sampled_from([0, 0, 0, 1]))] = [draw(pieces)]
    return SOI + b"".join(parts) + draw(st.sampled_from([EOI, EOI, b""]))


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Draw a whole file of which bits were flipped, bytes replaced by others, and the end cut off."""
    data = bytearray(FILES[draw(numbers)])
    for _ in range(draw(st.integers(0, 3))):
        data[draw(st.integers(0, len(data) - 1))] ^= 1 << draw(st.integers(0, 7))
    for _ in range(draw(st.integers(0, 2))):
        at, taken = draw(st.integers(0, len(data))), draw(st.sampled_from([0, 1, 2, 9, 99]))
        other = FILES[draw(numbers)]
        start = draw(st.integers(0, len(other)))
        data[at : at + taken] = other[start : start + draw(st.sampled_from([0, 1, 2, 9, 99]))]
    cut = draw(st.none() | st.integers(0, len(data)))
    return bytes(data[:cut]) + draw(st.sampled_from([b"", b"", EOI]))


# --- promises


@pytest.mark.property
@given(st.lists(pieces, max_size=15), st.sampled_from([b"", EOI]))
def test_p1_any_parts(parts: list[bytes], end: bytes) -> None:
    """Any sequence of parts, valid or not, is a clean picture or a refusal, and stays what it is when rebuilt."""
    check(SOI + b"".join(parts) + end)


@pytest.mark.property
@given(disturbed())
def test_p1_disturbed_files(data: bytes) -> None:
    """So is a file with parts too many or too few."""
    check(data)


@pytest.mark.property
@given(mutated())
def test_p1_mutated_files(data: bytes) -> None:
    """So is a file with bits flipped, pieces of another in it, or its end cut off."""
    check(data)


@pytest.mark.property
@given(numbers, st.data())
def test_p4_whole_files(number: int, drawn: st.DataObject) -> None:
    """A whole file is taken whatever metadata, fill, and junk stands in it, and the pixels are the same."""
    parts = [bytes(part) for part in PARTS[number]]
    for _ in range(drawn.draw(st.integers(0, 4))):
        at = drawn.draw(st.integers(1, len(parts) - 1))
        parts[at:at] = [drawn.draw(dropped)]

    result = one_of_two(SOI + b"".join(parts) + EOI)

    assert result is not None
    assert result.info == safeupload.validate(FILES[number])
    assert result.data == safeupload.normalize(FILES[number]).data


@pytest.mark.property
@given(numbers, st.data())
def test_p3_no_canary(number: int, drawn: st.DataObject) -> None:
    """Nothing that stands in metadata, between segments, or behind the picture gets into the rebuilt file."""
    parts = [bytes(part) for part in PARTS[number]]
    for _ in range(drawn.draw(st.integers(1, 4))):
        at = drawn.draw(st.integers(0, len(parts)))
        parts[at:at] = [drawn.draw(planted)]
    data = SOI + b"".join(parts) + EOI + CANARY * 2

    result = one_of_two(data)
    if result is not None:
        assert CANARY not in rebuild(data, AVATAR).data
        assert CANARY not in result.data
        check_stable(data, result)


@pytest.mark.property
@given(st.data())
def test_p1_noise_in_scan(drawn: st.DataObject) -> None:
    """Any entropy-coded data whatever in a right frame is a clean picture or a refusal."""
    parts = list(PARTS[drawn.draw(numbers)])
    at = drawn.draw(st.sampled_from([number for number, part in enumerate(parts) if part.entropy]))
    seed, length = drawn.draw(st.integers(0, 99)), drawn.draw(st.integers(0, 2000))
    parts[at] = parts[at]._replace(entropy=random.Random(seed).randbytes(length).replace(b"\xff", b"\xff\0"))

    check(jpeg.join(parts))
