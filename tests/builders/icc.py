"""Small ICC profiles, each with its own float arithmetic, so that a colour can be checked without a colour engine."""

import struct
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_D50: Final = (0.9642, 1.0, 0.8249)
# Primaries of a display adapted to D50, one row a component of XYZ. Source: the profiles of ICC and Apple.
_SRGB: Final = ((0.43607, 0.38515, 0.14307), (0.22249, 0.71687, 0.06061), (0.01392, 0.09708, 0.71410))
_P3: Final = ((0.51512, 0.29198, 0.15710), (0.24120, 0.69225, 0.06657), (-0.00105, 0.04189, 0.78407))
#: Slope and offsets of the sRGB curve: g, a, b, c, d of ICC's parametric curve type 3. Source: IEC 61966-2-1.
_SRGB_CURVE: Final = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


@dataclass(frozen=True)
class Profile:
    """
    A profile as a file (`data`), and as arithmetic (`to_srgb`).

    `matrix` turns linear RGB into XYZ (None: grey), `curve` is one gamma or the five numbers of a parametric curve.
    """

    name: str
    matrix: tuple[tuple[float, ...], ...] | None = field(repr=False)
    curve: tuple[float, ...] = field(repr=False)
    device: bytes = b"mntr"
    padding: int = 0
    data: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Write the file."""
        tags = {b"desc": _text(self.name), b"cprt": _text("none"), b"wtpt": _xyz(_D50)}
        if self.matrix is None:
            tags[b"kTRC"] = _curve(self.curve)
        else:
            columns = zip(*self.matrix, strict=True)
            tags |= {b"%cXYZ" % name: _xyz(column) for name, column in zip(b"rgb", columns, strict=True)}
            tags |= {b"%cTRC" % name: _curve(self.curve) for name in b"rgb"}
        space = b"GRAY" if self.matrix is None else b"RGB "
        object.__setattr__(self, "data", _file(self.device, space, b"XYZ ", tags, self.padding))

    def to_srgb(self, colours: Floats) -> Floats:
        """Return colours (0 to 1, in the last axis red, green, blue or a single grey) in sRGB, clipped to 0 to 1."""
        linear = _linear(np.clip(colours, 0, 1), self.curve)
        if self.matrix is None:
            linear = np.repeat(linear[..., :1], 3, axis=-1)
        else:
            linear = np.clip(linear @ np.array(self.matrix).T @ np.linalg.inv(np.array(_SRGB)).T, 0, 1)
        encoded: Floats = np.where(
            linear <= 0.04045 / 12.92, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055
        )
        return encoded


def cmyk(device: bytes = b"prtr") -> bytes:
    """Return the profile of a press whose inks take their part of the light away, with cyan and magenta exchanged."""
    nodes = [
        (1 - magenta, 1 - cyan, 1 - yellow, black)
        for cyan in (0, 1)
        for magenta in (0, 1)
        for yellow in (0, 1)
        for black in (0, 1)
    ]
    colours = [np.array(node[:3]) * (1 - node[3]) for node in nodes]
    ramp = bytes(range(256))
    table = b"".join(_lab8(colour) for colour in colours)
    identity = struct.pack(">9i", *(65536 if row == column else 0 for row in range(3) for column in range(3)))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + identity + ramp * 4 + table + ramp * 3
    tags = {b"desc": _text("press"), b"cprt": _text("none"), b"wtpt": _xyz(_D50), b"A2B0": lut}
    return _file(device, b"CMYK", b"Lab ", tags, 0)


def _lab8(linear: Floats) -> bytes:
    """Return linear sRGB as Lab of 8 bits."""
    scaled = np.array(_SRGB) @ linear / np.array(_D50)
    root = np.where(scaled > 216 / 24389, np.cbrt(scaled), (scaled * 24389 / 27 + 16) / 116)
    lightness, a, b = 116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])
    return bytes(int(np.clip(round(level), 0, 255)) for level in (lightness * 2.55, a + 128, b + 128))


def _linear(encoded: Floats, curve: tuple[float, ...]) -> Floats:
    """Apply a curve."""
    if len(curve) == 1:
        powered: Floats = encoded ** curve[0]
        return powered
    gamma, scale, offset, slope, limit = curve
    decoded: Floats = np.where(encoded >= limit, (scale * encoded + offset) ** gamma, slope * encoded)
    return decoded


def _file(device: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes], padding: int) -> bytes:
    """Return a profile of version 4.3; its layout is that of ICC.1:2010, section 7."""
    start = 128 + 4 + 12 * len(tags)
    directory, bodies = struct.pack(">I", len(tags)), b""
    for name, body in tags.items():
        directory += struct.pack(">4sII", name, start + len(bodies), len(body))
        bodies += body + b"\0" * (-len(body) % 4)
    size = start + len(bodies) + padding
    header = struct.pack(">I4sI4s4s4s", size, b"", 0x04300000, device, space, connection)
    header += struct.pack(">6H4s", 2025, 1, 1, 0, 0, 0, b"acsp").ljust(68 - 24, b"\0")
    header += _xyz(_D50)[8:]
    return header.ljust(128, b"\0") + directory + bodies + b"\0" * padding


def _xyz(values: tuple[float, ...]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))


def _curve(curve: tuple[float, ...]) -> bytes:
    """Return a parametric curve: a gamma alone (type 0), or five numbers (type 3)."""
    kind = 0 if len(curve) == 1 else 3
    return b"para\0\0\0\0" + struct.pack(f">HH{len(curve)}i", kind, 0, *(round(value * 65536) for value in curve))


def _text(text: str) -> bytes:
    encoded = text.encode("utf-16-be")
    return b"mluc\0\0\0\0" + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(encoded), 28) + encoded


SRGB: Final = Profile("sRGB", _SRGB, _SRGB_CURVE)
#: Red is green, green is blue, blue is red: nobody overlooks it.
SWAPPED: Final = Profile("swapped", tuple((x[1], x[2], x[0]) for x in _SRGB), _SRGB_CURVE)
P3: Final = Profile("P3", _P3, _SRGB_CURVE)
LINEAR_GRAY: Final = Profile("linear gray", None, (1.0,))
GAMMA_GRAY: Final = Profile("dark gray", None, (2.8,))
