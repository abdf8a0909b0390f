"""
HEIF as phones write it (HEIC): the primary picture or grid, coded as HEVC, with its alpha plane.

Source: ISO/IEC 23008-12, annex B, and 14496-15, section 8 (``hvcC``); ITU-T H.265, sections 7.3.1 to 7.3.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from safeupload._formats import _isobmff
from safeupload._formats._base import Allowance, Malformed, Rebuilt
from safeupload._formats._bits import Bits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from safeupload.policy import Policy

NAME: Final = "HEIF"

_SAMPLES: Final = {0: 1.0, 1: 1.5, 2: 2.0, 3: 3.0}  # a pixel, by chroma format
_BRANDS: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})  # after AVIF's
_SPS: Final = 33
_PARAMETER_SETS: Final = range(32, 35)  # VPS, SPS, PPS
_MAX_BLOCK: Final = 64  # a coded picture is padded to whole coding blocks, of 64 samples at most


def recognise(head: bytes) -> bool:
    """Tell whether the file begins like a HEIC."""
    return bool(_isobmff.brands(head) & _BRANDS)


def rebuild(data: bytes, policy: Policy) -> Rebuilt:
    """
    Return a HEIC of the primary picture and its alpha plane.

    Raises `Malformed`, `TooManyPixels` and `TooComplex` ("chunks", "metadata").
    """
    return _isobmff.rebuild(data, policy, _CODEC)


def sample_bytes(config: bytes, payload: bytes, size: tuple[int, int], chunks: Allowance) -> float:
    """
    Return what a pixel's samples take; raise `Malformed` unless every sequence parameter set has the item's size.

    They must be in the configuration, as the item type says: one among the slices could announce any size.
    """
    pictures = [_parameters(unit) for unit in _configured(config, chunks) if unit[0] >> 1 & 63 == _SPS]
    if not pictures or not all(
        whole <= coded < whole + _MAX_BLOCK for *sizes, _ in pictures for coded, whole in zip(sizes, size, strict=True)
    ):
        raise Malformed("a bitstream of another size than its item")
    width = (config[21] & 3) + 1
    position = 0
    while position < len(payload):
        chunks.take()
        length = int.from_bytes(payload[position : position + width], "big")
        position += width
        if not 2 <= length <= len(payload) - position:
            raise Malformed("a NAL unit that does not fit")
        if payload[position] >> 1 & 63 in _PARAMETER_SETS:
            raise Malformed("a parameter set among the slices")
        position += length
    return max(bytes_of_samples for *_, bytes_of_samples in pictures)


def _configured(config: bytes, chunks: Allowance) -> Iterator[bytes]:
    """Yield the NAL units of a decoder configuration (``hvcC``)."""
    if len(config) < 23:
        raise Malformed("a configuration that ends too early")
    position = 23
    for _ in range(config[22]):
        count = int.from_bytes(config[position + 1 : position + 3], "big")
        position += 3
        for _ in range(count):
            chunks.take()
            length = int.from_bytes(config[position : position + 2], "big")
            unit = config[position + 2 : position + 2 + length]
            if length < 2 or len(unit) < length:
                raise Malformed("a NAL unit that does not fit")
            yield unit
            position += 2 + length


def _parameters(unit: bytes) -> tuple[int, int, float]:
    """Return the width and height of a sequence parameter set, in samples, and what those of a pixel take in bytes."""
    bits = Bits(unit[2:512].replace(b"\0\0\3", b"\0\0"))  # without the bytes that keep start codes from appearing
    bits.take(4)
    layers = bits.take(3)
    bits.take(1 + 88 + 8)  # nesting, general profile, level
    present = [(bits.take(1), bits.take(1)) for _ in range(layers)]
    if layers:
        bits.take(2 * (8 - layers))
    for has_profile, has_level in present:
        bits.take(88 * has_profile + 8 * has_level)
    bits.golomb()  # number
    chroma_format = bits.golomb()
    if chroma_format == 3:
        bits.take(1)
    width, height = bits.golomb(), bits.golomb()
    if bits.take(1):  # conformance window
        for _ in range(4):
            bits.golomb()
    deep = max(bits.golomb(), bits.golomb())
    return width, height, _SAMPLES.get(chroma_format, 3.0) * (2 if deep else 1)


_CODEC: Final = _isobmff.Codec(name=NAME, brand=b"heic", item=b"hvc1", config=b"hvcC", sample_bytes=sample_bytes)
