"""sorl-thumbnail: a thumbnail of a stored file, on demand, by Pillow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError

from libraries import with_django
from libraries.ways import PILLOW

DOCUMENTED = (ValidationError, *PILLOW)


def _field() -> Any:  # noqa: ANN401
    from sorl.thumbnail import ImageField

    return ImageField(upload_to="pictures")


def prepare(folder: Path) -> None:
    """Set Django up; orientation is heeded by default."""
    with_django.configure(folder, _field, ["sorl.thumbnail"], THUMBNAIL_PRESERVE_FORMAT=True)


def take(data: bytes, name: str, folder: Path) -> bytes:  # noqa: ARG001
    """Return the picture; for what cannot be read the library logs, and returns a thumbnail that does not exist."""
    from sorl.thumbnail import get_thumbnail

    made = get_thumbnail(with_django.stored(data, name), "300x300", crop="center", quality=85)
    if not made.exists():
        raise OSError("the thumbnail does not exist")
    return bytes(made.read())
