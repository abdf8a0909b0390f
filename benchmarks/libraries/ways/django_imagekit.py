"""django-imagekit: a field that processes what is uploaded; Transpose is its processor for EXIF orientation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError

from libraries import with_django
from libraries.ways import PILLOW

DOCUMENTED = (ValidationError, *PILLOW)


def _field() -> Any:  # noqa: ANN401
    from imagekit.models import ProcessedImageField
    from imagekit.processors import ResizeToFill, Transpose

    return ProcessedImageField(
        upload_to="pictures",
        processors=[Transpose(), ResizeToFill(300, 300)],
        options={"quality": 85},
    )


def prepare(folder: Path) -> None:
    """Set Django up."""
    with_django.configure(folder, _field, ["imagekit"])


def take(data: bytes, name: str, folder: Path) -> bytes:  # noqa: ARG001
    """Return the picture."""
    return with_django.read(with_django.stored(data, name))
