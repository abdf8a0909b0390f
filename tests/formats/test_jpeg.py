"""JPEG: what is kept, what is dropped, what is refused, and what it may cost."""

import io
import random
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise

import pytest
from builders import exif, jpeg
from builders.jpeg import AC, APP0, APP1, APP2, APP14, COM, DC, DHT, DQT, DRI, EOI, JFIF, SOI, SOS, Part, Scan
from PIL import Image
from promises import check_malformed, check_too_complex

import safeupload
from safeupload import AVATAR, Corrupt, FormatNotAllowed, TooComplex, TooManyPixels
from safeupload._decode import decoded
from safeupload._formats import Rebuilt, rebuild
from safeupload._formats import jpeg as module
from safeupload._plan import plans, render_bytes

#: What stands at the end of a rebuilt file of one scan in the place of EOI: 64 one bits.
LOOKAHEAD = b"\xff\x00" * 8

SMALL = jpeg.picture()
PARTS = jpeg.split(SMALL)
#: SMALL as it is rebuilt.
CLEAN = rebuild(SMALL, AVATAR).data

ONE, TWO, THREE = Scan((1,)), Scan((2,)), Scan((3,))
THREE_COMPONENTS = ((1, 1), (1, 1), (1, 1))


def raster(data: bytes) -> bytes:
    """Return the pixels that Pillow alone decodes."""
    with Image.open(io.BytesIO(data)) as image:
        return image.tobytes()


def safe_raster(data: bytes) -> bytes:
    """Return the pixels that are decoded from the rebuilt file."""
    with decoded(data, AVATAR) as (image, _, _):
        return image.tobytes()


def one_component(*script: Scan, progressive: bool = True) -> bytes:
    """Return a flat grey picture of 2 x 2 blocks in these scans."""
    return jpeg.join(jpeg.flat((16, 16), script, progressive=progressive))


def three_components(*script: Scan, progressive: bool = True) -> bytes:
    """Return a flat colour picture of 2 x 2 blocks a component in these scans."""
    return jpeg.join(jpeg.flat((16, 16), script, sampling=THREE_COMPONENTS, progressive=progressive))


def before_frame(*parts: Part) -> bytes:
    """Return a small picture with further segments behind its JFIF segment."""
    return jpeg.join([PARTS[0], *parts, *PARTS[1:]])


def with_frame(part: Part) -> bytes:
    """Return a file with this frame header and a scan of component 1."""
    return jpeg.join([*jpeg.TABLES, part, Part(SOS, ONE.header, b"\0")])


def in_header(run: bytes) -> bytes:
    """Return the small picture with a run of bytes behind its first segment."""
    return before_frame().replace(bytes(PARTS[0]), bytes(PARTS[0]) + run)


def in_scan(run: bytes) -> bytes:
    """Return the small picture with a run of bytes at the end of its scan."""
    return SMALL.removesuffix(EOI) + run + EOI


# --- what begins like a JPEG


@pytest.mark.parametrize(
    ("head", "expected"),
    [(SOI + b"\xff", True), (SOI + b"\xff\xe0", True), (SOI, False), (SOI + b"\xfe", False), (b"\xff\xd9\xff", False)],
)
def test_recognise(head: bytes, expected: bool) -> None:  # noqa: FBT001
    """A JPEG begins with SOI and the 0xFF of another marker."""
    assert module.recognise(head) is expected


# --- what is kept and what is dropped


def test_rebuilt_bytes() -> None:
    """A rebuilt file is SOI, JFIF, the tables in their order, the frame header, the scan, and no EOI."""
    app0, *tables, scan = PARTS
    frame = next(part for part in tables if part.marker == jpeg.SOF0)
    tables.remove(frame)

    assert app0.body == JFIF
    assert jpeg.join([app0, *tables, frame, scan], end=LOOKAHEAD) == CLEAN


def test_p3_rebuilt_drops_the_rest() -> None:
    """EXIF, XMP, profiles, thumbnails, comments, unknown segments, junk, and trailing data leave no byte behind."""
    extra = [
        Part(APP1, exif.PREFIX + exif.orientation(6) + b"canary"),
        Part(APP1, b"http://ns.adobe.com/xap/1.0/\0canary"),
        *jpeg.profile(b"canary" * 9, parts=2),
        Part(APP0, b"JFXX\0\x10canary"),
        Part(COM, b"canary"),
        *(Part(marker, b"canary") for marker in (0xCC, 0xDC, *range(0xE1, 0xF0))),
    ]
    everywhere = [piece for part in PARTS for piece in (*extra, part)]
    result = rebuild(SOI + b"canary".join(map(bytes, everywhere)) + EOI + b"canary" + SMALL, AVATAR)

    assert result.data == CLEAN
    assert (result.orientation, result.icc) == (6, None)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("restart", [0, 1, 3])
def test_p4_same_pixels(mode: str, progressive: bool, subsampling: int, restart: int) -> None:  # noqa: FBT001
    """The rebuilt file decodes to the pixels of the original, with restart intervals and without."""
    for size in ((1, 1), (8, 8), (61, 35)):
        data = jpeg.picture(size, mode, progressive=progressive, subsampling=subsampling, restart=restart)

        assert safe_raster(data) == raster(data)
        assert DRI in jpeg.markers(rebuild(data, AVATAR).data) or not restart


@pytest.mark.parametrize(
    "body",
    [JFIF, JFIF[:5] + b"\1\2\1\1\0\1\0\0\0", JFIF[:12] + b"\1\1rgb", JFIF + b"canary"],
)
def test_jfif_is_canonical(body: bytes) -> None:
    """Whatever version, density, or thumbnail a JFIF segment has, the rebuilt one is always the same."""
    assert rebuild(jpeg.join([Part(APP0, body), *PARTS[1:]]), AVATAR).data == CLEAN


@pytest.mark.parametrize("body", [b"", b"JFIF\0", JFIF[:13], b"JFXX" + JFIF[4:], b"jfif" + JFIF[4:]])
def test_no_jfif(body: bytes) -> None:
    """A segment that libjpeg would not take for JFIF is dropped, and none is made up."""
    result = rebuild(jpeg.join([Part(APP0, body), *PARTS[1:]]), AVATAR).data

    assert result == SOI + CLEAN.removeprefix(SOI + bytes(PARTS[0]))


def test_adobe() -> None:
    """Of an Adobe segment the twelve bytes that tell the colour transform stay; without it, RGB would be YCC."""
    image = Image.frombytes("RGB", (9, 9), random.Random(0).randbytes(243))
    data = jpeg.encode(image, keep_rgb=True)
    adobe = Part(APP14, b"Adobe\0\x64\0\0\0\0\0")

    assert [bytes(part) for part in jpeg.split(rebuild(data, AVATAR).data)][:1] == [bytes(adobe)]
    assert safe_raster(data) == raster(data)

    longer = data.replace(bytes(adobe), bytes(Part(APP14, adobe.body + b"canary")))

    assert longer != data
    assert rebuild(longer, AVATAR).data == rebuild(data, AVATAR).data


@pytest.mark.parametrize("body", [b"Adobe\0\x64\0\0\0\0", b"adobe\0\x64\0\0\0\0\1", b"Adobe", b""])
def test_no_adobe(body: bytes) -> None:
    """A segment that libjpeg would not take for Adobe's is dropped."""
    assert rebuild(before_frame(Part(APP14, body)), AVATAR).data == CLEAN


def test_last_adobe_counts() -> None:
    """Of several Adobe segments the last one counts, as in libjpeg, and only it is kept."""
    first, last = (Part(APP14, b"Adobe\0\x64\0\0\0\0" + transform) for transform in (b"\0", b"\1"))
    data = before_frame(first, last)

    assert rebuild(data, AVATAR).data == rebuild(before_frame(last), AVATAR).data
    assert safe_raster(data) == raster(data)


@pytest.mark.parametrize("marker", [jpeg.TEM, *range(0xD0, 0xD8)])
def test_markers_without_length(marker: int) -> None:
    """A marker that stands alone is dropped between segments, and the two bytes behind it are no length."""
    alone = bytes([0xFF, marker])

    assert rebuild(SOI + alone + SMALL[2:], AVATAR).data == CLEAN


@pytest.mark.parametrize("marker", [0x02, 0x4F, 0xBF, 0xD8])
@pytest.mark.parametrize("at", [0, 3])
def test_reserved_markers(marker: int, at: int) -> None:
    """A reserved marker, or SOI once more, is malformed."""
    check_malformed(jpeg.join([*PARTS[:at], Part(marker, b"12"), *PARTS[at:]]), f"marker {marker:#x}")


@pytest.mark.parametrize("marker", [0xC8, 0xF0, 0xF9, 0xFD])
def test_markers_of_extensions(marker: int) -> None:
    """A JPG or JPGn segment is refused: Pillow takes a frame header inside it for that of the picture."""
    hidden = bytes(jpeg.frame((64, 64), THREE_COMPONENTS))
    data = jpeg.join([*PARTS[:-1], Part(marker, hidden), PARTS[-1]])

    assert Image.open(io.BytesIO(data)).size == (64, 64)
    check_malformed(data, f"marker {marker:#x}")


@pytest.mark.parametrize("fill", [1, 2, 7, 1000])
def test_fill_bytes(fill: int) -> None:
    """Any number of 0xFF before a marker is fill; only behind a scan it is kept, where decoders pass over it."""
    fill_bytes = b"\xff" * fill
    whole = jpeg.join(jpeg.flat((16, 16), [ONE, TWO, THREE], sampling=THREE_COMPONENTS, progressive=False))
    *head, last = jpeg.split(whole)
    filled = SOI + b"".join(fill_bytes + bytes(part) for part in head) + bytes(last)

    assert rebuild(SOI + fill_bytes + whole[2:], AVATAR).data == rebuild(whole, AVATAR).data
    assert safe_raster(filled + fill_bytes + EOI) == raster(whole)


def test_fill_bytes_within_scan() -> None:
    """Fill before a stuffed zero byte does not end a scan; what libjpeg makes of it, it makes of the rebuilt file."""
    data = jpeg.picture((96, 64))
    *head, scan = jpeg.split(data)
    filled = jpeg.join([*head, scan._replace(entropy=scan.entropy.replace(b"\xff\0", b"\xff\xff\xff\0"))])

    assert b"\xff\0" in scan.entropy
    assert b"\xff\xff\xff\0" in rebuild(filled, AVATAR).data
    assert safe_raster(filled) == raster(filled)


@pytest.mark.parametrize("junk", [b"\0", b"\xff\0", b"\xff\0\xff", b"junk" * 99, bytes(range(255))])
def test_junk(junk: bytes) -> None:
    """What stands between two segments and is no marker is dropped."""
    assert rebuild(SOI + b"".join(bytes(part) + junk for part in PARTS[:-1]) + bytes(PARTS[-1]), AVATAR).data == CLEAN


@pytest.mark.parametrize("window", [1, 2, 3, 17, 64, 1000])
def test_search_windows(monkeypatch: pytest.MonkeyPatch, window: int) -> None:
    """In steps of whatever length a file is searched, every marker is found where it is."""
    files = [
        SMALL,
        jpeg.picture(progressive=True, restart=1),
        before_frame(Part(COM, bytes(300))).replace(bytes(PARTS[0]), bytes(PARTS[0]) + bytes(99)),
    ]
    expected = [rebuild(data, AVATAR).data for data in files]
    monkeypatch.setattr(module, "_WINDOW", window)

    assert [rebuild(data, AVATAR).data for data in files] == expected


@pytest.mark.parametrize("beyond", range(-3, 4))
def test_search_window(beyond: int) -> None:
    """A marker is found on either side of the end of a search window, and across it."""
    run = bytes(module._WINDOW + beyond)

    assert rebuild(in_header(run), AVATAR).data == CLEAN
    assert rebuild(in_scan(run), AVATAR).data == CLEAN.removesuffix(LOOKAHEAD) + run + LOOKAHEAD


@pytest.mark.parametrize(
    ("scan", "progressive", "least"),
    [
        (Scan((1,)), False, 2 * 8 * 8),  # a bit for DC and one for the end of each of 8 x 8 blocks
        (Scan((1,), 0, 0, 0, 0), True, 8 * 8),  # a bit for DC
        (Scan((1,), 1, 63, 0, 0), True, 1),  # one run may end all blocks
    ],
)
def test_a_scan_has_bits_for_its_blocks(scan: Scan, progressive: bool, least: int) -> None:  # noqa: FBT001
    """A scan with fewer bits than any coding of its blocks takes is torn, and refused before it is decoded."""
    before = [DC] if progressive and scan.header[-3] else []
    parts = jpeg.split(jpeg.join(jpeg.flat((64, 64), before, progressive=progressive))) if before else []
    head = parts or [*jpeg.TABLES, jpeg.frame((64, 64), marker=jpeg.SOF2 if progressive else jpeg.SOF0)]

    for length, is_enough in ((-(-least // 8), True), (-(-least // 8) - 1, False)):
        data = jpeg.join([*head, Part(SOS, scan.header, bytes(length))])
        if is_enough:
            with suppress(Corrupt):  # too little of the picture, but not of this scan
                rebuild(data, AVATAR)
        else:
            check_malformed(data, f"a scan of {length} bytes for 64 blocks")


# --- tables


def test_tables_of_one_segment() -> None:
    """Tables that share a segment are kept, each in one of its own."""
    joined = [
        PARTS[0],
        *(Part(kind, b"".join(part.body for part in PARTS if part.marker == kind)) for kind in (DQT, DHT)),
        *(part for part in PARTS[1:] if part.marker not in {DQT, DHT}),
    ]

    assert rebuild(jpeg.join(joined), AVATAR).data == CLEAN


def test_table_redefined_before_use() -> None:
    """Of two definitions of a table the last before a scan is kept, at the place of the first."""
    table = next(part for part in PARTS if part.marker == DQT)
    wrong = table._replace(body=table.body[:1] + b"\x63" * 64)

    assert rebuild(before_frame(wrong), AVATAR).data == CLEAN


def test_table_redefined_between_scans() -> None:
    """A table that changes between two scans stands before the scan that it is for."""
    *head, first, second, third = jpeg.flat((16, 16), [ONE, TWO, THREE], sampling=THREE_COMPONENTS, progressive=False)
    changed = Part(DHT, b"\x00" + bytes([2, *[0] * 15]) + b"\0\1")
    interval = Part(DRI, b"\0\2")
    result = rebuild(jpeg.join([*head, first, changed, second, interval, third, changed]), AVATAR)

    assert result.data == jpeg.join([*head, first, changed, second, interval, third])


def test_tables_of_a_real_picture_between_scans() -> None:
    """A progressive picture as libjpeg optimizes it has tables between its scans, and decodes as it did."""
    data = jpeg.picture((61, 35), progressive=True, subsampling=2)
    scans = [number for number, marker in enumerate(jpeg.markers(data)) if marker == SOS]

    assert DHT in jpeg.markers(data)[scans[0] : scans[-1]]
    assert safe_raster(data) == raster(data)


@pytest.mark.parametrize(
    "body",
    [
        b"\x04" + bytes(64),
        b"\x0f" + bytes(64),
        b"\x00" + bytes(63),
        b"\x13" + bytes(127),
        b"\x00" + bytes(64) + b"\x01",
    ],
)
def test_bad_quantization_table(body: bytes) -> None:
    """A quantization table of another number than 0 to 3, or cut short, is malformed."""
    check_malformed(before_frame(Part(DQT, body)), "quantization table")


@pytest.mark.parametrize("number", range(4))
def test_quantization_tables(number: int) -> None:
    """Quantization tables of both precisions and all four numbers are kept."""
    rest = [jpeg.frame((8, 8)), Part(SOS, ONE.header, b"\0")]
    for table in (Part(DQT, bytes([number]) + b"\1" * 64), Part(DQT, bytes([16 | number]) + b"\0\1" * 64)):
        file = [table, *rest]

        assert rebuild(jpeg.join(file), AVATAR).data == jpeg.join(file, end=LOOKAHEAD)


@pytest.mark.parametrize(
    "body",
    [
        b"\x04" + bytes(16),
        b"\x14" + bytes(16),
        b"\x20" + bytes(16),
        b"\x80" + bytes(16),
        b"\x00" + bytes(15),
        b"\x00",
        b"\x00\2" + bytes(15) + b"\0",
        b"\x00" + b"\xff" * 16 + bytes(255 * 16 - 1),
        b"\x00" + bytes(16) + b"\x10",
    ],
)
def test_bad_huffman_table(body: bytes) -> None:
    """A Huffman table of another class or number, or with fewer symbols than it says, is malformed."""
    check_malformed(before_frame(Part(DHT, body)), "Huffman table")


@pytest.mark.parametrize("number", [0, 1, 2, 3, 0x10, 0x11, 0x12, 0x13])
def test_huffman_tables(number: int) -> None:
    """Huffman tables of both classes and all four numbers are kept."""
    file = [Part(DHT, bytes([number, 2, *[0] * 15]) + b"\0\1"), jpeg.frame((8, 8)), Part(SOS, ONE.header, b"\0")]

    assert rebuild(jpeg.join(file), AVATAR).data == jpeg.join(file, end=LOOKAHEAD)


def test_large_huffman_table() -> None:
    """A Huffman table of so many symbols that its length takes both bytes is kept."""
    table = Part(DHT, b"\x10" + bytes([*[0] * 15, 255]) + bytes(range(255)))
    file = [table, jpeg.frame((8, 8)), Part(SOS, ONE.header, b"\0")]

    assert rebuild(jpeg.join(file), AVATAR).data == jpeg.join(file, end=LOOKAHEAD)


@pytest.mark.parametrize("body", [b"", b"\1", b"\0\0\1"])
def test_bad_restart_interval(body: bytes) -> None:
    """A restart interval that is not of two bytes is malformed."""
    check_malformed(before_frame(Part(DRI, body)), "restart interval")


# --- segments


@pytest.mark.parametrize("length", [0, 1])
def test_length_too_short(length: int) -> None:
    """A segment whose length does not cover the length field is malformed."""
    check_malformed(before_frame(Part(COM, b"", length=length)), f"segment of length {length}")


def test_length_beyond_the_end() -> None:
    """A segment may end with the file, not behind it."""
    segment = bytes(Part(COM, b"12"))

    check_malformed(SOI + segment, "ends without EOI")
    for cut in range(2, len(segment)):
        check_malformed(SOI + segment[:cut], "segment of length")


@pytest.mark.parametrize("data", [SOI + b"\xff", SOI + b"\xff\xff", SOI + b"\xff\0" * 9, SOI + b"\xff\x01" * 9])
def test_no_marker(data: bytes) -> None:
    """A file without a further marker is malformed."""
    check_malformed(data, "ends without EOI")


@pytest.mark.parametrize(
    ("marker", "name"),
    [
        *((marker, "lossless JPEG") for marker in (0xC3, 0xC7, 0xCB, 0xCF)),
        *((marker, "hierarchical JPEG") for marker in (0xC5, 0xC6, 0xCD, 0xCE, 0xDE, 0xDF)),
        *((marker, "arithmetic-coded JPEG") for marker in (0xC9, 0xCA)),
    ],
)
def test_other_processes(marker: int, name: str) -> None:
    """A JPEG of a process that browsers do not decode is named for what it is."""
    with pytest.raises(FormatNotAllowed) as caught:
        safeupload.validate(with_frame(jpeg.frame((8, 8), marker=marker)))

    assert caught.value.format == name
    assert caught.value.allowed == tuple(sorted(AVATAR.formats))


def test_12_bits() -> None:
    """A JPEG of 12 bits a sample is named for what it is; other depths do not exist."""
    with pytest.raises(FormatNotAllowed) as caught:
        safeupload.validate(with_frame(jpeg.frame((8, 8), marker=jpeg.SOF1, precision=12)))

    assert caught.value.format == "12-bit JPEG"
    for precision in (0, 7, 9, 16):
        check_malformed(with_frame(jpeg.frame((8, 8), precision=precision)), f"of {precision} bits")


# --- frame header


@pytest.mark.parametrize("marker", [jpeg.SOF0, jpeg.SOF1])
def test_sequential_processes(marker: int) -> None:
    """Baseline and extended sequential pictures are kept as what they are."""
    result = rebuild(with_frame(jpeg.frame((8, 8), marker=marker)), AVATAR)

    assert jpeg.markers(result.data)[-2:] == [marker, SOS]
    assert result.canvas == (8, 8)


@pytest.mark.parametrize("cut", range(9))
def test_frame_header_cut(cut: int) -> None:
    """A frame header shorter than it says is malformed."""
    part = jpeg.frame((8, 8))

    check_malformed(with_frame(part._replace(body=part.body[:cut])), "frame header of the wrong length")


def test_frame_header_longer() -> None:
    """A frame header longer than it says is malformed."""
    part = jpeg.frame((8, 8))

    check_malformed(with_frame(part._replace(body=part.body + b"\0")), "frame header of the wrong length")


@pytest.mark.parametrize("count", [0, 2, 5])
def test_component_counts(count: int) -> None:
    """A picture has 1, 3, or 4 components."""
    body = jpeg.frame((8, 8)).body[:5] + bytes([count]) + b"".join(bytes([n, 0x11, 0]) for n in range(count))

    check_malformed(with_frame(Part(jpeg.SOF0, body)), f"{count} components")


@pytest.mark.parametrize("size", [(0, 8), (8, 0), (0, 0)])
def test_no_pixels(size: tuple[int, int]) -> None:
    """A picture without pixels is malformed, also where the height is to come in a DNL segment."""
    check_malformed(with_frame(jpeg.frame(size)), "a picture of")


def test_p2_pixels() -> None:
    """A picture of as many pixels as the policy allows is taken, one with more is not."""
    data = jpeg.picture((25, 16))

    assert rebuild(data, replace(AVATAR, max_pixels=400)).canvas == (25, 16)
    with pytest.raises(TooManyPixels) as caught:
        rebuild(data, replace(AVATAR, max_pixels=399))
    assert (caught.value.pixels, caught.value.limit) == (400, 399)


@pytest.mark.parametrize("factor", [(0, 1), (1, 0), (5, 1), (1, 5), (15, 15)])
def test_bad_sampling(factor: tuple[int, int]) -> None:
    """A sampling factor is 1 to 4."""
    check_malformed(with_frame(jpeg.frame((8, 8), [(1, 1), factor, (1, 1)])), "sampling factors")


def test_component_numbers() -> None:
    """Two components of one number are malformed; otherwise the numbers are free."""
    frame = jpeg.frame((8, 8), THREE_COMPONENTS, numbers=[0, 255, 7])
    scan = Part(SOS, Scan((0, 255, 7)).header, bytes(2))

    assert rebuild(jpeg.join([*jpeg.TABLES, frame, scan]), AVATAR).canvas == (8, 8)
    for numbers in ([1, 2, 1], [1, 1, 2], [3, 3, 3]):
        check_malformed(with_frame(jpeg.frame((8, 8), THREE_COMPONENTS, numbers=numbers)), "the same number")


@pytest.mark.parametrize("second", [jpeg.SOF0, jpeg.SOF2])
def test_two_frames(second: int) -> None:
    """A second frame header is malformed, before the scans as between them."""
    *head, first, last = jpeg.flat((16, 16), [DC, AC])
    frame = jpeg.frame((16, 16), marker=second)

    check_malformed(jpeg.join([*head, frame, first, last]), "two frame headers")
    check_malformed(jpeg.join([*head, first, frame, last]), "two frame headers")


# --- scans


def test_scan_before_frame() -> None:
    """A scan before the frame header is malformed."""
    check_malformed(jpeg.join([PARTS[-1], *PARTS[:-1]]), "before the frame header")


@pytest.mark.parametrize("data", [jpeg.join(PARTS[:-1]), jpeg.join([]), jpeg.join(PARTS[:1])])
def test_no_scan(data: bytes) -> None:
    """A file without a scan, or without a frame header, is malformed."""
    check_malformed(data, "scans are missing")


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"\0\0\x3f\0",
        b"\1\1\0\0\x3f",
        b"\1\1\0\0\x3f\0\0",
        b"\2\1\0\0\x3f\0",
        b"\5" + bytes(13),
        b"\1",
    ],
)
def test_bad_scan_header(header: bytes) -> None:
    """A scan header of no component, of more than four, or of the wrong length is malformed."""
    check_malformed(jpeg.join([*jpeg.flat((8, 8), []), Part(SOS, header, b"\0")]), "scan header")


@pytest.mark.parametrize("numbers", [(2,), (1, 1), (1, 2), (0,)])
def test_bad_scan_components(numbers: tuple[int, ...]) -> None:
    """A scan of a component that the frame does not have, or of one twice, is malformed."""
    data = jpeg.join([*jpeg.flat((8, 8), []), Part(SOS, Scan(numbers, 0, 0).header, b"\0")])

    check_malformed(data, "components that the frame does not have")


@pytest.mark.parametrize("twice", [(ONE, ONE, TWO, THREE), (ONE, Scan((1, 2)), THREE), (Scan((1, 2)), TWO, THREE)])
def test_component_coded_twice(twice: tuple[Scan, ...]) -> None:
    """A sequential picture that codes a component twice is malformed: it could be two pictures in one."""
    check_malformed(three_components(*twice, progressive=False), "codes again")


@pytest.mark.parametrize("script", [(ONE, TWO), (Scan((1, 3)),), (TWO, THREE)])
def test_component_missing(script: tuple[Scan, ...]) -> None:
    """A sequential picture that lacks a component is malformed."""
    check_malformed(three_components(*script, progressive=False), "scans are missing")


@pytest.mark.parametrize(
    "script", [(ONE, TWO, THREE), (THREE, ONE, TWO), (Scan((1, 2)), THREE), (Scan((1, 2, 3)),), (ONE, Scan((2, 3)))]
)
def test_sequential_scripts(script: tuple[Scan, ...]) -> None:
    """A sequential picture may come in any scans that code each component once."""
    data = three_components(*script, progressive=False)

    assert jpeg.markers(rebuild(data, AVATAR).data).count(SOS) == len(script)
    assert safe_raster(data) == raster(data)


def test_sequential_scan_ignores_progression() -> None:
    """What a sequential scan says of coefficients and bits means nothing, as in libjpeg."""
    assert safe_raster(one_component(Scan((1,), 5, 2, 1, 3), progressive=False)) == bytes([128]) * 256


@pytest.mark.parametrize(
    "scan",
    [
        Scan((1,), 0, 1),
        Scan((1,), 0, 63),
        Scan((1,), 5, 4),
        Scan((1,), 1, 0),
        Scan((1,), 1, 64),
        Scan((1,), 64, 64),
        Scan((1,), 63, 255),
        Scan((1, 2), 1, 5),
    ],
)
def test_bad_progression(scan: Scan) -> None:
    """A progressive scan codes either DC, or one band of AC coefficients of one component."""
    check_malformed(three_components(Scan((1, 2, 3), 0, 0), scan), "a scan of coefficients")


COMPLETE = (
    Scan((1, 2, 3), 0, 0, 0, 1),
    Scan((1,), 1, 5, 0, 2),
    Scan((3,), 1, 63, 0, 1),
    Scan((2,), 1, 63, 0, 1),
    Scan((1,), 6, 63, 0, 2),
    Scan((1,), 1, 63, 2, 1),
    Scan((1, 2, 3), 0, 0, 1, 0),
    Scan((3,), 1, 63, 1, 0),
    Scan((2,), 1, 63, 1, 0),
    Scan((1,), 1, 63, 1, 0),
)


def test_progressive_script() -> None:
    """A progressive picture in the ten scans of libjpeg's standard script is whole."""
    data = three_components(*COMPLETE)

    assert jpeg.markers(rebuild(data, AVATAR).data).count(SOS) == 10
    assert safe_raster(data) == raster(data)


@pytest.mark.parametrize("missing", range(6, 10))
def test_refinement_missing(missing: int) -> None:
    """A progressive picture that lacks the last bit of anything is incomplete."""
    script = [scan for number, scan in enumerate(COMPLETE) if number != missing]

    check_malformed(three_components(*script), "scans are missing")


@pytest.mark.parametrize("missing", range(6))
def test_first_scan_missing(missing: int) -> None:
    """A progressive picture that lacks a scan which later ones refine is incomplete."""
    script = [scan for number, scan in enumerate(COMPLETE) if number != missing]

    check_malformed(three_components(*script), "refines what was not coded")


@pytest.mark.parametrize("scan", [Scan((1,), 0, 0, 0, 1), Scan((1,), 0, 0, 0, 0), Scan((1,), 0, 0, 3, 2)])
@pytest.mark.parametrize("at", [1, 2])
def test_coded_again(scan: Scan, at: int) -> None:
    """A progressive scan that codes again what was coded, or refines another bit than the next, is malformed."""
    script = [Scan((1,), 0, 0, 0, 2), AC, Scan((1,), 0, 0, 2, 1), Scan((1,), 0, 0, 1, 0)]

    assert rebuild(one_component(*script), AVATAR).canvas == (16, 16)
    check_malformed(one_component(*script[:at], scan, *script[at:]), "codes again")


@pytest.mark.parametrize(("high", "low"), [(2, 0), (1, 1), (1, 2), (2, 2), (15, 0)])
def test_refinement_by_one_bit(high: int, low: int) -> None:
    """A refinement adds the next bit, no other."""
    check_malformed(one_component(Scan((1,), 0, 0, 0, high), AC, Scan((1,), 0, 0, high, low)), "codes again")


def test_refinement_of_some() -> None:
    """A refinement of a band of which a coefficient was not coded, or was coded already, is malformed."""
    coded = Scan((1,), 1, 5, 0, 1)

    check_malformed(one_component(DC, coded, Scan((1,), 1, 6, 1, 0)), "refines what was not coded")
    check_malformed(one_component(DC, coded, Scan((1,), 6, 63), Scan((1,), 1, 63, 1, 0)), "codes again")


@pytest.mark.parametrize("length", range(10))
def test_progressive_cut_between_scans(length: int) -> None:
    """A progressive picture that ends after any scan but the last is incomplete, with EOI and without."""
    data = three_components(*COMPLETE[:length])

    check_malformed(data, "scans are missing")
    check_malformed(data.removesuffix(EOI), "ends without EOI")


@pytest.mark.parametrize(
    "script",
    [
        (DC,),
        (AC,),
        (DC, Scan((1,), 1, 62)),
        (DC, Scan((1,), 2, 63)),
        (DC, Scan((1,), 1, 30), Scan((1,), 32, 63)),
        (DC, Scan((1,), 1, 63, 0, 1)),
        (Scan((1,), 0, 0, 0, 1), AC),
    ],
)
def test_coefficients_missing(script: tuple[Scan, ...]) -> None:
    """A progressive picture that lacks a coefficient, or a bit of one, is incomplete."""
    check_malformed(one_component(*script), "scans are missing")


def test_progressive_needs_eoi() -> None:
    """A progressive picture ends with EOI: only that tells that no scan is missing."""
    data = one_component(DC, AC)

    assert rebuild(data, AVATAR).data == data
    check_malformed(data.removesuffix(EOI), "ends without EOI")
    check_malformed(data.removesuffix(EOI) + b"\xff", "ends without EOI")


def test_sequential_needs_no_eoi() -> None:
    """A sequential picture with all its components is whole, and what stands behind it is not part of it."""
    for tail in (b"", b"\xff\xd8", bytes(Part(COM, b"", length=1))):
        assert rebuild(SMALL.removesuffix(EOI) + tail, AVATAR).data == CLEAN
    for tail in (b"\xff", b"\xff\xff", b"\xff" * 100_000, b"\xff" * 9 + b"\xd8"):
        assert safe_raster(SMALL.removesuffix(EOI) + tail) == raster(SMALL)


# --- several pictures in one file, and files cut short


def test_mpo() -> None:
    """Of a file of several pictures only the first is taken, whatever its index says."""
    red, blue = (jpeg.encode(Image.new("RGB", (64, 64), colour)) for colour in ("red", "blue"))
    first = jpeg.split(red)
    index = Part(APP2, b"MPF\0MM\0*\0\0\0\x08\0\1\xb0\1\0\4\0\0\0\1\0\0\0\2\0\0\0\0")
    data = jpeg.join([first[0], index, *first[1:]]) + blue

    assert rebuild(data, AVATAR).data == rebuild(red, AVATAR).data
    assert safeupload.normalize(data).data == safeupload.normalize(red).data
    assert safeupload.validate(data).format == "JPEG"


def test_progressive_then_another() -> None:
    """A second picture behind a progressive one is dropped, too."""
    data = jpeg.picture(progressive=True)

    assert rebuild(data + SMALL, AVATAR).data == rebuild(data, AVATAR).data


TORN = jpeg.picture((96, 64))
TORN_SCAN = len(TORN) - len(EOI) - len(jpeg.split(TORN)[-1].entropy)


@pytest.mark.parametrize("fraction", [0, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97])
@pytest.mark.parametrize("tail", [b"", EOI, b"\xff", b"\xff\0", bytes(64), LOOKAHEAD + EOI])
def test_torn_scan(fraction: float, tail: bytes) -> None:
    """A picture of one scan that is cut within it is corrupt, also with an EOI or padding glued on."""
    cut = TORN_SCAN + int((len(TORN) - TORN_SCAN) * fraction)

    with pytest.raises(Corrupt):
        safeupload.validate(TORN[:cut] + tail)


# Of the last two or three blocks, the lookahead may pass for the rest: some 70 bytes in pictures of noise.
LAST_BLOCKS = 120


@pytest.mark.parametrize("end", [b"", EOI])
@pytest.mark.parametrize("restart", [0, 2])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_cut_sequential(mode: str, restart: int, end: bytes) -> None:
    """A picture of one scan that is cut anywhere before its last blocks is corrupt, also with an EOI glued on."""
    data = jpeg.picture(mode=mode, restart=restart)
    for cut in range(3, len(data) - LAST_BLOCKS, 3):
        with pytest.raises(Corrupt):
            safeupload.validate(data[:cut] + end)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_cut_progressive(mode: str) -> None:
    """A progressive picture that is cut anywhere is corrupt; with an EOI glued on, anywhere before its last scan."""
    data = jpeg.picture(mode=mode, progressive=True)
    last = len(data) - len(EOI) - len(bytes(jpeg.split(data)[-1]))
    for cut in range(3, len(data)):
        check_malformed(data[:cut])
    for cut in range(3, last):
        check_malformed(data[:cut] + EOI)


# --- orientation and profile


def test_orientation() -> None:
    """The orientation comes from the first EXIF segment; other APP1 segments say nothing."""
    first, second = (Part(APP1, exif.PREFIX + exif.orientation(value)) for value in (6, 3))
    xmp = Part(APP1, b"http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation='8'/>")
    bare = Part(APP1, exif.orientation(8))

    assert rebuild(before_frame(xmp, bare, first, second), AVATAR).orientation == 6
    assert rebuild(before_frame(xmp, bare), AVATAR).orientation == 1
    assert rebuild(before_frame(Part(APP1, exif.PREFIX), first), AVATAR).orientation == 1


PROFILE = random.Random(1).randbytes(1000)


@pytest.mark.parametrize("parts", [1, 2, 3, 250])
def test_profile(parts: int) -> None:
    """A colour profile is put together from its parts, in whatever order they come."""
    pieces = jpeg.profile(PROFILE, parts=parts)

    assert rebuild(before_frame(*pieces), AVATAR).icc == PROFILE
    assert rebuild(before_frame(*reversed(pieces)), AVATAR).icc == PROFILE


def _missing(parts: list[Part]) -> list[Part]:
    return [parts[0], parts[2]]


def _first_missing(parts: list[Part]) -> list[Part]:
    return parts[1:]


def _last_missing(parts: list[Part]) -> list[Part]:
    return parts[:2]


def _twice(parts: list[Part]) -> list[Part]:
    return [*parts, parts[1]]


def _one_more(parts: list[Part]) -> list[Part]:
    return [*parts, jpeg.profile_part(4, 3, b"4")]


def _zeroth(parts: list[Part]) -> list[Part]:
    return [*parts, jpeg.profile_part(0, 3, b"0")]


def _short(parts: list[Part]) -> list[Part]:
    return [*parts, Part(APP2, b"ICC_PROFILE\0\4")]


def _empty(parts: list[Part]) -> list[Part]:
    return [*parts, Part(APP2, b"ICC_PROFILE\0")]


def _of_none(parts: list[Part]) -> list[Part]:
    return [jpeg.profile_part(1, 0, PROFILE)]


@pytest.mark.parametrize(
    "spoil",
    [_missing, _first_missing, _last_missing, _twice, _one_more, _zeroth, _short, _empty, _of_none],
)
def test_broken_profile(spoil: Callable[[list[Part]], list[Part]]) -> None:
    """A profile with a part missing, there twice, or too short is ignored; the picture is not refused."""
    result = rebuild(before_frame(*spoil(jpeg.profile(PROFILE, parts=3))), AVATAR)

    assert result.icc is None
    assert result.data == CLEAN


def test_no_profile() -> None:
    """Other APP2 segments are no profile."""
    for body in (b"", b"ICC_PROFILE", b"icc_profile\0\1\1x", b"FPXR\0\1\1x"):
        assert rebuild(before_frame(Part(APP2, body)), AVATAR).icc is None


# --- what it may cost


def test_memory() -> None:
    """A picture of several scans costs two bytes a coefficient besides its pixels; one of a single scan does not."""
    sampling = [(2, 2), (1, 1), (1, 1)]
    size = (33, 17)  # 3 x 2 MCUs of 4 + 1 + 1 blocks
    single = rebuild(jpeg.join(jpeg.flat(size, [Scan((1, 2, 3))], sampling=sampling, progressive=False)), AVATAR)
    several = rebuild(jpeg.join(jpeg.flat(size, [ONE, TWO, THREE], sampling=sampling, progressive=False)), AVATAR)
    script = [Scan((1, 2, 3), 0, 0), *(Scan((number,), 1, 63) for number in (1, 2, 3))]
    progressive = rebuild(jpeg.join(jpeg.flat(size, script, sampling=sampling)), AVATAR)

    assert [each.fixed_bytes for each in (single, several, progressive)] == [0, 36 * 128, 36 * 128]
    assert single.decode_bytes(1) == 2 * len(single.data) + 4 * 33 * 17 + 16 * (33 + 17)
    assert single.decode_bytes(8) == 2 * len(single.data) + 4 * 5 * 3 + 16 * (5 + 3)
    assert progressive.decode_bytes(2) == 2 * len(progressive.data) + 36 * 128 + 4 * 17 * 9 + 16 * (17 + 9)


@pytest.mark.parametrize(("mode", "expected"), [("L", 1), ("RGB", 4), ("CMYK", 4)])
def test_description(mode: str, expected: int) -> None:
    """What is told of a picture is what its header says."""
    result = rebuild(jpeg.picture((40, 24), mode), AVATAR)

    assert result == Rebuilt(
        format="JPEG",
        canvas=(40, 24),
        frame=(0, 0, 40, 24),
        pieces=result.pieces,
        pixel_bytes=expected,
        scalable=True,
    )


def test_p2_decode_memory() -> None:
    """A progressive picture is taken at the memory limit and refused one byte below it."""
    data = one_component(DC, AC)
    need = (
        2 * len(rebuild(data, AVATAR).data)
        + 4 * 128
        + 16 * 16
        + 16 * (16 + 16)
        + render_bytes(plans(rebuild(data, AVATAR), AVATAR), rebuild(data, AVATAR), AVATAR)
    )

    assert safeupload.validate(data, replace(AVATAR, max_decode_bytes=need)).width == 16
    with pytest.raises(TooComplex) as caught:
        safeupload.validate(data, replace(AVATAR, max_decode_bytes=need - 1))
    assert (caught.value.what, caught.value.limit) == ("memory", need - 1)


DC_TWICE = (Scan((1,), 0, 0, 0, 1), Scan((1,), 0, 0, 1, 0))


def bands(count: int) -> list[Scan]:
    """Return scans that code all AC coefficients in that many bands."""
    edges = [63 * number // count for number in range(count + 1)]
    return [Scan((1,), low + 1, high) for low, high in pairwise(edges)]


def test_p2_scans() -> None:
    """As many scans as the policy allows are taken, one more is not."""
    data = one_component(DC, *bands(4))

    assert rebuild(data, replace(AVATAR, max_scans=5)).data == data
    check_too_complex(data, "scans", 4, replace(AVATAR, max_scans=4))


def test_p2_default_scans() -> None:
    """64 scans are taken by default, 65 are not."""
    assert rebuild(one_component(DC, *bands(63)), AVATAR).canvas == (16, 16)
    check_too_complex(one_component(*DC_TWICE, *bands(63)), "scans", 64, AVATAR)


ALONE = tuple(Scan((number,), 1, 63) for number in (1, 2, 3, 4))


@pytest.mark.parametrize(
    ("size", "sampling", "script"),
    [
        ((16, 16), [(1, 1)], [DC, AC]),
        ((17, 9), [(1, 1)], [DC, AC]),
        ((17, 9), [(4, 3)], [DC, AC]),
        ((17, 9), [(2, 1), (1, 1), (1, 1)], [Scan((1, 2, 3), 0, 0), *ALONE[:3]]),
        ((65, 70), [(2, 2), (1, 2), (2, 1)], [Scan((1, 2, 3), 0, 0), *ALONE[:3]]),
        ((31, 47), [(1, 1), (4, 2), (1, 1)], [Scan((1, 3), 0, 0), Scan((2,), 0, 0), *ALONE[:3]]),
        ((30, 40), [(3, 1), (1, 1), (1, 1), (2, 2)], [Scan((1, 2, 3, 4), 0, 0), *ALONE]),
    ],
)
def test_p2_blocks(size: tuple[int, int], sampling: list[tuple[int, int]], script: list[Scan]) -> None:
    """The blocks of all scans are counted exactly: at the policy's limit a picture is taken, below it is not."""
    data = jpeg.join(jpeg.flat(size, script, sampling=sampling))
    total = sum(jpeg.blocks(size, sampling, scan.components) for scan in script)

    assert rebuild(data, replace(AVATAR, max_scan_blocks=total)).canvas == size
    check_too_complex(data, "scans", total - 1, replace(AVATAR, max_scan_blocks=total - 1))


@pytest.mark.parametrize("data", [SMALL, one_component(DC, AC), before_frame(Part(COM), Part(APP1))])
def test_p2_chunks(data: bytes) -> None:
    """As many segments as the policy allows are taken, one more is not; the EOI of a progressive picture is one."""
    count = len(jpeg.split(data)) + (jpeg.SOF2 in jpeg.markers(data))

    assert rebuild(data, replace(AVATAR, max_chunks=count)).format == "JPEG"
    check_too_complex(data, "chunks", count - 1, replace(AVATAR, max_chunks=count - 1))


def test_p2_markers_without_length() -> None:
    """Markers that stand alone count as segments, so that a run of them is no free work."""
    data = SOI + b"\xff\x01" * 100 + SMALL[2:]
    count = 100 + len(PARTS)

    assert rebuild(data, replace(AVATAR, max_chunks=count)).data == CLEAN
    check_too_complex(data, "chunks", count - 1, replace(AVATAR, max_chunks=count - 1))


@pytest.mark.parametrize("parts", [1, 4])
def test_p2_metadata(parts: int) -> None:
    """A colour profile as large as the policy allows is taken; a larger one is refused, not ignored."""
    data = before_frame(*jpeg.profile(PROFILE, parts=parts))
    total = len(PROFILE) + 2 * parts

    assert rebuild(data, replace(AVATAR, max_metadata_bytes=total)).icc == PROFILE
    check_too_complex(data, "metadata", total - 1, replace(AVATAR, max_metadata_bytes=total - 1))


def test_p2_scan_bomb() -> None:
    """5 MB of scans over a large picture are refused by their number, in less time than it takes to decode a few."""
    first, second = DC_TWICE
    few = jpeg.join(jpeg.flat((4000, 3000), [DC, *bands(40)]))
    *head, last = jpeg.flat((4000, 3000), [first, *bands(63), second])
    count = (5_000_000 - len(jpeg.join(head))) // len(bytes(last))
    bomb = jpeg.join([*head, *[last] * count])
    began = time.process_time()
    safeupload.normalize(few)
    baseline = time.process_time() - began

    began = time.process_time()
    with pytest.raises(TooComplex) as caught:
        safeupload.normalize(bomb)
    took = time.process_time() - began

    assert (caught.value.what, caught.value.limit) == ("scans", 64)
    assert len(bomb) > 4_900_000
    assert took < baseline


def test_p2_exif_segments() -> None:
    """4.8 MB of the shortest EXIF segments are refused by their number."""
    check_too_complex(before_frame(*[Part(APP1, exif.PREFIX)] * 480_000), "chunks", AVATAR.max_chunks, AVATAR)


def at_end(run: bytes) -> bytes:
    """Return a file that ends in a run of bytes, before any frame header."""
    return SOI + bytes(PARTS[0]) + run


@pytest.mark.parametrize("place", [in_header, in_scan, at_end])
@pytest.mark.parametrize("unit", [b"\xff\xff", b"\xff\x00", b"\x00\xff"])
def test_p2_long_runs(place: Callable[[bytes], bytes], unit: bytes) -> None:
    """A run of 5 MB that looks like markers costs about as much as five plain searches for two other bytes."""
    search = re.compile(rb"\xff\x01")
    for size in (100_000, 5_000_000):  # the short run first: what is quadratic fails here, in seconds
        data = place(unit * (size // 2))
        began = time.process_time()
        for _ in range(5):
            assert search.search(data) is None
        baseline = time.process_time() - began

        began = time.process_time()
        if place is at_end:
            check_malformed(data, "ends without EOI")
        else:
            rebuild(data, AVATAR)
        took = time.process_time() - began

        assert took < 0.1 + 10 * baseline  # measured: 0.7 to 1.7 times the baseline; with a quantifier, 10,000 times


# --- numbers on each side of what they have room for


@pytest.mark.parametrize("size", [(33_000, 8), (8, 33_000)])
def test_sizes_of_sixteen_bits(size: tuple[int, int]) -> None:
    """A side of more than 32,767 pixels is read as it is."""
    assert rebuild(jpeg.join(jpeg.flat(size, [Scan((1,))], progressive=False)), AVATAR).canvas == size


@pytest.mark.parametrize("most", [(1, 4), (4, 1), (2, 4), (4, 4)])
def test_the_largest_sampling_factors(most: tuple[int, int]) -> None:
    """A factor may be 4, across or down."""
    sampling = [most, (1, 1), (1, 1)]

    assert rebuild(jpeg.join(jpeg.flat((16, 16), [ONE, TWO, THREE], sampling=sampling, progressive=False)), AVATAR)


def test_the_least_a_block_can_take() -> None:
    """A sequential block has two bits at least; a scan of as many is taken, and one of a byte less is not."""
    *head, scan = jpeg.flat((64, 64), [Scan((1,))], progressive=False)
    least = scan._replace(entropy=bytes(64 * 2 // 8))

    assert rebuild(jpeg.join([*head, least]), AVATAR).canvas == (64, 64)
    check_malformed(jpeg.join([*head, least._replace(entropy=least.entropy[1:])]), "for 64 blocks")


@pytest.mark.parametrize("length", [0, 252, 253, 254, 255, 256, 257, 509, 510, 511, 65_533])
def test_segments_say_how_long_they_are(length: int) -> None:
    """The two bytes behind a marker are the length of the body and of themselves."""
    segment = module._marked(0xE0, bytes(length))

    assert segment == b"\xff\xe0" + (length + 2).to_bytes(2, "big") + bytes(length)


def test_a_profile_with_an_empty_part() -> None:
    """A part may have no bytes."""
    bodies = [b"ICC_PROFILE\0\1\2" + b"profile", b"ICC_PROFILE\0\2\2"]

    assert rebuild(before_frame(*(Part(APP2, body) for body in bodies)), AVATAR).icc == b"profile"


def test_what_a_coarse_decode_gets() -> None:
    """Of a component whose AC scans are left out neither header nor bytes are there; the file ends with EOI."""
    rebuilt = rebuild(jpeg.picture((64, 64), progressive=True, subsampling=0), AVATAR)
    assert rebuilt.coarse_pieces is not None
    whole = b"".join(rebuilt.coarse_pieces)
    scans = [part for part in jpeg.split(whole) if part.marker == 0xDA]
    fine = [part for part in scans if part.body[-3] > 0]

    assert whole.endswith(b"\xff\xd9")
    assert rebuilt.coarse_pieces[-1] == b"\xff\xd9"
    assert sorted(part.body[1] for part in fine) == [1, 2, 3]
    assert all(part.body[-3:] == b"\1\x3f\0" for part in fine)
