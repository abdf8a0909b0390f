"""Small pictures that several tests share."""

import functools
import io
import zlib

import numpy as np
from PIL import Image


def encoded(image: Image.Image, format: str, **options: object) -> bytes:  # noqa: A002 - as Pillow calls it
    """Return the picture as a file."""
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


@functools.cache
def photograph(width: int, height: int, seed: int = 0) -> Image.Image:
    """Return a picture with the spectrum of a photograph: detail of every size, less of the small."""
    random = np.random.default_rng(seed)
    pixels = np.zeros((height, width, 3))
    cell = max(width, height)
    while cell >= 2:
        grid = random.normal(size=(-(-height // cell) + 1, -(-width // cell) + 1, 3)) * cell**0.5
        layers = [
            Image.fromarray(grid[..., channel].astype(np.float32)).resize(
                (width, height), Image.Resampling.BICUBIC, box=(0, 0, width / cell + 0.5, height / cell + 0.5)
            )
            for channel in range(3)
        ]
        pixels += np.stack([np.asarray(layer) for layer in layers], axis=-1)
        cell //= 2
    pixels = (pixels - pixels.min()) / (pixels.max() - pixels.min())
    return Image.fromarray((pixels * 255).astype(np.uint8))


@functools.cache
def jpeg(width: int = 64, height: int = 48, seed: int = 0) -> bytes:
    """Return a small, ordinary JPEG."""
    return encoded(photograph(width, height, seed), "JPEG", quality=90)


@functools.cache
def costly() -> bytes:
    """Return a PNG of 12 megapixels that takes a while to decode and is small."""
    rows = np.arange(3000 * 4000 * 3, dtype=np.uint32).reshape(3000, -1) // 4096 % 256
    return encoded(Image.fromarray(rows.astype(np.uint8).reshape(3000, 4000, 3)), "PNG", compress_level=1)


def digest(data: bytes) -> int:
    """Return a short name for some bytes."""
    return zlib.crc32(data)
