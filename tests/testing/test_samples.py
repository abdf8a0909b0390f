import io
import json
import os
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest
from PIL import Image, ImageFile

import safeupload
from safeupload._cli.trial import leftovers
from safeupload._samples import BENIGN, HOSTILE, SAMPLES, Sample, hostile
from safeupload._samples.benign import GPS_CANARY, HIDDEN, LOGO, SKY, swapped_profile

by_name = pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
refused = pytest.mark.parametrize("sample", [s for s in SAMPLES if s.code], ids=lambda sample: sample.name)
FILES = {sample.name: sample.make() for sample in SAMPLES}


def made(name: str) -> bytes:
    """Return one of the samples."""
    return FILES[name]


def middle_and_corner(data: bytes) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the colours of a result in its middle and near its upper left corner."""
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        colours = image.getpixel((150, 150)), image.getpixel((4, 4))
    assert isinstance(colours[0], tuple)
    assert isinstance(colours[1], tuple)
    return colours[0], colours[1]


def near(one: tuple[int, ...], other: tuple[int, ...], distance: int = 6) -> bool:
    """Tell whether two colours look the same."""
    return all(abs(a - b) <= distance for a, b in zip(one, other, strict=True))


@by_name
def test_verdict(sample: Sample) -> None:
    """Each sample gets the answer that it claims: a clean picture, or a refusal with that code."""
    if sample.code is None:
        picture = safeupload.normalize(made(sample.name))
        assert leftovers(picture.data, sample.canaries) == []
        assert (picture.width, picture.height) == (300, 300)
    else:
        with pytest.raises(safeupload.Rejected) as caught:
            safeupload.normalize(made(sample.name))
        assert caught.value.code == sample.code


@by_name
def test_deterministic(sample: Sample) -> None:
    """Each sample is the same bytes every time, and small enough to be an upload."""
    assert sample.make() == made(sample.name)
    assert len(made(sample.name)) <= safeupload.AVATAR.max_bytes


@by_name
def test_canaries_are_planted(sample: Sample) -> None:
    """What must not be in a result is in the file."""
    assert all(canary in made(sample.name) for canary in sample.canaries)


def test_names_are_unique() -> None:
    """No sample overwrites another, and there are both kinds."""
    assert len({sample.name for sample in SAMPLES}) == len(SAMPLES) == len(BENIGN) + len(HOSTILE)
    assert not any(sample.code for sample in BENIGN)


def test_quick() -> None:
    """Making all of them takes seconds at most, also on a slow machine (0.5 s on an ordinary one)."""
    start = time.process_time()
    for sample in SAMPLES:
        sample.make()

    assert time.process_time() - start < 5


@pytest.fixture(scope="module")
def costs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[float, int | None]]]:
    """Have each sample checked five times in a process that nothing traces; return milliseconds and peak of each."""
    folder = tmp_path_factory.mktemp("samples")
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    command = [sys.executable, "-P", "-m", "safeupload", "check", "--json", *[str(folder)] * 5]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    found: dict[str, list[tuple[float, int | None]]] = {}
    for record in map(json.loads, done.stdout.splitlines()):
        found.setdefault(Path(record["file"]).name, []).append((record["ms"], record["peak_bytes"]))
    return found


@refused
def test_refusals_are_cheap(sample: Sample, costs: dict[str, list[tuple[float, int | None]]]) -> None:
    """A refusal takes less than twice as long as an honest photograph of 12 MP (25 ms on an ordinary machine)."""
    quickest, photograph = min(costs[sample.name])[0], min(costs["photo.jpg"])[0]

    assert 0 < quickest < 2 * photograph


@refused
@pytest.mark.skipif(
    sys.platform != "linux" or not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux's clear_refs"
)
def test_refusals_are_small(sample: Sample, costs: dict[str, list[tuple[float, int | None]]]) -> None:
    """A refusal takes less than 20 MB, the file included."""
    peaks = [peak for _, peak in costs[sample.name]]

    assert len(peaks) == 5
    assert all(peak is not None and peak < 20_000_000 for peak in peaks)


def test_photograph() -> None:
    """The photograph has 12 megapixels, lies on its side, and comes out upright: sky above, hills below."""
    picture = safeupload.normalize(made("photo.jpg"))

    assert (picture.info.width, picture.info.height, picture.info.orientation) == (3000, 4000, 6)
    _, corner = middle_and_corner(picture.data)
    assert corner[2] > 200
    assert corner[2] > corner[0] + 80
    assert GPS_CANARY in made("photo.jpg")
    with Image.open(io.BytesIO(made("photo.jpg"))) as stored:
        assert stored.getexif().get_ifd(0x8825)[2] == (52.0, 31.0, 12.0)


@pytest.mark.parametrize(
    ("name", "middle", "corner"),
    [
        ("transparent.png", (255, 255, 255), (255, 255, 255)),
        ("animated.gif", LOGO, (255, 255, 255)),
        ("alpha.webp", LOGO, (255, 255, 255)),
    ],
)
def test_transparent_places(name: str, middle: tuple[int, ...], corner: tuple[int, ...]) -> None:
    """Transparent places show the background, and not what is hidden in them."""
    picture = safeupload.normalize(made(name))

    assert picture.info.has_alpha
    found = middle_and_corner(picture.data)
    assert near(found[0], middle, 12)
    assert near(found[1], corner)
    with Image.open(io.BytesIO(made(name))) as raw:
        hidden = raw.convert("RGBA").getpixel((0, 0))
    assert hidden == (*HIDDEN, 0)


def test_wide_gamut() -> None:
    """The profile is a real one, exchanges red and blue, and is applied: the sky is blue."""
    picture = safeupload.normalize(made("wide-gamut.jpg"))

    assert picture.info.has_icc
    _, corner = middle_and_corner(picture.data)
    assert near(corner, SKY, 12)
    with Image.open(io.BytesIO(made("wide-gamut.jpg"))) as stored:
        pixel = stored.getpixel((20, 20))
        assert stored.info["icc_profile"] == swapped_profile()
    assert isinstance(pixel, tuple)
    assert near(pixel[::-1], SKY, 12)


def test_gray_16_bits() -> None:
    """The ramp has 16 bits, and comes out as a ramp."""
    with Image.open(io.BytesIO(made("gray16.png"))) as stored:
        assert stored.mode == "I;16"
        level = stored.getpixel((256, 256))
    assert isinstance(level, int)
    middle, corner = middle_and_corner(safeupload.normalize(made("gray16.png")).data)
    assert near(middle, (round(level / 257),) * 3)
    assert corner[0] < 10


def test_scan_bomb_is_a_picture() -> None:
    """As long as it does not repeat itself the bomb is a whole progressive JPEG, by our strict rules too."""
    data = hostile.scan_bomb(882, 640, 480)
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert (image.size, image.info["progressive"]) == ((640, 480), 1)
        assert image.getextrema() == (128, 128)
    policy = safeupload.Policy(max_scans=883)
    assert safeupload.validate(data, policy).width == 640
    with pytest.raises(safeupload.Corrupt):
        safeupload.validate(hostile.scan_bomb(881, 640, 480), policy)


def test_scan_bomb_costs_by_the_scan() -> None:
    """A decoder goes through every scan, the repeated ones too."""
    times = []
    for scans in (100, 1500):
        data = hostile.scan_bomb(scans, 2000, 1500)
        start = time.process_time()
        with Image.open(io.BytesIO(data)) as image:
            image.load()
        times.append(time.process_time() - start)

    assert times[1] > 5 * times[0]


def test_scan_bomb_has_its_scans() -> None:
    """The sample has as many scans as it says."""
    assert made("scan-bomb.jpg").count(b"\xff\xda") == 200_001


def test_near_bomb_is_a_picture() -> None:
    """The built deflate stream is right to its last byte, and the sample stays just below Pillow's warning."""
    data = hostile.near_bomb(side=1000)
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert image.getextrema() == ((0, 0),) * 4
    start = data.index(b"IDAT") + 4
    assert zlib.decompress(data[start:-16]) == bytes(1000 * 4001)
    assert Image.MAX_IMAGE_PIXELS is not None
    assert 9_459**2 <= Image.MAX_IMAGE_PIXELS < 9_460**2


@pytest.mark.parametrize(("data", "frames"), [(hostile.gif_frames(50), 50), (hostile.tiff_directories(50), 50)])
def test_frames_are_there(data: bytes, frames: int) -> None:
    """Another reader finds the frames too."""
    with Image.open(io.BytesIO(data)) as image:
        assert isinstance(image, ImageFile.ImageFile)
        assert getattr(image, "n_frames", 1) == frames
        image.seek(frames - 1)
        image.load()


def test_text_bomb_inflates() -> None:
    """The comments inflate to 1 MB each."""
    with Image.open(io.BytesIO(hostile.text_bomb(3))) as image:
        assert image.info["Comment"] == "A" * 1_000_000
    assert made("text-bomb.png").count(b"zTXt") == 60


def test_headers_claim_much() -> None:
    """The two header files are as tiny as they say."""
    assert [len(made(name)) for name in ("header-only.webp", "huge-header.png")] == [34, 66]


def test_polyglot_is_a_program() -> None:
    """Read as JavaScript the GIF is an assignment and a call between two comments, and nothing else."""
    data = made("polyglot.gif")

    assert data.startswith(b"GIF89a/*")
    assert data.endswith(b"*/")
    before, code, after = data.partition(hostile.POLYGLOT_SCRIPT)
    assert b"*/" not in before
    assert code.endswith(b"/*")
    assert after.index(b"*/") == len(after) - 2


def test_plain_pillow_leaks_the_comment() -> None:
    """The reason for the comment sample: Pillow copies a comment into what it saves."""
    with Image.open(io.BytesIO(made("comment.jpg"))) as image:
        out = io.BytesIO()
        image.convert("RGB").save(out, "JPEG")

    assert hostile.SCRIPT in out.getvalue()
