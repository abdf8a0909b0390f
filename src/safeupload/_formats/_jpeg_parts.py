"""What a JPEG consists of: its frame, how far its scans have come, its tables and its profile."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from safeupload._formats._base import Allowance, Malformed

PROGRESSIVE: Final = 0xC2
COEFFICIENTS: Final = 64
_TABLES: Final = 4  # quantization, DC and AC Huffman tables are numbered 0 to 3


class Component(NamedTuple):
    """One component of the frame, with the size of its block grid."""

    horizontal: int
    vertical: int
    alone: int  # blocks in a scan of this component alone
    padded: int  # blocks kept in memory: whole MCUs


class Frame(NamedTuple):
    """The frame header (SOFn)."""

    marker: int
    body: bytes
    width: int
    height: int
    components: dict[int, Component]

    @property
    def progressive(self) -> bool:
        return self.marker == PROGRESSIVE


class Progression:
    """How far the scans have coded each coefficient: once down to some bit, and then, bit by bit, down to bit 0."""

    def __init__(self, components: Iterable[int]) -> None:
        self._lowest: dict[int, list[int | None]] = {number: [None] * COEFFICIENTS for number in components}

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


class Profile:
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


def quantization_tables(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the number and the bytes of each table in a DQT segment."""
    while body:
        length = 129 if body[0] >> 4 else 65
        if body[0] & 15 >= _TABLES or len(body) < length:
            raise Malformed("quantization table out of bounds")
        yield body[0] & 15, body[:length]
        body = body[length:]


def huffman_tables(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the number (with the class, DC or AC) and the bytes of each table in a DHT segment."""
    while body:
        length = 17 + sum(body[1:17])
        if body[0] & 0xEF >= _TABLES or len(body) < length:
            raise Malformed("Huffman table out of bounds")
        yield body[0], body[:length]
        body = body[length:]


def scan_header(body: bytes) -> tuple[bytes, int, int, int, int]:
    """Return component numbers, first and last coefficient, lowest bit before and after, of a scan header (SOS)."""
    count = body[0] if body else 0
    if not 1 <= count <= 4 or len(body) != 4 + 2 * count:
        raise Malformed("scan header of the wrong length")
    first, last, bits = body[-3:]
    return body[1 : 1 + 2 * count : 2], first, last, bits >> 4, bits & 15
