"""django-versatileimagefield: sizes of a stored picture, made on demand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError

from libraries import with_django
from libraries.ways import PILLOW

DOCUMENTED = (ValidationError, *PILLOW)


def _field() -> Any:  # noqa: ANN401
    from versatileimagefield.fields import VersatileImageField

    return VersatileImageField(upload_to="pictures")


def prepare(folder: Path) -> None:
    """Set Django up."""
    settings = {"create_images_on_demand": True, "jpeg_resize_quality": 85}
    with_django.configure(folder, _field, ["versatileimagefield"], VERSATILEIMAGEFIELD_SETTINGS=settings)


def take(data: bytes, name: str, folder: Path) -> bytes:
    """Return the picture."""
    made = with_django.stored(data, name).crop["300x300"]
    return Path(folder / with_django.MEDIA / made.name).read_bytes()
