"""What an upload may cost and what becomes of it: one frozen object, checked when it is built."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final, Literal, TypeAlias, cast, get_args

from safeupload._frozen import FrozenMapping
from safeupload.errors import InvalidPolicy

__all__ = ["AVATAR", "Fit", "OutputFormat", "Policy", "Rendition"]

#: How a picture gets to a size: it covers it and is cropped at the centre; it is contained in it as a whole, and may be
#: smaller; or the whole of it is padded to exactly that size.
Fit: TypeAlias = Literal["cover", "contain", "pad"]
#: What a picture can be written as.
OutputFormat: TypeAlias = Literal["JPEG", "PNG", "WEBP", "AVIF"]

_MIB: Final = 1 << 20

#: Every format there is a parser for, with the module its codec needs and what to do when that is missing.
_CODECS: Final = {
    "JPEG": None,
    "PNG": None,
    "GIF": None,
    "WEBP": ("PIL._webp", "this build of Pillow lacks WebP"),
    "AVIF": ("PIL._avif", "this build of Pillow lacks AVIF"),
    "HEIF": ("pillow_heif", 'install the extra "heif"'),
}

# No limit needs to be larger, a picture and its file being held in memory; and numbers of this size overflow nowhere.
_MOST: Final = 1 << 30

# JPEG dimensions are 16 bit; beyond this the "small picture" that the memory bound rests on would not be small.
_MAX_SIDE: Final = 4096
# The size of a row's column bounds the name of a file: 32 digits, "-", the name, and ".webp" are 58 of 64 characters.
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,19}", re.ASCII)
# Each is resampled and encoded while the upload waits; sites have a handful.
_MAX_RENDITIONS: Final = 16
# What the encoders take a pixel of noise, which is the worst, beside the picture and with the file they write: measured
# (Pillow 13.0). Of a JPEG it is next to nothing.
_ENCODER_BYTES: Final = {"JPEG": 0, "PNG": 5, "WEBP": 45, "AVIF": 40}
# Pillow's documentation: "Values above 95 should be avoided"; they grow the file and hardly the quality.
_MAX_QUALITY: Final = 95


@dataclass(frozen=True, kw_only=True)
class Rendition:
    """
    Another picture that is made of the same upload, and stored beside it.

    `size`
        Width and height in pixels.
    `fit`
        "cover": exactly that size, cropped at the centre. "contain": the whole picture, no larger than that and never
        enlarged. "pad": the same, in the middle of a picture of exactly that size.
    `format`
        "JPEG", or one that can be transparent where the upload is (and, with "pad", around it): "PNG", "WEBP", "AVIF".
        In a JPEG, the policy's background shows there.
    `quality`
        1 to 95; PNG, which is lossless, ignores it.
    """

    size: tuple[int, int]
    fit: Fit = "cover"
    format: OutputFormat = "JPEG"
    quality: int = 85

    def __post_init__(self) -> None:
        """Check every field."""
        for side in _tuple("size", self.size, 2):
            _whole("size", side, 1, _MAX_SIDE)
        _whole("quality", self.quality, 1, _MAX_QUALITY)
        if self.fit not in get_args(Fit):
            raise InvalidPolicy(f"fit: expected one of {get_args(Fit)}, got {self.fit!r}")
        if self.format not in get_args(OutputFormat):
            raise InvalidPolicy(f"format: expected one of {get_args(OutputFormat)}, got {self.format!r}")
        _check_codec("format", self.format)

    @property
    def media_type(self) -> str:
        """The media type of its files."""
        return f"image/{self.format.lower()}"

    @property
    def extension(self) -> str:
        """The extension of its files."""
        return "jpg" if self.format == "JPEG" else self.format.lower()

    @property
    def encoder_bytes(self) -> int:
        """The memory that encoding one of its pictures takes at most."""
        return _ENCODER_BYTES[self.format] * self.size[0] * self.size[1]

    @property
    def has_alpha(self) -> bool:
        """Whether its files can be transparent."""
        return self.format != "JPEG"


_NO_RENDITIONS: Final[Mapping[str, Rendition]] = FrozenMapping()


@dataclass(frozen=True, kw_only=True)
class Policy:
    """
    What an upload may be, what it may cost, and what picture is made of it.

    You can use the defaults and be fine. Variants are made by ``dataclasses.replace(AVATAR, ...)``. A policy that
    cannot work raises `InvalidPolicy` when it is built.

    What may come in:

    `max_bytes`
        Size of the upload. 5 MiB: a 12 megapixel photograph straight from a phone has 2 to 5 MB.
    `formats`
        Any of "JPEG", "PNG", "WEBP" and "GIF", which every browser shows, and on request "AVIF" and "HEIF" (the latter
        needs the extra ``heif``), whose decoders are younger and larger.

    What it may cost. Each is decided before a pixel is decoded, from the structure of the file:

    `max_pixels`
        Width times height of the picture. 50 million: the sensors of today's phones in their full-resolution mode.
    `max_decode_bytes`
        Memory for decoding one picture, estimated from its header. 256 MiB: the largest 50 megapixel PNG (4 bytes a
        pixel in Pillow) fits, a 15 megapixel WebP just so (17 bytes a pixel), and so do as many at a time as there are
        processors on an ordinary server.
    `max_scans`
        Scans of a progressive JPEG. 64: encoders write about 10, and the most seen in real files is 15; every scan
        costs a pass over the whole picture, and a 4 MB file has room for 100,000.
    `max_scan_blocks`
        Blocks of 8 x 8 samples summed over all scans of a JPEG. 100 million: an empty scan costs about 5 ns a block,
        so half a second at most; a 50 megapixel photograph in 10 scans needs about 15 million.
    `max_chunks`
        Segments, chunks or short blocks in the file. 20,000: a 5 MiB PNG in chunks of 4 KiB has 1,280; walking
        20,000 takes about 10 ms.
    `max_frames`
        Frames of an animation, of which only the first is decoded. 2,000: over a minute at 30 a second.
    `max_metadata_bytes`
        Inflated size of compressed metadata and of the colour profile. 4 MiB: the largest profiles in common use (CMYK
        presses) have 2 to 3 MB; a PNG text chunk can inflate a thousandfold.

    What comes out:

    `size`, `fit`, `quality`
        Of the picture, which is a JPEG: see `Rendition`. It covers 300 x 300 pixels.
    `renditions`
        More pictures of the same upload, by their names: ``{"thumb": Rendition(size=(64, 64))}``. One decode makes them
        all. At most 16; a name has up to 20 small letters, digits and underscores, a letter first.
    `background`
        Red, green and blue (0 to 255) that shows through transparent places.
    """

    max_bytes: int = 5 * _MIB
    formats: Iterable[str] = frozenset({"JPEG", "PNG", "WEBP", "GIF"})

    max_pixels: int = 50_000_000
    max_decode_bytes: int = 256 * _MIB
    max_scans: int = 64
    max_scan_blocks: int = 100_000_000
    max_chunks: int = 20_000
    max_frames: int = 2_000
    max_metadata_bytes: int = 4 * _MIB

    size: tuple[int, int] = (300, 300)
    fit: Fit = "cover"
    quality: int = 85
    renditions: Mapping[str, Rendition] = _NO_RENDITIONS
    background: tuple[int, int, int] = (255, 255, 255)

    def __post_init__(self) -> None:
        """Check every field, so that no request ever meets a policy that cannot work."""
        for name in _LIMITS:
            _whole(name, getattr(self, name), 1, _MOST)
        object.__setattr__(self, "formats", _formats(self.formats))
        object.__setattr__(self, "renditions", _renditions(self.renditions))
        _ = self.picture  # which checks what it is made of
        for name, rendition in self.renditions.items():
            if rendition.encoder_bytes > self.max_decode_bytes:
                most = f"{rendition.encoder_bytes:,} bytes, more than max_decode_bytes"
                raise InvalidPolicy(f"renditions: to encode {name!r} may take {most}")
        for level in _tuple("background", self.background, 3):
            _whole("background", level, 0, 255)

    @property
    def picture(self) -> Rendition:
        """The picture itself, in the form of a rendition."""
        return Rendition(size=self.size, fit=self.fit, quality=self.quality)

    @property
    def pictures(self) -> tuple[Rendition, ...]:
        """The picture itself, and the renditions, in their order."""
        return self.picture, *self.renditions.values()


_LIMITS: Final = tuple(name for name in Policy.__dataclass_fields__ if name.startswith("max_"))


def _whole(name: str, value: object, low: int, high: int | None = None) -> None:
    """Raise `InvalidPolicy` unless `value` is a whole number from `low` to `high`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < low or (high is not None and value > high):
        bounds = f"at least {low}" if high is None else f"from {low} to {high}"
        raise InvalidPolicy(f"{name}: expected a whole number {bounds}, got {value!r}")


def _tuple(name: str, value: object, length: int) -> tuple[object, ...]:
    """Return `value`, or raise `InvalidPolicy` unless it is a tuple of that length (a list would not be frozen)."""
    if not isinstance(value, tuple) or len(cast("tuple[object, ...]", value)) != length:
        raise InvalidPolicy(f"{name}: expected a tuple of {length} whole numbers, got {value!r}")
    return cast("tuple[object, ...]", value)


def _is_format(name: object) -> bool:
    """Return true, or raise `InvalidPolicy` where there is no such format."""
    if not isinstance(name, str) or name not in _CODECS:
        raise InvalidPolicy(f"formats: {name!r} is none of {', '.join(sorted(_CODECS))}")
    return True


def _formats(names: Iterable[str]) -> frozenset[str]:
    """Return the names as a frozen set, or raise `InvalidPolicy` where one is unknown or cannot be decoded here."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise InvalidPolicy(f"formats: expected a set of names, got {names!r}")
    formats = frozenset(filter(_is_format, names))
    if not formats:
        raise InvalidPolicy("formats: at least one is needed")
    for name in formats:
        _check_codec("formats", name)
    return formats


def _check_codec(what: str, name: str) -> None:
    """Raise `InvalidPolicy` where a format is not installed."""
    needs = _CODECS[name]
    if needs is not None and find_spec(needs[0]) is None:
        raise InvalidPolicy(f"{what}: there is no {name} here: {needs[1]}")


def _renditions(renditions: Mapping[str, Rendition]) -> FrozenMapping[Rendition]:
    """Return the renditions as a mapping that nobody changes, or raise `InvalidPolicy`."""
    if not isinstance(renditions, Mapping):
        raise InvalidPolicy(f"renditions: expected a mapping of names to renditions, got {renditions!r}")
    if len(renditions) > _MAX_RENDITIONS:
        raise InvalidPolicy(f"renditions: at most {_MAX_RENDITIONS}, got {len(renditions)}")
    for name, rendition in renditions.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InvalidPolicy(f"renditions: a name has 1 to 20 of a-z, 0-9 and _, a letter first, got {name!r}")
        if not isinstance(rendition, Rendition):
            raise InvalidPolicy(f"renditions: expected a Rendition for {name!r}, got {rendition!r}")
    return FrozenMapping(renditions)


#: A profile picture: 300 x 300 from JPEG, PNG, WebP or GIF, with the default limits.
AVATAR: Final = Policy()
