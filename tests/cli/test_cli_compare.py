import html.parser
import io
import os
import re
import signal
import subprocess
import sys
import webbrowser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageCms

import safeupload
from safeupload._cli import child, compare, trial
from safeupload._cli.main import main
from safeupload._cli.sheet import Card, sheet
from safeupload._cli.trial import Limits, Outcome, attempt, difference, leftovers, misbehaviour, wrongs
from safeupload._samples import SAMPLES, benign, hostile

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
ELEMENTS = (
    "html head meta title style body header h1 h2 p strong main article div ul li figure img figcaption b span br"
)
HOSTILE_NAME = "<img src=x onerror=alert(1)>\"'&\x1b[2J\u202e.gif"


class Page(html.parser.HTMLParser):
    """Reads a page: its elements, properly nested, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text = ""
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.elements.append((tag, dict(attrs)))
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Check that it ends what was opened last."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note text."""
        if self.open[-1:] != ["style"]:
            self.text += data


def jpeg(colour: tuple[int, int, int] = (90, 120, 30), **options: object) -> bytes:
    """Return a clean result, but for what the options put in."""
    out = io.BytesIO()
    Image.new("RGB", (300, 300), colour).save(out, "JPEG", **options)
    return out.getvalue()


CLEAN = jpeg()
OK = Outcome(outcome="ok", picture=CLEAN, seconds=0.01, peak=1_000_000)
REFUSED = Outcome(outcome="rejected", error="corrupt")


class Done:
    """A run of compare on four files, the picture of one of which leaks, and what it printed."""

    def __init__(self, folder: Path) -> None:
        inside = folder / "in"
        inside.mkdir()
        (inside / "comment.jpg").write_bytes(hostile.comment_jpeg())
        (inside / "truncated.jpg").write_bytes(hostile.truncated_jpeg())
        (inside / "gone.jpg").symlink_to("nowhere")
        (inside / HOSTILE_NAME).write_bytes(benign.animated_gif())
        command = [sys.executable, "-P", "-m", "safeupload", "compare", str(inside), "--out", str(folder / "out")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        self.code, self.err = done.returncode, done.stderr
        self.head, *self.rows, self.summary, self.where = done.stdout.splitlines()
        self.sheet = folder / "out" / compare.SHEET


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """Run compare once for several tests."""
    if os.name != "posix":
        pytest.skip("names with such characters")
    return Done(tmp_path_factory.mktemp("compare"))


def test_rows(done: Done) -> None:
    """Each file has a row with both verdicts and what went wrong, and the sum is right."""
    cells = [re.split(r"\s{2,}", row) for row in done.rows]

    # in the order of the names: "<" comes first
    assert [cell[1] for cell in cells] == ["ok", "ok", "ok"]
    assert ["corrupt" in row for row in done.rows] == [False, False, True]
    assert cells[0][-1] == "looks different"
    assert cells[1][-1] == "the result holds a comment"
    assert "plain Pillow: something went wrong with 2; safeupload: a clean picture or a refusal" in done.summary
    assert done.summary.startswith("3 files")
    assert all(line.isprintable() for line in (done.head, *done.rows, done.summary))


def test_unreadable_is_3(done: Done) -> None:
    """A file that cannot be read is a message and exit code 3, and the others go on."""
    assert done.code == 3
    assert done.err.endswith("gone.jpg: cannot be read: no such file or directory\n")


def test_sheet_is_written(done: Done) -> None:
    """The sheet is where the last line says, whole, with the pictures of both ways as data."""
    assert done.where == f"contact sheet: {done.sheet.absolute()}"
    page = Page(done.sheet.read_text(encoding="utf-8"))
    sources = [attributes["src"] or "" for tag, attributes in page.elements if tag == "img"]
    assert len(sources) == 5  # three files both ways, but for the refusal
    assert all(source.startswith("data:image/jpeg;base64,/9j/") for source in sources)
    assert [path.name for path in done.sheet.parent.iterdir()] == [compare.SHEET]


def test_sheet_shows_hostile_names_as_text(done: Done) -> None:
    """A name full of mark-up is text on the sheet, with its control characters escaped, and adds no element."""
    page = Page(done.sheet.read_text(encoding="utf-8"))

    assert r"""<img src=x onerror=alert(1)>"'&\x1b[2J\u202e.gif""" in page.text
    assert not any("onerror" in attributes for _, attributes in page.elements)
    assert {tag for tag, _ in page.elements} <= set(ELEMENTS.split())


def test_sheet_escapes_everything() -> None:
    """Whatever text comes from a file or from a decoder is text on the sheet."""
    evil = "</article><script>alert(1)</script>\"'"
    outcome = Outcome(outcome="error", error=evil, detail=evil)
    card = Card(name=evil, about=evil, plain=outcome, safe=OK, wrongs=[evil], broken=[evil])
    page = Page(sheet([card], Limits()))

    assert not any(tag == "script" for tag, _ in page.elements)
    assert page.text.count(evil) == 7
    assert [attributes["alt"] for tag, attributes in page.elements if tag == "img"] == [f"{evil}, safeupload"]


def test_sheet_loads_nothing() -> None:
    """The page forbids itself to load anything, and has nothing to load; it fits a phone and the dark."""
    text = sheet([Card(name="x", about="", plain=OK, safe=OK, wrongs=[], broken=[])], Limits())
    page = Page(text)

    policies = [a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    assert not re.search(r"https?:|url\(|@import|href=|<link|<script", text)
    assert "width=device-width" in text
    assert "prefers-color-scheme: dark" in text


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, []),
        ({"quality": 20, "subsampling": 0, "restart_marker_rows": 1}, []),
        ({"comment": b"hello bird"}, ["the canary", "a comment"]),
        ({"exif": benign.exif(6)}, ["EXIF"]),
        ({"xmp": b"<x/>"}, ["XMP"]),
        ({"icc_profile": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()}, ["an ICC profile"]),
        ({"extra": b"\xff\xed\x00\x04ab"}, ["segment ED"]),
        ({"extra": b"\xff\xe0\x00\x06JFXX"}, ["segment E0"]),
    ],
)
def test_leftovers(options: dict[str, Any], expected: list[str]) -> None:
    """Whatever a JPEG holds besides a picture is found and named."""
    assert leftovers(jpeg(**options), {b"bird": "the canary"}) == expected


def test_leftovers_behind_the_picture() -> None:
    """Bytes behind the end are found, and so is a missing end."""
    assert leftovers(CLEAN + b"x", {}) == ["bytes behind the picture"]
    assert leftovers(CLEAN[:-2], {}) == ["no end"]
    assert leftovers(b"", {}) == ["no end"]


def test_difference() -> None:
    """Pictures are compared by their mean level; what is none cannot be compared."""
    other = jpeg(colour=(96, 126, 36))

    assert difference(CLEAN, CLEAN) == 0
    assert difference(CLEAN, other) == pytest.approx(6, abs=1)
    assert difference(CLEAN, b"no picture") is None
    assert difference(CLEAN, safeupload.normalize(other, safeupload.Policy(size=(30, 30))).data) is None


@pytest.mark.parametrize(
    ("plain", "safe", "expected"),
    [
        (OK, OK, []),
        (Outcome(outcome="ok", picture=jpeg(colour=(93, 123, 33))), OK, []),  # 3 levels: nobody sees it
        (Outcome(outcome="ok", picture=jpeg(colour=(96, 126, 36))), OK, ["harm"]),
        (Outcome(outcome="ok", picture=jpeg(comment=b"x", exif=b"y")), OK, ["the result holds segment E1, a comment"]),
        (OK, REFUSED, ["harm"]),
        (Outcome(outcome="time", seconds=20), REFUSED, ["still decoding after 20 s"]),
        (Outcome(outcome="crash", error="SIGSEGV"), REFUSED, ["the process died"]),
        (Outcome(outcome="error", error="struct.error"), REFUSED, ["struct.error reaches the application"]),
        (Outcome(outcome="error", error="UnidentifiedImageError"), REFUSED, []),
        (Outcome(outcome="ok", picture=CLEAN, peak=256 << 20), OK, []),
        (
            Outcome(outcome="ok", picture=CLEAN, peak=1 + (256 << 20)),
            OK,
            ["268 MB of memory for a file of 34 bytes"],
        ),
    ],
)
def test_wrongs(plain: Outcome, safe: Outcome, expected: list[str]) -> None:
    """What went wrong is told: leaks, differences one can see, errors, time and memory; and nothing else."""
    assert wrongs(plain, safe, {}, "harm", 34) == expected


def test_wrongs_of_unknown_files() -> None:
    """Of a file that we did not make it can only be said that the two results look different."""
    other = Outcome(outcome="ok", picture=jpeg(colour=(0, 0, 0)))

    assert wrongs(other, OK, {}, "", 20_000) == ["looks different"]
    assert wrongs(other, REFUSED, {}, "", 20_000) == []
    assert wrongs(Outcome(outcome="time", seconds=2, peak=1 << 30), OK, {}, "", 20_000) == [
        "still decoding after 2 s",
        "1,074 MB of memory for a file of 20 kB",
    ]


@pytest.mark.parametrize(
    ("safe", "expected"),
    [
        (OK, []),
        (REFUSED, []),
        (Outcome(outcome="error", error="ValueError"), ["ValueError"]),
        (Outcome(outcome="time"), ["killed: time"]),
        (Outcome(outcome="crash", error="SIGSEGV"), ["killed: SIGSEGV"]),
        (Outcome(outcome="ok", picture=jpeg(comment=b"canary")), ["the canary", "a comment"]),
        (Outcome(outcome="ok", picture=CLEAN[:700]), ["no end", "not a picture"]),
        (
            Outcome(outcome="ok", picture=safeupload.normalize(CLEAN, safeupload.Policy(size=(30, 30))).data),
            ["not the picture asked for"],
        ),
    ],
)
def test_misbehaviour(safe: Outcome, expected: list[str]) -> None:
    """Anything but a clean picture or a refusal breaks our word."""
    assert misbehaviour(safe, {b"canary": "the canary"}) == expected


@pytest.mark.parametrize(
    ("outcome", "expected"), [(OK, 0), (REFUSED, 0), (Outcome(outcome="crash", error="SIGSEGV"), 1)]
)
def test_exit_code_tells_of_safeupload(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    outcome: Outcome,
    expected: int,
) -> None:
    """The exit code is 1 if safeupload broke its word, whatever the plain way did, and the row says so."""
    worse = Outcome(outcome="crash", error="memory")
    monkeypatch.setattr(compare, "attempt", lambda name, *_: worse if name == "plain" else outcome)
    path = tmp_path / "x.png"
    path.write_bytes(b"x")

    assert main(["compare", str(path), "--out", str(tmp_path)]) == expected
    assert ("safeupload: killed: SIGSEGV" in capsys.readouterr().out) is (expected == 1)


@pytest.mark.parametrize(("option", "count"), [("--open", 1), ("--no-open", 0), (None, 0)])
def test_browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str | None, count: int) -> None:
    """Only --open opens a browser, on the sheet; without --out the sheet is in a new folder."""
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr(compare, "attempt", lambda *_: OK)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "x.png").write_bytes(b"x")

    assert main(["compare", str(tmp_path / "x.png"), *([option] if option else [])]) == 0
    (written,) = tmp_path.glob(f"safeupload-compare-*/{compare.SHEET}")
    assert opened == [written.as_uri()] * count


def test_samples_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without files the samples are made beside the sheet and tried in order, with what is known about them."""
    plain = Outcome(outcome="ok", picture=jpeg(comment=hostile.SCRIPT))
    monkeypatch.setattr(compare, "attempt", lambda way, *_: plain if way == "plain" else OK)
    monkeypatch.setattr(compare, "SAMPLES", [s for s in SAMPLES if s.name in {"comment.jpg", "script.svg"}])

    assert main(["compare", "--out", str(tmp_path / "new")]) == 0
    _, first, second, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith("comment.jpg  ")
    assert first.endswith("  the result holds the script, a comment")
    assert second.startswith("script.svg  ")
    assert second.endswith("  the result holds a comment")
    assert (tmp_path / "new" / compare.SAMPLE_FOLDER / "script.svg").read_bytes() == hostile.svg()
    assert "SVG with a script" in (tmp_path / "new" / compare.SHEET).read_text(encoding="utf-8")


def test_out_must_be_a_folder(tmp_path: Path) -> None:
    """A file cannot hold the sheet."""
    (tmp_path / "x").write_bytes(b"x")
    with pytest.raises(SystemExit) as caught:
        main(["compare", "x", "--out", str(tmp_path / "x")])

    assert caught.value.code == 2


def test_attempt_gives_the_picture(tmp_path: Path) -> None:
    """A child hands back the very bytes that the library makes, and what they cost."""
    path = tmp_path / "x.png"
    path.write_bytes(benign.transparent_png())
    outcome = attempt("safeupload", path, Limits())

    assert outcome.outcome == "ok"
    assert outcome.picture == safeupload.normalize(path).data
    assert 0 < outcome.seconds < 20
    assert outcome.peak is None or 3_000_000 < outcome.peak < 25_000_000


def test_attempt_tells_errors_apart(tmp_path: Path) -> None:
    """A refusal comes with its code, anything else that is raised with its type."""
    path = tmp_path / "x.svg"
    path.write_bytes(hostile.svg())

    safe, plain = (attempt(name, path, Limits()) for name in ("safeupload", "plain"))
    assert (safe.outcome, safe.verdict) == ("rejected", "format_not_allowed")
    assert safe.detail.startswith("Pictures of the type SVG are not accepted")
    assert (plain.outcome, plain.verdict) == ("error", "UnidentifiedImageError")


def test_attempt_ends_in_time(tmp_path: Path) -> None:
    """A decoder that does not come to an end is killed, and its memory is known where the system tells."""
    path = tmp_path / "x.jpg"
    path.write_bytes(hostile.scan_bomb())
    outcome = attempt("plain", path, Limits(seconds=0.5))

    assert (outcome.outcome, outcome.verdict, outcome.seconds) == ("time", "killed: time", 0.5)
    assert outcome.peak is None or outcome.peak > 1_000_000


@linux
def test_attempt_is_held_to_its_memory(tmp_path: Path) -> None:
    """A decoder that wants more memory than it may have does not get it."""
    path = tmp_path / "x.png"
    path.write_bytes(hostile.near_bomb(5000))  # 100 MB of raster and a copy

    assert attempt("plain", path, Limits(memory=300 << 20)).verdict == "MemoryError"
    assert attempt("plain", path, Limits(memory=3 << 30)).verdict == "ok"


@linux
def test_child_has_limits_of_its_own() -> None:
    """The kernel holds the child to memory and processor time, should the parent be gone."""
    code = (
        "import resource; from safeupload._cli import child; child._limit(1 << 32, 7.0);"
        "print(resource.getrlimit(resource.RLIMIT_AS), resource.getrlimit(resource.RLIMIT_CPU))"
    )
    shown = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True).stdout

    assert shown.strip() == f"({1 << 32}, {1 << 32}) (12, 12)"


def fake(tmp_path: Path, script: str, seconds: float = 20) -> Outcome:
    """Watch a child that is another program."""
    (tmp_path / child.PICTURE).write_bytes(b"picture")
    with subprocess.Popen([sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE, bufsize=0) as process:
        try:
            return trial._watch(process, tmp_path, Limits(seconds=seconds))
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("script", "verdict"),
    [
        ("pass", "killed: exit code 0"),
        ("raise SystemExit(3)", "killed: exit code 3"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "killed: memory"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGXCPU)", "killed: time"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", "killed: SIGTERM"),
    ],
)
@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_children_that_die(tmp_path: Path, script: str, verdict: str) -> None:
    """A child that ends without a report has died, of what can be seen."""
    outcome = fake(tmp_path, script)

    assert (outcome.outcome, outcome.verdict) == ("crash", verdict)


def test_children_that_report_and_die(tmp_path: Path) -> None:
    """A report counts only if the child then ended as it should."""
    (tmp_path / child.REPORT).write_text('{"outcome": "ok", "seconds": 1.5, "peak": null}')

    outcome = fake(tmp_path, "pass")
    assert (outcome.verdict, outcome.seconds, outcome.picture) == ("ok", 1.5, b"picture")
    assert fake(tmp_path, "raise SystemExit(1)").verdict == "killed: exit code 1"


@linux
def test_peak_is_the_childs(tmp_path: Path) -> None:
    """The peak of a child that was killed is its own: that of a Python with nothing loaded, above what it says."""
    script = "import time; print('{\"base\": 1000000}', flush=True); time.sleep(60)"
    outcome = fake(tmp_path, script, seconds=0.5)

    assert outcome.verdict == "killed: time"
    assert outcome.peak is not None
    assert 2_000_000 < outcome.peak < 25_000_000


@pytest.mark.parametrize(
    "report",
    [
        "",
        "[" * 60_000,
        "[]",
        "{}",
        '{"outcome": "ok", "seconds": 1.0}x',
        '{"outcome": "perfect", "seconds": 1.0, "peak": 1}',
        '{"outcome": [], "seconds": 1.0, "peak": 1}',
        '{"outcome": "ok", "seconds": "1", "peak": 1}',
        '{"outcome": "ok", "seconds": 1.0, "peak": "1"}',
        '{"outcome": "ok", "seconds": 1.0, "peak": null, "x": "' + "x" * 70_000 + '"}',
    ],
)
def test_children_that_lie(tmp_path: Path, report: str) -> None:
    """A report that makes no sense is no report, and no exception."""
    (tmp_path / child.REPORT).write_text(report)

    assert trial._report(tmp_path) is None


@pytest.mark.parametrize("line", [b"", b"junk\n", b"[]\n", b"{}\n", b'{"base": "1"}\n', b'{"base": 1.5}\n'])
def test_base_that_lies(line: bytes) -> None:
    """A first line that makes no sense only means that the memory is unknown."""
    assert trial._base(line) is None
    assert trial._base(b'{"base": 1024}\n') == 1024


def test_picture_is_bounded(tmp_path: Path) -> None:
    """However large a picture a child leaves, no more than a few megabytes of it are read."""
    with (tmp_path / child.PICTURE).open("wb") as file:
        file.truncate(1 << 30)

    assert len(trial._picture(tmp_path)) == 4 << 20


def test_unknown_signal() -> None:
    """A signal without a name has its number."""
    assert trial._cause(-250) == "signal 250"
    assert trial._cause(-signal.SIGTERM) == "SIGTERM"


def test_help_exits_with_0() -> None:
    """``python -m safeupload compare --help`` prints the usage and ends with 0."""
    command = [sys.executable, "-P", "-m", "safeupload", "compare", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert shown.startswith("usage: python -m safeupload compare")
    assert "--no-open" in shown


@pytest.mark.long
def test_all_samples(tmp_path: Path) -> None:
    """The demo as it is: safeupload keeps its word for every sample, and the plain way fails as the samples say."""
    command = [sys.executable, "-P", "-m", "safeupload", "compare", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    rows = done.stdout.splitlines()[1:-2]
    assert done.returncode == 0
    assert [row.split()[0] for row in rows] == [sample.name for sample in SAMPLES]
    for row, sample in zip(rows, SAMPLES, strict=True):
        assert (sample.code or "ok") in row
        assert not sample.harm or sample.name == "photo.jpg" or sample.harm in row
    assert "killed: time" in rows[6]
    assert len(list((tmp_path / compare.SAMPLE_FOLDER).iterdir())) == len(SAMPLES)
    Page((tmp_path / compare.SHEET).read_text(encoding="utf-8"))
