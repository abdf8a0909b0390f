"""
One module for each library that makes or checks a picture, used as its documentation shows it.

Each has `DOCUMENTED`, exceptions of the library's own, of its framework's validation, or named in Pillow's
documentation, which an application can catch by family; `prepare(folder)`, run once; and
`take(data, name, folder)`, which returns the picture, or None if the library only looks at the upload. Where the
documentation has options for orientation, colour or metadata, they are set, and the format of the upload is kept by
libraries that can.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from PIL import Image

#: What the documentation of Pillow names: `UnidentifiedImageError` is an OSError, and so is a broken file.
PILLOW: tuple[type[BaseException], ...] = (OSError, Image.DecompressionBombError)


class Way(Protocol):
    """What such a module has."""

    DOCUMENTED: tuple[type[BaseException], ...]
    prepare: Callable[[Path], None]
    take: Callable[[bytes, str, Path], bytes | None]


#: What an application that sniffs types lets through: the formats that safeupload takes by default.
ALLOWED = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})


class Refused(Exception):
    """The application refuses because of the type that was found."""
