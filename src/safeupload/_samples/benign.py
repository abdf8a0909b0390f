"""Generators of honest pictures that the plain way gets wrong, or leaks something of."""

from __future__ import annotations

import io
import math
import random
import struct
from typing import Any, Final

from PIL import Image, ImageChops, ImageDraw

#: What the planted metadata say, so that it can be searched for in a result.
EXIF_CANARY: Final = b"canary-camera-owner"
GPS_CANARY: Final = b"canary-gps-position"

_ORIENTATION, _ARTIST, _GPS_IFD = 0x0112, 0x013B, 0x8825
_GPS_NORTH, _GPS_LATITUDE, _GPS_EAST, _GPS_LONGITUDE, _GPS_METHOD = 1, 2, 3, 4, 27

SKY: Final = (60, 120, 220)  # at the top of the photograph
HIDDEN: Final = (230, 0, 60)  # under the transparent places
LOGO: Final = (20, 110, 90)


def exif(orientation: int) -> bytes:
    """Return EXIF data with an orientation, an owner and a position, as phones write them."""
    block = Image.Exif()
    block[_ORIENTATION] = orientation
    block[_ARTIST] = EXIF_CANARY.decode()
    block[_GPS_IFD] = {
        _GPS_NORTH: "N",
        _GPS_LATITUDE: (52.0, 31.0, 12.0),
        _GPS_EAST: "E",
        _GPS_LONGITUDE: (13.0, 24.0, 18.0),
        _GPS_METHOD: GPS_CANARY,
    }
    return block.tobytes()


def scene(width: int, height: int) -> Image.Image:
    """Return a picture with what photographs have: smooth gradients, hard edges and noise."""
    ramp = Image.linear_gradient("L").resize((width, height), Image.Resampling.BILINEAR)
    picture = Image.merge("RGB", [ramp.point([low + level * 2 // 5 for level in range(256)]) for low in SKY])
    draw = ImageDraw.Draw(picture)
    sun = width // 10
    draw.ellipse((width * 7 // 10 - sun, height // 4 - sun, width * 7 // 10 + sun, height // 4 + sun), (255, 240, 190))
    for step, colour in enumerate(((70, 95, 120), (50, 85, 80), (30, 65, 45))):
        base = height * (5 + step) // 10
        edge = [
            (x, base + int(height * 0.06 * math.sin((x / width * 9 + 2 * step) * (1 + step / 3))))
            for x in range(0, width + width // 60, width // 60)
        ]
        draw.polygon([(0, height), *edge, (width, height)], colour)
    return _noisy(picture)


def _noisy(picture: Image.Image) -> Image.Image:
    """Return the picture with a little noise, which is what keeps real photographs large."""
    tile = Image.frombytes("L", (512, 512), random.Random(1).randbytes(1 << 18))  # noqa: S311 - noise, no secret
    tile = tile.point([level // 24 for level in range(256)])
    noise = Image.new("L", picture.size)
    for left in range(0, picture.width, tile.width):
        for top in range(0, picture.height, tile.height):
            noise.paste(tile, (left, top))
    return ImageChops.add(picture, Image.merge("RGB", (noise, noise, noise)), offset=-5)


def photograph() -> bytes:
    """12 megapixels on their side, as a phone held upright stores them: EXIF orientation 6, with owner and position."""
    picture = scene(3000, 4000).transpose(Image.Transpose.ROTATE_90)
    return _saved(picture, "JPEG", quality=82, exif=exif(6))


def transparent_png() -> bytes:
    """Return a logo on transparent ground; the ground still has colours, as many editors leave them."""
    picture = Image.new("RGBA", (900, 900), (*HIDDEN, 0))
    draw = ImageDraw.Draw(picture)
    for start in range(0, 900, 100):
        draw.line((start, 0, 900 - start, 900), (255, 220, 0, 0), 20)
    draw.ellipse((200, 200, 700, 700), (*LOGO, 255))
    draw.ellipse((350, 350, 550, 550), (*HIDDEN, 0))
    return _saved(picture, "PNG", compress_level=1)


def wide_gamut_jpeg() -> bytes:
    """Return a picture whose colour profile has red and blue exchanged: an exaggerated wide gamut, easy to see."""
    red, green, blue = scene(1600, 1200).split()
    return _saved(Image.merge("RGB", (blue, green, red)), "JPEG", quality=85, icc_profile=swapped_profile())


def swapped_profile() -> bytes:
    """Return an ICC profile of sRGB's primaries, red and blue exchanged, with a gamma of 2.2 (ICC.1:2001)."""
    red, green, blue = (0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)
    white = (0.9642, 1.0, 0.8249)

    def xyz(point: tuple[float, float, float]) -> bytes:
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in point))

    text = b"red and blue exchanged\0"
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.2 * 256)) + b"\0\0"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78),
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": xyz(white),
        b"rXYZ": xyz(blue),
        b"gXYZ": xyz(green),
        b"bXYZ": xyz(red),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
    }
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    header = struct.pack(">I4sI4s4s4s", start + len(body), bytes(4), 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    header += struct.pack(">6H4s", 2024, 1, 1, 0, 0, 0, b"acsp") + bytes(28)
    header += struct.pack(">3i", *(round(value * 65536) for value in white))
    return header.ljust(128, b"\0") + table + body


def gray_png() -> bytes:
    """Return a gray ramp of 16 bits, as scanners and medical devices write them."""
    rows = b"".join(
        struct.pack("<512H", *[(row * 128 + column * 16) % 65536 for column in range(512)]) for row in range(512)
    )
    return _saved(Image.frombytes("I;16", (512, 512), rows), "PNG", compress_level=1)


def animated_gif() -> bytes:
    """Return a ball on transparent ground, in twelve frames."""
    frames: list[Image.Image] = []
    for step in range(12):
        frame = Image.new("P", (400, 400), 0)
        frame.putpalette((*HIDDEN, *LOGO, 250, 220, 60))
        draw = ImageDraw.Draw(frame)
        draw.ellipse((20, 20, 380, 380), 1)
        draw.ellipse((40 + 20 * step, 160, 120 + 20 * step, 240), 2)
        frames.append(frame)
    first, *rest = frames
    return _saved(first, "GIF", save_all=True, append_images=rest, duration=80, loop=0, transparency=0, disposal=2)


def alpha_webp() -> bytes:
    """Return a lossless WebP with soft transparent edges, and colours under them."""
    ring = Image.radial_gradient("L").resize((700, 700)).point([255 - min(255, level * 3 // 2) for level in range(256)])
    picture = Image.new("RGB", (700, 700), HIDDEN)
    ImageDraw.Draw(picture).rectangle((150, 150, 550, 550), LOGO)
    picture.putalpha(ring)
    return _saved(picture, "WEBP", lossless=True, exact=True, method=0)


def _saved(picture: Image.Image, name: str, **options: Any) -> bytes:  # noqa: ANN401 - the encoders' own options
    out = io.BytesIO()
    picture.save(out, name, **options)
    return out.getvalue()
