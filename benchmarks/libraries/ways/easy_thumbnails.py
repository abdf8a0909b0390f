"""easy-thumbnails: a thumbnail of a stored file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError

from libraries import with_django
from libraries.ways import PILLOW

DOCUMENTED = (ValidationError, *PILLOW)


def _field() -> Any:  # noqa: ANN401
    from easy_thumbnails.fields import ThumbnailerImageField

    return ThumbnailerImageField(upload_to="pictures")


def prepare(folder: Path) -> None:
    """Set Django up; its own exceptions are known only then."""
    global DOCUMENTED  # noqa: PLW0603
    with_django.configure(folder, _field, ["easy_thumbnails"])
    from easy_thumbnails.engine import NoSourceGenerator
    from easy_thumbnails.exceptions import EasyThumbnailsError

    DOCUMENTED = (*DOCUMENTED, EasyThumbnailsError, NoSourceGenerator)


def take(data: bytes, name: str, folder: Path) -> bytes:  # noqa: ARG001
    """Return the picture."""
    file = with_django.stored(data, name)
    return with_django.read(file.get_thumbnail({"size": (300, 300), "crop": True}))
