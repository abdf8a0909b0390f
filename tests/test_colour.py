import threading
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import patch

import numpy as np
import pytest
import reference
from builders import icc
from PIL import Image, ImageCms

from safeupload import _colour
from safeupload._colour import Profile
from safeupload._icc import rebuild_profile


def to_srgb(image: Image.Image, icc: bytes | None) -> Image.Image:
    """Open the profile and apply it."""
    return Profile(icc).to_srgb(image)


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Give an empty cache of transforms, and the list of the profiles that a transform has been built for."""
    built: list[bytes] = []
    build = _colour._build

    def counted(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
        built.append(profile)
        return build(profile, mode)

    monkeypatch.setattr(_colour, "_build", counted)
    monkeypatch.setattr(_colour, "_TRANSFORMS", _colour._Transforms())
    return built


def colourful(mode: str = "RGB") -> Image.Image:
    """Return an image with every sort of colour."""
    channels = {"L": 1, "RGB": 3, "CMYK": 4}[mode]
    rows = np.random.default_rng(5).integers(0, 256, (64, 64, channels), dtype=np.uint8)
    return Image.frombytes(mode, (64, 64), rows.tobytes())


def rows(image: Image.Image) -> reference.Floats:
    """Return an image's rows."""
    return np.asarray(image).astype(np.float64)


@pytest.mark.parametrize("profile", [icc.SRGB, icc.SWAPPED, icc.P3], ids=lambda profile: profile.name)
def test_rgb_profiles(profile: icc.Profile) -> None:
    """Colours of a profiled RGB picture come within a level of what the profile's own arithmetic says."""
    image = colourful()

    found = rows(to_srgb(image, profile.data))

    assert np.abs(found - profile.to_srgb(rows(image) / 255) * 255).max() <= 1.01


def test_gray_profile() -> None:
    """Levels of a profiled grey picture come within a level of what the profile's own arithmetic says."""
    image = colourful("L")

    found = rows(to_srgb(image, icc.GAMMA_GRAY.data))

    assert np.abs(found - icc.GAMMA_GRAY.to_srgb(rows(image)[..., None] / 255) * 255).max() <= 1.01


def test_cmyk_profile() -> None:
    """The profile of a press is applied to a CMYK picture; that of the test exchanges cyan and magenta."""
    image = Image.new("CMYK", (1, 1), (255, 0, 0, 0))

    assert to_srgb(image, None).getpixel((0, 0)) == (0, 255, 255)
    assert to_srgb(image, icc.cmyk()).getpixel((0, 0)) == (255, 0, 255)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_no_profile(mode: str) -> None:
    """A picture without a profile is taken for sRGB, or for what Pillow takes CMYK for."""
    image = colourful(mode)

    assert np.array_equal(rows(to_srgb(image, None)), rows(image.convert("RGB")))


def test_rgb_profile_on_a_grey_picture() -> None:
    """An RGB profile on a grey picture is applied to the grey as an RGB colour."""
    image = colourful("L")

    found = rows(to_srgb(image, icc.SWAPPED.data))
    expected = rows(to_srgb(image.convert("RGB"), icc.SWAPPED.data))

    assert np.array_equal(found, expected)
    assert not np.array_equal(rows(to_srgb(image, dark_rgb().data)), rows(image.convert("RGB")))


def dark_rgb() -> icc.Profile:
    """Return an RGB profile that makes greys darker."""
    return icc.Profile("dark", icc.SRGB.matrix, (3.0,))


@pytest.mark.parametrize(
    ("mode", "profile"),
    [
        ("RGB", icc.GAMMA_GRAY.data),
        ("RGB", icc.cmyk()),
        ("L", icc.cmyk()),
        ("CMYK", icc.SWAPPED.data),
        ("CMYK", icc.GAMMA_GRAY.data),
    ],
)
def test_foreign_profile(mode: str, profile: bytes, builds: list[bytes]) -> None:
    """A profile that is for another kind of picture is ignored, and no transform is built for it."""
    image = colourful(mode)

    assert np.array_equal(rows(to_srgb(image, profile)), rows(image.convert("RGB")))
    assert not builds


def altered(position: int, value: bytes, profile: bytes = icc.SWAPPED.data) -> bytes:
    """Return a profile with other bytes at a position."""
    return profile[:position] + value + profile[position + len(value) :]


@pytest.mark.parametrize("device", [b"mntr", b"scnr", b"prtr", b"spac"])
def test_device_classes(device: bytes) -> None:
    """Profiles of every class that describes pixels are applied."""
    image = colourful()
    profile = icc.Profile("swapped", icc.SWAPPED.matrix, icc.SWAPPED.curve, device)

    assert not np.array_equal(rows(to_srgb(image, profile.data)), rows(image))


@pytest.mark.parametrize(
    "profile",
    [
        b"x",
        bytes(500),
        icc.SWAPPED.data[:131],
        altered(36, b"acsq"),
        altered(12, b"link"),
        altered(12, b"nmcl"),
        altered(12, b"abst"),
        altered(16, b"Lab "),
        altered(16, b"rgb "),
    ],
    ids=["one byte", "zeros", "short", "signature", "link", "named colours", "abstract", "Lab", "lower case"],
)
def test_profile_that_makes_no_sense(profile: bytes, builds: list[bytes]) -> None:
    """A profile whose header makes no sense is ignored before a colour engine sees it."""
    image = colourful()

    assert np.array_equal(rows(to_srgb(image, profile)), rows(image))
    assert not builds


@pytest.mark.parametrize(
    "profile",
    [
        icc.SWAPPED.data[:132],
        icc.SWAPPED.data[:-200],
        altered(128, b"\xff\xff\xff\xff"),
        altered(128, b"\0\0\0\0"),
        altered(20, b"junk"),
        icc.SWAPPED.data.replace(b"rXYZ", b"zXYZ"),
        icc.SWAPPED.data.replace(b"para", b"junk"),
    ],
    ids=["no tags", "cut", "many tags", "zero tags", "connection space", "primary missing", "unknown curve"],
)
def test_broken_profile(profile: bytes, builds: list[bytes]) -> None:
    """A broken profile is ignored; if only the colour engine finds it broken, it is not tried twice."""
    image = colourful()

    for _ in range(3):
        assert np.array_equal(rows(to_srgb(image, profile)), rows(image))
    assert len(builds) <= 1


def test_large_profile() -> None:
    """A profile padded to a megabyte is applied like any other."""
    profile = icc.Profile("padded", icc.SWAPPED.matrix, icc.SWAPPED.curve, padding=1 << 20)
    image = colourful()

    assert np.array_equal(rows(to_srgb(image, profile.data)), rows(to_srgb(image, icc.SWAPPED.data)))


# --- the cache


def numbered(number: int) -> bytes:
    """Return one of many profiles."""
    return icc.Profile(f"number {number}", icc.SRGB.matrix, (1.5 + number / 100,)).data


def test_a_transform_is_built_once(builds: list[bytes]) -> None:
    """Pictures with the same profile share one transform."""
    image = colourful()

    found = {to_srgb(image, bytes(bytearray(icc.P3.data))).tobytes() for _ in range(5)}

    assert builds == [(rebuild_profile(icc.P3.data) or ("", b""))[1]]
    assert len(found) == 1


def test_the_cache_is_bounded(builds: list[bytes]) -> None:
    """However many profiles are met, only the latest few transforms are kept."""
    image = colourful()
    for number in range(40):
        to_srgb(image, numbered(number))

    assert len(_colour._TRANSFORMS._cache) == _colour._CACHED == 16
    assert len(builds) == 40


def test_the_oldest_is_dropped(builds: list[bytes]) -> None:
    """Of more profiles than are kept, that goes which was not met for longest."""
    image = colourful()
    for number in range(16):
        to_srgb(image, numbered(number))
    to_srgb(image, numbered(0))
    to_srgb(image, numbered(16))

    before = len(builds)
    to_srgb(image, numbered(0))
    to_srgb(image, numbered(16))
    assert len(builds) == before

    to_srgb(image, numbered(1))
    assert len(builds) == before + 1


def test_threads(builds: list[bytes]) -> None:
    """Many threads with the same few profiles get what one thread gets."""
    images = [Image.fromarray(reference.photograph(120, 90, seed=seed)) for seed in range(8)]
    profiles = [icc.SWAPPED.data, icc.P3.data, *(numbered(number) for number in range(18))]
    jobs = [(image, profile) for profile in profiles for image in images]
    expected = [to_srgb(image, profile).tobytes() for image, profile in jobs]
    barrier = threading.Barrier(8)

    def work(offset: int) -> bool:
        barrier.wait()
        order = jobs[offset * 20 :] + jobs[: offset * 20]
        answers = expected[offset * 20 :] + expected[: offset * 20]
        return all(
            to_srgb(image, profile).tobytes() == answer for (image, profile), answer in zip(order, answers, strict=True)
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))
    assert len(_colour._TRANSFORMS._cache) <= 16


def test_transforms_keep_no_pixel() -> None:
    """A transform is told not to remember its last pixel, since threads share it."""
    with patch.object(ImageCms, "ImageCmsTransform", wraps=ImageCms.ImageCmsTransform) as made:
        assert _colour._build(icc.P3.data, "RGB") is not None

    assert made.call_args.kwargs["flags"] & ImageCms.Flags.NOCACHE
