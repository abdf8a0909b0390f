"""
Pictures to measure with, made from nothing: they cost a decoder what photographs cost it.

What a JPEG decoder has to do depends on how many coefficients are not zero, so flat colours or white noise would
measure something else. Photographs have a spectrum of about 1/f and sharp edges where one thing covers another.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

#: What the sensors of today's phones deliver: 12 megapixels binned, 50 in their full-resolution mode.
PHONE_12: Final = (4032, 3024)
PHONE_50: Final = (8160, 6120)
SCREEN: Final = (2304, 1728)

_LEAVES: Final = 1500
_CONTRAST: Final = 14.0  # of the texture, in levels; with it a 12 megapixel JPEG has about 4 MB
_GRAIN: Final = 1.5  # of the sensor, in levels
# Four neighbours in such a sensor share a colour filter, so its full-resolution pictures are softer, pixel by pixel;
# with this a 50 megapixel JPEG has about 10 MB, as from a phone.
_SOFT: Final = 0.5
_TILE: Final = 4096


def photograph(width: int, height: int, detail: float = 1) -> Image.Image:
    """Return a picture with edges at all sizes, a 1/f texture and a little grain; always the same one for a size."""
    random = np.random.default_rng(width * height)
    base = _leaves(width, height, random)
    tile = detail * _texture(min(_TILE, width), min(_TILE, height), random)
    for top in range(0, height, tile.shape[0]):
        for left in range(0, width, tile.shape[1]):
            part = base.crop((left, top, min(left + tile.shape[1], width), min(top + tile.shape[0], height)))
            levels = np.asarray(part, np.float32) + tile[: part.height, : part.width, np.newaxis]
            base.paste(Image.fromarray(levels.clip(0, 255).astype(np.uint8)), (left, top))
    return base


def _leaves(width: int, height: int, random: np.random.Generator) -> Image.Image:
    """Return ellipses that cover each other, many small ones and few large ones, as things in a photograph do."""
    picture = Image.new("RGB", (width, height), (128, 128, 128))
    draw = ImageDraw.Draw(picture)
    radii = np.sort(min(width, height) / 3 / random.uniform(1, 60, _LEAVES))[::-1]
    for radius in radii:
        x, y = random.uniform(0, width), random.uniform(0, height)
        flat = random.uniform(0.3, 1)
        colour = tuple(int(level) for level in random.normal(random.uniform(50, 205), 25, 3).clip(0, 255))
        draw.ellipse((x - radius, y - radius * flat, x + radius, y + radius * flat), fill=colour)
    return picture


def _texture(width: int, height: int, random: np.random.Generator) -> NDArray[np.float32]:
    """Return noise whose amplitude falls with the frequency, around 0, and white noise on top."""
    spectrum = np.fft.rfft2(random.standard_normal((height, width), np.float32))
    across, down = np.fft.rfftfreq(width), np.fft.fftfreq(height)
    spectrum /= np.maximum(np.hypot(across[np.newaxis, :], down[:, np.newaxis]), 1 / max(width, height))
    noise = np.fft.irfft2(spectrum, (height, width))
    noise *= _CONTRAST / noise.std()
    noise += _GRAIN * random.standard_normal((height, width), np.float32)
    return noise.astype(np.float32)


def _file(picture: Image.Image, kind: str, **options: Any) -> bytes:  # noqa: ANN401 - each encoder has its own
    """Return the picture as a file."""
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def _jpeg(size: tuple[int, int], detail: float = 1, **options: Any) -> bytes:  # noqa: ANN401
    """Return what a phone would: quality 90, half the colour resolution."""
    return _file(photograph(*size, detail), "JPEG", quality=90, subsampling="4:2:0", **options)


def _png_with_alpha(size: tuple[int, int]) -> bytes:
    """Return a photograph that fades out towards its edges."""
    picture = photograph(*size)
    picture.putalpha(Image.radial_gradient("L").resize(picture.size).point(lambda value: 255 - value))
    return _file(picture, "PNG", compress_level=1)


def _scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    return max(8, round(size[0] * scale)), max(8, round(size[1] * scale))


_CASES: Final[dict[str, Callable[[float], bytes]]] = {
    "JPEG 12 MP": lambda scale: _jpeg(_scaled(PHONE_12, scale)),
    "JPEG 12 MP, Display P3": lambda scale: _jpeg(_scaled(PHONE_12, scale), icc_profile=display_p3()),
    "JPEG 12 MP, progressive": lambda scale: _jpeg(_scaled(PHONE_12, scale), progressive=True),
    "JPEG 50 MP": lambda scale: _jpeg(_scaled(PHONE_50, scale), _SOFT),
    "JPEG 50 MP, progressive": lambda scale: _jpeg(_scaled(PHONE_50, scale), _SOFT, progressive=True),
    "PNG 4 MP, RGB": lambda scale: _file(photograph(*_scaled(SCREEN, scale)), "PNG", compress_level=1),
    "PNG 4 MP, RGBA": lambda scale: _png_with_alpha(_scaled(SCREEN, scale)),
    "WebP 4 MP": lambda scale: _file(photograph(*_scaled(SCREEN, scale)), "WEBP", quality=80, method=0),
    "AVIF 4 MP": lambda scale: _file(photograph(*_scaled(SCREEN, scale)), "AVIF", quality=75, speed=10),
    "GIF 4 MP": lambda scale: _file(photograph(*_scaled(SCREEN, scale)).quantize(256), "GIF"),
}
NAMES: Final = tuple(_CASES)


def make(name: str, scale: float = 1) -> bytes:
    """Return one of the `NAMES` as a file; a `scale` below 1 makes it smaller."""
    return _CASES[name](scale)


def display_p3() -> bytes:
    """
    Return a colour profile with the primaries of Display P3 and a gamma of 2.2.

    Source: ICC.1:2022 (the layout); Apple's profile of that name (the colorants, relative to D50).
    """
    text = b"\0" * 4 + struct.pack(">I", 1) + b"\0" * 70
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 3) + b"P3\0" + b"\0" * 78,
        b"cprt": b"text\0\0\0\0none\0" + text[:3],
        b"wtpt": _xyz(0.96420, 1.00000, 0.82491),
        b"rXYZ": _xyz(0.51512, 0.24120, -0.00105),
        b"gXYZ": _xyz(0.29198, 0.69225, 0.04189),
        b"bXYZ": _xyz(0.15710, 0.06657, 0.78407),
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), b"curv\0\0\0\0" + struct.pack(">IH2x", 1, round(2.2 * 256))),
    }
    start = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(content))
        body += content + b"\0" * (-len(content) % 4)
    header = struct.pack(
        ">I4sI4s4s4s12s4s4x4x4x4x8x4x3I48x",
        start + len(body), b"none", 0x02400000, b"mntr", b"RGB ", b"XYZ ", b"\x07\xea\0\1\0\1" + b"\0" * 6, b"acsp",
        *(round(value * 65536) for value in (0.96420, 1.00000, 0.82491)),
    )  # fmt: skip
    return header + table + body


def _xyz(*values: float) -> bytes:
    """Return a tag of type XYZ."""
    return struct.pack(">4s4x3i", b"XYZ ", *(round(value * 65536) for value in values))
