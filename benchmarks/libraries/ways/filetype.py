"""filetype: what the first bytes say; used as a check, what is none of the four formats is refused."""

from __future__ import annotations

from pathlib import Path

import filetype

from libraries.ways import ALLOWED, Refused

DOCUMENTED = (Refused,)


def prepare(folder: Path) -> None:
    """Nothing."""


def take(data: bytes, name: str, folder: Path) -> None:  # noqa: ARG001
    """Look."""
    if filetype.guess_mime(data) not in ALLOWED:
        raise Refused
