"""Several pictures of one upload: their sizes, formats and transparency, and that they are as clean as the first."""

import io
import pickle
import shutil
import struct
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args
from unittest.mock import patch

import numpy as np
import pytest
import reference
from builders.pictures import encoded
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import safeupload
from safeupload import (
    AVATAR,
    FileMissing,
    InvalidArgument,
    InvalidKey,
    InvalidPolicy,
    Policy,
    Rendition,
    TooComplex,
    Uploads,
    _decode,
    _render,
    normalize,
)
from safeupload._decode import decoded
from safeupload._keys import beside
from safeupload._plan import plans, render_bytes
from safeupload.policy import Fit, OutputFormat
from safeupload.storage import LocalStorage, MemoryStorage

FORMATS = get_args(OutputFormat)
FITS = get_args(Fit)
SECRET = b"taken at home"


def photograph(width: int = 400, height: int = 300) -> Image.Image:
    """Return a picture that is easy to tell from others."""
    return Image.fromarray(reference.photograph(width, height))


def hole(width: int = 400, height: int = 300) -> Image.Image:
    """Return a picture whose left half is transparent, with other colours under it."""
    image = photograph(width, height).convert("RGBA")
    image.paste((255, 0, 255, 0), (0, 0, width // 2, height))
    return image


def png(image: Image.Image) -> bytes:
    """Return it as a file."""
    return encoded(image, "PNG")


def opened(data: bytes) -> Image.Image:
    """Return the raster of a file."""
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image


def rendered(data: bytes, rendition: Rendition, policy: Policy = AVATAR) -> safeupload.RenderedImage:
    """Return one rendition."""
    return normalize(data, replace(policy, renditions={"one": rendition})).renditions["one"]


# --- the policy ---


@pytest.mark.parametrize(
    "changes",
    [
        {"size": (0, 1)},
        {"size": (4097, 1)},
        {"size": [1, 1]},
        {"quality": 0},
        {"quality": 96},
        {"fit": "stretch"},
        {"fit": None},
        {"format": "GIF"},
        {"format": "jpeg"},
        {"format": ["PNG"]},
    ],
    ids=str,
)
def test_a_rendition_that_cannot_work_is_refused(changes: dict[str, Any]) -> None:
    """It raises when it is built, and says which field is wrong."""
    with pytest.raises(InvalidPolicy, match=next(iter(changes))):
        Rendition(**{"size": (64, 64), **changes})


@pytest.mark.parametrize("name", ["", "A", "1st", "a-b", "a.b", "../a", "a" * 21, "é", "a\n", 1], ids=repr)
def test_a_name_that_could_be_none_of_a_file_is_refused(name: Any) -> None:  # noqa: ANN401
    """A name becomes a part of file names, so it is of one form."""
    with pytest.raises(InvalidPolicy, match="renditions"):
        Policy(renditions={name: Rendition(size=(1, 1))})


@pytest.mark.parametrize("renditions", [None, [], "thumb", {"thumb": (64, 64)}, {"thumb": None}], ids=repr)
def test_what_are_no_renditions_is_refused(renditions: Any) -> None:  # noqa: ANN401
    """A mapping of names to renditions is expected."""
    with pytest.raises(InvalidPolicy, match="renditions"):
        Policy(renditions=renditions)


def test_there_is_a_limit_to_their_number() -> None:
    """Sixteen are taken, seventeen are not."""
    many = {f"r{number}": Rendition(size=(1, 1)) for number in range(17)}

    with pytest.raises(InvalidPolicy, match="at most 16, got 17"):
        Policy(renditions=many)
    assert len(Policy(renditions=dict(list(many.items())[:16])).renditions) == 16


@pytest.mark.parametrize(("format_name", "side"), [("WEBP", 1526), ("AVIF", 1619), ("PNG", 4096), ("JPEG", 4096)])
def test_p2_a_rendition_that_costs_more_than_any_decode_is_refused(format_name: OutputFormat, side: int) -> None:
    """What an encoder takes counts as well; one that could never run is told when the policy is built."""
    room = 100 << 20
    rendition = Rendition(size=(side, side), format=format_name)
    assert Policy(max_decode_bytes=room, renditions={"large": rendition}).renditions["large"] == rendition
    if side == 4096:
        return
    with pytest.raises(InvalidPolicy, match=r"to encode 'large' may take 10[45],"):
        Policy(max_decode_bytes=room, renditions={"large": replace(rendition, size=(side + 1, side))})


def test_a_policy_with_renditions_is_frozen_hashable_and_sent_to_other_processes() -> None:
    """As any other is, and what it was built from cannot change it."""
    names = {"thumb": Rendition(size=(64, 64))}
    policy = Policy(renditions=names)
    names.clear()

    assert list(policy.renditions) == ["thumb"]
    assert pickle.loads(pickle.dumps(policy)) == policy == replace(policy, renditions=dict(policy.renditions))
    assert hash(policy) == hash(replace(policy)) != hash(AVATAR)
    assert repr(policy.renditions) == repr({"thumb": Rendition(size=(64, 64))})
    with pytest.raises(TypeError):
        policy.renditions["other"] = Rendition(size=(1, 1))  # type: ignore[index]


def test_a_format_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told when the policy is built, and not at the first upload."""
    monkeypatch.setattr("safeupload.policy.find_spec", lambda _: None)

    with pytest.raises(InvalidPolicy, match="there is no AVIF here"):
        Rendition(size=(1, 1), format="AVIF")


# --- the pictures ---


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("make", [photograph, hole])
def test_each_format_and_fit(format_name: OutputFormat, fit: Fit, make: Any) -> None:  # noqa: ANN401
    """Size, format and transparency are those that the documentation states, and `RenderedImage` says so."""
    result = rendered(png(make()), Rendition(size=(100, 120), fit=fit, format=format_name))
    image = opened(result.data)
    can = format_name != "JPEG"

    assert image.format == format_name
    assert image.size == (result.width, result.height) == ((100, 75) if fit == "contain" else (100, 120))
    assert image.mode == ("RGBA" if can and (make is hole or fit == "pad") else "RGB")
    assert result.media_type == f"image/{format_name.lower()}"
    assert result.extension == {"JPEG": "jpg"}.get(format_name, format_name.lower())
    corner = image.convert("RGBA").getpixel((1, 1))
    assert isinstance(corner, tuple)
    if make is hole or fit == "pad":
        assert corner[3] == 0 if can else min(corner[:3]) > 250
    assert image.convert("RGBA").getchannel("A").getpixel((99, 60)) == 255


@pytest.mark.parametrize("format_name", ["PNG", "WEBP", "AVIF"])
def test_colours_under_transparent_pixels_do_not_bleed(format_name: OutputFormat) -> None:
    """The magenta that nobody sees is not seen at the edge, either."""
    result = rendered(png(hole()), Rendition(size=(100, 75), format=format_name, quality=95))
    rows = np.asarray(opened(result.data)).astype(float)
    edge = rows[:, 49:52]
    seen = edge[edge[..., 3] > 32]

    assert len(seen) > 75
    assert (np.abs(seen[:, 0] - seen[:, 1]) < 90).all()  # magenta would be 255


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_p4_pixels(fit: Fit, orientation: int) -> None:
    """They are those of a careful reference, upright, whatever was shared between renditions."""
    source = photograph(720, 480)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(source, "JPEG", quality=95, exif=exif)
    colours, _ = reference.decode(data)
    whole = reference.upright(colours, orientation)
    sizes = {"thumb": (20, 20), "small": (50, 80), "large": (180, 120), "larger": (250, 270)}
    policy = Policy(renditions={name: Rendition(size=size, fit=fit) for name, size in sizes.items()})

    with patch.object(_render, "_encode", lambda image, _: image.tobytes()):
        results = normalize(data, policy).renditions

    for name, result in results.items():
        wanted = sizes[name]
        shown = (result.width, result.height) if fit != "pad" else contained(whole, wanted)
        expected = reference.cover(whole, shown) if fit == "cover" else stretched(whole, shown)
        rows = np.frombuffer(result.data, np.uint8).reshape(result.height, result.width, 3)
        if fit == "pad":
            left, top = (wanted[0] - shown[0]) // 2, (wanted[1] - shown[1]) // 2
            border = np.ones(rows.shape[:2], bool)
            border[top : top + shown[1], left : left + shown[0]] = False
            assert (rows[border] == 255).all()
            rows = rows[top : top + shown[1], left : left + shown[0]]
        assert reference.psnr(rows, expected * 255) >= 40


def contained(rows: Any, size: tuple[int, int]) -> tuple[int, int]:  # noqa: ANN401 - numpy's
    """Return the size of a picture that is contained in another one."""
    ratio = max(rows.shape[1] / size[0], rows.shape[0] / size[1], 1)
    return round(rows.shape[1] / ratio), round(rows.shape[0] / ratio)


def stretched(rows: Any, size: tuple[int, int]) -> Any:  # noqa: ANN401
    """Return the whole picture at a size."""
    across = reference._weights(rows.shape[1], size[0], rows.shape[1] / size[0])
    down = reference._weights(rows.shape[0], size[1], rows.shape[0] / size[1])
    narrow = np.tensordot(rows, across, axes=(1, 1))
    return np.clip(np.tensordot(down, narrow, axes=(1, 0)).swapaxes(1, 2), 0, 1)


SIDES = st.one_of(st.integers(1, 40), st.integers(1, 700))


@pytest.mark.property
@given(
    picture=st.tuples(SIDES, SIDES),
    sizes=st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=4),
    fit=st.sampled_from(FITS),
    format_name=st.sampled_from(["JPEG", "PNG"]),
    mode=st.sampled_from(["RGB", "RGBA", "P", "L"]),
)
def test_any_sizes(
    picture: tuple[int, int],
    sizes: list[tuple[int, int]],
    fit: Fit,
    format_name: OutputFormat,
    mode: str,
) -> None:
    """Whatever is asked of whatever picture: "cover" and "pad" are exact, "contain" is within, and enlarges nothing."""
    wanted = {f"r{at}": Rendition(size=size, fit=fit, format=format_name) for at, size in enumerate(sizes)}
    source = Image.new(mode, picture, 200 if mode in {"P", "L"} else (200,) * len(mode))

    results = normalize(png(source), Policy(size=(9, 9), renditions=wanted)).renditions

    for name, result in results.items():
        size = wanted[name].size
        assert opened(result.data).size == (result.width, result.height)
        if fit != "contain":
            assert (result.width, result.height) == size
            continue
        assert 1 <= result.width <= min(size[0], picture[0])
        assert 1 <= result.height <= min(size[1], picture[1])
        assert result.width in (size[0], picture[0], 1) or result.height in (size[1], picture[1], 1)


def test_one_decode_makes_them_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, and whatever they need, the decoder runs once."""
    runs = []
    load = _decode._load

    def noted(*args: Any) -> Image.Image:  # noqa: ANN401
        runs.append(args)
        return load(*args)

    monkeypatch.setattr(_decode, "_load", noted)
    many = {f"r{at}": Rendition(size=(10 * at + 1, 10), format="WEBP") for at in range(16)}

    assert len(normalize(png(hole()), Policy(renditions=many)).renditions) == 16
    assert len(runs) == 1


def test_the_picture_is_what_it_was() -> None:
    """Renditions that need no other scale or average change no byte of the picture."""
    data = encoded(photograph(1600, 1200), "JPEG", quality=90)

    with_one = normalize(data, replace(AVATAR, renditions={"same": Rendition(size=(300, 300))}))

    assert with_one.data == normalize(data).data == with_one.renditions["same"].data
    assert normalize(data).renditions == {}
    assert hash(with_one) != hash(normalize(data))
    assert pickle.loads(pickle.dumps(with_one)) == with_one


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("make", [photograph, hole])
def test_p3_nothing_of_the_file_but_its_pixels(format_name: OutputFormat, make: Any) -> None:  # noqa: ANN401
    """No metadata comes through, in any format, and two runs give the same bytes."""
    exif = Image.Exif()
    exif[0x010E] = SECRET.decode()
    info: dict[str, Any] = {"exif": exif, "icc_profile": SECRET}
    data = encoded(make(), "PNG", **info)
    assert SECRET in data

    result = rendered(data, Rendition(size=(60, 45), format=format_name))

    assert SECRET not in result.data
    assert opened(result.data).info.keys().isdisjoint({"exif", "icc_profile", "xmp", "comment"})
    assert kinds(format_name, result.data) <= KINDS[format_name]
    assert rendered(data, Rendition(size=(60, 45), format=format_name)) == result


KINDS = {
    "JPEG": {b"JFIF"},
    "PNG": {b"IHDR", b"IDAT", b"IEND"},
    "WEBP": {b"VP8 ", b"VP8X", b"ALPH"},
    "AVIF": {b"ftyp", b"meta", b"mdat"},
}


def kinds(format_name: str, data: bytes) -> set[bytes]:
    """Return what parts a file has."""
    if format_name == "JPEG":
        return {data[6:10]}
    at, found = {"PNG": 8, "WEBP": 12, "AVIF": 0}[format_name], set()
    while at < len(data):
        if format_name == "WEBP":
            name, size = struct.unpack_from("<4sI", data, at)
            size += 8 + size % 2
        else:
            size, name = struct.unpack_from(">I4s", data, at)
            size += 12 * (format_name == "PNG")
        found.add(name)
        at += size
    return found


@pytest.mark.parametrize(("spare", "is_taken"), [(0, True), (-1, False)])
def test_p2_what_they_take_counts(spare: int, is_taken: bool) -> None:  # noqa: FBT001
    """A rendition that would take more memory than the policy allows is refused before anything is decoded."""
    policy = Policy(renditions={"large": Rendition(size=(2000, 2000), format="PNG")})
    data = png(hole(64, 48))
    with decoded(data, policy) as (_, rebuilt, steps):
        needed = rebuilt.decode_bytes(1) + render_bytes(steps, rebuilt, policy)
    assert needed > 4 * 2000 * 2000 * 2
    tight = replace(policy, max_decode_bytes=needed + spare)

    if is_taken:
        assert normalize(data, tight).renditions["large"].width == 2000
        return
    with pytest.raises(TooComplex, match="memory"):
        normalize(data, tight)


def test_what_is_averaged_is_averaged_on() -> None:
    """The factors of one decode divide each other, and none averages over more than it may."""
    with decoded(png(Image.new("RGB", (3000, 2000))), AVATAR) as (_, rebuilt, _):
        sizes = [(20, 20), (70, 70), (110, 110), (300, 100), (1000, 1000)]
        policy = Policy(renditions={f"r{at}": Rendition(size=size) for at, size in enumerate(sizes)})
        steps = plans(rebuilt, policy)
        alone = [plans(rebuilt, Policy(size=size))[0].factor for size in [(300, 300), *sizes]]

    factors = sorted(each.factor for each in steps)
    assert all(larger % smaller == 0 for smaller, larger in pairwise(factors))
    assert all(each.factor <= most for each, most in zip(steps, alone, strict=True))
    assert len({each.area for each in steps}) == 1


# --- and their files ---

SEVERAL = Policy(
    renditions={"thumb": Rendition(size=(32, 32)), "cover": Rendition(size=(64, 36), format="WEBP", fit="pad")}
)


def replaced(storage: Any, policy: Policy, rows: dict[int, str | None]) -> tuple[str, safeupload.NormalizedImage]:  # noqa: ANN401
    """Replace the picture of row 1; return the key, and what was made."""
    uploads = Uploads(storage, policy, references=lambda keys: [key for key in keys if key in rows.values()])
    with uploads.replace(png(photograph())) as new:
        key = new.replacing(rows.get(1))
        new.commit(lambda: rows.update({1: key}))
    return key, new.image


@pytest.fixture(params=["memory", "local"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Any:  # noqa: ANN401
    """Give each kind of storage."""
    return MemoryStorage() if request.param == "memory" else LocalStorage(tmp_path / "pictures")


def test_they_stand_beside_their_file(storage: Any) -> None:  # noqa: ANN401
    """One key in the row is enough for all of them; only it is listed."""
    rows: dict[int, str | None] = {}
    key, picture = replaced(storage, SEVERAL, rows)
    uploads = Uploads(storage, SEVERAL, references=lambda keys: keys)

    assert uploads.rendition(key, "thumb") == f"{key[:32]}-thumb.jpg"
    assert uploads.rendition(key, "cover") == f"{key[:32]}-cover.webp"
    for name, rendition in picture.renditions.items():
        assert storage.read(uploads.rendition(key, name)) == rendition.data
    assert list(storage.keys()) == [key]
    assert len(list(storage.files())) == 1


def test_they_go_with_their_file(storage: Any) -> None:  # noqa: ANN401
    """Also when the policy has another set of them by then, or none."""
    rows: dict[int, str | None] = {}
    first, _ = replaced(storage, SEVERAL, rows)
    second, _ = replaced(storage, AVATAR, rows)

    assert list(storage.keys()) == [second]
    for suffix in ("-thumb.jpg", "-cover.webp"):
        with pytest.raises(FileMissing):
            storage.read(beside(first, suffix))
        with pytest.raises(FileMissing):
            storage.read(beside(second, suffix))


def test_their_names_are_asked_for_by_key_and_name() -> None:
    """A name that the policy does not have, and a value that is no key, are told at once."""
    uploads = Uploads(MemoryStorage(), SEVERAL, references=lambda keys: keys)
    key = "ab" * 16 + ".jpg"

    with pytest.raises(InvalidArgument, match="'large' is no rendition of the policy, which has thumb, cover"):
        uploads.rendition(key, "large")
    for value in ("default.jpg", f"{key[:32]}-thumb.jpg", None):
        with pytest.raises(InvalidKey):
            uploads.rendition(value, "thumb")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name",
    [
        "-thumb.jpg",
        "-Thumb.jpg",
        "-thumb.gif",
        "-../x.jpg",
        "-thumb.jpg/..",
        "-.jpg",
        f"-{'a' * 21}.jpg",
        "-thumb.jpg\n",
    ],
)
def test_p8_only_names_of_ours_reach_the_folder(tmp_path: Path, name: str) -> None:
    """Whatever has not the form of a rendition's name is no file."""
    storage = LocalStorage(tmp_path)
    allowed = name == "-thumb.jpg"

    with pytest.raises(FileMissing if allowed else InvalidKey):
        storage.read("ab" * 16 + name)
    assert (tmp_path / f"{'ab' * 16}-thumb.jpg" == storage.path("ab" * 16 + "-thumb.jpg")) is True


def test_a_renditions_name_in_a_row_is_foreign() -> None:
    """A row holds keys; the name of a rendition in it removes nothing."""
    storage = MemoryStorage()
    rows: dict[int, str | None] = {}
    key, _ = replaced(storage, SEVERAL, rows)
    rows[1] = beside(key, "-thumb.jpg")

    second, _ = replaced(storage, SEVERAL, rows)

    assert set(storage.keys()) == {key, second}


def test_sweep_removes_what_a_power_loss_has_left_of_one(tmp_path: Path) -> None:
    """Renditions without their file, and what had not yet got its name, count as one file, and go."""
    storage = LocalStorage(tmp_path)
    rows: dict[int, str | None] = {}
    kept, _ = replaced(storage, SEVERAL, rows)
    alone, staged = "ab" * 16 + ".jpg", "cd" * 16 + ".jpg"
    for path in (beside(alone, "-thumb.jpg"), beside(alone, "-cover.webp"), f".pending/{beside(staged, '-thumb.jpg')}"):
        (tmp_path / path).write_bytes(b"torn")
    (tmp_path / "cd-thumb.jpg").write_bytes(b"not ours")
    uploads = Uploads(storage, SEVERAL, references=lambda keys: [key for key in keys if key in rows.values()])

    assert set(uploads.sweep(min_age=0, force=True).removed) == {alone, staged}
    assert uploads.sweep(min_age=0).removed == ()
    assert len(list(tmp_path.glob("[0-9a-f]*.*"))) == 4
    assert list((tmp_path / ".pending").iterdir()) == []
    assert list(storage.keys()) == [kept]


def test_a_folder_that_was_restored_without_its_dotfiles(tmp_path: Path) -> None:
    """A sweep finds out again which renditions there are, so that they go with their file."""
    rows: dict[int, str | None] = {}
    replaced(LocalStorage(tmp_path), SEVERAL, rows)
    shutil.rmtree(tmp_path / ".renditions")
    shutil.rmtree(tmp_path / ".pending")
    storage = LocalStorage(tmp_path, adopt=True)
    uploads = Uploads(storage, AVATAR, references=lambda keys: [key for key in keys if key in rows.values()])

    assert uploads.sweep(min_age=0).removed == ()
    key, _ = replaced(storage, AVATAR, rows)

    assert [path.name for path in tmp_path.glob("[0-9a-f]*.*")] == [key]


def test_a_rendition_that_no_file_may_be_called_after_is_not_stored() -> None:
    """Whoever makes a `NormalizedImage` by hand does not choose paths."""
    picture = normalize(png(photograph(8, 8)), SEVERAL)
    wrong = replace(picture, renditions={"../x": picture.renditions["thumb"]})
    storage = MemoryStorage()
    uploads = Uploads(storage, references=lambda keys: keys)

    with pytest.raises(InvalidKey), uploads.replace(wrong):
        pass
    assert list(storage.keys()) == []
    assert list(storage.marks()) == []


def test_what_is_no_suffix_on_the_list_is_ignored(tmp_path: Path) -> None:
    """What somebody else has put there removes nothing."""
    storage = LocalStorage(tmp_path)
    (tmp_path / ".renditions").mkdir()
    (tmp_path / ".renditions" / ".txt").touch()
    precious = tmp_path / ("ab" * 16 + ".txt")
    precious.touch()

    storage.remove("ab" * 16 + ".jpg")

    assert precious.exists()
