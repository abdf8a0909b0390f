"""From a raster to the picture we hand out: shrink, colour, background, upright, encode."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from PIL import Image, ImageChops

from safeupload._colour import Profile
from safeupload._formats import Rebuilt
from safeupload._plan import Plan, displayed
from safeupload._raster import cut
from safeupload.policy import Policy, Rendition

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

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


class Encoded(NamedTuple):
    """A finished file, and the size of the picture in it."""

    data: bytes
    width: int
    height: int


class Shape(NamedTuple):
    """What a picture will be: its size, and whether it may be transparent."""

    size: tuple[int, int]
    has_alpha: bool


def render(image: Image.Image, rebuilt: Rebuilt, steps: Sequence[Plan], policy: Policy) -> list[Encoded]:
    """Return what the policy asks for, from the raster that the plans were made for: the picture, the renditions."""
    return encoded(rendered(image, rebuilt, steps, policy), steps, policy)


def rendered(image: Image.Image, rebuilt: Rebuilt, steps: Sequence[Plan], policy: Policy) -> Generator[Image.Image]:
    """Yield the finished pictures, in RGB or RGBA, in the order in which each is made of what was made before."""
    raster = _Raster(image, rebuilt, Profile(rebuilt.icc), policy.background)
    for at in _order(steps):
        yield _rendered(raster, steps[at], policy.pictures[at])


def encoded(pictures: Iterable[Image.Image], steps: Sequence[Plan], policy: Policy) -> list[Encoded]:
    """Return the files of pictures that come in the order of `rendered`, in that of the policy."""
    files = {
        at: Encoded(_encode(picture, policy.pictures[at]), *picture.size)
        for at, picture in zip(_order(steps), pictures, strict=True)
    }
    return [files[at] for at in range(len(steps))]


def shapes(rebuilt: Rebuilt, steps: Sequence[Plan], policy: Policy) -> list[Shape]:
    """Return what is known of the pictures beforehand, in the order of `rendered`."""
    found: list[Shape] = []
    for at in _order(steps):
        rendition = policy.pictures[at]
        upright = displayed(steps[at].target, rebuilt.orientation)
        found.append(Shape(rendition.size if rendition.fit == "pad" else upright, rendition.has_alpha))
    return found


def _order(steps: Sequence[Plan]) -> list[int]:
    """Return the plans' places, by their factors: what was averaged for one is averaged further for the next."""
    return sorted(range(len(steps)), key=lambda at: steps[at].factor)


def _rendered(raster: _Raster, steps: Plan, rendition: Rendition) -> Image.Image:
    """Return one result."""
    reduced = raster.reduced(steps, keeps_alpha=rendition.has_alpha and raster.has_alpha)
    result = _resampled(reduced, steps)
    if not reduced.is_finished:
        result = raster.profile.to_srgb(result)
    elif result.mode in _STRAIGHT:
        result = result.convert(_STRAIGHT[result.mode])
    if raster.rebuilt.orientation in _UPRIGHT:
        result = result.transpose(_UPRIGHT[raster.rebuilt.orientation])
    return _laid_out(result, rendition, raster.background)


class _Reduced(NamedTuple):
    """A picture in which a pixel is the average of `factor` x `factor` ones of the raster, from `origin` on."""

    image: Image.Image
    factor: int
    origin: tuple[int, int]
    is_finished: bool  # in sRGB, and premultiplied or over the background


class _Raster:
    """A decoded picture, and what was last averaged of it."""

    def __init__(
        self, image: Image.Image, rebuilt: Rebuilt, profile: Profile, background: tuple[int, int, int]
    ) -> None:
        self.rebuilt = rebuilt
        self.profile = profile
        self.background = background
        self._image = image
        self._last: dict[bool, _Reduced] = {}

    def reduced(self, steps: Plan, *, keeps_alpha: bool) -> _Reduced:
        """
        Return the plan's area, or more, reduced by its factor; the factors of calls must not become smaller.

        A raster that is the whole canvas, in a mode that can be resampled as it is, needs no conversion. Others are
        converted strip by strip. Where the result cannot be transparent, they are laid over the background there, and
        not after LANCZOS: where alpha is cut off at both ends, and colours overshoot, a ring would stay around edges.
        """
        last = self._last.get(keeps_alpha)
        if last is None:
            whole = _Reduced(self._image, 1, (0, 0), is_finished=False)
            last = whole if self.is_plain else self._converted(steps, keeps_alpha=keeps_alpha)
        more = steps.factor // last.factor
        if more > 1 and last.image is self._image:
            last = _Reduced(self._image.reduce(more, box=steps.area), more, steps.area[:2], is_finished=False)
        elif more > 1:
            last = last._replace(image=last.image.reduce(more), factor=steps.factor)
        self._last[keeps_alpha] = last
        return last

    @property
    def is_plain(self) -> bool:
        """Whether the raster can be resampled as it is."""
        whole = self.rebuilt.frame == (0, 0, *self.rebuilt.canvas)
        return self._image.mode in _PLAIN and self.rebuilt.transparency is None and whole

    @property
    def has_alpha(self) -> bool:
        """Whether some of it may be transparent."""
        return self.rebuilt.has_alpha and not self.is_plain

    def _converted(self, steps: Plan, *, keeps_alpha: bool) -> _Reduced:
        left, top, right, bottom = steps.area
        factor = steps.factor
        rows = max(1, _STRIP_PIXELS // (right - left) // factor) * factor
        whole = Image.new("RGBa" if keeps_alpha else "RGB", steps.reduced)
        for start in range(top, bottom, rows):
            strip = _strip(self._image, self.rebuilt, (left, start, right, min(start + rows, bottom))).reduce(factor)
            whole.paste(self._finished(strip, keeps_alpha=keeps_alpha), (0, (start - top) // factor))
        return _Reduced(whole, factor, (left, top), is_finished=True)

    def _finished(self, image: Image.Image, *, keeps_alpha: bool) -> Image.Image:
        """Return a picture in sRGB: premultiplied, as transparent as it is, or laid over the background."""
        if image.mode not in _STRAIGHT:
            opaque = self.profile.to_srgb(image)
            return opaque.convert("RGBA").convert("RGBa") if keeps_alpha else opaque
        straight = image.convert(_STRAIGHT[image.mode])
        colours, alpha = self.profile.to_srgb(straight.convert(image.mode[:-1])), straight.getchannel("A")
        if keeps_alpha:
            colours.putalpha(alpha)
            return colours.convert("RGBa")
        result = Image.new("RGB", image.size, self.background)
        result.paste(colours, mask=alpha)
        return result


def _resampled(reduced: _Reduced, steps: Plan) -> Image.Image:
    """Return the plan's box at the target's size."""
    image, factor, origin, _ = reduced
    left, top, right, bottom = steps.box
    box = (
        (left - origin[0]) / factor,
        (top - origin[1]) / factor,
        min((right - origin[0]) / factor, image.width),
        min((bottom - origin[1]) / factor, image.height),
    )
    return image.resize(steps.target, Image.Resampling.LANCZOS, box=box)


def _laid_out(image: Image.Image, rendition: Rendition, background: tuple[int, int, int]) -> Image.Image:
    """
    Return the picture on a canvas of its own, which with "pad" is as large as was asked for.

    The old one may carry a comment or a profile, which Pillow would write.
    """
    size = rendition.size if rendition.fit == "pad" else image.size
    if image.mode == "RGBA" or (size != image.size and rendition.has_alpha):
        canvas = Image.new("RGBA", size)
    else:
        canvas = Image.new("RGB", size, background)
    canvas.paste(image, ((size[0] - image.width) // 2, (size[1] - image.height) // 2))
    return canvas


def _encode(image: Image.Image, rendition: Rendition) -> bytes:
    """
    Return the picture as a file of its format; a JPEG is a baseline one with a JFIF header and nothing else.

    Without `optimize`: that needs the whole output in one buffer, whose size Pillow guesses too small for noise.
    """
    out = io.BytesIO()
    options: dict[str, Any] = {} if rendition.format == "PNG" else {"quality": rendition.quality}
    if rendition.format == "AVIF":
        options["max_threads"] = 1  # one upload, one processor: others are decoded at the same time
        options["speed"] = 9  # an upload waits: 16 times as fast as 6, Pillow's own, for a file 7 % larger
    image.save(out, rendition.format, **options)
    return out.getvalue()


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
