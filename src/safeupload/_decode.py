"""From an upload to a raster: the only place where a decoder runs."""

from __future__ import annotations

from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Final, cast

from PIL import AvifImagePlugin, GifImagePlugin, Image, ImageFile, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from safeupload._formats import Rebuilt, rebuild
from safeupload._formats._pieces import PiecewiseFile
from safeupload._plan import Plan, plans, render_bytes
from safeupload._raster import cut
from safeupload.errors import Corrupt, TooComplex, TooManyPixels, TruncatedImagesEnabled

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from safeupload.policy import Policy


# The plugins themselves and not Image.open: that would consult and change registries which the whole process shares,
# and warn by a limit (MAX_IMAGE_PIXELS) that is not ours.
_PLUGINS: Final[dict[str, Callable[[IO[bytes]], ImageFile.ImageFile]]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
}


def _plugin(name: str) -> Callable[[IO[bytes]], ImageFile.ImageFile]:
    """Return the decoder of a format; that of HEIF is an extra, imported when it is needed."""
    if name == "HEIF":
        from pillow_heif import HeifImageFile  # noqa: PLC0415

        return HeifImageFile  # type: ignore[no-any-return, unused-ignore]  # typed or not, by its version
    return _PLUGINS[name]


# Pillow reads in blocks of 64 KiB and takes the GIL for each; beside a busy thread that can cost 5 ms a time. In blocks
# of 512 KiB that is 10 times for the largest upload, and nobody holds a copy of the whole file.
_BLOCK: Final = 1 << 19


def prepared(data: bytes, policy: Policy) -> tuple[Rebuilt, tuple[Plan, ...]]:
    """Check and rebuild an upload, and plan what is made of it; no decoder sees it. Raises a `Rejected`."""
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise TruncatedImagesEnabled
    rebuilt = rebuild(data, policy)
    steps = plans(rebuilt, policy)
    if rebuilt.decode_bytes(steps[0].scale) + render_bytes(steps, rebuilt, policy) > policy.max_decode_bytes:
        raise TooComplex("memory", policy.max_decode_bytes)
    return rebuilt, steps


@contextmanager
def decoded(data: bytes, policy: Policy) -> Generator[tuple[Image.Image, Rebuilt, tuple[Plan, ...]]]:
    """
    Check, rebuild and decode an upload; yield the raster, what was rebuilt, and the plans that the raster follows.

    Raises a `Rejected` before or while it decodes; nothing is caught from the block.
    """
    rebuilt, steps = prepared(data, policy)
    del data  # where it was read from a file, nobody else holds it
    with _load(rebuilt, steps[0].scale, policy) as image:
        yield image, rebuilt, steps


def _load(rebuilt: Rebuilt, scale: int, policy: Policy) -> Image.Image:
    """Run the decoder; whatever it raises is about their bytes."""
    left, top, right, bottom = rebuilt.frame
    size = right - left, bottom - top
    open_image = _plugin(rebuilt.format)
    try:
        image = open_image(cast("IO[bytes]", PiecewiseFile(rebuilt.pieces_at(scale))))
        _expect(image.size, size)
        if scale > 1:
            image.draft(None, (size[0] // scale, size[1] // scale))
        image.decodermaxblock = _BLOCK
        image.load()
        _expect(image.size, (-(-size[0] // scale), -(-size[1] // scale)))
        if not rebuilt.is_complete(_last_pixels(image)):
            raise ValueError("rows are missing")  # noqa: TRY301 - one way out of here
    except MemoryError as error:
        raise TooComplex("memory", policy.max_decode_bytes) from error
    except Image.DecompressionBombError as error:  # only WebP asks, and only above a limit of the whole process
        raise TooManyPixels(size[0] * size[1], 2 * (Image.MAX_IMAGE_PIXELS or 0)) from error
    except Exception as error:
        raise Corrupt from error
    return image


def _last_pixels(image: Image.Image) -> bytes:
    """Return the raw end of the last row."""
    width, height = image.size
    return cut(image, (max(0, width - 1024), height - 1, width, height)).tobytes()


def _expect(decoder: tuple[int, int], preflight: tuple[int, int]) -> None:
    """Refuse to go on where two parsers read one file in two ways."""
    if decoder != preflight:
        raise ValueError(f"the decoder sees {decoder} pixels, the preflight {preflight}")
