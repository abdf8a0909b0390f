"""
Mutations that know a little of the formats.

A changed byte in a PNG breaks a checksum, an inserted one in the others breaks every length around it; coverage would
end there. So files are taken apart as far as they can be, a part is changed, and they are written again with lengths
and checksums that fit.
"""

import random
import re
import struct
from collections.abc import Callable
from typing import Final, NamedTuple

from builders import isobmff, jpeg, png, webp

_MOST: Final = 1 << 16  # bytes that a part may grow by, when it is repeated

Part = tuple[bytes, bytes]  # a name, and a body
Mutate = Callable[[bytes, int], bytes]  # libFuzzer's own mutation: of these bytes, into so many at most


class Format(NamedTuple):
    """How a format is taken apart and put together; `inner` has the parts that hold parts, behind heads so long."""

    split: Callable[[bytes], list[Part]]
    join: Callable[[list[Part]], bytes]
    inner: dict[bytes, int]
    outer: Callable[[bytes], bytes]


def mutated(data: bytes, limit: int, seed: int, mutate: Mutate) -> bytes:
    """Return other bytes, `limit` of them at most: often those of a file that is changed in one or a few parts."""
    rng = random.Random(seed)
    form = next((form for magic, form in _FORMATS if magic.match(data)), None)
    if form is None or rng.random() < 0.4:
        return mutate(data, limit)
    parts = form.split(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        parts = _changed(parts, form, rng, mutate)
    return form.outer(form.join(parts))[:limit]


def _changed(parts: list[Part], form: Format, rng: random.Random, mutate: Mutate) -> list[Part]:
    """Return the parts with one of them changed, exchanged, multiplied or left out."""
    if not parts:
        return parts
    parts = list(parts)
    at = rng.randrange(len(parts))
    name, body = parts[at]
    action = rng.choice(("body", "body", "body", "body", "name", "drop", "double", "exchange", "move"))
    head = form.inner.get(name)
    if head is not None and rng.random() < 0.9:
        inside = _changed(form.split(body[head:]), form, rng, mutate)
        parts[at] = name, body[:head] + form.join(inside)
    elif action == "body":
        parts[at] = name, mutate(body, len(body) + 64)
    elif action == "name":
        parts[at] = rng.choice(parts)[0], body
    elif action == "drop":
        del parts[at]
    elif action == "double":  # seldom very often: that shows what costs the square of it, and slows everything down
        times = rng.choice((1,) * 200 + (5, 70, 1000))
        parts[at:at] = [parts[at]] * min(times, _MOST // (len(body) + 1) + 1)
    elif action == "exchange":
        other = rng.randrange(len(parts))
        parts[at], parts[other] = parts[other], parts[at]
    else:
        parts.insert(rng.randrange(len(parts)), parts.pop(at))
    return parts


def _split_png(data: bytes) -> list[Part]:
    parts, position = [], 0
    while position + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        parts.append((name, data[position + 8 : position + 8 + length]))
        position += 12 + length
    return parts


def _split_riff(data: bytes) -> list[Part]:
    parts, position = [], 0
    while position + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, position)
        parts.append((name, data[position + 8 : position + 8 + length]))
        position += 8 + length + (length & 1)
    return parts


def _split_boxes(data: bytes) -> list[Part]:
    parts, position = [], 0
    while position + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        length = max(8, length or len(data) - position)
        parts.append((name, data[position + 8 : position + length]))
        position += length
    return parts


_MARKER: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd8]")


def _split_jpeg(data: bytes) -> list[Part]:
    """Return the segments; the name is the marker, a scan's body is its header and the entropy-coded data."""
    parts, position = [], 0
    while match := _MARKER.search(data, position):
        marker, start = data[match.start() + 1], match.end()
        length = int.from_bytes(data[start : start + 2], "big")
        end = min(len(data), start + max(2, length))
        if marker == jpeg.SOS:
            following = _MARKER.search(data, end)
            end = following.start() if following else len(data)
        if marker == jpeg.EOI[1]:
            parts.append((jpeg.EOI, b""))
            end = start
        else:
            parts.append((bytes([0xFF, marker]), data[start + 2 : end]))
        position = end
    return parts


def _join_jpeg(parts: list[Part]) -> bytes:
    return b"".join(map(_segment, parts))


def _segment(part: Part) -> bytes:
    name, body = part
    if name == jpeg.EOI:
        return name
    if name[1] != jpeg.SOS:
        return name + struct.pack(">H", min(len(body) + 2, 0xFFFF)) + body
    length = 6 + 2 * (body[0] if body else 0)  # by the number of components
    return name + struct.pack(">H", length) + body


def _join(written: Callable[[bytes, bytes], bytes]) -> Callable[[list[Part]], bytes]:
    return lambda parts: b"".join(written(name, body) for name, body in parts)


_META: Final = {b"meta": 4, b"iprp": 0, b"ipco": 0, b"iinf": 6, b"iref": 4}
_FORMATS: Final[list[tuple[re.Pattern[bytes], Format]]] = [
    (
        re.compile(re.escape(png.SIGNATURE)),
        Format(
            lambda data: _split_png(data.removeprefix(png.SIGNATURE)),
            _join(lambda name, body: bytes(png.Chunk(name, body))),
            {},
            lambda data: png.SIGNATURE + data,
        ),
    ),
    (
        re.compile(rb"RIFF....WEBP", re.DOTALL),
        Format(
            lambda data: _split_riff(data[12:] if data.startswith(b"RIFF") else data),
            _join(webp.chunk),
            {b"ANMF": 16},
            webp.riff,
        ),
    ),
    (re.compile(rb"....ftyp", re.DOTALL), Format(_split_boxes, _join(isobmff.box), _META, lambda data: data)),
    (re.compile(jpeg.SOI), Format(_split_jpeg, _join_jpeg, {}, lambda data: jpeg.SOI + data)),
]
