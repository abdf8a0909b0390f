"""P3 and P4 over generated pictures: each kind of file, size, orientation, colour profile and result."""

import io
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np
import pytest
import reference
from builders import exif, gif, icc, png, webp
from builders.icc import Profile
from hypothesis import event, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from reference import Bytes

from safeupload import AVATAR, Policy, _decode, normalize
from safeupload._formats import Rebuilt

Rows = NDArray[np.uint8] | NDArray[np.uint16]

_ADAM7: Final = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


class Tags(NamedTuple):
    """What a file says besides its pixels."""

    orientation: int = 1
    profile: Profile | None = None

    @property
    def exif(self) -> bytes:
        """EXIF, as a JPEG has it."""
        return exif.PREFIX + exif.orientation(self.orientation)

    @property
    def icc(self) -> bytes | None:
        """The profile's bytes."""
        return None if self.profile is None else self.profile.data


class Kind(NamedTuple):
    """
    A kind of file: how one is made, of how many channels, and the profiles that it may have.

    `write` gets rows of bytes, and returns the file with the rows it stores if a decoder loses some of them (16 bits).
    """

    name: str
    channels: int
    write: Callable[[Bytes, Tags], tuple[bytes, Rows | None]]
    profiles: tuple[Profile | None, ...] = (None,)


def saved(format_name: str, mode: str | None = None, **options: object) -> Callable[[Bytes, Tags], tuple[bytes, None]]:
    """Return a writer that is Pillow's."""

    def write(rows: Bytes, tags: Tags) -> tuple[bytes, None]:
        image = Image.fromarray(rows[..., 0] if rows.shape[2] == 1 else rows)
        if mode == "CMYK":
            image = Image.frombytes("CMYK", image.size, rows.tobytes())
        extra: dict[str, object] = {} if format_name == "GIF" else {"exif": tags.exif}
        if tags.icc:
            extra["icc_profile"] = tags.icc
        out = io.BytesIO()
        image.save(out, format_name, **extra, **options)
        return out.getvalue(), None

    return write


def png_file(rows: Rows, kind: int, tags: Tags, *extra: png.Chunk, depth: int = 8, interlaced: bool = False) -> bytes:
    """Return a PNG of rows, with chunks before its pixels."""
    lines = []
    for left, top, across, down in _ADAM7 if interlaced else ((0, 0, 1, 1),):
        part = rows[top::down, left::across]
        if part.size:
            raw = np.ascontiguousarray(part.astype(f">u{depth // 8}")).reshape(part.shape[0], -1).view(np.uint8)
            lines.append(np.pad(raw, ((0, 0), (1, 0))).tobytes())
    chunks = [png.header((rows.shape[1], rows.shape[0]), kind, depth, interlaced=interlaced), *extra]
    if tags.icc:
        chunks.insert(1, png.profile(tags.icc))
    chunks.append(png.Chunk(b"eXIf", exif.orientation(tags.orientation)))
    chunks.append(png.Chunk(b"IDAT", zlib.compress(b"".join(lines), 1)))
    return png.join(chunks)


def png_writer(
    kind: int, *extra: png.Chunk, depth: int = 8, interlaced: bool = False
) -> Callable[[Bytes, Tags], tuple[bytes, Rows | None]]:
    """Return a writer of PNG; 16-bit samples get low bytes of their own."""

    def write(rows: Bytes, tags: Tags) -> tuple[bytes, Rows | None]:
        if depth == 8:
            return png_file(rows, kind, tags, *extra, interlaced=interlaced), None
        deep = rows.astype(np.uint16) * 256 + np.random.default_rng(0).integers(0, 256, rows.shape, dtype=np.uint16)
        return png_file(deep, kind, tags, *extra, depth=16, interlaced=interlaced), deep

    return write


def paletted(rows: Bytes, tags: Tags) -> tuple[bytes, None]:
    """Write a PNG with a palette, the first half of it translucent if there is alpha."""
    image = Image.fromarray(np.ascontiguousarray(rows[..., :3])).quantize(128)
    colours = np.array(image.getpalette()).reshape(-1, 3)
    chunks = [png.palette(*(tuple(map(int, colour)) for colour in colours))]  # type: ignore[arg-type]
    if rows.shape[2] == 4:
        chunks.append(png.Chunk(b"tRNS", bytes(range(128, 128 + len(colours) // 2))))
    return png_file(np.asarray(image)[..., None], png.PALETTE, tags, *chunks), None


def gif_with_hole(rows: Bytes, tags: Tags) -> tuple[bytes, None]:
    """Write a GIF with a transparent ellipse."""
    image = Image.fromarray(np.ascontiguousarray(rows[..., :3])).quantize(255)
    down, across = np.ogrid[-1 : 1 : rows.shape[0] * 1j, -1 : 1 : rows.shape[1] * 1j]
    indices = np.where(down**2 + across**2 < 0.3, 255, np.asarray(image)).astype(np.uint8)
    holed = Image.fromarray(indices).convert("P")
    holed.putpalette(image.getpalette() or [])
    out = io.BytesIO()
    holed.save(out, "GIF", transparency=255)
    return out.getvalue(), None


GRAY_PROFILES: Final = (None, icc.GAMMA_GRAY, icc.LINEAR_GRAY, icc.P3)
RGB_PROFILES: Final = (None, icc.SRGB, icc.SWAPPED, icc.P3)
KINDS: Final = [
    Kind("JPEG 4:2:0", 3, saved("JPEG", quality=92, subsampling=2), RGB_PROFILES),
    Kind("JPEG 4:4:4, progressive", 3, saved("JPEG", quality=92, subsampling=0, progressive=True), RGB_PROFILES),
    Kind("JPEG grey", 1, saved("JPEG", quality=92), GRAY_PROFILES),
    Kind("JPEG CMYK", 4, saved("JPEG", "CMYK", quality=92)),
    Kind("PNG RGB", 3, png_writer(png.RGB), RGB_PROFILES),
    Kind("PNG grey, interlaced", 1, png_writer(png.GRAY, interlaced=True), GRAY_PROFILES),
    Kind("PNG RGB with alpha", 4, png_writer(png.RGB_ALPHA), RGB_PROFILES),
    Kind("PNG grey with alpha", 2, png_writer(png.GRAY_ALPHA), GRAY_PROFILES),
    Kind("PNG 16-bit grey", 1, png_writer(png.GRAY, depth=16), GRAY_PROFILES),
    Kind("PNG 16-bit RGB, interlaced", 3, png_writer(png.RGB, depth=16, interlaced=True), RGB_PROFILES),
    Kind("PNG 16-bit RGB with alpha", 4, png_writer(png.RGB_ALPHA, depth=16), RGB_PROFILES),
    Kind("PNG 16-bit grey with alpha", 2, png_writer(png.GRAY_ALPHA, depth=16), GRAY_PROFILES),
    Kind("PNG palette", 3, paletted, RGB_PROFILES),
    Kind("PNG palette with alpha", 4, paletted, RGB_PROFILES),
    Kind("PNG grey with key", 1, png_writer(png.GRAY, png.Chunk(b"tRNS", b"\0\x80")), GRAY_PROFILES),
    Kind("PNG RGB with key", 3, png_writer(png.RGB, png.Chunk(b"tRNS", b"\0\x80\0\x80\0\x80")), RGB_PROFILES),
    Kind("GIF", 3, saved("GIF")),
    Kind("GIF with a hole", 3, gif_with_hole),
    Kind("WebP lossy", 3, saved("WEBP", quality=90, method=0), RGB_PROFILES),
    Kind("WebP lossless", 3, saved("WEBP", lossless=True, quality=0, method=0), RGB_PROFILES),
    Kind("WebP lossy with alpha", 4, saved("WEBP", quality=90, method=0), RGB_PROFILES),
    Kind("WebP lossless with alpha", 4, saved("WEBP", lossless=True, quality=0, method=0, exact=True), RGB_PROFILES),
]


class Case(NamedTuple):
    """One picture to be made."""

    kind: Kind
    width: int
    height: int
    tags: Tags
    policy: Policy
    seed: int


def compare(case: Case) -> float:
    """Return how near the library comes to the reference, both as JPEGs, in decibels."""
    rows = reference.photograph(case.width, case.height, case.kind.channels, seed=case.seed)
    data, deep = case.kind.write(rows, case.tags)
    colours, alpha = reference.decode(data)
    if deep is not None:
        raw = deep / 65_535
        colours, alpha = (raw[..., :-1], raw[..., -1:]) if deep.shape[2] in {2, 4} else (raw, np.ones_like(alpha))
    profile = case.tags.profile
    if colours.shape[2] == 1 and (profile is None or profile.matrix is not None):
        colours = np.repeat(colours, 3, axis=2)
    if profile is not None:
        colours = profile.to_srgb(colours)
    expected = reference.finish(colours, alpha, case.policy, orientation=case.tags.orientation)
    result = normalize(data, case.policy)
    return reference.psnr(reference.opened(result.data), reference.encoded(expected, case.policy))


def decibels(case: Case) -> int:
    """
    Return how near a result must come to the reference: 40 dB but where that would not be honest.

    - A result of a few hundred pixels is a few blocks of a JPEG: one coefficient rounded the other way is seen.
    - Ringing is clipped at 0 and 255 before the profile is applied or ink mixed, and in the reference after that. In
      pictures of a few pixels made large that is seen; a level of linear grey is 13 levels of sRGB where it is dark.
    """
    few = min(case.width, case.height) < 16
    enlarged = min(case.width, case.height) < max(case.policy.size)
    if enlarged and (case.kind.name == "JPEG CMYK" or case.tags.profile is icc.LINEAR_GRAY):
        return 20
    if few or min(case.policy.size) < 48:
        return 28
    return 40


FAMILIES: Final = ["JPEG", "PNG", "GIF", "WebP"]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def policy_of(size: tuple[int, int], background: tuple[int, int, int] = AVATAR.background) -> Policy:
    """Return a policy that takes any file of these tests; losslessly packed grain is large."""
    return replace(AVATAR, size=size, background=background, max_bytes=1 << 26)


@st.composite
def cases(draw: st.DrawFn, family: str) -> Case:
    """Draw a picture to be made."""
    kind = draw(st.sampled_from([kind for kind in KINDS if kind.name.startswith(family)]))
    sides = st.one_of(st.integers(1, 60), st.integers(1, 400), st.integers(1, 900))
    tags = Tags(
        1 if family == "GIF" else draw(st.integers(min_value=1, max_value=8)), draw(st.sampled_from(kind.profiles))
    )
    size = draw(st.sampled_from([(300, 300), (64, 64), (48, 80), (200, 100), (31, 17), (8, 8)]))
    background = draw(st.sampled_from([(255, 255, 255), (0, 0, 0), (40, 90, 160)]))
    return Case(kind, draw(sides), draw(sides), tags, policy_of(size, background), draw(st.integers(0, 999)))


# A picture and its reference take a hundred times as long as the small files of other properties: a quarter of the
# examples for each family of formats.
@pytest.mark.property
@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=settings().max_examples // 4)
@given(data=st.data())
def test_p4_pictures(family: str, data: st.DataObject) -> None:
    """P4: the result is that of the careful reference, whatever the picture is and whatever is to be made of it."""
    case = data.draw(cases(family))
    found, asked = compare(case), decibels(case)
    event(f"{case.kind.name}: {asked} dB asked")

    assert found >= asked


@every_kind
@pytest.mark.parametrize(
    "size",
    [
        pytest.param((250, 180), marks=pytest.mark.long, id="little smaller"),
        pytest.param((500, 380), id="much smaller"),
    ],
)
def test_p4_each_kind(kind: Kind, size: tuple[int, int]) -> None:
    """P4: each kind of file, with each of its profiles, gives the result of the careful reference."""
    for number, profile in enumerate(kind.profiles):
        orientation = 1 if kind.name.startswith("GIF") else 1 + 2 * number
        case = Case(kind, *size, Tags(orientation, profile), policy_of((90, 120)), seed=number)
        assert compare(case) >= decibels(case)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.name.startswith("JPEG")], ids=lambda kind: kind.name)
@pytest.mark.parametrize(("side", "scale"), [(251, 2), (503, 4), (1003, 8), (2011, 8)])
def test_p4_decoded_at_a_scale(kind: Kind, side: int, scale: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """P4: a JPEG that is decoded at 1/2, 1/4 or 1/8 gives the result of the careful reference, which is not."""
    scales: list[int] = []
    load = _decode._load

    def noted(rebuilt: Rebuilt, scale: int, policy: Policy) -> Image.Image:
        scales.append(scale)
        return load(rebuilt, scale, policy)

    monkeypatch.setattr(_decode, "_load", noted)

    assert compare(Case(kind, side, side + 5, Tags(6), policy_of((60, 60)), seed=side)) >= 40
    assert scales == [scale]


def test_p4_grey_profile_on_16_bits_with_alpha() -> None:
    """P4: the profile of a 16-bit grey picture with alpha is applied."""
    kind = next(kind for kind in KINDS if kind.name == "PNG 16-bit grey with alpha")

    assert compare(Case(kind, 200, 150, Tags(1, icc.GAMMA_GRAY), policy_of((90, 60)), seed=0)) >= 40


# --- metadata


def decorated(data: bytes, words: bytes) -> bytes:
    """Return a file with metadata of every sort, and more behind its end, but with the same pixels."""
    if data.startswith(b"\xff\xd8"):
        segments = (b"\xff\xfe" + words, b"\xff\xe1" + b"http://ns.adobe.com/xap/1.0/\0" + words, b"\xff\xed" + words)
        inserted = b"".join(segment[:2] + (len(segment)).to_bytes(2, "big") + segment[2:] for segment in segments)
        return data[:2] + inserted + data[2:] + words
    if data.startswith(png.SIGNATURE):
        first, *rest = png.split(data)
        extra = png.Chunk(b"tEXt", b"Comment\0" + words), png.compressed_text(words), png.Chunk(b"pHYs", bytes(9))
        return png.join([first, *extra, *rest, *extra]) + words
    if data.startswith(b"GIF"):
        start = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
        return data[:start] + gif.comment(words) + gif.application(words) + data[start:-1] + gif.comment(words) + words
    chunk = webp.chunk(b"XMP ", words)
    return webp.riff(data[12:], chunk, webp.chunk(b"zzzz", words)) + words


@every_kind
def test_p3_metadata_changes_nothing(kind: Kind) -> None:
    """P3: two files with the same pixels give the same bytes, whatever else is in them, and none of it in these."""
    words = b"<a canary of 21 bytes>"
    data, _ = kind.write(reference.photograph(90, 70, kind.channels), Tags())

    full, plain = decorated(data, words), normalize(data)

    assert words in full
    assert normalize(full) == plain
    assert words not in plain.data
