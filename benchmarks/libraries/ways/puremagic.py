"""puremagic: what the bytes say; used as a check, what is none of the four formats is refused."""

from __future__ import annotations

from pathlib import Path

import puremagic

from libraries.ways import ALLOWED, Refused

DOCUMENTED = (Refused, puremagic.PureError)


def prepare(folder: Path) -> None:
    """Nothing."""


def take(data: bytes, name: str, folder: Path) -> None:  # noqa: ARG001
    """Look."""
    if puremagic.from_string(data, mime=True) not in ALLOWED:
        raise Refused
