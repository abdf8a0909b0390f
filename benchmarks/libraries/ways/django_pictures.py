"""django-pictures: the sizes and formats that a responsive page needs, made when a picture is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from django.core.exceptions import ValidationError

from libraries import with_django
from libraries.ways import PILLOW

DOCUMENTED = (ValidationError, *PILLOW)

SETTINGS: Final = {
    "BREAKPOINTS": {"all": 300},
    "GRID_COLUMNS": 1,
    "CONTAINER_WIDTH": 300,
    "PIXEL_DENSITIES": [1],
    "USE_PLACEHOLDERS": False,
}


def field() -> Any:  # noqa: ANN401
    """Return the field."""
    from pictures.models import PictureField

    return PictureField(upload_to="pictures", aspect_ratios=["1/1"])


def prepare(folder: Path) -> None:
    """Set Django up."""
    with_django.configure(folder, field, ["pictures"], PICTURES=SETTINGS)


def take(data: bytes, name: str, folder: Path) -> bytes | None:
    """Return the picture: the widest of those that it makes; it makes none that are larger than the upload."""
    made = max(
        with_django.stored(data, name).get_picture_files_list(), key=lambda picture: int(picture.width), default=None
    )
    if made is None:
        return None
    return Path(folder / with_django.MEDIA / made.name).read_bytes()
