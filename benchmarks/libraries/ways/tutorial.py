"""The pipeline of tutorials: open, exif_transpose, fit, convert, save."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image, ImageOps

from libraries.ways import PILLOW

DOCUMENTED = PILLOW


def prepare(folder: Path) -> None:
    """Nothing."""


def take(data: bytes, name: str, folder: Path) -> bytes:  # noqa: ARG001
    """Return the picture."""
    with Image.open(io.BytesIO(data)) as original:
        upright = ImageOps.exif_transpose(original)
        small = ImageOps.fit(upright, (300, 300), Image.Resampling.LANCZOS)
        out = io.BytesIO()
        small.convert("RGB").save(out, "JPEG", quality=85)
    return out.getvalue()
