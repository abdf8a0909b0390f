"""Where the pixels of the result come from: arithmetic only."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from safeupload._formats import Rebuilt
    from safeupload.policy import Policy, Rendition

_SIDEWAYS: Final = frozenset({5, 6, 7, 8})  # orientations that exchange width and height
_SCALES: Final = (8, 4, 2)  # what libjpeg's DCT scaling and Pillow's draft() have in common
# How much larger than the target a picture stays until the final resampling. With 2 the worst photograph was 47 dB from
# the full decode, of which less than 0.1 dB is left once both are JPEGs.
_GAP: Final = 2
_LANCZOS_SUPPORT: Final = 3
_MAX_FACTOR: Final = 64  # or the strip of one row of blocks would be most of the picture; LANCZOS does the rest
_PIXEL_BYTES: Final = 4  # of Pillow's RGB


class Plan(NamedTuple):
    """
    How a stored picture becomes a small one: decode at 1/`scale`, average blocks of `factor` x `factor`, resample.

    `box` is what the result shows and `area` the whole pixels that resampling may touch, both in pixels of the decoded
    canvas as (left, top, right, bottom). `target` is the size of the result before it is turned upright.

    Plans of one decode have the same area, and each factor is a multiple of every smaller one, so that what was
    averaged for one result can be averaged on for the next.
    """

    scale: int
    factor: int
    box: tuple[float, float, float, float]
    area: tuple[int, int, int, int]
    target: tuple[int, int]

    @property
    def reduced(self) -> tuple[int, int]:
        """The size of the reduced picture."""
        left, top, right, bottom = self.area
        return -(-(right - left) // self.factor), -(-(bottom - top) // self.factor)


def displayed(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Exchange width and height if the orientation does; its own inverse."""
    width, height = size
    return (height, width) if orientation in _SIDEWAYS else (width, height)


def plans(rebuilt: Rebuilt, policy: Policy) -> tuple[Plan, ...]:
    """
    Return how the picture and each of the renditions come about, in their order, from one decode.

    Every shortcut is taken that cannot be seen; the largest result decides at which scale is decoded.
    """
    wanted = [_wanted(rebuilt, each) for each in policy.pictures]
    least = min(each.ratio for each in wanted)
    scale = next((scale for scale in _SCALES if rebuilt.scalable and least >= _GAP * scale), 1)
    return _aligned([_plan(rebuilt.canvas, each, scale) for each in wanted])


def render_bytes(steps: Sequence[Plan], rebuilt: Rebuilt, policy: Policy) -> int:
    """
    Return the memory that rendering takes beside the raster.

    That is the reduced pictures, once for results that can be transparent and once for others, and for one result at a
    time LANCZOS's first pass, twice the result itself, and its encoder.
    """
    reduced: set[tuple[int, int, bool]] = set()
    most = 0
    for each, rendition in zip(steps, policy.pictures, strict=True):
        width, height = each.reduced
        reduced.add((width, height, rebuilt.has_alpha and rendition.has_alpha))
        finished = rendition.size if rendition.fit == "pad" else each.target
        pixels = each.target[0] * (height + each.target[1]) + math.prod(finished)
        most = max(most, _PIXEL_BYTES * pixels + rendition.encoder_bytes)
    return _PIXEL_BYTES * sum(width * height for width, height, _ in reduced) + most


def _aligned(steps: list[Plan]) -> tuple[Plan, ...]:
    """Give plans one area, and factors that divide each other; none becomes larger."""
    lefts, tops, rights, bottoms = zip(*(each.area for each in steps), strict=True)
    area = min(lefts), min(tops), max(rights), max(bottoms)
    factors: dict[int, int] = {}
    last = 1
    for factor in sorted({each.factor for each in steps}):
        last *= factor // last
        factors[factor] = last
    return tuple(each._replace(area=area, factor=factors[each.factor]) for each in steps)


class _Wanted(NamedTuple):
    """The size of a result before it is turned upright; how many times larger the picture is; what is shown of it."""

    target: tuple[int, int]
    ratio: float
    shown: tuple[float, float]  # in pixels of the picture


def _wanted(rebuilt: Rebuilt, rendition: Rendition) -> _Wanted:
    size = displayed(rendition.size, rebuilt.orientation)
    width, height = rebuilt.canvas
    ratios = width / size[0], height / size[1]
    if rendition.fit == "cover":
        ratio = min(ratios)
        return _Wanted(size, ratio, (size[0] * ratio, size[1] * ratio))
    ratio = max(1, *ratios)
    return _Wanted((max(1, round(width / ratio)), max(1, round(height / ratio))), ratio, (width, height))


def _plan(canvas: tuple[int, int], wanted: _Wanted, scale: int) -> Plan:
    ratio = wanted.ratio / scale
    left, right, low_x, high_x = _span(canvas[0], wanted.shown[0], ratio, scale)
    top, bottom, low_y, high_y = _span(canvas[1], wanted.shown[1], ratio, scale)
    return Plan(
        scale=scale,
        factor=max(1, min(int(ratio / _GAP), _MAX_FACTOR)),
        box=(low_x, low_y, high_x, high_y),
        area=(left, top, right, bottom),
        target=wanted.target,
    )


def _span(side: int, shown: float, ratio: float, scale: int) -> tuple[int, int, float, float]:
    """Return, along one axis, the first whole pixel touched and the one behind the last, and both ends of the box."""
    length = side / scale
    low = max(0.0, (side - shown) / scale / 2)
    high = min(length, low + shown / scale)
    margin = _LANCZOS_SUPPORT * max(ratio, 1)
    return max(0, math.floor(low - margin)), min(-(-side // scale), math.ceil(high + margin)), low, high
