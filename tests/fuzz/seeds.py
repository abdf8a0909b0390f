"""What each target starts from: small files of every kind there is, and the words of its format."""

import dataclasses
import io
import zlib
from collections.abc import Callable
from typing import Any, Final

import pillow_heif
from builders import exif, gif, icc, isobmff, jpeg, png, webp
from builders.isobmff import Item
from builders.pictures import encoded, photograph
from PIL import Image

_SIZE: Final = (24, 17)
_TURNED: Final = exif.orientation(6)
_MOTOROLA: Final = exif.orientation(8, ">")


def _photo(mode: str = "RGB") -> Image.Image:
    return photograph(*_SIZE).convert(mode)


def _jpegs() -> list[bytes]:
    plain = jpeg.picture(_SIZE)
    parts = jpeg.split(plain)
    app1 = jpeg.Part(0xE1, exif.PREFIX + _TURNED)
    sampling = ((2, 2), (1, 1), (1, 1))
    script = [jpeg.Scan((1, 2, 3), last=0, low=1), jpeg.Scan((1, 2, 3), last=0, high=1)]
    fine = [jpeg.Scan((number,), 1) for number in (1, 2, 3)]
    return [
        plain,
        jpeg.picture(_SIZE, "L"),
        jpeg.picture(_SIZE, "CMYK"),
        jpeg.picture(_SIZE, progressive=True),
        jpeg.picture(_SIZE, "L", progressive=True),
        jpeg.picture(_SIZE, subsampling=2, restart=1),
        jpeg.join([*parts[:1], app1, *jpeg.profile(icc.P3.data, parts=2), *parts[1:]]),
        jpeg.join([jpeg.Part(0xEE, b"Adobe\0\x64\0\0\0\0\1"), jpeg.Part(jpeg.COM, b"a comment"), *parts[1:]]),
        jpeg.join(jpeg.flat((64, 64), [*script, *fine], sampling=sampling)),
        jpeg.join(jpeg.flat((64, 33), [jpeg.Scan((n,)) for n in (1, 2, 3)], sampling=sampling, progressive=False)),
        jpeg.join(parts) + plain,
    ]


def _checked(kind: int, count: int, depth: int, *, interlaced: bool) -> bytes:
    """Return a PNG of small squares of the least and the second least level."""
    return png.join([
        png.header((9, 5), kind, depth, interlaced=interlaced),
        *([png.palette((1, 2, 3), (250, 0, 9))] if kind == png.PALETTE else []),
        png.Chunk(b"IDAT", png.pixels((9, 5), lambda x, y: ((x + y) % 2,) * count, depth, interlaced=interlaced)),
    ])  # fmt: skip


def _pngs() -> list[bytes]:
    files = [
        _checked(kind, count, depth, interlaced=interlaced)
        for kind, count in ((png.GRAY, 1), (png.RGB, 3), (png.PALETTE, 1), (png.GRAY_ALPHA, 2), (png.RGB_ALPHA, 4))
        for depth in (png.DEPTHS[kind][0], png.DEPTHS[kind][-1])
        for interlaced in (False, True)
    ]  # fmt: skip
    first, pixels = png.chunks((9, 5))
    return [
        *files,
        png.with_metadata(png.Chunk(b"eXIf", _TURNED), png.profile(icc.P3.data)),
        png.with_metadata(png.compressed_text(b"text"), png.international_text(b"text"), png.Chunk(b"tRNS", bytes(6))),
        png.join([first, *png.animation(3), pixels, png.Chunk(b"fdAT", bytes(4) + pixels.body)]),
        png.join([first, png.Chunk(b"IDAT", pixels.body[:9]), png.Chunk(b"IDAT", pixels.body[9:])]),
        png.join([
            png.header((9, 5), png.PALETTE, 8),
            png.palette((1, 2, 3), (4, 5, 6)),
            png.Chunk(b"tRNS", b"\x80"),
            png.Chunk(b"IDAT", zlib.compress(bytes(50))),
        ]),
    ]  # fmt: skip


def _gifs() -> list[bytes]:
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (9, 9, 9)]
    screen = gif.screen(9, 5, colours)
    return [
        gif.file(screen, gif.frame(9, 5)),
        gif.file(screen, gif.control(1), gif.frame(4, 3, left=2, top=1, table=colours[:2])),
        gif.file(gif.screen(2, 2), gif.frame(9, 5, left=3, interlaced=True), version=b"87a"),
        gif.file(screen, gif.comment(b"words"), gif.application(), gif.plain_text(b"words"), gif.frame(9, 5)),
        gif.file(screen, gif.control(3, delay=5), *[gif.frame(9, 5, block=3), gif.control()] * 3),
        encoded(_photo(), "GIF"),
    ]


def _webps() -> list[bytes]:
    photo, glass = _photo(), _photo("RGBA")
    glass.putalpha(77)
    lossy, lossless = webp.lossy(photo), webp.lossless(glass)
    width, height = _SIZE
    return [
        webp.riff(lossy),
        webp.riff(lossless),
        webp.riff(webp.vp8x(width, height, webp.ALPHA), webp.alpha(glass), lossy),
        webp.riff(
            webp.vp8x(width, height, webp.ICC | webp.EXIF),
            webp.chunk(b"ICCP", icc.P3.data),
            lossy,
            webp.chunk(b"EXIF", _TURNED),
        ),
        webp.riff(
            webp.vp8x(40, 30, webp.ANIMATION | webp.ALPHA),
            webp.chunk(b"ANIM", bytes(6)),
            webp.anmf(width, height, webp.alpha(glass), lossy, left=6, top=4),
            webp.anmf(width, height, lossless),
        ),
    ]


def _pictures_of(name: str) -> list[bytes]:
    """Return AVIF or HEIC files."""
    brand, kind, config = (b"avif", b"av01", b"av1C") if name == "AVIF" else (b"heic", b"hvc1", b"hvcC")

    def item(image: Image.Image, *properties: tuple[bytes, bytes], **more: Any) -> Item:  # noqa: ANN401
        configuration, payload = isobmff.parts(saved(image), config)
        sizes = [isobmff.size(*image.size), (config, configuration)]
        return Item(kind, payload, [*sizes, *properties], frozenset({config}), **more)

    def saved(image: Image.Image, **options: object) -> bytes:
        if name == "AVIF":
            return encoded(image, "AVIF", speed=10, max_threads=1, **options)
        out = io.BytesIO()
        pillow_heif.from_pillow(image).save(out, **options)
        return out.getvalue()

    photo = photograph(64, 64)
    glass = photo.convert("RGBA")
    glass.putalpha(77)
    turned = [
        (b"irot", b"\1"),
        (b"imir", b"\0"),
        (b"clap", bytes([0, 0, 0, 60, 0, 0, 0, 1] * 2 + [0, 0, 0, 0, 0, 0, 0, 1] * 2)),
    ]
    colour, tile = item(photo, method=1), item(photo, method=1)
    plane = item(photo.convert("L").convert("RGB"), (b"auxC", isobmff.IDENTITY_ALPHA), references=[(b"auxl", [1])])
    moved = dataclasses.replace(colour, properties=[*colour.properties, *turned, (b"colr", b"prof" + icc.P3.data)])
    return [
        saved(photo),
        saved(glass),
        isobmff.file([item(photo)], brand=brand),
        isobmff.file([moved], brand=brand, wide=True),
        isobmff.file([dataclasses.replace(colour, extents=3)], brand=brand),
        isobmff.file([colour, dataclasses.replace(plane, method=1)], brand=brand),
        isobmff.file([isobmff.grid(1, 2, 120, 64, [2, 3]), colour, tile], brand=brand),
        *([saved(photo, save_all=True, append_images=[glass.convert("RGB")])] if name == "AVIF" else []),
    ]


def _avifs() -> list[bytes]:
    return _pictures_of("AVIF")


def _heifs() -> list[bytes]:
    return _pictures_of("HEIF")


def _exifs() -> list[bytes]:
    other = exif.Entry(tag=0x0100, kind=exif.LONG, value=70_000)
    return [
        _TURNED,
        exif.PREFIX + _MOTOROLA,
        exif.block(other, exif.Entry(kind=exif.LONG, value=3), other),
        exif.header(">", start=20) + bytes(12) + exif.directory([other, exif.Entry(value=5)], ">", claimed=9),
    ]


def _iccs() -> list[bytes]:
    return [
        *(profile.data for profile in (icc.SRGB, icc.SWAPPED, icc.P3, icc.LINEAR_GRAY, icc.GAMMA_GRAY)),
        icc.cmyk(),
    ]


def _all() -> list[bytes]:
    return [*_jpegs(), *_pngs(), *_gifs(), *_webps(), *_avifs(), *_heifs()]


_SEEDS: Final[dict[str, Callable[[], list[bytes]]]] = {
    "jpeg": _jpegs, "png": _pngs, "gif": _gifs, "webp": _webps, "avif": _avifs, "heif": _heifs,
    "exif": _exifs, "icc": _iccs, "normalize": _all,
}  # fmt: skip

_BOXES: Final = [
    *(b"ftyp meta hdlr pitm iloc iinf infe iref iprp ipco ipma idat mdat moov".split()),
    *(b"dimg auxl prem auxC colr nclx prof rICC".split()),
    *(b"ispe pixi irot imir clap pasp grid mif1 msf1 miaf urn:mpeg:mpegB:cicp:systems:auxiliary:alpha".split()),
]  # fmt: skip
_TIFF: Final = [b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"\x12\x01\x03\0", b"\x01\x12\0\x03", b"\x12\x01\x04\0"]
_TOKENS: Final[dict[str, list[bytes]]] = {
    "jpeg": [
        *(bytes([0xFF, marker]) for marker in (*range(0xC0, 0xCF), *range(0xD0, 0xE3), 0xEE, 0xF0, 0xFE, 1, 0)),
        exif.PREFIX, b"ICC_PROFILE\0", b"JFIF\0", b"Adobe", *_TIFF,
    ],
    "png": [*(b"IHDR PLTE IDAT IEND tRNS iCCP eXIf zTXt iTXt tEXt acTL fcTL fdAT sRGB gAMA".split()), *_TIFF],
    "gif": [b"GIF87a", b"GIF89a", b"!\xf9\x04", b"!\xfe", b"!\xff\x0bNETSCAPE2.0", b"!\x01", b",", b";"],
    "webp": [*(b"RIFF WEBP VP8X VP8L ALPH ANIM ANMF ICCP EXIF".split()), b"VP8 ", b"XMP ", b"\x9d\x01\x2a", *_TIFF],
    "avif": [*_BOXES, b"avif", b"avis", b"av01", b"av1C"],
    "heif": [*_BOXES, b"heic", b"heix", b"hvc1", b"hvcC", b"urn:mpeg:hevc:2015:auxid:1"],
    "exif": [exif.PREFIX, *_TIFF],
    "icc": [
        *(b"acsp mntr scnr prtr spac GRAY CMYK rXYZ gXYZ bXYZ wtpt bkpt rTRC gTRC bTRC kTRC curv para".split()),
        *(b"A2B0 A2B1 A2B2 mft1 mft2 chad sf32 mpet desc".split()), b"RGB ", b"XYZ ", b"Lab ", b"mAB ",
    ],
}  # fmt: skip

NAMES: Final = tuple(_SEEDS)


def seeds(target: str) -> list[bytes]:
    """Return the files that a target starts from."""
    return _SEEDS[target]()


def dictionary(target: str) -> str:
    """Return the words of a target's format, as libFuzzer reads them."""
    words = _TOKENS.get(target) or [word for words in _TOKENS.values() for word in words]
    return "".join('"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n' for word in dict.fromkeys(words))
