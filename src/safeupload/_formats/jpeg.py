"""
JPEG: baseline, extended and progressive, 8 bits, 1, 3 or 4 components; of an MPO the first picture.

Source: ITU-T T.81; the JFIF and Adobe rules as libjpeg applies them (jdapimin.c, default_decompress_parms).
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from safeupload._formats._base import Allowance, Malformed, Rebuilt, check_pixels
from safeupload._formats._coarse import empty_scan, is_coarse
from safeupload._formats._exif import read_orientation
from safeupload._formats._jpeg_parts import (
    COEFFICIENTS,
    PROGRESSIVE,
    Component,
    Frame,
    Profile,
    Progression,
    huffman_tables,
    quantization_tables,
    scan_header,
)
from safeupload.errors import FormatNotAllowed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from safeupload._formats._pieces import Piece
    from safeupload.policy import Policy

NAME: Final = "JPEG"

_EOI, _SOS, _DQT, _DHT, _DRI = 0xD9, 0xDA, 0xDB, 0xC4, 0xDD
_APP0, _APP1, _APP2, _APP14 = 0xE0, 0xE1, 0xE2, 0xEE
_FRAMES: Final = frozenset({0xC0, 0xC1, PROGRESSIVE})
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
# one bits, since no Huffman code consists of ones alone. A decoder takes what is no code for a zero and goes on, 17
# bits each, so these pass for the end of a picture of which some bytes of the last MCU are missing, and no more of it.
NO_END: Final = b"\xff\x00" * 8

_JFIF: Final = b"\xff\xe0\x00\x10JFIF\0\x01\x01\x00\x00\x01\x00\x01\x00\x00"
_ADOBE: Final = b"Adobe\x00\x64\x00\x00\x00\x00"  # its colour transform follows
_BLOCK_BYTES: Final = 64 * 2  # libjpeg keeps a 16-bit coefficient a sample of every multi-scan picture
_PIXEL_BYTES: Final = {1: 1, 3: 4, 4: 4}  # Pillow's L, RGB and CMYK, by number of components


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


@dataclass
class _Picture:
    """What has been read so far, and the file that is being written from it."""

    policy: Policy
    frame: Frame | None = None
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
        self._profile = Profile(self.policy.max_metadata_bytes)
        self._progression = Progression(())

    # --- reading

    def add_segment(self, marker: int, body: bytes) -> None:
        """Take in a segment other than a scan."""
        if marker in _FRAMES:
            self._add_frame(marker, body)
        elif marker in _OTHER_FRAMES:
            raise FormatNotAllowed(_OTHER_FRAMES[marker], self.policy.formats)
        elif marker == _DQT:
            self._add_tables(_DQT, quantization_tables(body))
        elif marker == _DHT:
            self._add_tables(_DHT, huffman_tables(body))
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
            number: Component(
                h, v, -(-width * h // (8 * across)) * -(-height * v // (8 * down)), columns * h * rows * v
            )
            for number, (h, v) in sampling.items()
        }
        self.frame = Frame(marker, body, width, height, components)
        self._progression = Progression(components)

    def add_scan(self, header: bytes, entropy: memoryview) -> None:
        """Take in a scan: check what it says it codes, and write it behind the tables it needs."""
        frame = self.frame
        if frame is None:
            raise Malformed("a scan before the frame header")
        numbers, first, last, high, low = scan_header(header)
        if len(set(numbers)) != len(numbers) or not set(numbers) <= frame.components.keys():
            raise Malformed("a scan of components that the frame does not have")
        self._scans_left.take()
        parts = [frame.components[number] for number in numbers]
        blocks = parts[0].alone if len(parts) == 1 else sum(part.padded for part in parts)
        self._blocks_left.take(blocks)
        if frame.progressive:
            if first > last or last >= COEFFICIENTS or (first == 0) != (last == 0) or (first and len(parts) > 1):
                raise Malformed(f"a scan of coefficients {first} to {last} of {len(parts)} components")
        else:
            first, last, high, low = 0, COEFFICIENTS - 1, 0, 0
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

    def _write_scan(self, frame: Frame, header: bytes, entropy: memoryview) -> None:
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

    def _coarse_scans(self, frame: Frame) -> list[Piece]:
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
