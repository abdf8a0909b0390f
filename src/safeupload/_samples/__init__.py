"""
A handful of honest and hostile files, made on the spot, with what safeupload must answer to each.

Every generator is deterministic and quick, so tests and benchmarks use them too.
"""

from __future__ import annotations

from typing import Final

from safeupload._image import ImageInfo
from safeupload._samples import benign, hostile
from safeupload._samples.sample import Sample

__all__ = ["BENIGN", "HOSTILE", "SAMPLES", "Sample"]


def _info(name: str, width: int, height: int, *, orientation: int = 1, **more: bool) -> ImageInfo:
    """Return what an upload must turn out to be; what is not said is false."""
    told = {"animated": False, "has_alpha": False, "has_icc": False, **more}
    return ImageInfo(format=name, width=width, height=height, orientation=orientation, **told)


_OWNER: Final = {benign.EXIF_CANARY: "the owner's name", benign.GPS_CANARY: "the GPS position"}

BENIGN: Final = (
    Sample(
        name="photo.jpg",
        make=benign.photograph,
        about="12 MP photograph stored on its side, with owner and GPS position",
        info=_info("JPEG", 3000, 4000, orientation=6),
        canaries=_OWNER,
        harm="not upright",
    ),
    Sample(
        name="transparent.png",
        make=benign.transparent_png,
        about="logo on transparent ground with colours hidden in it",
        info=_info("PNG", 900, 900, has_alpha=True),
        harm="transparent places are black",
    ),
    Sample(
        name="wide-gamut.jpg",
        make=benign.wide_gamut_jpeg,
        about="picture in a colour space of its own, with an ICC profile",
        info=_info("JPEG", 1600, 1200, has_icc=True),
        harm="wrong colours: the profile was dropped, not applied",
    ),
    Sample(
        name="gray16.png",
        make=benign.gray_png,
        about="gray ramps of 16 bits",
        info=_info("PNG", 512, 512),
        harm="all white: levels cut off at 255",
    ),
    Sample(
        name="animated.gif",
        make=benign.animated_gif,
        about="animation on transparent ground",
        info=_info("GIF", 400, 400, animated=True, has_alpha=True),
        harm="hidden colours show where it should be transparent",
    ),
    Sample(
        name="alpha.webp",
        make=benign.alpha_webp,
        about="WebP with soft transparent edges",
        info=_info("WEBP", 700, 700, has_alpha=True),
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
        make=hostile.png_header,
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
        info=_info("JPEG", 1200, 900),
        canaries={hostile.SCRIPT: "the script", **_OWNER},
    ),
    Sample(
        name="polyglot.gif",
        make=hostile.polyglot,
        about="a GIF that is a JavaScript program too",
        info=_info("GIF", int.from_bytes(b"/*", "little"), 256),
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
