"""python-resize-image: functions that resize a picture that Pillow has opened."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image
from resizeimage import resizeimage
from resizeimage.imageexceptions import ImageSizeError

from libraries.ways import PILLOW

DOCUMENTED = (ImageSizeError, *PILLOW)


def prepare(folder: Path) -> None:
    """Nothing."""


def take(data: bytes, name: str, folder: Path) -> bytes:  # noqa: ARG001
    """Return the picture, in the format of the upload."""
    out = io.BytesIO()
    with Image.open(io.BytesIO(data)) as image:
        cover = resizeimage.resize_cover(image, [300, 300], validate=False)
        cover.save(out, image.format)
    return out.getvalue()
