"""What the page about threats says of Pillow is what happens."""

import io
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from builders import exif, gif, jpeg, png
from PIL import Image

import safeupload
from safeupload import _decode
from safeupload._formats import rebuild

PAGE = (Path(__file__).resolve().parent.parent / "docs/explanation/threat-model.md").read_text()
REASONS = ("format", "unused", "rebuilt", "ours")
ROW = re.compile(r"^\| (\d+\.\d+\.\d+) \| (.*?) \| (.*) \| (.*?) \| (no: .*|yes.*) \|$", re.MULTILINE)
ROWS = ROW.findall(PAGE)
IDENTIFIER = re.compile(r"CVE-\d{4}-\d{4,6}|GHSA(?:-[23456789cfghjmpqrvwx]{4}){3}")
CALLED = dict(re.findall(r"^\| ([A-Z]+) \| `([\w.]+)` \|", PAGE, re.MULTILINE))

#: Reads files as hexadecimal JSON, normalizes each; tells the answers, the plugins imported, and who opened one.
WATCHED = """
import json, sys
from PIL import Image, ImageFile
opened = set()
made = ImageFile.ImageFile.__init__
def watched(self, *args, **options):
    opened.add(f"{type(self).__module__}.{type(self).__qualname__}")
    made(self, *args, **options)
def never(*args, **options):
    raise AssertionError("Image.open was called")
ImageFile.ImageFile.__init__ = watched
Image.open = never
import safeupload
answers = {}
for name, data in json.load(sys.stdin).items():
    try:
        answers[name] = safeupload.normalize(bytes.fromhex(data)).media_type
    except safeupload.Rejected as error:
        answers[name] = error.code
plugins = {name for name in sys.modules if name.startswith("PIL.") and name.endswith(("Plugin", "FontFile", "TarIO"))}
parts = {"PIL." + name for name in PARTS} & set(sys.modules)
print(json.dumps([answers, sorted(opened), sorted(plugins), sorted(parts)]))
"""
#: Parts of Pillow whose flaws the page calls unused; but for ImageMath, which the GIF plugin of Pillow imports.
PARTS = [
    "FontFile",
    "GdImageFile",
    "ImageDraw",
    "ImageFilter",
    "ImageFont",
    "ImageMorph",
    "ImagePath",
    "ImageShow",
    "PdfParser",
    "TarIO",
]


def encoded(name: str, mode: str = "RGB") -> bytes:
    """Return a small picture as Pillow writes it."""
    out = io.BytesIO()
    Image.new(mode, (64, 48)).save(out, name)
    return out.getvalue()


def head(start: bytes) -> bytes:
    """Return a file that begins so."""
    return start + bytes(2048)


#: A file of each format that the table says is refused by its first bytes, and of others of Pillow.
FOREIGN = {
    "BMP": encoded("BMP"),
    "DCX": head(b"\xb1\x68\xde\x3a"),
    "DDS": encoded("DDS"),
    "EPS": encoded("EPS"),
    "FITS": head(b"SIMPLE  =                    T"),
    "FlashPix, MIC": head(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
    "GD": head(b"\xff\xff\x00\x40\x00\x30"),
    "ICNS": head(b"icns\0\0\x08\0"),
    "ICO": encoded("ICO"),
    "JPEG 2000": head(b"\0\0\0\x0cjP  \r\n\x87\n"),
    "MSP": encoded("MSP", "1"),
    "McIdas": head(b"\0\0\0\0\0\0\0\4"),
    "PCX": encoded("PCX"),
    "PDF": encoded("PDF"),
    "PPM": encoded("PPM"),
    "PSD": head(b"8BPS\0\1"),
    "SGI": encoded("SGI"),
    "SPIDER": encoded("SPIDER", "F"),
    "TAR": head(b"avatar.png"),
    "TGA": encoded("TGA"),
    "TIFF": encoded("TIFF"),
    "WMF": head(b"\xd7\xcd\xc6\x9a\0\0"),
    "XBM": encoded("XBM", "1"),
}
TAKEN = ("JPEG", "PNG", "GIF", "WEBP")
GREY = ((0, 0, 0), (99, 99, 99), (1, 1, 1), (2, 2, 2))
WITH_EXIF = jpeg.join([jpeg.Part(0xE1, exif.PREFIX * 100), *jpeg.split(encoded("JPEG"))])


def test_the_counts_are_those_of_the_rows() -> None:
    """The sentence that counts says what the table says; no identifier is there twice."""
    identifiers = [each for _, cell, *_ in ROWS for each in IDENTIFIER.findall(cell)]
    why = Counter(reached.removeprefix("no: ").partition(",")[0] for *_, reached in ROWS)
    reached = sum(answer.startswith("yes") for *_, answer in ROWS)
    called = [row for row in ROWS if re.match(r"no: (rebuilt|ours)", row[-1])]
    critical = sum(row[3] == "critical" for row in called)
    oldest = re.findall(r"installed with safeupload \((\d+)\.(\d+)\)", PAGE)[0]
    fixed = sum(
        version.split(".") <= [*oldest, "0"] for version, *_ in ROWS
    )  # all have two digits before the first dot
    sentence = " ".join(PAGE.split())

    assert f"Of {len(ROWS)} entries with {len(identifiers)} identifiers, {reached} could be reached" in sentence
    assert f": {', '.join(f'{why[reason]} {reason}' for reason in REASONS)}. " in sentence
    assert f"So {len(called)} are in code that is called, {critical} of them critical. " in sentence
    assert f"has the fixes of all {fixed}. " in sentence
    assert fixed == len(ROWS)
    assert set(why) == set(REASONS)
    assert len(set(identifiers)) == len(identifiers)


def test_no_row_is_left_out() -> None:
    """Each line of the table is one that is counted, with identifiers or without."""
    table = PAGE.partition("| Fixed in | Identifier |")[2].partition("\n\n")[0]

    assert len(ROWS) == len(table.splitlines()) - 2  # what is left of the head, and the rule under it
    assert all(cell == "no identifier" or IDENTIFIER.sub("", cell).strip(", ") == "" for _, cell, *_ in ROWS)


def test_the_oldest_pillow_is_the_one_that_is_named() -> None:
    """The page's reason for the first rows is what the package requires."""
    project = (Path(__file__).resolve().parent.parent / "pyproject.toml").read_text()

    assert re.findall(r'"pillow>=([\d.]+)"', project) == re.findall(r"installed with safeupload \(([\d.]+)\)", PAGE)


def test_what_can_be_called_is_what_the_page_names() -> None:
    """The page's decoders are those of the code, and its defaults those of the policy."""
    names = {name: _decode._plugin(name) for name in CALLED}

    assert set(CALLED) == {*_decode._PLUGINS, "HEIF"}
    for name, made in names.items():
        assert isinstance(made, type)
        module = made.__module__.partition(".")[0] if name == "HEIF" else made.__module__
        assert CALLED[name] == f"{module}.{made.__qualname__}"
    default = set(re.findall(r"^\| ([A-Z]+) \| `[\w.]+` \| yes \|$", PAGE, re.MULTILINE))
    assert default == safeupload.AVATAR.formats == set(TAKEN)


def test_nothing_else_is_imported_or_opened() -> None:
    """In a process that is offered all sorts of files, only named plugins are imported, and only four open a file."""
    files = {**FOREIGN, **{name: encoded(name) for name in TAKEN}}
    done = subprocess.run(
        [sys.executable, "-c", f"PARTS = {PARTS}\n{WATCHED}"],
        input=json.dumps({name: data.hex() for name, data in files.items()}),
        capture_output=True,
        text=True,
        check=True,
    )
    answers, opened, plugins, parts = json.loads(done.stdout)

    assert set(answers) == set(files)
    assert all(answers[name] in {"format_not_allowed", "not_an_image"} for name in FOREIGN)
    assert all(answers[name] == "image/jpeg" for name in TAKEN)
    assert set(opened) == {CALLED[name] for name in TAKEN}
    named = {name.rpartition(".")[0] for name in CALLED.values() if name.startswith("PIL.")}
    assert set(plugins) <= named | set(re.findall(r"`(PIL\.(?:Bmp|Ppm)ImagePlugin)`", PAGE))
    assert parts == []


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_file_meets_no_decoder(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of a format that is not taken is refused before a decoder is looked for."""
    monkeypatch.setattr(_decode, "_plugin", lambda name: pytest.fail("a decoder was looked for"))

    with pytest.raises((safeupload.FormatNotAllowed, safeupload.NotAnImage)):
        safeupload.validate(FOREIGN[name])


#: Files with what a flaw of a plugin that is called takes, and the same without.
BAITED = {
    "Exif headers in a PNG": (png.with_metadata(png.Chunk(b"eXIf", b"Exif\0\0" * 1000)), png.with_metadata()),
    "frames of an APNG": (png.with_metadata(*png.animation(2)), png.with_metadata()),
    "comments in a GIF": (
        gif.file(gif.screen(2, 2, GREY), *[gif.comment(b"words")] * 1000, gif.frame(2, 2)),
        gif.file(gif.screen(2, 2, GREY), gif.frame(2, 2)),
    ),
    "frames of a GIF": (
        gif.file(gif.screen(2, 2, GREY), gif.frame(2, 2), gif.frame(60_000, 60_000, [0])),
        gif.file(gif.screen(2, 2, GREY), gif.frame(2, 2)),
    ),
    "Exif in a JPEG": (WITH_EXIF, encoded("JPEG")),
    "a second picture of an MPO": (encoded("JPEG") + encoded("JPEG"), encoded("JPEG")),
}


@pytest.mark.parametrize("name", BAITED)
def test_what_a_flaw_takes_is_not_in_the_file_that_is_decoded(name: str) -> None:
    """What the page calls rebuilt leaves no byte behind."""
    baited, plain = BAITED[name]

    assert len(baited) > len(plain)
    assert rebuild(baited, safeupload.AVATAR).data == rebuild(plain, safeupload.AVATAR).data


def test_a_gif_is_as_large_as_its_frame() -> None:
    """A frame beyond the screen makes no decoder enlarge a screen."""
    data = gif.file(gif.screen(1, 1, GREY), gif.frame(3, 2, left=5))
    rebuilt = rebuild(data, safeupload.AVATAR).data

    assert rebuilt[6:10] == b"\3\0\2\0"


def test_a_jpeg_has_one_frame_header() -> None:
    """There is no second size for the decoder's own parser to believe."""
    parts = jpeg.split(encoded("JPEG"))
    frame = next(part for part in parts if part.marker == jpeg.SOF0)
    wider = frame._replace(body=frame.body[:3] + b"\x10\0" + frame.body[5:])

    with pytest.raises(safeupload.Corrupt):
        rebuild(jpeg.join([*parts[:-1], wider, parts[-1]]), safeupload.AVATAR)
