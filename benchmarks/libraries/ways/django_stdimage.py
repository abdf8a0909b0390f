"""django-stdimage: variations of a picture, made when it is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError

from libraries import with_django
from libraries.ways import PILLOW

DOCUMENTED = (ValidationError, *PILLOW)


def _field() -> Any:  # noqa: ANN401
    from stdimage import StdImageField

    return StdImageField(upload_to="pictures", variations={"thumbnail": {"width": 300, "height": 300, "crop": True}})


def prepare(folder: Path) -> None:
    """Set Django up."""
    with_django.configure(folder, _field, ["stdimage"])


def take(data: bytes, name: str, folder: Path) -> bytes:
    """Return the picture."""
    file = with_django.stored(data, name)
    made = file.get_variation_name(file.name, "thumbnail")
    return Path(folder / with_django.MEDIA / made).read_bytes()
