"""Progressive JPEGs at 1/8: without most of their scans, and the same to the bit."""

from dataclasses import replace

import pytest
from builders import jpeg
from builders.pictures import encoded, photograph
from hypothesis import example, given
from hypothesis import strategies as st

from safeupload import AVATAR, Policy, TooComplex, normalize
from safeupload._decode import _load
from safeupload._formats import rebuild
from safeupload._formats._coarse import empty_scan, is_coarse


def runs(segments: bytes) -> list[int]:
    """Return the lengths of the runs in an empty scan, read as ITU-T T.81, G.2.2 says."""
    dri, dht, sos = b"\xff\xdd\0\4\0\0", b"\xff\xc4\0\x15\x10\0\2" + bytes(14), b"\xff\xda\0\x08\1\7\0\1\x3f\0"
    assert segments.startswith(dri + dht)
    symbols = segments[len(dri + dht) :][:2]
    rest = segments[len(dri + dht) + 2 :]
    assert rest.startswith(sos)
    entropy = rest[len(sos) :]
    assert b"\xff" not in entropy.replace(b"\xff\0", b"")
    bits = "".join(f"{byte:08b}" for byte in entropy.replace(b"\xff\0", b"\xff"))
    found = []
    while bits.strip("1") or len(bits) > 7:  # what is left is padding
        code, bits = bits[:2], bits[2:]
        length = symbols[{"00": 0, "01": 1}[code]]
        assert length & 15 == 0
        found.append((1 << (length >> 4)) + int(bits[: length >> 4] or "0", 2))
        bits = bits[length >> 4 :]
    return found


@pytest.mark.property
@example(32766)
@example(32767)
@example(2 * 32766 + 16384)
@example(32766 + 32765)
@given(st.integers(1, 200_000))
def test_an_empty_scan_covers_all_blocks(blocks: int) -> None:
    """Its runs are legal ones, and add up to the blocks of the component."""
    found = runs(empty_scan(7, blocks))

    assert sum(found) == blocks
    assert all(1 <= run <= 32767 for run in found)
    assert len(found) == -(-blocks // 32766)


@pytest.mark.parametrize("size", [(801, 603), (16, 16), (17, 19), (3000, 1000)])
@pytest.mark.parametrize("restart", [0, 3])
@pytest.mark.parametrize(
    ("mode", "subsampling"),
    [*[(mode, name) for mode in ("RGB", "CMYK") for name in ("4:4:4", "4:2:2", "4:2:0")], ("L", None)],
)
def test_the_same_to_the_bit(mode: str, subsampling: str | None, restart: int, size: tuple[int, int]) -> None:
    """Whatever the sampling, with restart markers or without."""
    options = {} if subsampling is None else {"subsampling": subsampling}
    picture = photograph(*size).convert(mode)
    data = encoded(picture, "JPEG", quality=90, progressive=True, restart_marker_blocks=restart, **options)
    found = rebuild(data, AVATAR)
    assert found.coarse_pieces is not None

    with _load(found, 8, AVATAR) as coarse, _load(replace(found, coarse_pieces=None), 8, AVATAR) as whole:
        assert coarse.size == whole.size
        assert coarse.tobytes() == whole.tobytes()
    if size == (3000, 1000) and not restart:
        assert sum(map(len, found.coarse_pieces)) < sum(map(len, found.pieces)) * 0.6


@pytest.mark.parametrize(
    ("sampling", "most", "expected"),
    [
        ((1, 1), (1, 1), True),
        ((2, 2), (2, 2), True),
        ((1, 1), (2, 2), False),
        ((1, 1), (2, 1), True),
        ((1, 2), (4, 4), False),
        ((3, 1), (4, 4), True),
    ],
)
def test_which_components_become_one_sample_a_block(
    sampling: tuple[int, int],
    most: tuple[int, int],
    expected: bool,  # noqa: FBT001
) -> None:
    """Those that are not half the resolution both ways."""
    assert is_coarse(sampling, most) is expected


def test_baseline_pictures_and_larger_scales_have_all_scans() -> None:
    """Nothing is left out where it is needed."""
    baseline = rebuild(jpeg.picture(), AVATAR)
    progressive = rebuild(jpeg.picture(progressive=True), AVATAR)

    assert baseline.pieces_at(8) is baseline.pieces
    assert progressive.pieces_at(4) is progressive.pieces
    assert progressive.pieces_at(8) is progressive.coarse_pieces


def test_scans_that_are_left_out_are_checked_all_the_same() -> None:
    """A progression that is not complete, or has too many scans, is refused whatever is decoded of it."""
    tiny = Policy(size=(1, 1))
    data = jpeg.picture(progressive=True)
    count = jpeg.markers(data).count(0xDA)

    assert normalize(data, tiny).width == 1
    with pytest.raises(TooComplex, match="scans"):
        normalize(data, replace(tiny, max_scans=count - 1))
    parts = jpeg.split(data)
    last = max(at for at, part in enumerate(parts) if part.marker == 0xDA)
    with pytest.raises(Exception, match="damaged"):
        normalize(jpeg.join([*parts[:last], *parts[last + 1 :]]), tiny)
