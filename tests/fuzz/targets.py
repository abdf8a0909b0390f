"""
What has to hold of any bytes: one check for each part of the library that reads them.

A check returns or raises; whatever it raises is a find. Pillow serves as the second opinion: where it opens the upload
itself, its size and its orientation are ours. It is asked about files that it opens and we accept, so it says nothing
of what either refuses.
"""

import contextlib
import io
import os
import re
import struct
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any, Final

from builders import exif, png
from PIL import ExifTags, GifImagePlugin, Image, ImageFile, TiffImagePlugin
from promises import check_clean

from safeupload import AVATAR, ImageInfo, NormalizedImage, Policy, Rejected, Rendition, normalize, validate
from safeupload._colour import Profile
from safeupload._decode import _plugin
from safeupload._formats import Rebuilt, rebuild
from safeupload._formats._exif import read_orientation
from safeupload._formats.jpeg import NO_END
from safeupload._icc import rebuild_profile
from safeupload._plan import displayed

#: Small enough for hundreds of files a second, whatever they announce.
POLICY: Final = replace(
    AVATAR,
    formats={"JPEG", "PNG", "GIF", "WEBP", "AVIF", "HEIF"},
    max_bytes=1 << 16,
    max_pixels=1 << 18,
    max_decode_bytes=1 << 26,
    size=(24, 16),
    renditions={
        "inside": Rendition(size=(20, 20), fit="contain", format="PNG"),
        "padded": Rendition(size=(16, 24), fit="pad"),
    },
)
_SECONDS: Final = 2.0  # of the processor, instrumented

_warned: Final[list[object]] = []


def watch() -> None:
    """Have every warning of this process noted, and all of Pillow loaded, so that nothing changes later."""
    warnings.simplefilter("always")
    warnings.showwarning = lambda *args, **_: _warned.append(args)
    Image.init()


@contextlib.contextmanager
def kept() -> Generator[None]:
    """Check that the block warns of nothing, writes nothing, changes nothing in Pillow, and ends soon."""
    _warned.clear()
    before, start = _state(), time.process_time()
    with _quiet():
        yield
    assert time.process_time() - start < _SECONDS, "too slow"
    assert _state() == before, "Pillow's settings have changed"
    assert not _warned, _warned


def _state() -> list[object]:
    """Return what of Pillow is shared by the whole process."""
    registries = (Image.ID, Image.OPEN, Image.SAVE, Image.SAVE_ALL, Image.EXTENSION, Image.MIME, Image.DECODERS)
    settings = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, ImageFile.MAXBLOCK
    return [*settings, GifImagePlugin.LOADING_STRATEGY, *map(tuple, registries)]


_stderr: Final = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process


@contextlib.contextmanager
def _quiet() -> Generator[None]:
    """Check that nothing is written to the file descriptor of stderr."""
    sys.stderr.flush()
    outside = os.dup(2)
    os.dup2(_stderr.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(outside, 2)
        os.close(outside)
    if _stderr.seek(0, os.SEEK_END):
        _stderr.seek(0)
        text = _stderr.read()
        _stderr.truncate(0)
        raise AssertionError(text)


def check_format(data: bytes) -> None:
    """Check that bytes are refused or rebuilt, into what is rebuilt as itself, and that Pillow reads them alike."""
    with kept():
        try:
            rebuilt = rebuild(data, POLICY)
        except Rejected:
            return
    left, top, right, bottom = rebuilt.frame
    size = right - left, bottom - top
    assert 0 < rebuilt.canvas[0] * rebuilt.canvas[1] <= POLICY.max_pixels
    assert 0 < size[0] * size[1] <= POLICY.max_pixels
    assert 1 <= rebuilt.orientation <= 8
    again = rebuild(rebuilt.data, POLICY)
    assert (again.canvas, again.orientation, again.icc) == (size, 1, None)
    assert again.data in {rebuilt.data, rebuilt.data + NO_END}  # which counts as pixels, the second time
    assert rebuild(b"".join(rebuilt.pieces_at(8)), POLICY).canvas == size
    _compare(data, rebuilt)


def _compare(data: bytes, ours: Rebuilt) -> None:
    """Check that the size and the orientation are those that Pillow reads from the same bytes."""
    theirs = _opened(data, ours.format)
    if theirs is None:
        return
    with theirs:
        size, info = theirs.size, dict(theirs.info)
        animated = getattr(theirs, "is_animated", False) if ours.format in {"AVIF", "HEIF"} else False
    _COMPARE[ours.format](data, ours, size, info, animated)


def _opened(data: bytes, name: str) -> ImageFile.ImageFile | None:
    """Return the file as Pillow's plugin opens it, None if it does not."""
    try:
        return _plugin(name)(io.BytesIO(data))
    except Exception:  # noqa: BLE001 - Pillow raises anything
        return None


def _compare_jpeg(data: bytes, ours: Rebuilt, size: tuple[int, int], info: dict[Any, Any], _: object) -> None:
    _same_size(ours.canvas, size)
    if data.count(exif.PREFIX) == 1 and "exif" in info:  # of several, Pillow makes one
        _same_orientation(ours.orientation, info["exif"])


def _compare_png(data: bytes, ours: Rebuilt, size: tuple[int, int], info: dict[Any, Any], _: object) -> None:
    _same_size(ours.canvas, size)
    if data.count(b"eXIf") == 1 and "exif" in info:  # of several, Pillow takes the last; there must be one only
        _same_orientation(ours.orientation, info["exif"][len(exif.PREFIX) :])


def _compare_gif(data: bytes, ours: Rebuilt, size: tuple[int, int], info: object, _: object) -> None:
    # An extension without data is a terminator alone. Pillow reads on behind it, as if another had to come.
    if not re.search(rb"![^\xfe]\0", data):
        _same_size(ours.canvas, size)


def _compare_webp(data: bytes, ours: Rebuilt, size: tuple[int, int], info: dict[Any, Any], _: object) -> None:
    _same_size(ours.canvas, size)
    if "exif" in info:
        _same_orientation(ours.orientation, info["exif"])


def _compare_avif(data: bytes, ours: Rebuilt, size: tuple[int, int], info: dict[Any, Any], animated: object) -> None:
    if ours.animated or animated:  # of a sequence, Pillow opens the track, and we the still picture beside it
        return
    left, top, right, bottom = ours.frame
    _same_size((right - left, bottom - top), size)  # which clap cuts out of; Pillow does not
    known = Image.Exif()
    known.load(info.get("exif", b""))
    assert known.get(ExifTags.Base.Orientation, 1) == ours.orientation


def _compare_heif(data: bytes, ours: Rebuilt, size: tuple[int, int], info: object, _: object) -> None:
    # A clap that makes no sense we ignore, as browsers do; libheif rounds it, or cuts out more than there is.
    if b"clap" not in data or ours.frame != (0, 0, *ours.canvas):
        _same_size(displayed(ours.canvas, ours.orientation), size)


_COMPARE: Final[dict[str, Callable[[bytes, Rebuilt, tuple[int, int], dict[Any, Any], object], None]]] = {
    "JPEG": _compare_jpeg,
    "PNG": _compare_png,
    "GIF": _compare_gif,
    "WEBP": _compare_webp,
    "AVIF": _compare_avif,
    "HEIF": _compare_heif,
}


def _same_size(ours: tuple[int, int], theirs: tuple[int, int]) -> None:
    assert ours == theirs, f"{ours} pixels by us, {theirs} by Pillow"


def _same_orientation(ours: int, block: bytes) -> None:
    theirs = _orientation(block)
    assert theirs in {None, ours}, f"orientation {ours} by us, {theirs} by Pillow"


def _orientation(block: bytes) -> int | None:
    """
    Return the orientation of an EXIF block as Pillow's reader of TIFF sees it, None where it has no opinion.

    1 where the entry is not one of the standard: one value of type SHORT or LONG, from 1 to 8. Of several entries, we
    take the first and Pillow the first that it can read, so these are left out.
    """
    tiff = block.removeprefix(exif.PREFIX)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    if tiff.count(struct.pack(order + "H", exif.ORIENTATION)) > 1:
        return None
    try:
        directory = TiffImagePlugin.ImageFileDirectory_v2(tiff[:8])
        file = io.BytesIO(tiff)
        file.seek(directory.next)
        directory.load(file)
        value = directory.get(exif.ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - Pillow raises anything
        return None
    length = {exif.SHORT: 2, exif.LONG: 4}.get(directory.tagtype.get(exif.ORIENTATION, 0))
    is_one = length == len(directory._tagdata.get(exif.ORIENTATION, b""))
    return value if is_one and 1 <= value <= 8 else 1


def check_exif(data: bytes) -> None:
    """Check that any bytes have an orientation, and that it is Pillow's."""
    with kept():
        found = read_orientation(data)
    assert 1 <= found <= 8
    _same_orientation(found, data)


def check_icc(data: bytes) -> None:
    """Check that a profile is refused or rebuilt, into what is rebuilt as itself, and that it can be applied."""
    with kept():
        rebuilt = rebuild_profile(data)
        profile = Profile(data)
        for mode in ("L", "RGB", "CMYK"):
            image = profile.to_srgb(Image.new(mode, (3, 2)))
            assert (image.mode, image.size) == ("RGB", (3, 2))
    if rebuilt is not None:
        assert rebuild_profile(rebuilt[1]) == rebuilt


def _outcome(call: Callable[[bytes, Policy], ImageInfo | NormalizedImage], data: bytes) -> object:
    """Return what the call returns, or what it says of a refusal."""
    with kept():
        try:
            return call(data, POLICY)
        except Rejected as error:
            return error.problem()


def check_normalize(data: bytes) -> None:
    """Check the promises of the whole: P1, P3 and the time of P2; and that `validate` says the same."""
    result = _outcome(normalize, data)
    info = _outcome(validate, data)
    if not isinstance(result, NormalizedImage):
        assert info == result
        return
    assert info == result.info
    check_clean(result.data, POLICY)
    check_clean(result.renditions["padded"].data, replace(POLICY, size=(16, 24)))
    inside = result.renditions["inside"]
    assert max(inside.width, inside.height) <= 20
    assert {chunk.name for chunk in png.split(inside.data)} == {b"IHDR", b"IDAT"}


def check(target: str) -> Callable[[bytes], None]:
    """Return the check of a target."""
    return {"exif": check_exif, "icc": check_icc, "normalize": check_normalize}.get(target, check_format)
