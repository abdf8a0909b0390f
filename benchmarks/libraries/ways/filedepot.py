"""filedepot: a picture that is stored with a thumbnail."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from depot.fields.specialized.image import UploadedImageWithThumb
from depot.io.utils import FileIntent
from depot.manager import DepotManager

from libraries.ways import PILLOW

DOCUMENTED = PILLOW


class _Picture(UploadedImageWithThumb):  # type: ignore[misc]  # it has no types
    thumbnail_size = (300, 300)


def prepare(folder: Path) -> None:
    """Make the depot."""
    DepotManager.configure("default", {"depot.storage_path": str(folder / "pictures")})


def take(data: bytes, name: str, folder: Path) -> bytes:  # noqa: ARG001
    """Return the thumbnail."""
    made: Any = _Picture(FileIntent(io.BytesIO(data), name, "application/octet-stream"))
    return bytes(made.thumb_file.read())
