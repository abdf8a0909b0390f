"""
JPEG: baseline, extended and progressive, 8 bits, 1, 3 or 4 components; of an MPO the first picture.

Source: ITU-T T.81; the JFIF and Adobe rules as libjpeg applies them (jdapimin.c, default_decompress_parms).
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from safeupload._formats._base import Allowance, Malformed, Rebuilt, check_pixels
from safeupload._formats._coarse import empty_scan, is_coarse
from safeupload._formats._exif import read_orientation
from safeupload.errors import FormatNotAllowed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from safeupload._formats._pieces import Piece
    from safeupload.policy import Policy

NAME: Final = "JPEG"

_EOI, _SOS, _DQT, _DHT, _DRI = 0xD9, 0xDA, 0xDB, 0xC4, 0xDD
_APP0, _APP1, _APP2, _APP14 = 0xE0, 0xE1, 0xE2, 0xEE
_PROGRESSIVE: Final = 0xC2
_FRAMES: Final = frozenset({0xC0, 0xC1, _PROGRESSIVE})
_OTHER_FRAMES: Final = {
    **dict.fromkeys((0xC3, 0xC7, 0xCB, 0xCF), "lossless JPEG"),
    **dict.fromkeys((0xC5, 0xC6, 0xCD, 0xCE, 0xDE, 0xDF), "hierarchical JPEG"),
    **dict.fromkeys((0xC9, 0xCA), "arithmetic-coded JPEG"),
}
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD8)})  # TEM and RSTn have no length
# DAC, DNL, APPn, COM. Not JPG and JPGn, which are reserved: some decoders refuse them, others take their content for
# more markers, and read another frame header in it.
_SKIPPED: Final = frozenset({0xCC, 0xDC, *range(0xE0, 0xF0), 0xFE})

# No quantifier in either: `\xff+` would be quadratic on a run of 0xFF.
_NEXT_MARKER: Final = re.compile(rb"\xff[^\x00\xff]")
_SCAN_END: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
# A search holds the GIL until it returns; the slowest input takes about 8 ns a byte, so this is some 2 ms at a time.
_WINDOW: Final = 1 << 18

# A single-scan file is given no EOI, since libjpeg pads what is missing before an EOI with grey and only warns; without
# one it asks for more and Pillow reports the truncation. Its bit buffer looks 64 bits ahead, so that many must follow:
# one bits, since no Huffman code consists of ones alone, so that padding cannot pass for picture.
NO_END: Final = b"\xff\x00" * 8

_JFIF: Final = b"\xff\xe0\x00\x10JFIF\0\x01\x01\x00\x00\x01\x00\x01\x00\x00"
_ADOBE: Final = b"Adobe\x00\x64\x00\x00\x00\x00"  # its colour transform follows
_BLOCK_BYTES: Final = 64 * 2  # libjpeg keeps a 16-bit coefficient a sample of every multi-scan picture
_PIXEL_BYTES: Final = {1: 1, 3: 4, 4: 4}  # Pillow's L, RGB and CMYK, by number of components
_COEFFICIENTS: Final = 64
_TABLES: Final = 4  # quantization, DC and AC Huffman tables are numbered 0 to 3


def recognise(head: bytes) -> bool:
    """Tell whether the file begins like a JPEG."""
    return head.startswith(b"\xff\xd8\xff")


def rebuild(data: bytes, policy: Policy) -> Rebuilt:
    """
    Return a JPEG with the first picture's tables, frame and scans, and nothing else.

    Raises `Malformed`, `FormatNotAllowed` (arithmetic, lossless, hierarchical, 12 bit), `TooManyPixels` and
    `TooComplex` ("chunks", "scans", "metadata").
    """
    picture = _Picture(policy)
    chunks = Allowance("chunks", policy.max_chunks)
    position = 2
    while True:
        marker, position = _next_marker(data, position)
        chunks.take()
        if marker == _EOI:
            break
        if marker in _ALONE:
            continue
        segment, position = _segment(data, position)
        if marker == _SOS:
            end = _find(_SCAN_END, data, position)
            picture.add_scan(segment, memoryview(data)[position:end])
            position = end
            if picture.complete:
                break
        else:
            picture.add_segment(marker, segment)
    return picture.rebuilt()


def _find(pattern: re.Pattern[bytes], data: bytes, position: int) -> int:
    """Return where the two-byte pattern next matches, or the end of the data; never hold the GIL for long."""
    for start in range(position, len(data), _WINDOW):
        if match := pattern.search(data, start, start + _WINDOW + 1):
            return match.start()
    return len(data)


def _next_marker(data: bytes, position: int) -> tuple[int, int]:
    """Return the next marker and the position behind it, skipping fill bytes and junk as decoders do."""
    start = _find(_NEXT_MARKER, data, position)
    if start == len(data):
        raise Malformed("ends without EOI")
    return data[start + 1], start + 2


def _segment(data: bytes, position: int) -> tuple[bytes, int]:
    """Return the body of the segment whose length field stands at the position, and the position behind it."""
    length = int.from_bytes(data[position : position + 2], "big")
    end = position + length
    if length < 2 or end > len(data):
        raise Malformed(f"segment of length {length} at {position}")
    return data[position + 2 : end], end


class _Component(NamedTuple):
    """One component of the frame, with the size of its block grid."""

    horizontal: int
    vertical: int
    alone: int  # blocks in a scan of this component alone
    padded: int  # blocks kept in memory: whole MCUs


class _Frame(NamedTuple):
    """The frame header (SOFn)."""

    marker: int
    body: bytes
    width: int
    height: int
    components: dict[int, _Component]

    @property
    def progressive(self) -> bool:
        return self.marker == _PROGRESSIVE


class _Progression:
    """How far the scans have coded each coefficient: once down to some bit, and then, bit by bit, down to bit 0."""

    def __init__(self, components: Iterable[int]) -> None:
        self._lowest: dict[int, list[int | None]] = {number: [None] * _COEFFICIENTS for number in components}

    def code(self, component: int, coefficients: slice, high: int, low: int) -> None:
        """Note a scan; `high` is 0 in the first one of a coefficient, and the bit it goes on from in the others."""
        before = {high} if high else {None}
        if set(self._lowest[component][coefficients]) != before or (high and low != high - 1):
            raise Malformed("a scan that codes again, or refines what was not coded")
        self._lowest[component][coefficients] = [low] * (coefficients.stop - coefficients.start)

    @property
    def is_complete(self) -> bool:
        """Whether nothing of any coefficient is missing."""
        return all(set(lowest) == {0} for lowest in self._lowest.values())


class _Profile:
    """The ICC profile, which comes in numbered parts."""

    def __init__(self, max_bytes: int) -> None:
        self._left = Allowance("metadata", max_bytes)
        self._parts: dict[int, bytes] = {}
        self._is_broken = False

    def add(self, body: bytes) -> None:
        """Note one part: its number, how many there are, and the bytes."""
        self._left.take(len(body))
        if len(body) < 2 or body[0] in self._parts:
            self._is_broken = True
        else:
            self._parts[body[0]] = body[1:]

    def whole(self) -> bytes | None:
        """Return the profile if all its parts are there, once each."""
        count = next(iter(self._parts.values()), b"\0")[0]
        if self._is_broken or not count or set(self._parts) != set(range(1, count + 1)):
            return None
        return b"".join(self._parts[number][1:] for number in range(1, count + 1))


@dataclass
class _Picture:
    """What has been read so far, and the file that is being written from it."""

    policy: Policy
    frame: _Frame | None = None
    jfif: bool = False
    adobe_transform: bytes = b""
    exif: bytes = b""
    tables: dict[tuple[int, int], bytes] = field(default_factory=dict)  # read, not yet written
    scans: list[Piece] = field(default_factory=list)
    scan_count: int = 0
    fine: dict[int, list[int]] = field(default_factory=dict)  # where in `scans` a component's AC scans begin

    def __post_init__(self) -> None:
        self._scans_left = Allowance("scans", self.policy.max_scans)
        self._blocks_left = Allowance("scans", self.policy.max_scan_blocks)
        self._profile = _Profile(self.policy.max_metadata_bytes)
        self._progression = _Progression(())

    # --- reading

    def add_segment(self, marker: int, body: bytes) -> None:
        """Take in a segment other than a scan."""
        if marker in _FRAMES:
            self._add_frame(marker, body)
        elif marker in _OTHER_FRAMES:
            raise FormatNotAllowed(_OTHER_FRAMES[marker], self.policy.formats)
        elif marker == _DQT:
            self._add_tables(_DQT, _quantization_tables(body))
        elif marker == _DHT:
            self._add_tables(_DHT, _huffman_tables(body))
        elif marker == _DRI:
            if len(body) != 2:
                raise Malformed("restart interval of the wrong length")
            self.tables[_DRI, 0] = body
        elif marker == _APP0:
            self.jfif = self.jfif or (body.startswith(b"JFIF\0") and len(body) >= 14)
        elif marker == _APP1:
            if body.startswith(b"Exif\0\0") and not self.exif:
                self.exif = body
        elif marker == _APP2:
            if body.startswith(b"ICC_PROFILE\0"):
                self._profile.add(body[12:])
        elif marker == _APP14:
            if body.startswith(b"Adobe") and len(body) >= 12:
                self.adobe_transform = body[11:12]
        elif marker not in _SKIPPED:
            raise Malformed(f"marker {marker:#x} where none belongs")

    def _add_tables(self, kind: int, tables: Iterator[tuple[int, bytes]]) -> None:
        for number, table in tables:
            self.tables[kind, number] = table

    def _add_frame(self, marker: int, body: bytes) -> None:
        if self.frame is not None:
            raise Malformed("two frame headers")
        if len(body) < 6 or len(body) != 6 + 3 * body[5]:
            raise Malformed("frame header of the wrong length")
        precision, height, width, count = struct.unpack_from(">BHHB", body)
        if precision == 12:
            raise FormatNotAllowed("12-bit JPEG", self.policy.formats)
        if precision != 8 or count not in _PIXEL_BYTES:
            raise Malformed(f"{count} components of {precision} bits")
        check_pixels(width, height, self.policy)
        sampling = {number: (both >> 4, both & 15) for number, both, _ in struct.iter_unpack("3B", body[6:])}
        if len(sampling) != count or not all(1 <= h <= 4 and 1 <= v <= 4 for h, v in sampling.values()):
            raise Malformed("components of the same number, or sampling factors out of range")
        across, down = max(h for h, _ in sampling.values()), max(v for _, v in sampling.values())
        columns, rows = -(-width // (8 * across)), -(-height // (8 * down))
        components = {
            number: _Component(
                h, v, -(-width * h // (8 * across)) * -(-height * v // (8 * down)), columns * h * rows * v
            )
            for number, (h, v) in sampling.items()
        }
        self.frame = _Frame(marker, body, width, height, components)
        self._progression = _Progression(components)

    def add_scan(self, header: bytes, entropy: memoryview) -> None:
        """Take in a scan: check what it says it codes, and write it behind the tables it needs."""
        frame = self.frame
        if frame is None:
            raise Malformed("a scan before the frame header")
        numbers, first, last, high, low = _scan_header(header)
        if len(set(numbers)) != len(numbers) or not set(numbers) <= frame.components.keys():
            raise Malformed("a scan of components that the frame does not have")
        self._scans_left.take()
        parts = [frame.components[number] for number in numbers]
        blocks = parts[0].alone if len(parts) == 1 else sum(part.padded for part in parts)
        self._blocks_left.take(blocks)
        if frame.progressive:
            if first > last or last >= _COEFFICIENTS or (first == 0) != (last == 0) or (first and len(parts) > 1):
                raise Malformed(f"a scan of coefficients {first} to {last} of {len(parts)} components")
        else:
            first, last, high, low = 0, _COEFFICIENTS - 1, 0, 0
        # A DC coefficient takes a bit at least, all of a block two; AC alone may take one for very many blocks.
        least = (0 if first else 1 if frame.progressive else 2) * blocks or 1
        if 8 * len(entropy) < least:
            raise Malformed(f"a scan of {len(entropy)} bytes for {blocks} blocks")
        for number in numbers:
            self._progression.code(number, slice(first, last + 1), high, low)
        self._write_scan(frame, header, entropy)
        if frame.progressive and first:
            self.fine.setdefault(numbers[0], []).append(len(self.scans) - 2)

    @property
    def complete(self) -> bool:
        """Whether a sequential picture has all its components, so that whatever follows is not part of it."""
        return self.frame is not None and not self.frame.progressive and self._progression.is_complete

    # --- writing

    def _write_scan(self, frame: _Frame, header: bytes, entropy: memoryview) -> None:
        self.scan_count += 1
        self.scans += (_marked(kind, body) for (kind, _), body in self.tables.items())
        self.tables.clear()
        if self.scan_count == 1:
            self.scans.append(_marked(frame.marker, frame.body))
        self.scans += (_marked(_SOS, header), entropy)

    def rebuilt(self) -> Rebuilt:
        """Return the file, or raise `Malformed` if a part of the picture is missing."""
        frame = self.frame
        if frame is None or not self._progression.is_complete:
            raise Malformed("scans are missing")
        single = self.scan_count == 1  # so it is not a progressive one, which takes two
        return Rebuilt(
            format=NAME,
            canvas=(frame.width, frame.height),
            frame=(0, 0, frame.width, frame.height),
            pieces=self._file(self.scans, NO_END if single else b"\xff\xd9"),
            coarse_pieces=self._file(self._coarse_scans(frame), b"\xff\xd9") if frame.progressive else None,
            pixel_bytes=_PIXEL_BYTES[len(frame.components)],
            fixed_bytes=0 if single else _BLOCK_BYTES * sum(part.padded for part in frame.components.values()),
            scalable=True,
            orientation=read_orientation(self.exif),
            icc=self._profile.whole(),
        )

    def _file(self, scans: Iterable[Piece], end: bytes) -> list[Piece]:
        adobe = _marked(_APP14, _ADOBE + self.adobe_transform) if self.adobe_transform else b""
        return [b"\xff\xd8", _JFIF if self.jfif else b"", adobe, *scans, end]

    def _coarse_scans(self, frame: _Frame) -> list[Piece]:
        """Return the scans, and the tables among them, that a decode at 1/8 needs."""
        parts = frame.components
        most = max(part.horizontal for part in parts.values()), max(part.vertical for part in parts.values())
        coarse = [number for number, part in parts.items() if is_coarse((part.horizontal, part.vertical), most)]
        left_out = {at + more for number in coarse for at in self.fine[number] for more in (0, 1)}
        kept = [piece for at, piece in enumerate(self.scans) if at not in left_out]
        return [*kept, *(empty_scan(number, parts[number].alone) for number in coarse)]


def _marked(marker: int, body: bytes) -> bytes:
    """Return a segment."""
    return b"\xff%c%c%c%b" % (marker, (len(body) + 2) >> 8, (len(body) + 2) & 255, body)


def _quantization_tables(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the number and the bytes of each table in a DQT segment."""
    while body:
        length = 129 if body[0] >> 4 else 65
        if body[0] & 15 >= _TABLES or len(body) < length:
            raise Malformed("quantization table out of bounds")
        yield body[0] & 15, body[:length]
        body = body[length:]


def _huffman_tables(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the number (with the class, DC or AC) and the bytes of each table in a DHT segment."""
    while body:
        length = 17 + sum(body[1:17])
        if body[0] & 0xEF >= _TABLES or len(body) < length:
            raise Malformed("Huffman table out of bounds")
        yield body[0], body[:length]
        body = body[length:]


def _scan_header(body: bytes) -> tuple[bytes, int, int, int, int]:
    """Return component numbers, first and last coefficient, lowest bit before and after, of a scan header (SOS)."""
    count = body[0] if body else 0
    if not 1 <= count <= 4 or len(body) != 4 + 2 * count:
        raise Malformed("scan header of the wrong length")
    first, last, bits = body[-3:]
    return body[1 : 1 + 2 * count : 2], first, last, bits >> 4, bits & 15
