"""From a raster to the picture we hand out: shrink, colour, background, upright, encode."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

from PIL import Image, ImageChops

from safeupload._colour import to_srgb

if TYPE_CHECKING:
    from safeupload._formats import Rebuilt
    from safeupload._plan import Plan
    from safeupload.policy import Policy

_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PLAIN: Final = frozenset({"L", "RGB", "CMYK"})  # modes that Pillow resamples as they are
_STRIP_PIXELS: Final = 1 << 20  # converted at a time, so that no second full-size raster exists


def render(image: Image.Image, rebuilt: Rebuilt, steps: Plan, policy: Policy) -> bytes:
    """Return the JPEG that the policy asks for, from the raster that the plan was made for."""
    small = _shrink(image, rebuilt, steps)
    alpha = None
    if small.mode in {"La", "RGBa"}:
        small = small.convert(small.mode.upper())
        alpha = small.getchannel("A")
        small = small.convert(small.mode[:-1])
    result = Image.new("RGB", small.size, policy.background)
    result.paste(to_srgb(small, rebuilt.icc), mask=alpha)
    if rebuilt.orientation in _UPRIGHT:
        result = result.transpose(_UPRIGHT[rebuilt.orientation])
    return _encode(result, policy)


def _encode(image: Image.Image, policy: Policy) -> bytes:
    """
    Return the picture as a baseline JPEG with a JFIF header and nothing else.

    Without `optimize`: that needs the whole output in one buffer, whose size Pillow guesses too small for noise.
    """
    out = io.BytesIO()
    image.save(out, "JPEG", quality=policy.quality)
    return out.getvalue()


def _shrink(image: Image.Image, rebuilt: Rebuilt, steps: Plan) -> Image.Image:
    """
    Return the picture at the target's size in mode L, La, RGB, RGBa or CMYK.

    Colours under transparent pixels weigh nothing: La and RGBa are premultiplied.
    """
    origin_x, origin_y = 0, 0
    if steps.factor > 1 or not _is_plain(image, rebuilt):
        origin_x, origin_y, _, _ = steps.area
        image = _reduce(image, rebuilt, steps)
    left, top, right, bottom = steps.box
    box = (
        (left - origin_x) / steps.factor,
        (top - origin_y) / steps.factor,
        min((right - origin_x) / steps.factor, image.width),
        min((bottom - origin_y) / steps.factor, image.height),
    )
    return image.resize(steps.target, Image.Resampling.LANCZOS, box=box)


def _is_plain(image: Image.Image, rebuilt: Rebuilt) -> bool:
    """Tell whether the raster is the whole canvas, in a mode that can be resampled as it is."""
    return image.mode in _PLAIN and rebuilt.transparency is None and rebuilt.frame == (0, 0, *rebuilt.canvas)


def _reduce(image: Image.Image, rebuilt: Rebuilt, steps: Plan) -> Image.Image:
    """Return the plan's area with blocks of `factor` x `factor` pixels averaged."""
    if _is_plain(image, rebuilt):
        return image.reduce(steps.factor, box=steps.area)
    left, top, right, bottom = steps.area
    rows = max(1, _STRIP_PIXELS // (right - left) // steps.factor) * steps.factor
    reduced: Image.Image | None = None
    for start in range(top, bottom, rows):
        strip = _strip(image, rebuilt, (left, start, right, min(start + rows, bottom))).reduce(steps.factor)
        if reduced is None:
            reduced = Image.new(strip.mode, (strip.width, -(-(bottom - top) // steps.factor)))
        reduced.paste(strip, (0, (start - top) // steps.factor))
    assert reduced is not None  # noqa: S101 - the area is never empty
    return reduced


def _strip(image: Image.Image, rebuilt: Rebuilt, area: tuple[int, int, int, int]) -> Image.Image:
    """Return an area of the canvas in a mode that can be resampled; transparent where the frame does not reach."""
    left, top, right, bottom = area
    low_x, low_y, high_x, high_y = rebuilt.frame
    inner = max(left, low_x), max(top, low_y), min(right, high_x), min(bottom, high_y)
    if inner == area:
        return _resamplable(image.crop((left - low_x, top - low_y, right - low_x, bottom - low_y)), rebuilt.transparency)
    strip = Image.new("RGBa", (right - left, bottom - top))
    if inner[0] < inner[2] and inner[1] < inner[3]:
        part = image.crop((inner[0] - low_x, inner[1] - low_y, inner[2] - low_x, inner[3] - low_y))
        part = _resamplable(part, rebuilt.transparency)
        part = part if part.mode == "RGBa" else part.convert("LA" if part.mode == "La" else part.mode).convert("RGBA").convert("RGBa")
        strip.paste(part, (inner[0] - left, inner[1] - top))
    return strip


def _resamplable(image: Image.Image, transparency: bytes | int | tuple[int, int, int] | None) -> Image.Image:
    """Return the picture in mode L, La, RGB, RGBa or CMYK; Pillow resamples the others badly or not at all."""
    image.info = {} if transparency is None else {"transparency": transparency}
    if image.mode == "I;16":
        image = _from_16_bits(image, transparency)
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode == "P" and transparency is None:
        image = image.convert("RGB")
    if image.mode in {"L", "RGB", "P"} and transparency is not None:
        image = image.convert("LA" if image.mode == "L" else "RGBA")
    return image.convert({"LA": "La", "RGBA": "RGBa"}.get(image.mode, image.mode))


def _from_16_bits(image: Image.Image, key: bytes | int | tuple[int, int, int] | None) -> Image.Image:
    """Return 16-bit grey as L, or LA if a level is transparent; Pillow's own conversion cuts off at 255."""
    level = image.convert("I").point(lambda value: value * (255 / 65535) + 0.5).convert("L")
    if not isinstance(key, int):
        return level
    raw = image.tobytes()
    planes = zip((raw[0::2], raw[1::2]), key.to_bytes(2, "little"), strict=True)
    differs = [
        Image.frombytes("L", image.size, plane).point([0 if byte == wanted else 255 for byte in range(256)])
        for plane, wanted in planes
    ]
    return Image.merge("LA", (level, ImageChops.lighter(*differs)))
