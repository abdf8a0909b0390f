"""Django's own field: the check of a form, and the file as it came."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError

from libraries import with_django
from libraries.ways import PILLOW

DOCUMENTED = (ValidationError, *PILLOW)


def _field() -> Any:  # noqa: ANN401
    from django.db.models import ImageField

    return ImageField(upload_to="pictures")


def prepare(folder: Path) -> None:
    """Set Django up."""
    with_django.configure(folder, _field)


def take(data: bytes, name: str, folder: Path) -> None:  # noqa: ARG001
    """Check and store."""
    with_django.stored(data, name)
