import ctypes
import errno
import io
import json
import os
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from safeupload._cli import check as check_module
from safeupload._cli.main import main
from safeupload._cli.measure import measured, megabytes, milliseconds
from safeupload._samples.benign import exif

linux = pytest.mark.skipif(
    sys.platform != "linux" or not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux's clear_refs"
)


def picture(name: str = "PNG", size: tuple[int, int] = (40, 30), **options: object) -> bytes:
    """Return a small picture file."""
    out = io.BytesIO()
    Image.new("RGB", size, (200, 100, 50)).save(out, name, **options)
    return out.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder with an honest picture, a deeper one, and one that is none."""
    (tmp_path / "a.jpg").write_bytes(picture("JPEG", exif=exif(6)))
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "b.png").write_bytes(picture())
    (tmp_path / "c.gif").write_bytes(b"no picture")
    return tmp_path


def records(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Return what --json printed."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_accepted_is_0(folder: Path) -> None:
    """If every file is accepted the exit code is 0."""
    assert main(["check", str(folder / "a.jpg"), str(folder / "deep")]) == 0


def test_rejected_is_1(folder: Path) -> None:
    """If one file is rejected the exit code is 1, wherever it stands."""
    assert main(["check", str(folder / "c.gif"), str(folder / "a.jpg")]) == 1
    assert main(["check", str(folder / "a.jpg"), str(folder / "c.gif")]) == 1


def test_missing_is_3(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If one file is missing the exit code is 3, also beside a rejected one, and the others are checked."""
    assert main(["check", str(folder / "none"), str(folder / "c.gif"), str(folder / "a.jpg")]) == 3

    out, err = capsys.readouterr()
    assert err == f"safeupload: {folder / 'none'}: cannot be read: no such file or directory\n"
    assert [line.split()[0] for line in out.splitlines()] == ["verdict", "unreadable", "rejected", "accepted"]


def test_forbidden_is_3(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that may not be read is a line on standard error and exit code 3."""

    def forbid(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "somewhere")

    monkeypatch.setattr(check_module, "validate", forbid)

    assert main(["check", "--json", str(folder / "a.jpg")]) == 3
    out, err = capsys.readouterr()
    assert json.loads(out) == {
        "file": str(folder / "a.jpg"),
        "verdict": "unreadable",
        "code": None,
        "detail": "permission denied",
    }
    assert err.endswith("a.jpg: cannot be read: permission denied\n")


def test_unlistable_folder_is_3(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder inside that may not be listed is reported, and the rest is checked."""
    scandir = os.scandir

    def forbid(path: str) -> object:
        if str(path).endswith("deep"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", forbid)

    assert main(["check", "--json", str(folder)]) == 3
    assert {Path(record["file"]).name: record["verdict"] for record in records(capsys)} == {
        "a.jpg": "accepted",
        "c.gif": "rejected",
        "deep": "unreadable",
    }


def test_unlistable_top_is_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that was named and may not be listed is reported too."""

    def forbid(path: str) -> object:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(os, "scandir", forbid)

    assert main(["check", str(tmp_path)]) == 3
    assert capsys.readouterr().err == f"safeupload: {tmp_path}: cannot be read: permission denied\n"


def test_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The table has a line for each file below a folder, with the size as displayed, and numbers where promised."""
    main(["check", str(folder)])

    head, first, second, third = capsys.readouterr().out.splitlines()
    assert head.split() == ["verdict", "code", "format", "size", "ms", "peak", "MB", "file"]
    accepted, name, size, milliseconds_, megabytes_, file = first.split()
    assert (accepted, name, size, file) == ("accepted", "JPEG", "30x40", str(folder / "a.jpg"))  # orientation 6
    assert 0 < float(milliseconds_) < 10_000
    assert megabytes_ == "-" or 0 <= float(megabytes_) < 10
    assert second.split()[:2] == ["rejected", "not_an_image"]
    assert third.split()[1:3] == ["PNG", "40x30"]
    assert third.endswith(str(Path("er") / "b.png"))
    assert len({line.index(str(folder)) for line in (first, second, third)}) == 1, "the columns are aligned"


def test_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--json gives one object a line with everything that is known."""
    assert main(["check", "--json", str(folder / "a.jpg"), str(folder / "c.gif")]) == 1

    accepted, rejected = records(capsys)
    assert 0 < accepted.pop("ms") < 10_000
    assert accepted.pop("peak_bytes") is None or sys.platform == "linux"
    assert accepted == {
        "file": str(folder / "a.jpg"),
        "verdict": "accepted",
        "code": None,
        "format": "JPEG",
        "width": 30,
        "height": 40,
        "orientation": 6,
        "animated": False,
        "has_alpha": False,
        "has_icc": False,
    }
    assert {"ms", "peak_bytes"} < rejected.keys()
    assert (rejected["verdict"], rejected["code"]) == ("rejected", "not_an_image")
    assert rejected["detail"] == "The file is not a picture."


def test_json_tells_limits(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A refusal over a limit carries the limit."""
    main(["check", "--json", "--max-pixels", "1199", str(folder / "a.jpg")])

    (record,) = records(capsys)
    assert (record["code"], record["pixels"], record["limit"]) == ("too_many_pixels", 1200, 1199)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--max-pixels", "1200"], 0),
        (["--max-pixels", "1199"], 1),
        (["--formats", "jpeg"], 0),
        (["--formats", "PNG,webp"], 1),
    ],
)
def test_policy_options(folder: Path, options: list[str], expected: int) -> None:
    """The policy's options hold, on either side of their limit."""
    assert main(["check", *options, str(folder / "a.jpg")]) == expected


@pytest.mark.parametrize(("less", "expected"), [(0, 0), (1, 1)])
def test_max_bytes(folder: Path, less: int, expected: int) -> None:
    """A file of exactly --max-bytes is accepted, one byte more is rejected."""
    size = (folder / "a.jpg").stat().st_size

    assert main(["check", "--max-bytes", str(size - less), str(folder / "a.jpg")]) == expected


def test_stdin(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The file "-" is standard input."""
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(picture())))

    assert main(["check", "--json", "-"]) == 0
    (record,) = records(capsys)
    assert (record["file"], record["format"], record["width"]) == ("-", "PNG", 40)


def test_closed_stdin_is_3(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard input that is closed cannot be read."""
    monkeypatch.setattr(sys, "stdin", None)

    assert main(["check", "-"]) == 3


def test_empty_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty folder has nothing to reject, but is worth a word."""
    assert main(["check", str(tmp_path)]) == 0
    assert "no files there" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="links and pipes")
def test_links_and_pipes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A walk passes over pipes, does not follow links to folders, and reports a link that leads nowhere."""
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to(folder)
    (folder / "lost").symlink_to(folder / "nowhere")

    assert main(["check", "--json", str(folder)]) == 3
    assert [Path(record["file"]).name for record in records(capsys)] == ["a.jpg", "c.gif", "lost", "b.png"]


@pytest.mark.skipif(os.name != "posix", reason="names with such characters")
def test_hostile_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A name cannot steer the terminal, break a line, or reorder it; --json keeps it exactly."""
    name = "x\x1b[2J\r\n\u202egpj.exe\x9b1m\udcff"
    (tmp_path / name).write_bytes(picture())

    main(["check", str(tmp_path)])
    _, row = capsys.readouterr().out.splitlines()
    assert row.isprintable()
    assert row.endswith(r"x\x1b[2J\r\n\u202egpj.exe\x9b1m\udcff")

    main(["check", "--json", str(tmp_path)])
    assert records(capsys)[0]["file"] == str(tmp_path / name)

    main(["check", str(tmp_path / (name + "missing"))])
    assert capsys.readouterr().err[:-1].isprintable()


@linux
def test_measures_the_peak() -> None:
    """The measurement sees memory that was used and freed within the block, each time anew, and nothing from before."""
    peaks = []
    for size in (40_000_000, 0, 20_000_000, 40_000_000):
        with measured() as cost:
            bytearray(b"x") * size
        assert cost.peak is not None
        peaks.append(round(cost.peak / 1e6))

    assert peaks == [pytest.approx(size, abs=3) for size in (40, 0, 20, 40)]


@linux
def test_measures_reused_memory() -> None:
    """Memory that the C library kept from the file before is seen all the same when the next file uses it."""
    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("a C library that does not tell how to give memory back")
    peaks = []
    for _ in range(3):
        with measured() as cost:
            pieces = [bytes(2000) for _ in range(10_000)]
        peaks.append(cost.peak or 0)
        pieces[:-1] = []  # the last one keeps the heap from shrinking

    assert all(peak > 15_000_000 for peak in peaks)


def test_measures_time_of_a_failure() -> None:
    """What a block cost is known also when it raised."""
    with pytest.raises(ValueError, match="x"), measured() as cost:
        raise ValueError("x")

    assert cost.seconds > 0


def test_no_measurement_is_a_dash(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the system does not tell the peak, the table says "-" and JSON null."""
    monkeypatch.setattr(sys, "platform", "darwin")

    main(["check", str(folder / "a.jpg")])
    assert capsys.readouterr().out.splitlines()[1].split()[-2] == "-"
    main(["check", "--json", str(folder / "a.jpg")])
    assert records(capsys)[0]["peak_bytes"] is None


def test_no_clear_refs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A system without clear_refs has no honest measurement, so there is none."""
    monkeypatch.setattr("safeupload._cli.measure._PROC", tmp_path)
    with measured() as cost:
        pass

    assert cost.peak is None


def test_units() -> None:
    """Times and sizes are given in few digits."""
    assert [milliseconds(seconds) for seconds in (0.00004, 0.0123, 2.3456)] == ["0.0", "12.3", "2346"]
    assert [megabytes(count) for count in (None, 0, 12_345_678)] == ["-", "0.0", "12.3"]
