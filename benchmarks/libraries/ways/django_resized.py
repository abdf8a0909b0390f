"""django-resized: the picture is resized when it is stored, and turned upright."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError

from libraries import with_django
from libraries.ways import PILLOW

DOCUMENTED = (ValidationError, *PILLOW)


def _field() -> Any:  # noqa: ANN401
    from django_resized import ResizedImageField

    return ResizedImageField(
        size=[300, 300],
        crop=["middle", "center"],
        upload_to="pictures",
        quality=85,
        keep_meta=False,
    )


def prepare(folder: Path) -> None:
    """Set Django up, as if sorl-thumbnail were not there, whose field it takes otherwise."""
    sys.modules["sorl"] = None  # type: ignore[assignment]  # makes an import fail
    with_django.configure(folder, _field)


def take(data: bytes, name: str, folder: Path) -> bytes:  # noqa: ARG001
    """Return the picture."""
    return with_django.read(with_django.stored(data, name))
