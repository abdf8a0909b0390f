"""python-magic: what the system's libmagic says; used as a check, what is none of the four formats is refused."""

from __future__ import annotations

from pathlib import Path

import magic

from libraries.ways import ALLOWED, Refused

DOCUMENTED = (Refused, magic.MagicException)


def prepare(folder: Path) -> None:
    """Nothing."""


def take(data: bytes, name: str, folder: Path) -> None:  # noqa: ARG001
    """Look."""
    if magic.from_buffer(data, mime=True) not in ALLOWED:
        raise Refused
