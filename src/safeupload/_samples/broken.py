"""Small files that are no pictures, are damaged, claim too much, or carry something: the last alone are accepted."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from typing import Final

from PIL import Image

from safeupload._samples import png
from safeupload._samples.kinds import picture

#: Payloads, so that they can be searched for in a result.
PROGRAM: Final = b"<?php echo 'canary-program'; ?>"
PAGE: Final = b"<!DOCTYPE html><script>alert('canary-page')</script>"
ARCHIVED: Final = b"canary-archive"


def words() -> bytes:
    """Return a text."""
    return b"This is not a picture.\n"


def page() -> bytes:
    """Return a page with a script, which a browser runs if it is served as it came."""
    return PAGE


def archive() -> bytes:
    """Return a ZIP archive, which can be a document or a program too."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr(zipfile.ZipInfo("readme.txt"), ARCHIVED)
    return out.getvalue()


def document() -> bytes:
    """Return the beginning of a PDF."""
    return b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\n%%EOF\n"


def program() -> bytes:
    """Return the beginning of a Windows program."""
    return b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0" + bytes(20)


def bitmap() -> bytes:
    """Return a BMP: a picture, of a format that no policy takes."""
    out = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(out, "BMP")
    return out.getvalue()


def cut(kind: str) -> bytes:
    """Return three quarters of a picture, as a broken connection leaves it."""
    data = picture(kind).data
    return data[: len(data) * 3 // 4]


def wrong_checksum() -> bytes:
    """Return a PNG whose pixels were changed after their checksum was made."""
    data = bytearray(picture("rgb.png").data)
    data[data.index(b"IDAT") + 12] ^= 1
    return bytes(data)


def many_segments(count: int = 30_000) -> bytes:
    """Return a JPEG of 30,000 empty comments: slow for whoever makes a list of them."""
    data = picture("baseline.jpg").data
    return data[:2] + b"\xff\xfe\x00\x02" * count + data[2:]


def large_screen() -> bytes:
    """Return a GIF of 43 bytes whose screen has 65,535 x 65,535 pixels."""
    screen = struct.pack("<HHBBB", 65_535, 65_535, 0x80, 0, 0) + bytes(3) + b"\xff\xff\xff"
    return b"GIF89a" + screen + struct.pack("<BHHHHB", 0x2C, 0, 0, 1, 1, 0) + b"\2\2\x44\1\0;"


def profile_bomb(size: int = 64 << 20) -> bytes:
    """Return a PNG whose colour profile inflates to 64 MiB, in 65 kB."""
    profile = png.chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(size), 9))
    return png.file((8, 8), 0, zlib.compress(bytes(9 * 8)), profile)


def with_program() -> bytes:
    """Return a JPEG with a PHP program for a comment, which a web server may run under the wrong name."""
    data = picture("baseline.jpg").data
    return data[:2] + b"\xff\xfe" + struct.pack(">H", len(PROGRAM) + 2) + PROGRAM + data[2:]


def with_archive() -> bytes:
    """Return a JPEG that is a ZIP archive too: readers of archives begin at the end."""
    return picture("baseline.jpg").data + archive()
