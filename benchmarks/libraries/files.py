"""The files that each library gets: the samples of the command line, and damaged ones, all made on the spot."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import reference
from PIL import Image, ImageCms, ImageOps

from safeupload import AVATAR
from safeupload._samples import BENIGN, HOSTILE, Sample
from safeupload._samples.benign import exif, scene

#: How many damaged files of each format.
DAMAGED: Final = 60
FORMATS: Final = ("JPEG", "PNG", "GIF", "WEBP")


class File(NamedTuple):
    """A file, of one of three kinds: "benign", "hostile" (it must be refused, or come out clean), "damaged"."""

    name: str
    kind: str
    make: Callable[[], bytes]
    sample: Sample | None = None


def files(damaged: int = DAMAGED) -> Iterator[File]:
    """Yield them all."""
    for kind, samples in (("benign", BENIGN), ("hostile", HOSTILE)):
        for sample in samples:
            yield File(sample.name, kind, sample.make, sample)
    for number in range(damaged):
        for form in FORMATS:
            extension = "jpg" if form == "JPEG" else form.lower()
            yield File(f"damaged-{number:03}.{extension}", "damaged", partial(_broken, form, number))


def write(folder: Path, damaged: int) -> list[File]:
    """Write them into a folder."""
    found = list(files(damaged))
    for file in found:
        (folder / file.name).write_bytes(file.make())
    return found


_WHOLE: dict[str, bytes] = {}


def _whole(form: str) -> bytes:
    """Return a small honest picture, with what its format has: EXIF, several frames, alpha."""
    if form not in _WHOLE:
        picture = scene(640, 480)
        options: dict[str, Any] = {"exif": exif(6)} if form != "GIF" else {"save_all": True}
        if form == "GIF":
            options["append_images"] = [picture.rotate(180)]
        elif form != "JPEG":
            picture.putalpha(Image.linear_gradient("L").resize(picture.size))
        out = io.BytesIO()
        picture.save(out, form, **options)
        _WHOLE[form] = out.getvalue()
    return _WHOLE[form]


def _broken(form: str, seed: int) -> bytes:
    """Return the picture with one to eight bytes changed, half of the time near its start, or a part cut out of it."""
    chance = random.Random(f"{form}{seed}")  # noqa: S311 - to be the same each time
    data = bytearray(_whole(form))
    end = len(data) if seed % 2 else min(len(data), 400)
    if seed % 6 == 0:
        start = chance.randrange(12, len(data))
        del data[start : start + chance.choice((1, 2, 100, len(data)))]
        return bytes(data)
    for _ in range(chance.randint(1, 8)):
        data[chance.randrange(8, end)] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
    return bytes(data)


def similarity(file: File, picture: bytes) -> float | None:
    """
    Return how close a result is to what the honest picture shows, in decibels; None if it is not a picture.

    The careful reference of the tests is made at the result's own size, over white, which is what a page shows of a
    result that kept its transparency.
    """
    try:
        image = _shown(picture)
    except OSError:
        return None
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    rows = np.asarray(Image.alpha_composite(white, image).convert("RGB")).astype(np.float64)
    return reference.psnr(rows, _expected(file, image.size))


def _shown(picture: bytes) -> Image.Image:
    """Return what a browser shows: turned as EXIF says, in the colours that a profile means, 16 bits as 8."""
    with Image.open(io.BytesIO(picture)) as opened:
        profile = opened.info.get("icc_profile")
        image = ImageOps.exif_transpose(opened)
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8)).convert("RGBA")
    image = image.convert("RGBA")
    if profile:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if own.profile.xcolor_space.strip() == "RGB":
            image = ImageCms.profileToProfile(image, own, ImageCms.createProfile("sRGB")) or image
    return image


_EXPECTED: dict[tuple[str, tuple[int, int]], reference.Floats] = {}
_ORIENTATION: Final = {"photo.jpg": 6}


def _expected(file: File, size: tuple[int, int]) -> reference.Floats:
    if (file.name, size) not in _EXPECTED:
        colours, alpha = reference.decode(file.make())
        if file.name == "wide-gamut.jpg":
            colours = _unswapped(colours)
        if colours.shape[2] == 1:
            colours = np.repeat(colours, 3, axis=2)
        flat = colours * alpha + np.array(AVATAR.background) / 255 * (1 - alpha)
        upright = reference.upright(flat, _ORIENTATION.get(file.name, 1))
        _EXPECTED[file.name, size] = reference.cover(upright, size) * 255
    return _EXPECTED[file.name, size]


def _unswapped(colours: reference.Floats) -> reference.Floats:
    """Return in sRGB what the profile of the wide-gamut sample means: red and blue exchanged, a gamma of 2.2."""
    linear = colours[..., ::-1] ** 2.2
    encoded: reference.Floats = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)  # noqa: PLR2004 - IEC 61966-2-1
    return encoded
