"""
Generators of files that are made to harm whoever decodes them.

Each is built from the rules of its format alone, small, and harmless to hold; do not open it in a program that you care
about.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import Final

from PIL import Image

from safeupload._samples import png
from safeupload._samples.benign import exif, scene

#: The payload of the scripts, so that it can be searched for in a result.
SCRIPT: Final = b"<script>alert('canary-script')</script>"
POLYGLOT_SCRIPT: Final = b"*/=1;alert('canary-polyglot')/*"

_MIB: Final = 1 << 20
_MAX_RUN: Final = (1 << 15) - 1  # blocks that one EOBRUN symbol of a progressive JPEG ends


def scan_bomb(scans: int = 200_000, width: int = 4000, height: int = 3000) -> bytes:
    """
    Return a progressive JPEG of very many scans that code nothing: 5 MB for minutes of a processor.

    One gray component. The first scan has its DC coefficients, all equal; each further one says "nothing but zeros" of
    one AC coefficient and bit for all blocks (T.81, G.1.2.2: EOB runs of up to 32,767 blocks a symbol), about 24 bytes
    that make the decoder visit every block of the picture. 882 such scans make a flawless progressive JPEG; from there
    on they begin anew, which decoders put up with.
    """
    blocks = -(-width // 8) * -(-height // 8)
    dc = _bits("0" * blocks)  # category 0: no difference to the block before
    runs = "".join(f"0{run - (1 << 14):014b}" for run in _runs(blocks))
    coded = _bits(runs)
    bits = [13, *(bit << 4 | bit - 1 for bit in range(13, 0, -1))]  # the high bits first, then one more at a time
    cycle = [_segment(0xDA, struct.pack("6B", 1, 1, 0, at, at, bit)) + coded for bit in bits for at in range(1, 64)]
    whole, rest = divmod(scans, len(cycle))
    return b"".join(
        (
            b"\xff\xd8",
            _segment(0xDB, b"\0" + b"\1" * 64),
            _segment(0xC2, struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0"),
            _segment(0xC4, b"\0" + b"\1" + bytes(15) + b"\0"),  # DC: the code "0" is category 0
            _segment(0xC4, b"\x10" + b"\1" + bytes(15) + b"\xe0"),  # AC: the code "0" is EOB14, 14 bits follow
            _segment(0xDA, b"\1\1\0\0\0\0"),
            dc,
            b"".join(cycle) * whole,
            *cycle[:rest],
            b"\xff\xd9",
        )
    )


def _runs(blocks: int) -> list[int]:
    """Return lengths from 16,384 to 32,767, what EOB14 can say, whose sum is the number of blocks or little more."""
    count = -(-blocks // _MAX_RUN)
    return [max(1 << 14, -(-blocks // count))] * count


def _bits(bits: str) -> bytes:
    """Return entropy-coded data: padded with ones, each 0xFF followed by 0."""
    bits += "1" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def webp_header(width: int = 12_000, height: int = 12_000) -> bytes:
    """Return 34 bytes that claim a lossless WebP of 144 megapixels; a decoder allocates first and looks then."""
    bitstream = b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + bytes(9)
    return (
        b"RIFF" + struct.pack("<I", 12 + len(bitstream)) + b"WEBPVP8L" + struct.pack("<I", len(bitstream)) + bitstream
    )


def text_bomb(chunks: int = 60) -> bytes:
    """Return a PNG of 8 x 8 pixels with 60 compressed comments of 1 MB each, in 63 kB."""
    text = png.chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"A" * 1_000_000, 9))
    return png.file((8, 8), 0, zlib.compress(bytes(9 * 8)), text * chunks)


def png_header(width: int = 65_535, height: int = 65_535) -> bytes:
    """Return 66 bytes that claim a PNG of 65,535 x 65,535 pixels: 17 GB as RGBA."""
    return png.file((width, height), 6, zlib.compress(b"\0"))


def near_bomb(side: int = 9_459) -> bytes:
    """
    Return an RGBA PNG of 89 megapixels, one row less than Pillow warns about: 360 MB of raster, in 350 kB.

    A deflate block that ends in a full flush refers to nothing before it, so one block of zeros serves over and over.
    """
    size = side * (1 + 4 * side)
    whole, rest = divmod(size, _MIB)
    data = _zeros(_MIB) * whole + _zeros(rest)
    adler = (size % 65_521) << 16 | 1  # of that many zeros
    return png.file((side, side), 6, b"\x78\x01" + data + b"\x03\0" + struct.pack(">I", adler))


def _zeros(size: int) -> bytes:
    """Return a raw deflate block of that many zeros, to be followed by another one."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return deflate.compress(bytes(size)) + deflate.flush(zlib.Z_FULL_FLUSH)


def gif_frames(frames: int = 100_000) -> bytes:
    """Return a GIF of 100,000 frames of one pixel, in 1.5 MB: slow for whoever counts them."""
    frame = struct.pack("<BHHHHB", 0x2C, 0, 0, 1, 1, 0) + b"\2\2\x44\1\0"
    return b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff" + frame * frames + b";"


def tiff_directories(count: int = 50_000) -> bytes:
    """Return a TIFF of 50,000 pages that are all the same pixel: slow for whoever counts them."""
    entries = (
        (0x0100, 3, 1, 1),  # width
        (0x0101, 3, 1, 1),  # height
        (0x0102, 3, 1, 8),  # bits
        (0x0103, 3, 1, 1),  # not compressed
        (0x0106, 3, 1, 1),  # black is zero
        (0x0111, 4, 1, 8),  # where the pixel is
        (0x0117, 4, 1, 1),  # how many bytes it has
    )
    body = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    size, start = len(body) + 4, 12
    pages = (body + struct.pack("<I", start + size * (number + 1)) for number in range(count - 1))
    return b"II*\0" + struct.pack("<I", start) + b"\x80\0\0\0" + b"".join(pages) + body + bytes(4)


def truncated_jpeg() -> bytes:
    """Return half a photograph with an end marker glued on: decoders fill the rest with gray and say nothing."""
    whole = _jpeg()
    return whole[: len(whole) // 2] + b"\xff\xd9"


def comment_jpeg() -> bytes:
    """Return a photograph with a script for a comment; Pillow copies comments from what it opens to what it saves."""
    return _jpeg(comment=SCRIPT, exif=exif(1))


def _jpeg(**options: bytes) -> bytes:
    out = io.BytesIO()
    scene(1200, 900).save(out, "JPEG", quality=85, **options)
    return out.getvalue()


def polyglot() -> bytes:
    """
    Return a GIF that is a JavaScript program too: ``GIF89a/* ... */=1;alert(...)/* ... */``.

    Its width is the two bytes ``/*`` (10,799), its comment closes and opens the program's.
    """
    out = io.BytesIO()
    width = int.from_bytes(b"/*", "little")
    picture = Image.linear_gradient("L").resize((width, 256)).quantize(16)
    picture.save(out, "GIF", comment=POLYGLOT_SCRIPT)
    return out.getvalue() + b"*/"


def svg() -> bytes:
    """Return an SVG with a script, which a browser runs if it is served as it came."""
    return (
        b'<svg xmlns="http://www.w3.org/2000/svg" width="300" height="300">'
        b'<circle cx="150" cy="150" r="120" fill="tomato"/>' + SCRIPT + b"</svg>\n"
    )
