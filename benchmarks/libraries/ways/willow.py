"""Willow, the picture library of Wagtail, on Pillow: a JPEG, upright, in sRGB, on white, as its manual has it."""

from __future__ import annotations

import io
from pathlib import Path

from libraries.ways import PILLOW, Refused

DOCUMENTED: tuple[type[BaseException], ...] = PILLOW


def prepare(folder: Path) -> None:  # noqa: ARG001
    """Import it, with Django's settings, which it looks for where Django is installed."""
    global DOCUMENTED  # noqa: PLW0603
    from django.conf import settings

    settings.configure()
    from willow.image import BadImageOperationError, UnrecognisedImageFormatError
    from willow.registry import UnavailableOperationError, UnrecognisedOperationError

    own = (BadImageOperationError, UnrecognisedImageFormatError, UnavailableOperationError, UnrecognisedOperationError)
    DOCUMENTED = (Refused, *PILLOW, *own)


def take(data: bytes, name: str, folder: Path) -> bytes:  # noqa: ARG001
    """Return the picture."""
    from willow.image import Image

    opened = Image.open(io.BytesIO(data))
    if opened.format_name == "svg":  # it has no operation that makes a JPEG of that
        raise Refused
    image = opened.auto_orient()
    width, height = image.get_size()
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    image = image.crop((left, top, left + side, top + side)).resize((300, 300))
    if image.has_alpha():
        image = image.set_background_color_rgb((255, 255, 255))
    image = image.transform_colorspace_to_srgb()
    return bytes(image.save_as_jpeg(io.BytesIO(), quality=85).f.getvalue())
