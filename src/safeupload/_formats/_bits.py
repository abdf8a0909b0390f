"""Reading numbers of some bits from the headers of bitstreams."""

from __future__ import annotations

from safeupload._formats._base import Malformed


class Bits:
    """Reads from the highest bit of the first byte on."""

    def __init__(self, data: bytes) -> None:
        """Read from this piece of a bitstream."""
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        """Return the next `count` bits as a number."""
        self._left -= count
        if self._left < 0:
            raise Malformed("a bitstream header ends too early")
        return self._value >> self._left & ((1 << count) - 1)

    def golomb(self) -> int:
        """Return the next number in Exp-Golomb code (``ue(v)``), of 32 bits at most."""
        zeros = 0
        while not self.take(1):
            zeros += 1
            if zeros > 32:
                raise Malformed("a number of more than 32 bits")
        return (1 << zeros) - 1 + self.take(zeros)
