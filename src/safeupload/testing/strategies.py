"""
Hypothesis strategies: honest pictures, hostile ones, and any bytes that an upload can be.

Needs the extra ``testing``. All shrink towards what is small and plain: a baseline JPEG of one pixel, no bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Final

from hypothesis import strategies as st

from safeupload._image import ImageInfo
from safeupload._samples import hostile
from safeupload._samples.catalogue import HOSTILE
from safeupload._samples.kinds import KINDS, picture
from safeupload._samples.sample import Sample
from safeupload.errors import InvalidArgument
from safeupload.policy import AVATAR

__all__ = ["hostile_pictures", "pictures", "uploads"]

_COLOURS: Final = ("white", "black", "teal", "red", "gold")
_PIXELS: Final = AVATAR.max_pixels  # headers claim more
_PNG_SIDE: Final = (1 << 31) - 1  # by the specification
_WEBP_SIDE: Final = 1 << 14
_HEAD: Final = 12  # bytes by which every format is known
_LONGEST: Final = 200  # bytes that one change puts in
#: Hostile files that are drawn often, and so must be quickly made and small.
_SMALL: Final = [
    HOSTILE[name]
    for name in (
        "header-only.webp",
        "huge-header.png",
        "screen.gif",
        "script.svg",
        "checksum.png",
        "archive-behind.jpg",
    )
]


def pictures(*, formats: Iterable[str] = AVATAR.formats, max_side: int = 64) -> st.SearchStrategy[Sample]:
    """
    Draw honest pictures of every kind, size, orientation and some colours: `data` is the file, `info` what it is.

    Args:
        formats: of the pictures, as in `Policy.formats`; those without a codec here are left out.
        max_side: the largest width and height, in pixels.

    Raises:
        InvalidArgument: no such format can be made here.

    """
    wanted = set(formats)
    kinds = [name for name, kind in KINDS.items() if kind.format in wanted]
    if not kinds:
        raise InvalidArgument(f"formats: none of {sorted(wanted)} can be made here")
    return _pictures(kinds, max_side)


@st.composite
def _pictures(draw: st.DrawFn, kinds: list[str], max_side: int) -> Sample:
    """Draw as many choices for every kind, or the one with fewer of them would count as the plainest."""
    kind = draw(st.sampled_from(kinds))
    side = st.integers(1, max_side)
    size, colour, orientation = draw(st.tuples(side, side)), draw(st.sampled_from(_COLOURS)), draw(st.integers(1, 8))
    return picture(kind, size=size, colour=colour, orientation=orientation if KINDS[kind].has_exif else 1)


def hostile_pictures() -> st.SearchStrategy[Sample]:
    """
    Draw hostile files: those of `HOSTILE`, headers that claim any number of pixels, and pictures cut anywhere.

    `code` is that of the refusal by `AVATAR`; if it is None, a picture must come of it, without the `canaries`.
    """
    return st.one_of(st.sampled_from([*HOSTILE.values()]), _claims(), _cuts())


@st.composite
def _claims(draw: st.DrawFn) -> Sample:
    """Draw a file of some bytes whose header claims too many pixels."""
    kind = draw(st.sampled_from(["png", "webp"]))
    make, longest = (hostile.png_header, _PNG_SIDE) if kind == "png" else (hostile.webp_header, _WEBP_SIDE)
    width = draw(st.integers(_PIXELS // longest + 1, longest))
    height = draw(st.integers(_PIXELS // width + 1, longest))
    return Sample(
        name=f"claim.{kind}",
        make=partial(make, width, height),
        about=f"a header that claims {width} x {height} pixels",
        code="too_many_pixels",
    )


@st.composite
def _cuts(draw: st.DrawFn) -> Sample:
    """
    Draw the beginning of a picture: enough to tell what it was to be, and at most three quarters.

    What has several frames is a whole picture once the first of them is there.
    """
    whole = draw(pictures(max_side=16).filter(lambda sample: not _info(sample).animated))
    length = draw(st.integers(_HEAD, len(whole.data) * 3 // 4))
    return Sample(
        name=f"beginning-of-{whole.name}",
        make=partial(_first, whole, length),
        about=f"the first {length} bytes of a {whole.about}",
        code="corrupt",
    )


def _first(whole: Sample, length: int) -> bytes:
    return whole.data[:length]


def _info(sample: Sample) -> ImageInfo:
    assert sample.info is not None, "honest pictures have it"
    return sample.info


@st.composite
def uploads(draw: st.DrawFn) -> bytes:
    """
    Draw bytes of any sort: noise, and honest and hostile files of which a few bytes are changed, lost or put in.

    Nothing is known of what becomes of them, but that it is a picture or a refusal.
    """
    samples = st.one_of(pictures(), st.sampled_from(_SMALL))
    data = draw(st.one_of(st.binary(max_size=_LONGEST), samples.map(lambda sample: sample.data)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        lost = draw(st.one_of(st.integers(0, min(4, len(data) - at)), st.integers(0, len(data) - at)))
        data = data[:at] + draw(st.binary(max_size=_LONGEST)) + data[at + lost :]
    return data
