import errno
import io
import os
import sys
import types
from pathlib import Path

import pytest
from PIL import Image

import safeupload
from safeupload._cli import normalize as normalize_module
from safeupload._cli.files import find
from safeupload._cli.main import main
from safeupload._cli.normalize import plan, written_whole


def picture(colour: tuple[int, ...] = (200, 100, 50)) -> bytes:
    """Return a small PNG of one colour."""
    out = io.BytesIO()
    Image.new("RGBA" if len(colour) == 4 else "RGB", (40, 30), colour).save(out, "PNG")
    return out.getvalue()


def middle(path: Path) -> tuple[int, int, int]:
    """Return the colour in the middle of a result."""
    with Image.open(path) as image:
        pixel = image.getpixel((image.width // 2, image.height // 2))
    assert isinstance(pixel, tuple)
    red, green, blue = pixel
    return int(red), int(green), int(blue)


def close(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Tell whether two colours are the same but for JPEG's rounding."""
    return all(abs(a - b) <= 3 for a, b in zip(one, other, strict=True))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """Make a picture to start from."""
    path = tmp_path / "in" / "photo.png"
    path.parent.mkdir()
    path.write_bytes(picture())
    return path


def test_file_to_file(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One file becomes one file under the very name that was asked for."""
    target = tmp_path / "out.jpeg"

    assert main(["normalize", str(photo), str(target)]) == 0
    with Image.open(target) as image:
        assert (image.format, image.size) == ("JPEG", (300, 300))
    assert close(middle(target), (200, 100, 50))
    assert capsys.readouterr().out == f"{photo} -> {target}\n"


def test_options(tmp_path: Path) -> None:
    """Size, quality and background are those of the command line."""
    source, fine, coarse = tmp_path / "in.png", tmp_path / "fine.jpg", tmp_path / "coarse.jpg"
    source.write_bytes(picture((10, 20, 30, 0)))

    command = ["normalize", "--size", "64x32", "--background", "#0080Ff"]
    assert main([*command, "--quality", "95", str(source), str(fine)]) == 0
    assert main([*command, "--quality", "5", str(source), str(coarse)]) == 0
    with Image.open(fine) as image:
        assert image.size == (64, 32)
    assert close(middle(fine), (0, 128, 255))
    assert fine.read_bytes() != coarse.read_bytes()


def test_limits_hold(photo: Path, tmp_path: Path) -> None:
    """The limits are those of the command line, on either side."""
    target = str(tmp_path / "out.jpg")

    assert main(["normalize", "--max-pixels", "1199", str(photo), target]) == 1
    assert main(["normalize", "--max-pixels", "1200", str(photo), target]) == 0


def test_folder_to_folder(photo: Path, tmp_path: Path) -> None:
    """A folder becomes a folder of the same shape."""
    (photo.parent / "sub").mkdir()
    (photo.parent / "sub" / "b.c.gif").write_bytes(picture((1, 2, 3)))

    assert main(["normalize", str(photo.parent), str(tmp_path / "new" / "out")]) == 0
    found = sorted(str(path.relative_to(tmp_path / "new" / "out")) for path in (tmp_path / "new").rglob("*.*"))
    assert found == ["photo.jpg", str(Path("sub") / "b.c.jpg")]


def test_trailing_slash_means_folder(photo: Path, tmp_path: Path) -> None:
    """OUT with a slash at its end is a folder, for one file as well."""
    assert main(["normalize", str(photo), f"{tmp_path}/out/"]) == 0
    assert (tmp_path / "out" / "photo.jpg").is_file()


def test_collisions(tmp_path: Path) -> None:
    """Files of the same stem, letter case and Unicode form aside, get names of their own, in order."""
    for number, name in enumerate(["a-2.png", "a.gif", "a.png", "A.webp", "é.png", "e\N{COMBINING ACUTE ACCENT}.gif"]):
        (tmp_path / "in" / str(number)).mkdir(parents=True)
        (tmp_path / "in" / str(number) / name).write_bytes(picture((40 * number, 0, 0)))
    sources = sorted((tmp_path / "in").rglob("*.*"))

    assert main(["normalize", *map(str, sources), str(tmp_path / "out")]) == 0
    written = {path.name: round(middle(path)[0] / 40) for path in (tmp_path / "out").iterdir()}
    assert written == {"a-2.jpg": 0, "a.jpg": 1, "a-3.jpg": 2, "A-4.jpg": 3, "é.jpg": 4, "e\u0301-2.jpg": 5}


def test_names_do_not_depend_on_rejections(tmp_path: Path) -> None:
    """The names are given before any file is read."""
    for name in ("x.gif", "x.jpg", "x.png"):
        (tmp_path / name).write_bytes(b"")

    jobs = list(plan(find([str(tmp_path)]), tmp_path / "out"))
    assert [(job.source.below.name, job.target.name) for job in jobs] == [
        ("x.gif", "x.jpg"),
        ("x.jpg", "x-2.jpg"),
        ("x.png", "x-3.jpg"),
    ]


def test_rejected_is_1(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A rejected file is a line on standard error and exit code 1; the others are written, and nothing of it is."""
    (photo.parent / "bad.png").write_bytes(b"no picture")

    assert main(["normalize", str(photo.parent), str(tmp_path / "out")]) == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["photo.jpg"]
    err = capsys.readouterr().err
    assert err == f"safeupload: {photo.parent / 'bad.png'}: rejected: not_an_image: The file is not a picture.\n"


def test_missing_is_3(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that cannot be read is a line on standard error and exit code 3; the others are written."""
    missing = tmp_path / "missing.png"

    assert main(["normalize", str(missing), str(photo), str(tmp_path / "out")]) == 3
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["photo.jpg"]
    assert capsys.readouterr().err == f"safeupload: {missing}: cannot be read: no such file or directory\n"


def test_unwritable_is_3(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A place that cannot be written is a line on standard error and exit code 3."""
    target = photo / "below a file" / "x.jpg"

    assert main(["normalize", str(photo), str(target)]) == 3
    assert capsys.readouterr().err == f"safeupload: {target}: cannot be written: not a directory\n"


def test_no_overwriting(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What exists stays, with exit code 3, until --force says otherwise."""
    target = tmp_path / "out.jpg"
    target.write_bytes(b"precious")

    assert main(["normalize", str(photo), str(target)]) == 3
    assert target.read_bytes() == b"precious"
    assert "--force" in capsys.readouterr().err
    assert main(["normalize", "--force", str(photo), str(target)]) == 0
    assert close(middle(target), (200, 100, 50))


def test_no_overwriting_of_a_late_comer(photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that somebody else puts there while the picture is made is not overwritten either."""
    target = tmp_path / "out.jpg"

    def slow(source: Path, policy: safeupload.Policy) -> safeupload.NormalizedImage:
        target.write_bytes(b"precious")
        return safeupload.normalize(source, policy)

    monkeypatch.setattr(normalize_module, "normalize", slow)

    assert main(["normalize", str(photo), str(target)]) == 3
    assert target.read_bytes() == b"precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out.jpg"]


@pytest.mark.skipif(os.name != "posix", reason="links")
def test_a_link_is_never_overwritten(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A link is neither followed nor replaced, wherever it leads, also with --force."""
    (tmp_path / "elsewhere").write_bytes(b"precious")
    for leads_to in ("nowhere", "elsewhere"):
        link = tmp_path / f"{leads_to}.jpg"
        link.symlink_to(leads_to)

        assert main(["normalize", "--force", str(photo), str(link)]) == 3
        assert "not a regular file" in capsys.readouterr().err
        assert link.is_symlink()
    assert (tmp_path / "elsewhere").read_bytes() == b"precious"
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_device_is_never_overwritten(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is no regular file (a pipe here; a device alike) stays what it is, also with --force."""
    pipe = tmp_path / "out.jpg"
    os.mkfifo(pipe)

    assert main(["normalize", "--force", str(photo), str(pipe)]) == 3
    assert "not a regular file" in capsys.readouterr().err
    assert pipe.is_fifo()


def test_an_empty_name_is_no_folder(photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unset variable on the command line does not stand for the folder one is in."""
    monkeypatch.chdir(photo.parent)

    assert main(["normalize", "", str(photo), str(tmp_path / "out")]) == 3
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["photo.jpg"]


def test_inputs_are_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not even --force turns a file that is to be read into a result, whatever it is called."""
    source = tmp_path / "a.jpg"
    source.write_bytes(picture())
    (tmp_path / "sub").mkdir()

    assert main(["normalize", "--force", str(source), str(tmp_path / "sub" / ".." / "a.jpg")]) == 3
    assert main(["normalize", "--force", str(tmp_path), str(tmp_path)]) == 3
    assert source.read_bytes() == picture()
    assert "one of the files to read" in capsys.readouterr().err


def test_output_inside_the_input(photo: Path) -> None:
    """A folder for the results inside the folder to read is not read again by the next run."""
    command = ["normalize", "--force", str(photo.parent), str(photo.parent / "out")]

    assert main(command) == main(command) == 0
    assert sorted(path.name for path in photo.parent.rglob("*")) == ["out", "photo.jpg", "photo.png"]


def test_file_for_a_folder_is_2(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Several pictures cannot go into one file."""
    with pytest.raises(SystemExit) as caught:
        main(["normalize", str(photo.parent), str(photo)])

    assert caught.value.code == 2
    assert "need a folder" in capsys.readouterr().err


def test_stdin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Standard input becomes the file asked for, or stdin.jpg in a folder."""
    for target, expected in ((tmp_path / "x.jpg", tmp_path / "x.jpg"), (tmp_path, tmp_path / "stdin.jpg")):
        monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(picture())))
        assert main(["normalize", "-", str(target)]) == 0
        assert close(middle(expected), (200, 100, 50))


@pytest.mark.parametrize("has_old", [True, False])
@pytest.mark.parametrize("step", ["write", "sync", "replace"])
def test_failure_in_the_middle(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, *, has_old: bool
) -> None:
    """A full disk at any step leaves the old file as it was, or none, and no rubbish."""
    target = tmp_path / "out" / "x.jpg"
    target.parent.mkdir()
    if has_old:
        target.write_bytes(b"precious")

    def fail(path: Path | int, *_: object) -> None:
        if isinstance(path, Path) and step == "write":
            with path.open("wb") as file:
                file.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    places = {"write": (Path, "write_bytes"), "sync": (os, "fsync"), "replace": (Path, "replace")}
    with monkeypatch.context() as patch:
        patch.setattr(*places[step], fail)
        assert main(["normalize", "--force", str(photo), str(target)]) == 3

    assert [path.name for path in target.parent.iterdir()] == (["x.jpg"] if has_old else [])
    assert not has_old or target.read_bytes() == b"precious"


def test_interrupt_in_the_middle(photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the middle ends with 130 and leaves no rubbish."""

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)

    assert main(["normalize", str(photo), str(tmp_path / "out" / "x.jpg")]) == 130
    assert list((tmp_path / "out").iterdir()) == []


def test_name_comes_last(tmp_path: Path) -> None:
    """Until the block has ended, nothing is under the final name, and the new file is beside it."""
    target = tmp_path / "x"
    with written_whole(target) as new:
        new.write_bytes(b"whole")
        assert not target.exists()
        assert new.parent == target.parent

    assert target.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.skipif(os.name != "posix", reason="modes")
def test_mode_is_the_users(photo: Path, tmp_path: Path) -> None:
    """The result has the permissions that any new file of the user's has."""
    old = os.umask(0o027)
    try:
        main(["normalize", str(photo), str(tmp_path / "x.jpg")])
    finally:
        os.umask(old)

    assert (tmp_path / "x.jpg").stat().st_mode & 0o777 == 0o640
