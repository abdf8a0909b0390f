"""The plain way to make a thumbnail of an upload, as tutorials show it, without a word about hostile files."""

from __future__ import annotations

import io

from PIL import Image, ImageOps


def thumbnail(data: bytes) -> bytes:
    """Return the picture as a JPEG of 300 x 300 pixels."""
    with Image.open(io.BytesIO(data)) as opened:
        image = ImageOps.exif_transpose(opened)
        image = ImageOps.fit(image, (300, 300), Image.Resampling.LANCZOS)
        out = io.BytesIO()
        image.convert("RGB").save(out, "JPEG", quality=85)
        return out.getvalue()
