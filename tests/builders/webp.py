"""WebP files put together from chunks, right or wrong as the test wants them."""

import io
import struct

from PIL import Image

ICC, ALPHA, EXIF, ANIMATION = 0x20, 0x10, 0x08, 0x02  # flags of VP8X


def riff(*chunks: bytes, size: int | None = None) -> bytes:
    """Return a file of chunks; `size` is what its header claims."""
    content = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(content) if size is None else size) + content


def chunk(name: bytes, body: bytes, *, length: int | None = None, padded: bool = True) -> bytes:
    """Return a chunk; `length` is what its header claims."""
    padding = b"\0" if padded and len(body) & 1 else b""
    return name + struct.pack("<I", len(body) if length is None else length) + body + padding


def vp8x(width: int, height: int, flags: int = 0) -> bytes:
    """Return the chunk that announces the canvas."""
    return chunk(b"VP8X", struct.pack("<I", flags) + _u24(width - 1) + _u24(height - 1))


def anmf(width: int, height: int, *chunks: bytes, left: int = 0, top: int = 0) -> bytes:
    """Return a frame of an animation; `left` and `top` are even."""
    numbers = (left // 2, top // 2, width - 1, height - 1, 100)
    return chunk(b"ANMF", b"".join(map(_u24, numbers)) + b"\0" + b"".join(chunks))


def lossy(image: Image.Image, quality: int = 90) -> bytes:
    """Return an image's VP8 chunk; it has no alpha."""
    return dict(_chunks(_encode(image.convert("RGB"), quality=quality, method=0)))[b"VP8 "]


def lossless(image: Image.Image) -> bytes:
    """Return an image's VP8L chunk."""
    return dict(_chunks(_encode(image, lossless=True, exact=True, method=0)))[b"VP8L"]


def alpha(image: Image.Image) -> bytes:
    """Return an ALPH chunk: the image's alpha plane as it is, neither filtered nor compressed."""
    return chunk(b"ALPH", b"\0" + image.getchannel("A").tobytes())


def vp8l_head(width: int, height: int, *, has_alpha: bool = False, version: int = 0, rest: bytes = b"") -> bytes:
    """Return a VP8L chunk with hardly more than its header."""
    bits = width - 1 | (height - 1) << 14 | has_alpha << 28 | version << 29
    return chunk(b"VP8L", b"\x2f" + struct.pack("<I", bits) + rest)


def vp8_head(width: int, height: int, *, key_frame: bool = True, start: bytes = b"\x9d\x01\x2a") -> bytes:
    """Return a VP8 chunk with nothing but its header."""
    return chunk(b"VP8 ", bytes([0x10 | (not key_frame), 0, 0]) + start + struct.pack("<HH", width, height))


def _encode(image: Image.Image, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, "WEBP", **options)
    return out.getvalue()


def _chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return the name of each chunk of a right file, and the whole chunk."""
    found = []
    position = 12
    while position < len(data):
        (length,) = struct.unpack_from("<I", data, position + 4)
        end = position + 8 + length + (length & 1)
        found.append((data[position : position + 4], data[position:end]))
        position = end
    return found


def _u24(number: int) -> bytes:
    return number.to_bytes(3, "little")
