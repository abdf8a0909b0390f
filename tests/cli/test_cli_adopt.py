"""`adopt` on the command line: the files of a tutorial, the rows that name them, and what becomes of both."""

import importlib
import io
import json
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from builders.pictures import encoded, jpeg, photograph

from safeupload import StorageError, normalize
from safeupload._adoption import _Entry, _worked
from safeupload._cli.main import main
from safeupload._keys import is_key

APPLICATION = """
import sqlite3
from contextlib import closing
from pathlib import Path

from safeupload import AsyncUploads, Uploads
from safeupload.storage import LocalStorage, MemoryStorage

HERE = Path(__file__).resolve().parent
ASKED, RAISES = [], {}

def database():
    return closing(sqlite3.connect(HERE / "app.db", isolation_level=None))

def used(keys):
    ASKED.append(len(keys))
    if "used" in RAISES:
        raise RAISES["used"]
    with database() as connection:
        rows = connection.execute(f"SELECT file FROM users WHERE file IN ({','.join('?' * len(keys))})", keys)
        return [file for file, in rows]

async def used_async(keys):
    return used(keys)

def change(old, new):
    if old in RAISES:
        raise RAISES.pop(old)
    with database() as connection:
        connection.execute("BEGIN IMMEDIATE")
        changed = connection.execute("UPDATE users SET file = ? WHERE file = ?", (new, old)).rowcount
        if changed != 1:
            raise ValueError(f"{changed} rows name it")
        connection.execute("COMMIT")

async def change_async(old, new):
    change(old, new)

def forget(old, new):
    with database() as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE users SET file = ? WHERE file = ?", (new, old))

def promise(old, new):
    return change_async(old, new)

own = LocalStorage(HERE / "pictures", durability="none", adopt=True)
other = MemoryStorage()
plain = Uploads(own, references=used)
later = AsyncUploads(own, references=used_async)
plain_other = Uploads(other, references=used)
later_other = AsyncUploads(other, references=used_async)
"""
KEYS = [f"{number:032x}.jpg" for number in range(3)]
PLAIN, LATER = ("plain", "change"), ("later", "change_async")
BOTH = pytest.mark.parametrize(("uploads", "change"), [PLAIN, LATER])


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """
    Give the module of an application with a folder of pictures.

    Two rows name keys, two other files, and two the shared one; a key and a file are named by none.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delitem(sys.modules, "app", raising=False)
    (tmp_path / "app.py").write_text(APPLICATION)
    (tmp_path / "pictures").mkdir()
    for number, name in enumerate([*KEYS, "photo.jpg", "default.jpg", "old.jpg"]):
        (tmp_path / "pictures" / name).write_bytes(jpeg(seed=number))
    (tmp_path / "pictures/user_1.png").write_bytes(encoded(photograph(64, 48), "PNG"))
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection:
        connection.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, file TEXT)")
    say("INSERT INTO users (file) VALUES (?)", *KEYS[:2], "photo.jpg", "user_1.png", "default.jpg", "default.jpg")
    monkeypatch.setitem(sys.modules, "app", importlib.import_module("app"))
    return sys.modules["app"]


def say(statement: str, *values: str) -> None:
    """Tell the database something, once for each value."""
    with closing(sqlite3.connect("app.db")) as connection, connection:
        connection.executemany(statement, [(value,) for value in values])


def rows() -> list[str]:
    """Return what the rows hold, in their order."""
    with closing(sqlite3.connect("app.db")) as connection:
        return [file for (file,) in connection.execute("SELECT file FROM users ORDER BY id")]


def files() -> dict[str, bytes]:
    """Return the files in the folder, those on record too."""
    return {str(path): path.read_bytes() for path in Path("pictures").rglob("*") if path.is_file()}


def adopt(uploads: str = "plain", change: str = "change", *words: str, go: bool = True) -> int:
    """Run the command; return its exit code, that of a usage error too."""
    options = ["--change", f"app:{change}", *words, *(["--go"] if go else [])]
    try:
        return main(["adopt", f"app:{uploads}", "pictures", *options])
    except SystemExit as end:
        return int(end.code or 0)


def records(out: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return what was told of each file, and the report."""
    *told, report = map(json.loads, out.splitlines())
    return told, report


@BOTH
def test_what_rows_name_comes_under_care(
    app: ModuleType, uploads: str, change: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Keys stay, other files get one, the shared picture stays the shared one, and no file goes or changes."""
    before = files()

    assert adopt(uploads, change) == 0

    after, (*keys, photo, user, shared, shared_too) = files(), rows()
    assert (keys, shared, shared_too) == (KEYS[:2], "default.jpg", "default.jpg")
    assert is_key(photo)
    assert is_key(user)
    assert before.items() <= after.items()
    assert after.keys() - before.keys() == {f"pictures/{photo}", f"pictures/{user}"}
    assert after[f"pictures/{photo}"] == normalize(before["pictures/photo.jpg"]).data
    assert after[f"pictures/{user}"] == normalize(before["pictures/user_1.png"]).data
    assert capsys.readouterr().out.splitlines() == [
        "default.jpg: kept",
        "old.jpg: no row names it",
        f"photo.jpg -> {photo}",
        f"user_1.png -> {user}",
        "7 files, 2 in place, 2 replaced, 1 kept, 1 named by no row, 1 left to sweep",
        "no file was removed: what was replaced, and what no row names, can go when you are content",
    ]


@BOTH
def test_without_go_nothing_is_changed(
    app: ModuleType, uploads: str, change: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What would be done is told, and what would be rejected is found; neither a file nor a row is touched."""
    Path("pictures/user_1.png").write_bytes(b"no picture")
    before = files(), rows()

    assert adopt(uploads, change, go=False) == 1

    assert (files(), rows()) == before
    captured = capsys.readouterr()
    assert captured.err == "safeupload: user_1.png: rejected: not_an_image: The file is not a picture.\n"
    assert captured.out.splitlines() == [
        "default.jpg: kept",
        "old.jpg: no row names it",
        "photo.jpg: would be replaced",
        "7 files, 2 in place, 1 to be replaced, 1 kept, 1 named by no row, 1 left to sweep, 1 rejected",
        "nothing was changed; --go does it",
    ]


def test_a_dry_run_needs_no_function(app: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """To look is possible before the function is written."""
    assert main(["adopt", "app:plain", "pictures"]) == 0
    assert "2 to be replaced" in capsys.readouterr().out


@BOTH
def test_another_storage_takes_keys_as_well(app: ModuleType, uploads: str, change: str) -> None:
    """A name that is a key says nothing to a storage that has not made it: such a file is replaced like all others."""
    assert adopt(f"{uploads}_other", change) == 0

    named = rows()[:4]
    assert not set(named) & {*KEYS, "photo.jpg", "user_1.png"}
    assert sorted(app.other.keys()) == sorted(named)
    assert app.other.read(named[0]) == normalize(Path("pictures", KEYS[0]).read_bytes()).data


def test_a_copy_of_what_the_storage_has_stays_a_copy(app: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """In another folder, a file whose key the storage holds already is in place: the row means the storage's."""
    Path("pictures").rename("copy")
    for name in ("copy", "pictures"):
        Path(name).mkdir(exist_ok=True)
    Path("pictures", KEYS[0]).write_bytes(b"the storage's")
    (Path("copy") / ".pending").rename(Path("pictures") / ".pending")
    app.plain_other._storage = type(app.own)("pictures")

    assert main(["adopt", "app:plain_other", "copy", "--change", "app:change", "--go"]) == 0

    assert rows()[0] == KEYS[0]
    assert is_key(rows()[1])
    assert rows()[1] != KEYS[1]
    assert "7 files, 1 in place, 3 replaced, 1 kept, 2 named by no row\n" in capsys.readouterr().out


def test_a_second_run_finds_nothing_to_do(app: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """What was replaced is in place, and its old file is one that no row names, which is how to list what can go."""
    assert adopt() == 0
    capsys.readouterr()
    before = files(), rows()

    assert adopt("plain", "change", "--json") == 0

    assert (files(), rows()) == before
    told, report = records(capsys.readouterr().out)
    assert [each["file"] for each in told if each["outcome"] == "unnamed"] == ["old.jpg", "photo.jpg", "user_1.png"]
    assert (report["in_place"], report["replaced"], report["left_to_sweep"]) == (4, 0, 1)


@BOTH
def test_a_file_that_fails_does_not_keep_the_others(
    app: ModuleType, uploads: str, change: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A picture that is refused, and a function that raises, are told; the rest is done, and the next run goes on."""
    say("INSERT INTO users (file) VALUES (?)", "broken.gif", "shared.jpg", "shared.jpg")
    Path("pictures/broken.gif").write_bytes(b"GIF89a")
    Path("pictures/shared.jpg").write_bytes(jpeg())
    app.RAISES["photo.jpg"] = LookupError("not now")
    known = files().keys()

    assert adopt(uploads, change) == 1

    said = capsys.readouterr()
    assert said.err.splitlines() == [
        "safeupload: broken.gif: rejected: corrupt: The picture is damaged or incomplete.",
        "safeupload: photo.jpg: not changed: LookupError: not now",
        "safeupload: shared.jpg: not changed: ValueError: 2 rows name it",
    ]
    assert ", 1 replaced, " in said.out
    assert rows()[2] == "photo.jpg"
    assert files().keys() - known == {f"pictures/{rows()[3]}"}  # what was refused has left nothing

    assert adopt(uploads, change, "--keep", "broken.gif", "--keep", "shared.jpg") == 0
    assert is_key(rows()[2])
    assert rows()[-2:] == ["shared.jpg", "shared.jpg"]


@BOTH
def test_an_interrupted_run_is_run_again(
    app: ModuleType, uploads: str, change: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C in the middle of a commit ends with 130; the next run does the rest, and what was in doubt settles."""
    app.RAISES["user_1.png"] = KeyboardInterrupt()

    assert adopt(uploads, change) == 130

    assert is_key(rows()[2])
    assert rows()[3] == "user_1.png"
    assert adopt(uploads, change) == 0
    assert is_key(rows()[3])
    assert main(["recover", f"app:{uploads}", "--min-age", "0"]) == 0
    assert set(app.own.keys()) == {*KEYS, *rows()[2:4]}
    assert list(app.own.marks()) == []


def test_a_function_that_forgets_to_commit_is_told(app: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """The database is asked after each; both files stay until that is settled."""
    before = files()

    assert adopt("plain", "forget") == 1

    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("safeupload: photo.jpg: not changed: NotCommitted: the commit returned, but the database")
    assert second.startswith("safeupload: user_1.png: not changed: NotCommitted: ")
    assert rows()[2:4] == ["photo.jpg", "user_1.png"]
    assert before.items() <= files().items()
    assert main(["recover", "app:plain", "--min-age", "0"]) == 0
    assert files() == before


def test_a_promise_of_a_change_ends_the_run(app: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """A plain function that returns a coroutine is found out at the first file."""
    assert adopt("plain", "promise") == 3
    assert capsys.readouterr().err.startswith("safeupload: AsyncCallable: ")
    assert rows()[2:4] == ["photo.jpg", "user_1.png"]


@BOTH
def test_a_database_that_is_away_ends_the_run(
    app: ModuleType, uploads: str, change: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without an answer nothing is done."""
    app.RAISES["used"] = LookupError("no database")
    before = files(), rows()

    assert adopt(uploads, change) == 3
    assert capsys.readouterr() == ("", "safeupload: LookupError: no database\n")
    assert (files(), rows()) == before


def test_a_database_that_goes_away_is_not_the_functions_fault(
    app: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    """If nobody can tell whether a change was committed, the run ends there."""
    change = app.change

    def change_and_leave(old: str, new: str) -> None:
        change(old, new)
        app.RAISES["used"] = LookupError("no database")

    vars(app)["change"] = change_and_leave

    assert adopt() == 3
    assert capsys.readouterr().err == "safeupload: LookupError: no database\n"
    assert [is_key(row) for row in rows()[2:4]] == [True, False]


@BOTH
def test_a_storage_that_fails_ends_the_run(
    app: ModuleType, uploads: str, change: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A full disk would refuse all that follow as well."""

    def full(self: object, data: bytes, renditions: object = None) -> None:
        raise StorageError("could not store the file: No space left on device")

    monkeypatch.setattr(type(app.other.new_mark()), "save", full)

    assert adopt(f"{uploads}_other", change) == 3
    said = capsys.readouterr().err
    assert said == "safeupload: StorageError: could not store the file: No space left on device\n"
    assert rows()[:2] == KEYS[:2]


def test_only_plain_files_of_the_folder_itself_count(app: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """Links are not followed; dotfiles, folders and renditions are as if they were not there."""
    Path("secret.jpg").write_bytes(jpeg())
    Path("pictures/link.jpg").symlink_to("../secret.jpg")
    Path("pictures/nowhere.jpg").symlink_to("nothing")
    Path("pictures/.hidden.jpg").write_bytes(jpeg())
    Path("pictures", KEYS[0].replace(".jpg", "-thumb.webp")).write_bytes(b"rendition")
    Path("pictures/more").mkdir()
    Path("pictures/more/photo.jpg").write_bytes(jpeg())
    os.mkfifo("pictures/pipe.jpg")
    say("INSERT INTO users (file) VALUES (?)", ".hidden.jpg", "more", "more/photo.jpg")

    assert adopt("plain", "change", "--json") == 0

    told, report = records(capsys.readouterr().out)
    assert [each["file"] for each in told] == ["default.jpg", "old.jpg", "photo.jpg", "user_1.png"]
    assert report["examined"] == 7


def test_a_link_that_a_row_names_is_told(app: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """Its row stays as it is, which must not look like success; the rest is done."""
    Path("secret.jpg").write_bytes(jpeg())
    Path("pictures/link.jpg").symlink_to("../secret.jpg")
    say("INSERT INTO users (file) VALUES (?)", "link.jpg")

    assert adopt() == 3

    captured = capsys.readouterr()
    assert captured.err == "safeupload: link.jpg: cannot be read: not a plain file\n"
    assert ", 2 replaced, " in captured.out
    assert captured.out.splitlines()[-2].endswith(", 1 unreadable")
    assert rows()[-1] == "link.jpg"


def test_what_takes_the_place_of_a_file_is_not_read(app: ModuleType) -> None:
    """A link or a pipe that was a file when the folder was listed is neither followed nor waited for."""
    Path("pictures/link.jpg").symlink_to("photo.jpg")
    os.mkfifo("pictures/pipe.jpg")

    for name in ("link.jpg", "pipe.jpg", "gone.jpg"):
        with pytest.raises(OSError, match=r"."):
            _worked(lambda file, _: file.read(), Path("pictures"), _Entry(name, plain=True), None)


def test_a_prefix_belongs_to_the_rows(app: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """Django's rows have a folder before the name: the question and the function get both, and the key stands alone."""
    say("UPDATE users SET file = ? || file WHERE file IN ('photo.jpg', 'user_1.png')", "profile_pics/")
    say(f"UPDATE users SET file = ? || file WHERE file = '{KEYS[1]}'", "profile_pics/")  # noqa: S608 - a key

    assert adopt() == 0
    assert rows()[2] == "profile_pics/photo.jpg"
    assert "1 in place, 0 replaced, 1 kept, 3 named by no row, 2 left to sweep" in capsys.readouterr().out
    assert adopt("plain", "change", "--prefix", "profile_pics/") == 0

    assert rows()[0] == KEYS[0]
    assert all(map(is_key, rows()[1:4]))
    assert rows()[1] != KEYS[1]
    assert "1 in place, 3 replaced, 1 kept, 1 named by no row, 1 left to sweep" in capsys.readouterr().out


@pytest.mark.parametrize("prefix", ["", "profile_pics/"])
def test_a_large_folder_is_asked_about_in_parts(
    app: ModuleType, prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No question has more than 900 names, and each file is in one of them."""
    for number in range(1000):
        Path(f"pictures/{number}.jpg").touch()
        Path(f"pictures/{number:032x}.jpg").touch()

    assert adopt("plain", "change", "--prefix", prefix, go=False) == 0

    assert max(app.ASKED) <= 900
    assert f"{2000 + 7 - len(KEYS)} files, " in capsys.readouterr().out


def test_what_no_row_names_may_be_the_wrong_database(app: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody should take a whole folder for one that can go without a thought."""
    say("UPDATE users SET file = ?", "elsewhere")

    assert adopt() == 0
    assert "no row names any of these files" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems take no such name")
def test_a_name_that_is_no_text(app: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """The database is not asked about it, and the line that tells of it is harmless."""
    Path(os.fsdecode(b"pictures/\xff\n.jpg")).write_bytes(jpeg())

    assert adopt() == 0
    assert "\\udcff\\n.jpg: no row names it\n" in capsys.readouterr().out


@BOTH
def test_json(app: ModuleType, uploads: str, change: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each file that something is to be done about is an object of its own, and the last one has the counts."""
    Path("pictures/photo.jpg").write_bytes(b"no picture")
    app.RAISES["user_1.png"] = LookupError("not now")
    nothing = {"key": None, "code": None}

    assert adopt(uploads, change, "--json") == 1
    told, report = records(capsys.readouterr().out)

    assert told == [
        {"file": "default.jpg", "outcome": "kept", "key": None},
        {"file": "old.jpg", "outcome": "unnamed", "key": None},
        {
            "file": "photo.jpg",
            "outcome": "rejected",
            "key": None,
            "code": "not_an_image",
            "detail": "The file is not a picture.",
        },
        {"file": "user_1.png", "outcome": "not_changed", **nothing, "detail": "LookupError: not now"},
    ]
    assert report == {
        "examined": 7,
        "in_place": 2,
        "replaced": 0,
        "kept": 1,
        "unnamed": 1,
        "left_to_sweep": 1,
        "rejected": 1,
        "not_changed": 1,
        "unreadable": 0,
        "dry_run": False,
    }
    Path("pictures/photo.jpg").unlink()
    assert adopt(uploads, change, "--json") == 0
    told, _ = records(capsys.readouterr().out)
    assert told[-1] == {"file": "user_1.png", "outcome": "replaced", "key": rows()[3]}
    assert adopt(uploads, change, "--json", go=False) == 0
    assert records(capsys.readouterr().out)[1]["dry_run"] is True


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["app:plain"], "the following arguments are required: FOLDER"),
        (["app", "pictures"], "expected MODULE:UPLOADS, for example app.main:uploads, got 'app'"),
        (["app:plain", "nowhere"], "there is no folder 'nowhere'"),
        (["app:plain", "app.py"], "there is no folder 'app.py'"),
        (["app:plain", "pictures", "--go"], "--go needs --change MODULE:FUNCTION"),
        (["app:plain", "pictures", "--change", "app"], "expected MODULE:FUNCTION, for example app.main:function"),
        (["app:plain", "pictures", "--change", "app:nowhere"], "cannot find 'nowhere' in 'app'"),
        (["app:plain", "pictures", "--change", "nowhere:change"], "cannot import 'nowhere'"),
        (["app:plain", "pictures", "--change", "app:HERE"], "app:HERE is no function but a PosixPath"),
        (["app:plain", "pictures", "--change", "app:change_async"], "app:change_async must be a plain function"),
        (["app:later", "pictures", "--change", "app:change"], "app:change must be a coroutine function (async def)"),
        (["app:plain", "pictures", "--keep", "typo.jpg"], "--keep: there is no file 'typo.jpg' in the folder"),
        (["app:plain", "pictures", "--keep", "../app.py"], "--keep: there is no file '../app.py' in the folder"),
    ],
)
def test_usage(app: ModuleType, words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong command line says in one line what is wrong, and nothing is done."""
    before = files(), rows()

    with pytest.raises(SystemExit) as caught:
        main(["adopt", *words, "--go"] if "--change" in words else ["adopt", *words])

    assert caught.value.code == 2
    assert said in capsys.readouterr().err
    assert (files(), rows()) == before


def test_the_shared_picture_need_not_be_there(app: ModuleType) -> None:
    """To keep it is no mistake, whether or not there is one."""
    Path("pictures/default.jpg").unlink()

    assert adopt("plain", "change", "--keep", "default.jpg") == 0


class Closed(io.StringIO):
    """Output that nobody reads any more."""

    def write(self, text: str) -> int:
        """Say so."""
        raise BrokenPipeError


def test_output_that_nobody_reads_ends_the_run(app: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for the other commands it is 141, and no error of the storage; no file is left half done."""
    monkeypatch.setattr(sys, "stdout", Closed())

    assert adopt() == 141
    assert list(app.own.marks()) == []


class Terminal(io.StringIO):
    """A stream that somebody watches."""

    def isatty(self) -> bool:
        """Say so."""
        return True


def test_lines_and_the_count_share_a_terminal(app: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """The count is gone from the screen before a line is printed, and comes back after it."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr("safeupload._cli.screen.LONG", 1)

    assert adopt(go=False) == 0

    erased = "\x1b[1A\x1b[2K"
    before, line, after = terminal.getvalue().partition("user_1.png\x1b[2m: would be replaced")
    assert line
    assert before.rpartition("6 files")[2].endswith(erased)
    assert "7 files" in after.partition(erased)[0]
