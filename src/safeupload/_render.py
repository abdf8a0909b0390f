"""From a raster to the picture we hand out: shrink, colour, background, upright, encode."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final, TypeAlias

from PIL import Image, ImageChops

from safeupload._colour import Profile
from safeupload._raster import cut

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
_Box: TypeAlias = tuple[int, int, int, int]  # left, top, right, bottom
_PREMULTIPLIED: Final = {"LA": "La", "RGBA": "RGBa"}  # so that colours under transparent pixels weigh nothing
_STRAIGHT: Final = {"La": "LA", "RGBa": "RGBA"}
_PLAIN: Final = frozenset({"L", "RGB", "CMYK"})  # modes that Pillow resamples as they are
_STRIP_PIXELS: Final = 1 << 18  # converted at a time, so that no second full-size raster exists


def render(image: Image.Image, rebuilt: Rebuilt, steps: Plan, policy: Policy) -> bytes:
    """Return the JPEG that the policy asks for, from the raster that the plan was made for."""
    profile = Profile(rebuilt.icc)
    reduced, origin, is_finished = _reduced(image, rebuilt, steps, profile, policy)
    result = _resampled(reduced, origin, steps)
    if not is_finished:
        result = profile.to_srgb(result)
    if rebuilt.orientation in _UPRIGHT:
        result = result.transpose(_UPRIGHT[rebuilt.orientation])
    return _encode(result, policy)


def _over_background(image: Image.Image, profile: Profile, policy: Policy) -> Image.Image:
    """Return a picture in sRGB, laid over the background where it is premultiplied."""
    if image.mode not in _STRAIGHT:
        return profile.to_srgb(image)
    straight = image.convert(_STRAIGHT[image.mode])
    result = Image.new("RGB", image.size, policy.background)
    result.paste(profile.to_srgb(straight.convert(image.mode[:-1])), mask=straight.getchannel("A"))
    return result


def _resampled(image: Image.Image, origin: tuple[int, int], steps: Plan) -> Image.Image:
    """Return the plan's box at the target's size, from a reduced picture that begins at that origin."""
    left, top, right, bottom = steps.box
    box = (
        (left - origin[0]) / steps.factor,
        (top - origin[1]) / steps.factor,
        min((right - origin[0]) / steps.factor, image.width),
        min((bottom - origin[1]) / steps.factor, image.height),
    )
    return image.resize(steps.target, Image.Resampling.LANCZOS, box=box)


def _encode(image: Image.Image, policy: Policy) -> bytes:
    """
    Return the picture as a baseline JPEG with a JFIF header and nothing else.

    Without `optimize`: that needs the whole output in one buffer, whose size Pillow guesses too small for noise.
    """
    out = io.BytesIO()
    fresh = Image.new("RGB", image.size)  # the old one may carry a comment or a profile, which Pillow would write
    fresh.paste(image)
    fresh.save(out, "JPEG", quality=policy.quality)
    return out.getvalue()


def _reduced(
    image: Image.Image, rebuilt: Rebuilt, steps: Plan, profile: Profile, policy: Policy
) -> tuple[Image.Image, tuple[int, int], bool]:
    """
    Return the plan's area, or more, reduced by its factor; where that begins; and whether it is in sRGB already.

    A raster that is the whole canvas, in a mode that can be resampled as it is, needs no conversion. Others are
    converted strip by strip. Transparent ones are laid over the background there, before LANCZOS: where alpha is cut
    off at both ends, and colours overshoot, a ring would stay around edges.
    """
    left, top, right, bottom = steps.area
    if image.mode in _PLAIN and rebuilt.transparency is None and rebuilt.frame == (0, 0, *rebuilt.canvas):
        if steps.factor == 1:
            return image, (0, 0), False
        return image.reduce(steps.factor, box=steps.area), (left, top), False
    rows = max(1, _STRIP_PIXELS // (right - left) // steps.factor) * steps.factor
    whole = Image.new("RGB", (-(-(right - left) // steps.factor), -(-(bottom - top) // steps.factor)))
    for start in range(top, bottom, rows):
        strip = _strip(image, rebuilt, (left, start, right, min(start + rows, bottom))).reduce(steps.factor)
        whole.paste(_over_background(strip, profile, policy), (0, (start - top) // steps.factor))
    return whole, (left, top), True


def _strip(image: Image.Image, rebuilt: Rebuilt, area: _Box) -> Image.Image:
    """Return an area of the canvas in a mode that can be resampled; transparent where the frame does not reach."""
    left, top, right, bottom = area
    low_x, low_y, high_x, high_y = rebuilt.frame
    covered = max(left, low_x), max(top, low_y), min(right, high_x), min(bottom, high_y)
    if covered == area:
        part = _straight(image, (left - low_x, top - low_y, right - low_x, bottom - low_y), rebuilt)
        return part.convert(_PREMULTIPLIED.get(part.mode, part.mode))
    strip = Image.new("RGBa", (right - left, bottom - top))
    left, top, right, bottom = covered
    if left < right and top < bottom:
        part = _straight(image, (left - low_x, top - low_y, right - low_x, bottom - low_y), rebuilt)
        strip.paste(part.convert("RGBA").convert("RGBa"), (left - area[0], top - area[1]))
    return strip


def _straight(image: Image.Image, area: _Box, rebuilt: Rebuilt) -> Image.Image:
    """Return an area of the raster in mode L, LA, RGB, RGBA or CMYK; Pillow resamples the others badly if at all."""
    part, transparency = cut(image, area), rebuilt.transparency
    part.info = {} if transparency is None else {"transparency": transparency}
    if part.mode == "I;16":
        return _from_16_bits(part, transparency)
    if part.mode == "1":
        part = part.convert("L")
    if part.mode == "RGBA" and rebuilt.gray:  # 16-bit gray with alpha, which Pillow decodes so
        return part.convert("LA")
    if transparency is not None and part.mode in {"L", "P", "RGB"}:
        return part.convert("LA" if part.mode == "L" else "RGBA")
    return part.convert("RGB") if part.mode == "P" else part


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
