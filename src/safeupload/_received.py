"""Pictures that a worker has made: whether they are what was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from safeupload._formats import Malformed, rebuild
from safeupload._formats.jpeg import NO_END
from safeupload._plan import displayed
from safeupload._render import Encoded
from safeupload.errors import DecoderCrashed, Rejected
from safeupload.policy import AVATAR

if TYPE_CHECKING:
    from safeupload._formats import Rebuilt
    from safeupload._plan import Plan
    from safeupload.policy import Policy

#: Limits that no picture of ours comes near.
_OURS: Final = replace(AVATAR, max_bytes=1 << 30, max_decode_bytes=1 << 30)
_END: Final = b"\xff\xd9"
_BEGINNING: Final = 20  # bytes: the start of a picture, and JFIF


def received(files: Sequence[bytes], rebuilt: Rebuilt, steps: Sequence[Plan], policy: Policy) -> list[Encoded]:
    """
    Return the pictures, in the order of the policy; raise `DecoderCrashed` unless they are what was asked for.

    A decoder that has been taken over can answer what it likes, so each file goes through the same parsers as an
    upload: it is a picture of the format and the size that were planned, and a JPEG has no metadata.
    """
    made = []
    for file, step, rendition in zip(files, steps, policy.pictures, strict=True):
        size = rendition.size if rendition.fit == "pad" else displayed(step.target, rebuilt.orientation)
        try:
            found = rebuild(file, replace(_OURS, formats={rendition.format}))
        except (Rejected, Malformed) as error:
            raise DecoderCrashed from error
        if found.canvas != size or found.animated or not _is_bare(file, found):
            raise DecoderCrashed
        made.append(Encoded(file, *size))
    return made


def _is_bare(file: bytes, found: Rebuilt) -> bool:
    """
    Tell whether a JPEG consists of JFIF and what its pixels need.

    Then rebuilding it has moved segments and put another end to it, but left none out: both begin alike, and differ in
    length by what the ends do.
    """
    if found.format != "JPEG":
        return True
    begins_alike = file[:_BEGINNING] == found.data[:_BEGINNING]
    return begins_alike and len(file) - len(_END) == len(found.data) - len(NO_END) and file.endswith(_END)
