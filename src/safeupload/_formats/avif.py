"""
AVIF: the primary picture, with its alpha plane; of a sequence the still picture beside it.

Source: AV1 Image File Format (AOM, 1.1); AV1 Bitstream & Decoding Process Specification, sections 5.3 and 5.5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from safeupload._formats import _isobmff
from safeupload._formats._base import Allowance, Malformed, Rebuilt
from safeupload._formats._bits import Bits

if TYPE_CHECKING:
    from safeupload.policy import Policy

NAME: Final = "AVIF"

_SAMPLE_BYTES: Final = (3.0, 6.0)  # of profile 0 (4:2:0) and the others (up to 4:4:4), with 16 bits a sample
_SEQUENCE_HEADER, _FRAME_HEADER, _FRAME = 1, 3, 6
_MAX_FRAMES: Final = 4  # of an item: AV1 has at most four spatial layers; each frame is decoded
_CONFIG_HEADER: Final = 4  # bytes of av1C before its OBUs
_HEADER_BYTES: Final = 64  # of a sequence header; its size stands further back only behind many operating points


def recognise(head: bytes) -> bool:
    """Tell whether the file begins like an AVIF."""
    return bool(_isobmff.brands(head) & {b"avif", b"avis"})


def rebuild(data: bytes, policy: Policy) -> Rebuilt:
    """
    Return an AVIF of the primary picture and its alpha plane.

    Raises `Malformed`, `TooManyPixels` and `TooComplex` ("chunks", "metadata").
    """
    return _isobmff.rebuild(data, policy, _CODEC)


def sample_bytes(config: bytes, payload: bytes, size: tuple[int, int], chunks: Allowance) -> float:
    """
    Return what a pixel's samples take; raise `Malformed` unless every sequence header has exactly the item's size.

    The decoder allocates by the sequence header, before anybody compares that with the container. The depth stands too
    deep in it to be read here, so it is taken for more than 8 bits.
    """
    configured = memoryview(config)[_CONFIG_HEADER:]  # not copied: it may be large, and belong to many items
    headers = [*_sequence_headers(configured, chunks), *_sequence_headers(memoryview(payload), chunks)]
    if not headers or any(_frame_size(header) != size for header in headers):
        raise Malformed("a bitstream of another size than its item")
    return max(_SAMPLE_BYTES[min(header[0] >> 5, 1)] for header in headers)


def _sequence_headers(obus: memoryview, chunks: Allowance) -> list[bytes]:
    """Return the sequence headers among the OBUs, as far as the size needs them."""
    found: list[bytes] = []
    position = frames = 0
    while position < len(obus):
        chunks.take()
        header = obus[position]
        position += 2 if header & 4 else 1
        length = len(obus) - position
        if header & 2:
            length, position = _leb128(obus, position)
        if header & 0x80 or length < 0 or position + length > len(obus):
            raise Malformed("an OBU that does not fit")
        kind = header >> 3 & 15
        frames += kind in {_FRAME_HEADER, _FRAME}
        if frames > _MAX_FRAMES:
            raise Malformed("more frames in an item than it can have layers")
        if kind == _SEQUENCE_HEADER:
            found.append(bytes(obus[position : position + min(length, _HEADER_BYTES)]))
        position += length
    return found


def _leb128(data: memoryview, position: int) -> tuple[int, int]:
    """Return the number that stands at the position, seven bits a byte, and the position behind it."""
    value = 0
    for index, byte in enumerate(data[position : position + 8]):
        value |= (byte & 0x7F) << 7 * index
        if not byte & 0x80:
            return value, position + index + 1
    raise Malformed("a length without an end")


def _frame_size(header: bytes) -> tuple[int, int]:
    """Return the largest frame width and height that a sequence header announces."""
    bits = Bits(header)
    bits.take(4)  # profile, still picture
    if bits.take(1):  # reduced header
        bits.take(5)
    else:
        if bits.take(1):
            raise Malformed("timing in a still picture")
        has_delay = bits.take(1)
        for _ in range(bits.take(5) + 1):  # operating points
            bits.take(12)
            if bits.take(5) > 7:
                bits.take(1)
            if has_delay and bits.take(1):
                bits.take(4)
    width_bits, height_bits = bits.take(4) + 1, bits.take(4) + 1
    return bits.take(width_bits) + 1, bits.take(height_bits) + 1


_CODEC: Final = _isobmff.Codec(name=NAME, brand=b"avif", item=b"av01", config=b"av1C", sample_bytes=sample_bytes)
