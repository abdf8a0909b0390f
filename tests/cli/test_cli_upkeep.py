"""`recover` and `sweep` on the command line: the application's own object, what is said, and the exit code."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from safeupload._cli import upkeep
from safeupload._cli.main import main

APPLICATION = """
import os
from types import SimpleNamespace
import safeupload
from safeupload.storage import LocalStorage

NAMED = {named!r}

def used(keys):
    if {broken!r}:
        raise LookupError("no database")
    return [key for key in keys if key in NAMED]

async def used_async(keys):
    return used(keys)

storage = LocalStorage(os.path.join(os.path.dirname(__file__), "pictures"), durability="none")
plain = safeupload.Uploads(storage, references=used)
state = SimpleNamespace(uploads=safeupload.AsyncUploads(storage, references=used_async))

def make():
    return plain

def make_nothing():
    return None

def make_for(tenant):
    return plain

async def make_later():
    return plain

class Proxy:
    @property
    def uploads(self):
        raise OSError("no request")

proxy = Proxy()
"""
KEYS = [f"{number:032x}.jpg" for number in range(5)]
OBJECTS = ["app:plain", "app:state.uploads", "app:make"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the folder of an application with five files, of which rows name three, and a mark on one of the others."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "app", raising=False)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    write(tmp_path)
    marks = tmp_path / "pictures" / ".pending"
    marks.mkdir(parents=True)
    for key in KEYS:
        (tmp_path / "pictures" / key).write_bytes(b"picture")
        os.utime(tmp_path / "pictures" / key, (0, 0))
    os.link(tmp_path / "pictures" / KEYS[4], marks / KEYS[4])
    return tmp_path


def write(folder: Path, *, named: list[str] = KEYS[:3], broken: bool = False) -> None:
    """Write the application's module."""
    (folder / "app.py").write_text(APPLICATION.format(named=named, broken=broken))


def left(folder: Path) -> list[str]:
    """Return the keys of the files that are there."""
    return sorted(path.name for path in (folder / "pictures").glob("*.jpg"))


def run(*words: str) -> int:
    """Run a command; return its exit code, that of a usage error too."""
    try:
        return main(words)
    except SystemExit as end:
        return int(end.code or 0)


@pytest.mark.parametrize("name", OBJECTS)
def test_recover_settles_what_is_on_record(folder: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The file that no row names goes, and its mark; what is said counts."""
    assert run("recover", name) == 0

    assert left(folder) == KEYS[:4]
    assert list((folder / "pictures/.pending").iterdir()) == []
    assert capsys.readouterr().out == "1 removed, 0 kept, 0 waiting\n"


def test_recover_leaves_young_marks_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The age is the command line's."""
    os.utime(folder / "pictures/.pending" / KEYS[4])

    assert run("recover", "app:plain", "--min-age", "1h", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"removed": [], "kept": 0, "waiting": 1, "failed": []}
    assert run("recover", "app:plain", "--min-age", "0") == 0
    assert left(folder) == KEYS[:4]


@pytest.mark.parametrize("name", OBJECTS)
def test_sweep_removes_what_no_row_names(folder: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is on record is left to `recover`."""
    assert run("sweep", name) == 0

    assert left(folder) == [*KEYS[:3], KEYS[4]]
    said = "5 files, 3 named by rows, 1 on record, 0 too young, 1 removed, 0 left for the next time\n"
    assert capsys.readouterr().out == said


def test_a_dry_run_lists_what_would_go(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is removed; the keys stand one in a line."""
    assert run("sweep", "app:plain", "--dry-run") == 0

    assert left(folder) == KEYS
    assert capsys.readouterr().out.splitlines()[0] == KEYS[3]
    assert run("sweep", "app:plain", "--dry-run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["removed"] == [KEYS[3]]


def test_a_sweep_against_the_wrong_database_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If no row names any file, nothing goes, unless it is forced."""
    write(folder, named=[])

    assert run("sweep", "app:plain") == 1
    assert left(folder) == KEYS
    said = capsys.readouterr().err
    assert "refused: no row names any of the 5 files" in said
    assert said.endswith("To see what would go: --dry-run --force\n")
    assert run("sweep", "app:plain", "--force", "--limit", "1") == 0
    assert len(left(folder)) == 4


@pytest.mark.parametrize("command", ["recover", "sweep"])
def test_a_database_that_is_away_is_an_error(folder: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line says what `references` raised; nothing is removed."""
    write(folder, broken=True)

    assert run(command, "app:plain") == 3
    assert left(folder) == KEYS
    assert capsys.readouterr().err == "safeupload: LookupError: no database\n"


def chattr(what: str, path: Path) -> int:
    """Make a file immutable, or mutable again; return an exit code."""
    return subprocess.run(["/usr/bin/env", "chattr", what, path], capture_output=True, check=False).returncode


@pytest.mark.skipif(os.geteuid() != 0 if hasattr(os, "geteuid") else True, reason="needs root to make a file immutable")
def test_what_cannot_be_removed_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code says that something is left; its mark stays."""
    immutable = folder / "pictures" / KEYS[3]
    if chattr("+i", immutable):
        pytest.skip("this file system has no immutable files")
    try:
        assert run("sweep", "app:plain") == 1
        assert f"{KEYS[3]}: could not be removed" in capsys.readouterr().err
    finally:
        chattr("-i", immutable)
    assert KEYS[3] in left(folder)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["app"], "expected MODULE:UPLOADS"),
        (["app:"], "expected MODULE:UPLOADS"),
        (["nowhere:uploads"], "cannot import 'nowhere'"),
        (["app.nowhere:uploads"], "cannot import 'app.nowhere'"),
        (["app:nowhere"], "cannot find 'nowhere' in 'app'"),
        (["app:state"], "is no Uploads or AsyncUploads but a SimpleNamespace"),
        (["app:safeupload.Uploads"], "is no Uploads or AsyncUploads but a type"),
        (["app:make_nothing"], "is no Uploads or AsyncUploads but a NoneType"),
        (["app:make_later"], "is no Uploads or AsyncUploads but a coroutine"),
        (["app:proxy.uploads"], "cannot find 'proxy.uploads' in 'app': no request"),
        (["app:plain", "--min-age", "9" * 400], "expected a number and s, m, h or d"),
        (["app:plain", "--min-age", "soon"], "expected a number and s, m, h or d"),
        (["app:plain", "--min-age", "-1"], "expected"),
    ],
)
@pytest.mark.parametrize("command", ["recover", "sweep"])
def test_usage(folder: Path, command: str, words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong command line says in one line what is wrong, and nothing is done."""
    assert run(command, *words) == 2

    captured = capsys.readouterr()
    assert said in captured.err
    assert "Traceback" not in captured.err
    assert left(folder) == KEYS


@pytest.mark.parametrize("name", ["app:plain", "app:make_for"])
def test_what_the_application_raises_is_never_success(
    folder: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A module that ends the program as it is imported, or a function that wants arguments, is no 0 for cron."""
    if name == "app:plain":
        (folder / "app.py").write_text("import sys; sys.exit()\n")

    assert run("recover", name) == 2
    assert "Traceback" in capsys.readouterr().err
    assert left(folder) == KEYS


class Terminal(io.StringIO):
    """A stream that somebody watches."""

    def isatty(self) -> bool:
        """Say so."""
        return True


@pytest.mark.parametrize("count", [999, 1000])
def test_a_long_sweep_is_counted_on_the_terminal(folder: Path, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The count is shown on standard error from 1,000 files on; standard output, a file, gets the report alone."""
    for number in range(len(KEYS), count):
        (folder / "pictures" / f"{number:032x}.jpg").touch()  # too young to go
    terminal, file = Terminal(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(sys, "stdout", file)
    monkeypatch.setenv("TERM", "xterm-256color")

    assert run("sweep", "app:plain", "--dry-run", "--json") == 0
    assert json.loads(file.getvalue())["examined"] == count
    assert (f"{count:,} files" in terminal.getvalue()) is (count == 1000)
    assert KEYS[3] not in terminal.getvalue()


def test_an_application_that_fails_shows_where(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What its module raises is for its developer, traceback and all."""
    (folder / "app.py").write_text("import nothing_of_that_name\n")

    assert run("recover", "app:plain") == 2
    captured = capsys.readouterr()
    assert "Traceback" in captured.err
    assert "cannot import 'app': No module named 'nothing_of_that_name'" in captured.err


@pytest.mark.parametrize("options", [[], ["-P"]])
def test_the_current_folder_is_searched(folder: Path, options: list[str]) -> None:
    """As a program, with or without Python's safe path."""
    command: list[Any] = [sys.executable, *options, "-W", "error", "-m", "safeupload", "recover", "app:plain", "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["removed"] == [KEYS[4]]


@pytest.mark.parametrize(
    ("word", "seconds"), [("0", 0), ("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7200), ("1d", 86400)]
)
def test_durations(word: str, seconds: float) -> None:
    """Ages are said as people say them."""
    assert upkeep.duration(word) == seconds


def test_a_limit_below_zero_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A limit is a number of files."""
    assert run("sweep", "app:plain", "--limit", "-1") == 2
    assert "0 or more" in capsys.readouterr().err
