"""
JPEG files from their parts: pictures that Pillow encoded, taken apart, and flat ones written here scan by scan.

A file is SOI, a list of `Part`, EOI. Every test changes that list, or the bytes that `join` makes of it.
"""

import io
import random
import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from PIL import Image

SOI, EOI = b"\xff\xd8", b"\xff\xd9"
SOF0, SOF1, SOF2, DHT, SOS, DQT, DRI, COM = 0xC0, 0xC1, 0xC2, 0xC4, 0xDA, 0xDB, 0xDD, 0xFE
APP0, APP1, APP2, APP14 = 0xE0, 0xE1, 0xE2, 0xEE
RST0, TEM = 0xD0, 0x01

JFIF = b"JFIF\0\x01\x01\x00\x00\x01\x00\x01\x00\x00"  # as Pillow writes it


class Part(NamedTuple):
    """A segment, with the entropy-coded data behind it if it is a scan; `length` is what it claims, None the truth."""

    marker: int
    body: bytes = b""
    entropy: bytes = b""
    length: int | None = None

    def __bytes__(self) -> bytes:
        """Return the part as it stands in a file."""
        length = len(self.body) + 2 if self.length is None else self.length
        return bytes([0xFF, self.marker]) + struct.pack(">H", length) + self.body + self.entropy


def join(parts: Iterable[Part], *, end: bytes = EOI) -> bytes:
    """Return a file of these parts and what stands at its end."""
    return SOI + b"".join(map(bytes, parts)) + end


def split(data: bytes) -> list[Part]:
    """Return the parts of a valid file up to its EOI, or to the end of the data."""
    parts: list[Part] = []
    position = len(SOI)
    while position < len(data) and data[position : position + 2] != EOI:
        (length,) = struct.unpack_from(">H", data, position + 2)
        end = body_end = position + 2 + length
        if data[position + 1] == SOS:
            end = _entropy_end(data, body_end)
        parts.append(Part(data[position + 1], data[position + 4 : body_end], data[body_end:end]))
        position = end
    return parts


def _entropy_end(data: bytes, position: int) -> int:
    """Return where the next marker other than RSTn stands, or the end of the data."""
    inside = {0x00, *range(RST0, RST0 + 8)}
    while position + 1 < len(data) and not (data[position] == 0xFF and data[position + 1] not in inside):
        position += 1
    return position if position + 1 < len(data) else len(data)


def markers(data: bytes) -> list[int]:
    """Return the markers of a valid file in order, without SOI and EOI."""
    return [part.marker for part in split(data)]


# --- pictures encoded by Pillow


def picture(
    size: tuple[int, int] = (40, 24),
    mode: str = "RGB",
    *,
    seed: int = 0,
    quality: int = 75,
    progressive: bool = False,
    subsampling: int = 0,
    restart: int = 0,
) -> bytes:
    """
    Return a picture of noise; `restart` is the number of MCUs between restart markers.

    A progressive one must be small: Pillow guesses too short a buffer for so much detail and fails.
    """
    image = Image.frombytes(mode, size, random.Random(seed).randbytes(size[0] * size[1] * len(mode)))
    return encode(
        image, quality=quality, progressive=progressive, subsampling=subsampling, restart_marker_blocks=restart
    )


def encode(image: Image.Image, **options: object) -> bytes:
    """Return what Pillow makes of an image."""
    out = io.BytesIO()
    image.save(out, "JPEG", **options)
    return out.getvalue()


# --- segments


def profile(icc: bytes, *, parts: int = 1) -> list[Part]:
    """Return an ICC profile in APP2 segments."""
    step = -(-len(icc) // parts)
    return [profile_part(number, parts, icc[(number - 1) * step : number * step]) for number in range(1, parts + 1)]


def profile_part(number: int, of: int, body: bytes) -> Part:
    """Return one APP2 segment of an ICC profile."""
    return Part(APP2, b"ICC_PROFILE\0" + bytes([number, of]) + body)


def frame(
    size: tuple[int, int],
    sampling: Sequence[tuple[int, int]] = ((1, 1),),
    *,
    marker: int = SOF0,
    precision: int = 8,
    numbers: Sequence[int] | None = None,
) -> Part:
    """Return a frame header; components are numbered from 1, all use quantization table 0."""
    width, height = size
    components = b"".join(
        bytes([number, across << 4 | down, 0])
        for number, (across, down) in zip(numbers or range(1, len(sampling) + 1), sampling, strict=True)
    )
    return Part(marker, struct.pack(">BHHB", precision, height, width, len(sampling)) + components)


# --- flat pictures, scan by scan


class Scan(NamedTuple):
    """What a scan codes: which components, coefficients `first` to `last`, bits from `low` up (`high`: those known)."""

    components: tuple[int, ...] = (1,)
    first: int = 0
    last: int = 63
    high: int = 0
    low: int = 0

    @property
    def header(self) -> bytes:
        """Return the body of SOS; all components use Huffman tables 0."""
        selectors = b"".join(bytes([number, 0]) for number in self.components)
        return bytes([len(self.components)]) + selectors + bytes([self.first, self.last, self.high << 4 | self.low])


DC, AC = Scan(last=0), Scan(first=1)

#: Quantization table 0, all ones.
ONES = Part(DQT, b"\0" + b"\1" * 64)
#: Huffman table 0 for DC: one code, "0", for "no change".
DC_CODES = Part(DHT, b"\x00" + bytes([1, *[0] * 15]) + b"\0")
#: Huffman table 0 for AC: the four-bit codes 0 to 14 end bands, code n in 2**n to 2**(n+1) - 1 blocks.
AC_CODES = Part(DHT, b"\x10" + bytes([0, 0, 0, 15, *[0] * 12]) + bytes(n << 4 for n in range(15)))
TABLES = (ONES, DC_CODES, AC_CODES)

_LONGEST_RUN = (1 << 15) - 1


def flat(
    size: tuple[int, int],
    script: Iterable[Scan],
    *,
    sampling: Sequence[tuple[int, int]] = ((1, 1),),
    progressive: bool = True,
) -> list[Part]:
    """
    Return a picture of one grey, in any scans whatever.

    In a progressive picture a scan of AC coefficients is one run of "end of band" over all blocks, so a scan over a
    picture of any size takes a few bytes: this is what scan bombs are made of.
    """
    entropies: dict[tuple[tuple[int, ...], bool], bytes] = {}
    scans = []
    for scan in script:
        shape = scan.components, scan.first == 0
        if shape not in entropies:
            entropies[shape] = _entropy(blocks(size, sampling, scan.components), progressive, dc=scan.first == 0)
        scans.append(Part(SOS, scan.header, entropies[shape]))
    return [*TABLES, frame(size, sampling, marker=SOF2 if progressive else SOF0), *scans]


def blocks(size: tuple[int, int], sampling: Sequence[tuple[int, int]], components: Sequence[int]) -> int:
    """
    Return how many blocks of 8 x 8 samples a scan has, counted one by one.

    A component alone has the blocks that its samples need; several together come in whole MCUs.
    """
    across, down = max(h for h, _ in sampling), max(v for _, v in sampling)
    parts = [sampling[number - 1] for number in components]
    if len(parts) == 1:
        ((h, v),) = parts
        width, height = -(-size[0] * h // across), -(-size[1] * v // down)  # in samples
        return len(range(0, width, 8)) * len(range(0, height, 8))
    units = len(range(0, size[0], 8 * across)) * len(range(0, size[1], 8 * down))
    return units * sum(h * v for h, v in parts)


def _entropy(count: int, progressive: bool, *, dc: bool) -> bytes:  # noqa: FBT001
    """Return the coded data of that many blocks in which nothing changes."""
    if not progressive:
        return _packed("00000" * count)  # no change, end of band
    if dc:
        return _packed("0" * count)
    bits = []
    while count:
        run = min(count, _LONGEST_RUN)
        size = run.bit_length() - 1
        bits.append(f"{size:04b}" + (f"{run - (1 << size):0{size}b}" if size else ""))
        count -= run
    return _packed("".join(bits))


def _packed(bits: str) -> bytes:
    """Return bits as bytes, padded with ones, with a zero byte stuffed behind each 0xFF."""
    bits += "1" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
