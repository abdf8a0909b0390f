"""From whatever colour space the picture is in to sRGB."""

from __future__ import annotations

import hashlib
import io
import threading
from collections import OrderedDict
from typing import Final

from PIL import Image, ImageCms

from safeupload._icc import rebuild_profile

_CACHED: Final = 16  # transforms; a site meets a handful of profiles (sRGB, Display P3, Adobe RGB ...), up to 2 MB each


class Profile:
    """An embedded ICC profile, or none, opened once for all the pieces of a picture."""

    def __init__(self, icc: bytes | None) -> None:
        rebuilt = rebuild_profile(icc) if icc else None
        self._mode, self._icc = rebuilt or ("", b"")
        self._key = hashlib.sha256(self._icc).digest()

    def to_srgb(self, image: Image.Image) -> Image.Image:
        """
        Return a picture (L, RGB or CMYK) as RGB in sRGB.

        A profile that is broken, or belongs to another kind of picture, is ignored, as browsers ignore it.
        """
        if image.mode == "L" and self._mode == "RGB":
            image = image.convert("RGB")
        if image.mode != self._mode:
            return image.convert("RGB")
        transform = _TRANSFORMS.get(self._key, self._icc, image.mode)
        return image.convert("RGB") if transform is None else transform.apply(image)


class _Transforms:
    """Builds each transform once: that takes milliseconds, applying it to a small picture one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cache: OrderedDict[bytes, ImageCms.ImageCmsTransform | None] = OrderedDict()

    def get(self, key: bytes, icc: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
        """Return the transform to sRGB, None if the profile is broken; the key is the profile's digest."""
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        transform = _build(icc, mode)
        with self._lock:
            self._cache[key] = transform
            if len(self._cache) > _CACHED:
                self._cache.popitem(last=False)
        return transform


_TRANSFORMS: Final = _Transforms()


def _build(icc: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Build a transform, or return None if the profile is broken."""
    # Threads share a transform, so it must not cache its last pixel; black points are matched as Photoshop does.
    flags = ImageCms.Flags.NOCACHE | ImageCms.Flags.BLACKPOINTCOMPENSATION
    if mode == "L":  # optimised, the curve of a gray profile becomes a few straight lines: 10 levels off in the dark
        flags |= ImageCms.Flags.NOOPTIMIZE
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        # Pillow's module in C has types where it is, but is imported in a way that hides them.
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
        return ImageCms.ImageCmsTransform(profile, srgb, mode, "RGB", ImageCms.Intent.PERCEPTUAL, flags=flags)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
