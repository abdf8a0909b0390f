import io
import pickle
from dataclasses import replace

import pytest
from builders import gif, webp
from PIL import Image

from safeupload import AVATAR, Corrupt, FormatNotAllowed, NotAnImage, Policy, Rejected, TooComplex, normalize, validate
from safeupload._formats import _FORMATS, Malformed, rebuild
from safeupload._plan import plans, render_bytes


def encoded(name: str, mode: str = "RGB", size: tuple[int, int] = (8, 8), **options: object) -> bytes:
    """Return a picture of a format that Pillow writes."""
    out = io.BytesIO()
    Image.new(mode, size).save(out, name, **options)
    return out.getvalue()


ALLOWED = ("JPEG", "PNG", "GIF", "WEBP")


@pytest.mark.parametrize("name", ALLOWED)
def test_recognised(name: str) -> None:
    """Each format is recognised by its bytes."""
    assert validate(encoded(name)).format == name


@pytest.mark.parametrize("name", ALLOWED)
def test_left_out(name: str) -> None:
    """A format that the policy leaves out is refused by name, and one that it keeps is not."""
    others = frozenset(ALLOWED) - {name}

    with pytest.raises(FormatNotAllowed) as caught:
        normalize(encoded(name), replace(AVATAR, formats=others))

    assert (caught.value.format, caught.value.allowed) == (name, tuple(sorted(others)))
    assert validate(encoded(name), replace(AVATAR, formats={name})).format == name


@pytest.mark.parametrize("name", ALLOWED)
def test_left_out_is_not_parsed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even our own parser looks into a format that the policy leaves out."""
    module = next(module for module in _FORMATS if name == module.NAME)
    monkeypatch.setattr(module, "rebuild", lambda *_: pytest.fail("parsed"))

    with pytest.raises(FormatNotAllowed):
        rebuild(encoded(name), Policy(formats=frozenset(ALLOWED) - {name}))


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"II*\0", "TIFF"),
        (b"MM\0*", "TIFF"),
        (b"BM", "BMP"),
        (b"8BPS", "PSD"),
        (b"\0\0\1\0", "ICO"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"\xff\x4f\xff\x51", "JPEG 2000"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\xff\x0a", "JPEG XL"),
        (b"<svg", "SVG"),
        (b"\0\0\0\x14ftypavif\0\0\0\0mif1", "AVIF"),
        (b"\0\0\0\x14ftypheic\0\0\0\0mif1", "HEIF"),
    ],
)
def test_known_but_not_taken(head: bytes, name: str) -> None:
    """Pictures that are never taken, or only on request, are refused by name, so that people know what to change."""
    with pytest.raises(FormatNotAllowed) as caught:
        validate(head + bytes(100))

    assert caught.value.format == name
    assert caught.value.allowed == tuple(sorted(ALLOWED))


@pytest.mark.parametrize("name", ["TIFF", "BMP", "ICO"])
def test_real_pictures_never_taken(name: str) -> None:
    """Real files of those formats are refused by name."""
    with pytest.raises(FormatNotAllowed) as caught:
        validate(encoded(name))

    assert caught.value.format == name


@pytest.mark.parametrize(
    "data",
    [
        b"\0",
        b"\xff\xd8",
        b"\xff\xd9\xff",
        b"\x89PNG\r\n\x1a",
        b"\x89PNG\n\x1a\n",
        b"GIF88a" + bytes(30),
        b"GIF89",
        b"gif89a" + bytes(30),
        b"RIFF\0\0\0\0WAVE" + bytes(30),
        b"RIFF\0\0\0\0WEB",
        b"RIFX\0\0\0\0WEBP" + bytes(30),
        b"%PDF-1.7",
        b"<!doctype html><script>alert(1)</script>",
        b"MZ" + bytes(100),
        b" " + encoded("PNG"),
        bytes(64) + encoded("JPEG"),
        "GIF89a".encode("utf-16"),
    ],
)
def test_not_an_image(data: bytes) -> None:
    """Whatever begins like no picture is none, however much it looks like one further on."""
    with pytest.raises(NotAnImage):
        validate(data)


@pytest.mark.parametrize("head", [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"RIFF\0\0\0\0WEBP"])
def test_only_a_head(head: bytes) -> None:
    """A file that begins like a picture and goes no further is a damaged picture, and the log is told why."""
    with pytest.raises(Corrupt) as caught:
        validate(head)

    assert isinstance(caught.value.__cause__, Malformed)
    assert str(caught.value.__cause__) not in str(caught.value)


@pytest.mark.parametrize("name", ALLOWED)
def test_one_format_behind_another(name: str) -> None:
    """A file is what its first bytes say; a second picture behind the first is never looked at."""
    for other in ALLOWED:
        assert validate(encoded(name) + encoded(other)).format == name


@pytest.mark.parametrize(
    ("data", "raster", "pixel", "coefficients"),
    [
        (encoded("JPEG", size=(20, 10)), (20, 10), 4, 0),
        (encoded("JPEG", "L", (20, 10)), (20, 10), 1, 0),
        (encoded("JPEG", "CMYK", (20, 10)), (20, 10), 4, 0),
        (encoded("JPEG", size=(20, 10), progressive=True, subsampling=0), (20, 10), 4, 128 * 3 * 6),
        (encoded("JPEG", size=(20, 10), progressive=True, subsampling=2), (20, 10), 4, 128 * (8 + 2 + 2)),
        (encoded("JPEG", "L", (20, 10), progressive=True), (20, 10), 1, 128 * 6),
        (encoded("JPEG", size=(96, 64)), (12, 8), 4, 0),
        (encoded("JPEG", size=(97, 65)), (13, 9), 4, 0),
        (encoded("JPEG", size=(96, 64), progressive=True, subsampling=0), (12, 8), 4, 128 * 3 * 96),
        (encoded("PNG", size=(96, 64)), (96, 64), 4, 0),
        (encoded("PNG", "RGBA", (96, 64)), (96, 64), 4, 0),
        (encoded("PNG", "LA", (96, 64)), (96, 64), 4, 0),
        (encoded("PNG", "I;16", (96, 64)), (96, 64), 2, 0),
        (encoded("PNG", "L", (96, 64)), (96, 64), 1, 0),
        (encoded("PNG", "P", (96, 64)), (96, 64), 1, 0),
        (encoded("PNG", "1", (96, 64)), (96, 64), 1, 0),
        (encoded("GIF", "P", (96, 64)), (96, 64), 1, 0),
        (encoded("WEBP", size=(96, 64)), (96, 64), 17, 0),
    ],
    ids=[
        "JPEG",
        "grey JPEG",
        "CMYK JPEG",
        "progressive JPEG",
        "progressive JPEG 4:2:0",
        "progressive grey JPEG",
        "JPEG at 1/8",
        "JPEG at 1/8 rounded up",
        "progressive JPEG at 1/8",
        "PNG RGB",
        "PNG with alpha",
        "PNG grey with alpha",
        "PNG 16-bit grey",
        "PNG grey",
        "PNG palette",
        "PNG black and white",
        "GIF",
        "WebP",
    ],
)
def test_memory(data: bytes, raster: tuple[int, int], pixel: int, coefficients: int) -> None:
    """What decoding takes is reckoned from the header and held against the policy, on each side of the limit."""
    policy = replace(AVATAR, size=(4, 4))
    found = rebuild(data, policy)
    needed = pixel * raster[0] * raster[1] + coefficients + 16 * sum(raster) + 2 * len(found.data)
    needed += render_bytes(plans(found, policy), found, policy)

    assert validate(data, replace(policy, max_decode_bytes=needed))
    with pytest.raises(TooComplex) as caught:
        validate(data, replace(policy, max_decode_bytes=needed - 1))

    assert (caught.value.what, caught.value.limit) == ("memory", needed - 1)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"text", "not_an_image"),
        (b"BM", "format_not_allowed"),
        (gif.file(gif.screen(9, 9), gif.frame(0, 0)), "corrupt"),
        (webp.riff(webp.vp8l_head(16_000, 16_000)), "too_many_pixels"),
        (webp.riff(webp.vp8l_head(5_000, 5_000)), "too_complex"),
    ],
)
def test_refusals_pickle(data: bytes, code: str) -> None:
    """Every refusal has its code and can be sent to another process."""
    with pytest.raises(Rejected) as caught:
        validate(data)

    again = pickle.loads(pickle.dumps(caught.value))

    assert (again.code, str(again), again.problem()) == (code, str(caught.value), caught.value.problem())
