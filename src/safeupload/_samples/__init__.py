"""
A handful of honest and hostile files, made on the spot, with what safeupload must answer to each.

Every generator is deterministic and quick, so tests and benchmarks use them too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from safeupload._samples import benign, hostile

__all__ = ["BENIGN", "HOSTILE", "SAMPLES", "Sample"]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """
    One file to try.

    `code` is the code of the refusal that safeupload must answer with, None if it must make a picture. `canaries` are
    bytes in the file that may not be in a result, with what they are. `harm` is what a result that looks otherwise, or
    exists at all, means.
    """

    name: str
    make: Callable[[], bytes]
    about: str
    code: str | None = None
    canaries: Mapping[bytes, str] = field(default_factory=dict)
    harm: str = ""


_OWNER: Final = {benign.EXIF_CANARY: "the owner's name", benign.GPS_CANARY: "the GPS position"}

BENIGN: Final = (
    Sample(
        name="photo.jpg",
        make=benign.photograph,
        about="12 MP photograph stored on its side, with owner and GPS position",
        canaries=_OWNER,
        harm="not upright",
    ),
    Sample(
        name="transparent.png",
        make=benign.transparent_png,
        about="logo on transparent ground with colours hidden in it",
        harm="transparent places are black",
    ),
    Sample(
        name="wide-gamut.jpg",
        make=benign.wide_gamut_jpeg,
        about="picture in a colour space of its own, with an ICC profile",
        harm="wrong colours: the profile was dropped, not applied",
    ),
    Sample(
        name="gray16.png",
        make=benign.gray_png,
        about="gray ramps of 16 bits",
        harm="all white: levels cut off at 255",
    ),
    Sample(
        name="animated.gif",
        make=benign.animated_gif,
        about="animation on transparent ground",
        harm="hidden colours show where it should be transparent",
    ),
    Sample(
        name="alpha.webp",
        make=benign.alpha_webp,
        about="WebP with soft transparent edges",
        harm="transparent places are black, soft edges hard",
    ),
)

HOSTILE: Final = (
    Sample(
        name="scan-bomb.jpg",
        make=hostile.scan_bomb,
        about="progressive JPEG of 200,000 scans that code nothing",
        code="too_complex",
    ),
    Sample(
        name="header-only.webp",
        make=hostile.webp_header,
        about="34 bytes that claim 144 megapixels",
        code="too_many_pixels",
    ),
    Sample(
        name="text-bomb.png",
        make=hostile.text_bomb,
        about="8 x 8 pixels, and 60 comments that inflate to 1 MB each",
        code="too_complex",
    ),
    Sample(
        name="huge-header.png",
        make=hostile.huge_header,
        about="66 bytes that claim 65,535 x 65,535 pixels",
        code="too_many_pixels",
    ),
    Sample(
        name="near-bomb.png",
        make=hostile.near_bomb,
        about="89 MP of nothing, just under Pillow's warning",
        code="too_many_pixels",
    ),
    Sample(
        name="frames.gif",
        make=hostile.gif_frames,
        about="100,000 frames",
        code="too_complex",
    ),
    Sample(
        name="pages.tif",
        make=hostile.tiff_directories,
        about="50,000 pages",
        code="format_not_allowed",
        harm="any format Pillow knows is taken",
    ),
    Sample(
        name="truncated.jpg",
        make=hostile.truncated_jpeg,
        about="half a photograph with an end marker glued on",
        code="corrupt",
        harm="the missing half is gray, and nobody is told",
    ),
    Sample(
        name="comment.jpg",
        make=hostile.comment_jpeg,
        about="photograph with a script for a comment",
        canaries={hostile.SCRIPT: "the script", **_OWNER},
    ),
    Sample(
        name="polyglot.gif",
        make=hostile.polyglot,
        about="a GIF that is a JavaScript program too",
        canaries={hostile.POLYGLOT_SCRIPT: "the script"},
    ),
    Sample(
        name="script.svg",
        make=hostile.svg,
        about="SVG with a script",
        code="format_not_allowed",
    ),
)

SAMPLES: Final = BENIGN + HOSTILE
