"""
Small, honest pictures of every kind that a policy can accept, made by the encoders of Pillow and by ours of PNG.

All show the same: the upper left quarter is white, the rest of the upper half has a colour, the lower half is half as
bright; where there is transparency, the lower right quarter is. All are upright when shown as their orientation says.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any, Final, NamedTuple

from PIL import Image, ImageColor

from safeupload._image import ImageInfo
from safeupload._plan import displayed
from safeupload._samples import png
from safeupload._samples.benign import swapped_profile
from safeupload._samples.sample import Sample
from safeupload.errors import InvalidArgument

#: Width and height in pixels: small, and told apart.
SIZE: Final = (48, 32)
COLOUR: Final = "teal"

_ORIENTATION: Final = 0x0112  # the EXIF tag
#: What a picture is turned by, so that its orientation turns it back (EXIF 2.32, 4.6.4).
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
_KEY: Final = (1, 2, 3)  # the colour of what is transparent, where one colour is


class Kind(NamedTuple):
    """
    A kind of picture: `write` makes the file of an RGBA image, with an EXIF block if that is not empty.

    `has_exif` tells that it can have one, and so an orientation.
    """

    format: str
    about: str
    write: Callable[[Image.Image, bytes], bytes]
    animated: bool = False
    has_alpha: bool = False
    has_icc: bool = False
    has_exif: bool = True


def picture(
    kind: str = "baseline.jpg", *, size: tuple[int, int] = SIZE, colour: str = COLOUR, orientation: int = 1
) -> Sample:
    """
    Return a small, honest picture; `data` of what is returned is the file, `info` what `validate` must say of it.

    Args:
        kind: its name, such as "baseline.jpg", "rgba.png" or "animation.gif"; the error for a wrong one lists them.
        size: width and height in pixels, as it is stored; shown, they change places if the orientation is 5 to 8.
        colour: of the upper right quarter, as CSS and Pillow name it: "teal", "#008080".
        orientation: 1 to 8, as EXIF has it.

    Raises:
        InvalidArgument: there is no such kind, or no codec for it here; a size below 1; a colour without a name; an
            orientation that there is not, or that no file of that kind can have.

    """
    made = KINDS.get(kind)
    if made is None:
        raise InvalidArgument(f"kind: {kind!r} is none of {', '.join(KINDS)}")
    if min(size) < 1:
        raise InvalidArgument(f"size: expected a width and a height of at least 1, got {size!r}")
    if orientation not in range(1, 9) or (orientation != 1 and not made.has_exif):
        raise InvalidArgument(f"orientation: {orientation!r} is none that {kind} can have")
    try:
        ImageColor.getrgb(colour)
    except ValueError as error:
        raise InvalidArgument(f"colour: {error}") from None
    width, height = displayed(size, orientation)
    info = ImageInfo(
        format=made.format,
        width=width,
        height=height,
        orientation=orientation,
        animated=made.animated,
        has_alpha=made.has_alpha,
        has_icc=made.has_icc,
    )
    turned = "" if orientation == 1 else f", orientation {orientation}"
    about = f"{made.about}, {size[0]} x {size[1]} pixels{turned}"
    return Sample(name=kind, make=partial(_make, kind, (width, height), colour, orientation), about=about, info=info)


def _make(name: str, shown: tuple[int, int], colour: str, orientation: int) -> bytes:
    """Return the file. By name: that can be sent to another process, and the functions that write cannot."""
    kind = KINDS[name]
    image = _drawn(shown, ImageColor.getrgb(colour)[:3], see_through=kind.has_alpha)
    exif = b""
    if orientation != 1:
        image = image.transpose(_TURNS[orientation])
        block = Image.Exif()
        block[_ORIENTATION] = orientation
        exif = block.tobytes()
    return kind.write(image, exif)


def _drawn(size: tuple[int, int], colour: tuple[int, ...], *, see_through: bool) -> Image.Image:
    """Return the motif."""
    width, height = size
    image = Image.new("RGBA", size, (*colour, 255))
    image.paste((*(level // 2 for level in colour), 255), (0, height // 2, width, height))
    image.paste((255, 255, 255, 255), (0, 0, width // 2, height // 2))
    if see_through:
        image.paste((*_KEY, 0), (width // 2, height // 2, width, height))
    return image


# --- writers


def _saved(image: Image.Image, name: str, exif: bytes = b"", **options: Any) -> bytes:  # noqa: ANN401 - the encoders' own
    out = io.BytesIO()
    image.save(out, name, **({"exif": exif} if exif else {}), **options)
    return out.getvalue()


def _by_pillow(name: str, mode: str, **options: Any) -> Callable[[Image.Image, bytes], bytes]:  # noqa: ANN401
    def write(image: Image.Image, exif: bytes) -> bytes:
        return _saved(image.convert(mode), name, exif, **options)

    return write


def _animated(name: str, mode: str, **options: Any) -> Callable[[Image.Image, bytes], bytes]:  # noqa: ANN401
    """Return a writer of three frames, of which the first is the picture."""

    def write(image: Image.Image, exif: bytes) -> bytes:
        others = [Image.new("RGBA", image.size, (40 * number, 90, 200, 255)).convert(mode) for number in (1, 2)]
        first = image.convert(mode)
        return _saved(first, name, exif, save_all=True, append_images=others, duration=100, **options)

    return write


def _undated(write: Callable[[Image.Image, bytes], bytes]) -> Callable[[Image.Image, bytes], bytes]:
    """Return a writer of sequences that leaves out when they were made and changed (ISO 14496-12, 8.2.2)."""

    def undated(image: Image.Image, exif: bytes) -> bytes:
        data = bytearray(write(image, exif))
        for name in (b"mvhd", b"tkhd", b"mdhd"):
            at = data.index(name) + len(name)
            size = 16 if data[at] else 8  # two numbers of 64 bits in version 1, of 32 in version 0
            start = at + 4
            data[start : start + size] = bytes(size)
        return bytes(data)

    return undated


def _png(mode: str, *, depth: int = 8, interlaced: bool = False, key: bytes = b"") -> Callable[..., bytes]:
    """Return a writer of ours; `key` is the body of tRNS."""

    def write(image: Image.Image, exif: bytes) -> bytes:
        before = (png.chunk(b"eXIf", exif.removeprefix(b"Exif\0\0")) if exif else b"") + (
            png.chunk(b"tRNS", key) if key else b""
        )
        return png.encoded(image.convert(mode), before, depth=depth, interlaced=interlaced)

    return write


def _palette(name: str, *, transparent: bool) -> Callable[[Image.Image, bytes], bytes]:
    """Return a writer of pictures with a palette, whose last colour can be transparent."""

    def write(image: Image.Image, exif: bytes) -> bytes:
        indexed = image.convert("RGB").quantize(8)
        if not transparent:
            return _saved(indexed, name, exif)
        colours = indexed.getpalette() or []
        last = len(colours) // 3
        indexed.putpalette([*colours, *_KEY])
        indexed.paste(last, mask=image.getchannel("A").point([255] + [0] * 255).convert("1"))
        return _saved(indexed, name, exif, transparency=last)

    return write


def _bilevel(image: Image.Image, exif: bytes) -> bytes:
    """Write a PNG of one bit a pixel, without dots in place of grey."""
    return _saved(image.convert("L").convert("1", dither=Image.Dither.NONE), "PNG", exif)


def _with_profile(image: Image.Image, exif: bytes) -> bytes:
    """Write a JPEG in a colour space of its own: red and blue are exchanged, and the profile says so."""
    red, green, blue, _ = image.split()
    exchanged = Image.merge("RGB", (blue, green, red))
    return _saved(exchanged, "JPEG", exif, quality=90, icc_profile=swapped_profile())


def _heif(mode: str) -> Callable[[Image.Image, bytes], bytes]:
    def write(image: Image.Image, _: bytes) -> bytes:
        import pillow_heif  # noqa: PLC0415 - an extra

        out = io.BytesIO()
        file: Any = pillow_heif.from_pillow(image.convert(mode))  # typed or not, by its version
        file.save(out)
        return out.getvalue()

    return write


def _all() -> dict[str, Kind]:
    """Return every kind that can be made here."""
    lossless = {"lossless": True, "exact": True}
    quick = {"speed": 10, "max_threads": 1}  # with several threads the bytes are not always the same
    key = b"".join(level.to_bytes(2, "big") for level in _KEY)
    kinds = {
        "baseline.jpg": Kind("JPEG", "baseline JPEG", _by_pillow("JPEG", "RGB", quality=90)),
        "progressive.jpg": Kind(
            "JPEG", "progressive JPEG", _by_pillow("JPEG", "RGB", quality=90, progressive=True, subsampling=0)
        ),
        "gray.jpg": Kind("JPEG", "grey JPEG", _by_pillow("JPEG", "L", quality=90)),
        "cmyk.jpg": Kind("JPEG", "JPEG in CMYK", _by_pillow("JPEG", "CMYK", quality=90)),
        "profile.jpg": Kind("JPEG", "JPEG with a colour profile", _with_profile, has_icc=True),
        "bilevel.png": Kind("PNG", "PNG of one bit a pixel", _bilevel),
        "gray.png": Kind("PNG", "grey PNG", _png("L")),
        "gray-alpha.png": Kind("PNG", "grey PNG with alpha", _png("LA"), has_alpha=True),
        "palette.png": Kind("PNG", "PNG with a palette", _palette("PNG", transparent=False)),
        "palette-alpha.png": Kind(
            "PNG", "PNG with a transparent colour in its palette", _palette("PNG", transparent=True), has_alpha=True
        ),
        "rgb.png": Kind("PNG", "PNG", _png("RGB")),
        "rgb-key.png": Kind("PNG", "PNG with one transparent colour", _png("RGB", key=key), has_alpha=True),
        "rgba.png": Kind("PNG", "PNG with alpha", _png("RGBA"), has_alpha=True),
        "interlaced.png": Kind("PNG", "interlaced PNG", _png("RGB", interlaced=True)),
        "gray-16.png": Kind("PNG", "grey PNG of 16 bits", _png("L", depth=16)),
        "rgb-16.png": Kind("PNG", "PNG of 16 bits a sample", _png("RGB", depth=16)),
        "rgba-16.png": Kind(
            "PNG", "interlaced PNG of 16 bits with alpha", _png("RGBA", depth=16, interlaced=True), has_alpha=True
        ),
        "animation.png": Kind("PNG", "animated PNG", _animated("PNG", "RGB"), animated=True),
        "still.gif": Kind("GIF", "GIF", _palette("GIF", transparent=False), has_exif=False),
        "transparent.gif": Kind(
            "GIF", "GIF with a transparent colour", _palette("GIF", transparent=True), has_alpha=True, has_exif=False
        ),
        "animation.gif": Kind("GIF", "animated GIF", _animated("GIF", "P"), animated=True, has_exif=False),
        "lossy.webp": Kind("WEBP", "lossy WebP", _by_pillow("WEBP", "RGB", quality=90)),
        "lossy-alpha.webp": Kind(
            "WEBP", "lossy WebP with alpha", _by_pillow("WEBP", "RGBA", quality=90), has_alpha=True
        ),
        "lossless.webp": Kind("WEBP", "lossless WebP", _by_pillow("WEBP", "RGB", **lossless)),
        "lossless-alpha.webp": Kind(
            "WEBP", "lossless WebP with alpha", _by_pillow("WEBP", "RGBA", **lossless), has_alpha=True
        ),
        "animation.webp": Kind("WEBP", "animated WebP", _animated("WEBP", "RGB", **lossless), animated=True),
        "still.avif": Kind("AVIF", "AVIF", _by_pillow("AVIF", "RGB", **quick)),
        "alpha.avif": Kind("AVIF", "AVIF with alpha", _by_pillow("AVIF", "RGBA", **quick), has_alpha=True),
        # Pillow 13.0 crashes when it writes an EXIF block and several frames.
        "animation.avif": Kind(
            "AVIF", "animated AVIF", _undated(_animated("AVIF", "RGB", **quick)), animated=True, has_exif=False
        ),
        "still.heic": Kind("HEIF", "HEIC", _heif("RGB"), has_exif=False),
        "alpha.heic": Kind("HEIF", "HEIC with alpha", _heif("RGBA"), has_alpha=True, has_exif=False),
    }
    return {name: kind for name, kind in kinds.items() if _is_installed(kind.format)}


def _is_installed(name: str) -> bool:
    needed = {"WEBP": "PIL._webp", "AVIF": "PIL._avif", "HEIF": "pillow_heif"}.get(name)
    return needed is None or find_spec(needed) is not None


#: Every kind by the name of its file, the simplest of each format first.
KINDS: Final = _all()
