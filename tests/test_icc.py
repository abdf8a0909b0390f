"""What reaches the colour library of a profile: the tags it needs, in forms with a fixed number of steps."""

import io
import struct
import time

import pytest
from builders import icc
from builders.pictures import encoded, photograph
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image, ImageCms

import safeupload
from safeupload._icc import rebuild_profile


def profile(tags: dict[bytes, bytes], space: bytes = b"RGB ") -> bytes:
    """Return a profile with those tags, one behind the other."""
    position, table, content = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, tag in tags.items():
        table += struct.pack(">4sII", name, position + len(content), len(tag))
        content += tag + bytes(-len(tag) % 4)
    white = struct.pack(">3i", 63190, 65536, 54061)
    header = struct.pack(">I", position + len(content)) + b"test\4\x40\0\0mntr" + space + b"XYZ " + bytes(12) + b"acsp"
    return (header + bytes(28) + white).ljust(128, b"\0") + table + content


def names(data: bytes) -> list[bytes]:
    """Return the names of the tags."""
    return [data[at : at + 4] for at in range(132, 132 + 12 * int.from_bytes(data[128:132], "big"), 12)]


def steps(count: int) -> bytes:
    """Return a tag of that many steps, all of which are the same bytes."""
    matrix = b"matf" + bytes(4) + struct.pack(">HH", 3, 3) + struct.pack(">12f", 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0)
    table = struct.pack(">II", 16 + 8 * count, len(matrix)) * count
    return b"mpet" + bytes(4) + struct.pack(">HHI", 3, 3, count) + table + matrix


XYZ = b"XYZ " + bytes(16)


def test_a_good_profile_keeps_what_it_does() -> None:
    """The rebuilt profile is valid, and smaller."""
    whole = icc.P3.data
    mode, rebuilt = rebuild_profile(whole) or ("", b"")

    assert mode == "RGB"
    assert len(rebuilt) == int.from_bytes(rebuilt[:4], "big") <= len(whole)
    assert ImageCms.ImageCmsProfile(io.BytesIO(rebuilt)).profile.is_matrix_shaper
    assert rebuild_profile(rebuilt) == (mode, rebuilt)


@pytest.mark.parametrize(
    ("tags", "kept"),
    [
        ({b"rXYZ": XYZ, b"desc": b"desc" + bytes(20), b"cprt": b"text<script>"}, [b"rXYZ"]),
        ({b"A2B0": b"mft2" + bytes(60), b"A2B1": b"mft1" + bytes(60)}, [b"A2B0", b"A2B1"]),
        ({b"A2B2": b"mAB " + bytes(60)}, [b"A2B2"]),
        ({b"A2B0": steps(1), b"D2B0": steps(1), b"B2A0": b"mft2" + bytes(60)}, []),
        ({b"rTRC": b"curv" + bytes(8), b"gTRC": b"para" + bytes(8), b"bTRC": b"XYZ " + bytes(16)}, [b"rTRC", b"gTRC"]),
        ({b"rXYZ": b"curv" + bytes(8), b"wtpt": XYZ, b"chad": b"sf32" + bytes(36)}, [b"wtpt", b"chad"]),
        ({}, []),
    ],
    ids=["texts", "old tables", "new tables", "many steps", "curves", "wrong types", "nothing"],
)  # fmt: skip
def test_only_known_tags_of_known_types(tags: dict[bytes, bytes], kept: list[bytes]) -> None:
    """Whatever is not needed, or could be of any number of steps, is left out."""
    _, rebuilt = rebuild_profile(profile(tags)) or ("", b"")

    assert names(rebuilt) == kept
    assert all(tags[name] in rebuilt for name in kept)


def test_the_first_of_two_tags_counts() -> None:
    """A name stands once."""
    first, second = XYZ, b"XYZ " + b"\1" * 16
    data = profile({b"rXYZ": first, b"gXYZ": second}).replace(b"gXYZ", b"rXYZ")
    _, rebuilt = rebuild_profile(data) or ("", b"")

    assert names(rebuilt) == [b"rXYZ"]
    assert second not in rebuilt


def test_equal_tags_are_written_once() -> None:
    """Curves and tables that a profile shares between tags stay shared."""
    curve = b"curv" + bytes(4) + struct.pack(">I", 4096) + bytes(8192)
    shared = profile({b"rTRC": curve, b"gTRC": curve, b"bTRC": curve})
    _, rebuilt = rebuild_profile(shared) or ("", b"")

    assert names(rebuilt) == [b"rTRC", b"gTRC", b"bTRC"]
    assert len(rebuilt) < 1.1 * len(curve)
    assert rebuild_profile(rebuilt) == ("RGB", rebuilt)


def test_tags_that_overlap() -> None:
    """Tags that would grow by being written apart are nonsense."""
    data = bytearray(profile({name: b"XYZ " + bytes(4096) for name in (b"rXYZ", b"gXYZ", b"bXYZ")})[: 132 + 36 + 4104])
    for number, at in enumerate((140, 152, 164)):
        struct.pack_into(">I", data, at - 4, 168)
        struct.pack_into(">I", data, at, 4000 + number)
    assert rebuild_profile(bytes(data)) is None


@pytest.mark.parametrize(("count", "is_taken"), [(100, True), (101, False)])
def test_the_number_of_tags_is_bounded(count: int, is_taken: bool) -> None:  # noqa: FBT001
    """As many tags as there may be are read, one more is nonsense."""
    assert (rebuild_profile(profile({b"%04d" % number: XYZ for number in range(count)})) is not None) is is_taken


@pytest.mark.parametrize("cut", [0, 4, 127, 131, 135])
def test_a_profile_cut_short(cut: int) -> None:
    """Without a whole header and tag table there is no profile."""
    assert rebuild_profile(profile({b"rXYZ": XYZ})[:cut]) is None


def test_a_tag_outside_the_profile() -> None:
    """A tag that reaches beyond the end is left out."""
    _, rebuilt = rebuild_profile(profile({b"gXYZ": XYZ, b"rXYZ": XYZ})[:-1]) or ("", b"")

    assert names(rebuilt) == [b"gXYZ"]


@pytest.mark.parametrize(("length", "is_kept"), [(0, False), (7, False), (8, True)])
def test_a_tag_of_a_few_bytes(length: int, is_kept: bool) -> None:  # noqa: FBT001
    """A tag that does not have room for its type is left out, though the bytes there look like one."""
    data = bytearray(profile({b"rXYZ": XYZ}))
    struct.pack_into(">I", data, 140, length)
    _, rebuilt = rebuild_profile(bytes(data)) or ("", b"")

    assert names(rebuilt) == [b"rXYZ"] * is_kept
    assert rebuild_profile(rebuilt) == ("RGB", rebuilt)


@pytest.mark.property
@example(bytes(3), 225)
@given(st.binary(max_size=400), st.integers(0, 300))
def test_any_bytes(data: bytes, at: int) -> None:
    """Whatever a profile is overwritten with, it is rebuilt or ignored, and the colour library survives it."""
    whole = icc.SWAPPED.data
    changed = whole[:at] + data + whole[at + len(data) :]
    rebuilt = rebuild_profile(changed)

    if rebuilt is not None:
        assert rebuild_profile(rebuilt[1]) == rebuilt
    assert safeupload.normalize(encoded(photograph(16, 16), "PNG", icc_profile=changed)).info.width == 16


@pytest.mark.parametrize("name", ["PNG", "JPEG", "WEBP"])
def test_p2_a_profile_of_very_many_steps(name: str) -> None:
    """Half a kilobyte of profile that asks for 20,000 steps a node (8 seconds) costs no more than an honest one."""

    def cost(data: bytes) -> float:
        start = time.process_time()
        safeupload.normalize(data)
        return time.process_time() - start

    picture = photograph(64, 64)
    honest = encoded(picture, name, icc_profile=numbered_profile())
    hostile = encoded(picture, name, icc_profile=profile({b"wtpt": XYZ, b"D2B0": steps(7_000)}))

    safeupload.normalize(honest)
    assert cost(hostile) < 20 * cost(honest) + 0.1


def numbered_profile() -> bytes:
    """Return an honest profile."""
    return icc.SWAPPED.data


def test_the_steps_are_really_costly() -> None:
    """The attack of the test above is one: the colour library, asked directly, takes far longer."""
    data = profile({b"wtpt": XYZ, b"D2B0": steps(300)})
    start = time.process_time()
    source, target = (ImageCms.ImageCmsProfile(io.BytesIO(each)) for each in (data, icc.P3.data))
    ImageCms.applyTransform(Image.new("RGB", (1, 1)), ImageCms.buildTransform(source, target, "RGB", "RGB"))

    assert time.process_time() - start > 0.02
