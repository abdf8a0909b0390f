"""Where the pixels of the result come from: arithmetic only."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from safeupload._formats import Rebuilt
    from safeupload.policy import Policy

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
    """

    scale: int
    factor: int
    box: tuple[float, float, float, float]
    area: tuple[int, int, int, int]
    target: tuple[int, int]

    @property
    def render_bytes(self) -> int:
        """The memory that rendering takes beside the raster: the reduced picture, LANCZOS's first pass, two results."""
        left, top, right, bottom = self.area
        width, height = -(-(right - left) // self.factor), -(-(bottom - top) // self.factor)
        return _PIXEL_BYTES * (width * height + self.target[0] * height + 2 * self.target[0] * self.target[1])


def displayed(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Exchange width and height if the orientation does; its own inverse."""
    width, height = size
    return (height, width) if orientation in _SIDEWAYS else (width, height)


def plan(rebuilt: Rebuilt, policy: Policy) -> Plan:
    """Cover the target with the picture, cropped at the centre, and take every shortcut that cannot be seen."""
    target = displayed(policy.size, rebuilt.orientation)
    ratio = min(have / want for have, want in zip(rebuilt.canvas, target, strict=True))
    scale = next((scale for scale in _SCALES if rebuilt.scalable and ratio >= _GAP * scale), 1)
    ratio /= scale
    left, right, low_x, high_x = _span(rebuilt.canvas[0], target[0], ratio, scale)
    top, bottom, low_y, high_y = _span(rebuilt.canvas[1], target[1], ratio, scale)
    return Plan(
        scale=scale,
        factor=max(1, min(int(ratio / _GAP), _MAX_FACTOR)),
        box=(low_x, low_y, high_x, high_y),
        area=(left, top, right, bottom),
        target=target,
    )


def _span(side: int, want: int, ratio: float, scale: int) -> tuple[int, int, float, float]:
    """Return, along one axis, the first whole pixel touched and the one behind the last, and both ends of the box."""
    length = side / scale
    low = max(0.0, (length - want * ratio) / 2)
    high = min(length, low + want * ratio)
    margin = _LANCZOS_SUPPORT * max(ratio, 1)
    return max(0, math.floor(low - margin)), min(-(-side // scale), math.ceil(high + margin)), low, high
