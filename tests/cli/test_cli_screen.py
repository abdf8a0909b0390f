import io
import re
import sys
from pathlib import Path

import pytest
from PIL import Image

from safeupload._cli.main import main
from safeupload._cli.screen import BAD, cell, complain, printable, say, shorten, width


class Terminal(io.StringIO):
    """A stream that somebody watches."""

    def isatty(self) -> bool:
        """Say so."""
        return True


def watched(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Put a terminal where standard output and standard error are (no fixture: pytest captures between its phases)."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    return stream


@pytest.fixture
def no_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide rich."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "rich"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rich", None)


def pictures(folder: Path, count: int) -> Path:
    """Make a folder of so many pictures, and one file that is none."""
    for number in range(count):
        Image.new("RGB", (8, 8)).save(folder / f"{number:02}.png")
    (folder / "bad.png").write_bytes(b"no picture")
    return folder


def test_colour_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """With rich a terminal gets colours."""
    terminal = watched(monkeypatch)
    say(("red", BAD), (" plain", ""))

    assert "\x1b[" in terminal.getvalue()
    assert "red" in terminal.getvalue()


@pytest.mark.usefixtures("no_rich")
def test_plain_without_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without rich a terminal gets the same line, plain."""
    terminal = watched(monkeypatch)
    say(("red", BAD), (" plain", ""))

    assert terminal.getvalue() == "red plain\n"


def test_plain_into_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    """A file gets the line plain, with rich or without."""
    say(("red", BAD), (" plain", ""))

    assert capsys.readouterr().out == "red plain\n"


def test_names_are_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    """What looks like rich's markup is shown as it is, on one line however long, and cannot steer the terminal."""
    terminal = watched(monkeypatch)
    say(("[red]" + "x" * 500 + "[/nonsense]\x1b[2J", ""))

    assert terminal.getvalue() == "[red]" + "x" * 500 + r"[/nonsense]\x1b[2J" + "\n"


def test_complaints_are_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    """A message on standard error cannot steer the terminal either."""
    complain("a\nb\x07")

    assert capsys.readouterr().err == "safeupload: a\\nb\\x07\n"


@pytest.mark.parametrize("count", [8, 9])
def test_bar_for_many(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, count: int) -> None:
    """From ten files on a terminal shows a bar, and lines only for what failed; below, a line for each."""
    terminal = watched(monkeypatch)
    folder = pictures(tmp_path, count)
    main(["normalize", str(folder), str(tmp_path / "out")])

    shown = terminal.getvalue()
    assert ("normalizing" in shown) is (count == 9)  # and the bad one makes ten
    assert ("-> " in shown) is (count == 8)
    assert "not_an_image" in shown


@pytest.mark.usefixtures("no_rich")
def test_no_bar_without_rich(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without rich there is a plain line for each file, however many."""
    terminal = watched(monkeypatch)
    folder = pictures(tmp_path, 12)
    main(["normalize", str(folder), str(tmp_path / "out")])

    assert "\x1b" not in terminal.getvalue()
    assert terminal.getvalue().count(" -> ") == 12


@pytest.mark.usefixtures("no_rich")
def test_check_without_rich(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The table is the same without rich."""
    terminal = watched(monkeypatch)
    assert main(["check", str(pictures(tmp_path, 1))]) == 1

    assert "\x1b" not in terminal.getvalue()
    assert [line.split()[0] for line in terminal.getvalue().splitlines()] == ["verdict", "accepted", "rejected"]


@pytest.mark.parametrize(
    "text",
    [
        "\x00",
        "\t",
        "\n",
        "\x1b[0m",
        "\x7f",
        "\x85",
        "\x9b",
        "\u200b",
        "\u2028",
        "\u202e",
        "\ufeff",
        "\udc80",
        "\U000e0041",
    ],
)
def test_printable(text: str) -> None:
    """Everything that is not seen as itself is escaped."""
    assert printable(text).isprintable()
    assert printable(text) != text


def test_printable_keeps_letters() -> None:
    """What can be seen stays: letters of any script, spaces, brackets."""
    assert printable("größe 漢字 [x] 🙂.png") == "größe 漢字 [x] 🙂.png"


def test_widths() -> None:
    """Columns are counted as a terminal does: wide letters take two, combining marks none."""
    assert [width(text) for text in ("abc", "漢字", "e\u0301")] == [3, 4, 1]
    assert [cell("ab", 4), cell("ab", 4, right=True), cell("漢", 4)] == ["ab  ", "  ab", "漢  "]


def test_shorten() -> None:
    """Too long a text loses its middle, and exactly as much as it must."""
    assert [shorten("abcdefgh", 8), shorten("abcdefghi", 8)] == ["abcdefgh", "abc…fghi"]
    assert width(shorten("漢" * 9, 8)) <= 8


def test_lines_do_not_disturb_the_bar(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A message while the bar is shown begins where the bar was, on a line that has been cleared."""
    terminal = watched(monkeypatch)
    main(["normalize", str(pictures(tmp_path, 20)), str(tmp_path / "out")])

    before = terminal.getvalue().partition("safeupload: ")[0]
    assert re.fullmatch(r".*normalizing.*\r\x1b\[2K(\x1b\[[0-9;]*m)*", before, re.DOTALL)
