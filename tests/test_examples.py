"""The examples run, and show what they say."""

import re
import runpy
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from builders.pictures import jpeg
from fakes import FOREIGN_KEYS, refuse_commits

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@pytest.mark.skipif(sys.platform == "win32", reason="a local storage needs flock")
def test_the_replacement_survives_everything(tmp_path: Path) -> None:
    """One file is named after every mishap, those in doubt are kept, and one is left in the end."""
    command = [sys.executable, "-W", "error", str(EXAMPLES / "replacement.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if "files:" in line]
    assert [line.partition("files: ")[2][0] for line in lines] == ["1", "1", "2", "3", "1"]
    named = [line.rpartition(" ")[2] for line in lines]
    assert named[0] != named[1] == named[2] == named[3] == named[4]
    assert "CommitMissing" in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="a local storage needs flock")
def test_a_replacement_that_the_database_refuses_is_settled_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deferred foreign key does so while the connection still holds its lock; the new file is gone."""
    connect = sqlite3.connect

    def connect_and_check(*names: Any, **options: Any) -> sqlite3.Connection:  # noqa: ANN401
        connection: sqlite3.Connection = connect(*names, **options)
        connection.execute(FOREIGN_KEYS)
        return connection

    example = runpy.run_path(str(EXAMPLES / "replacement.py"))
    application = example["Application"](tmp_path)
    application.set_picture(example["picture"]("red"))
    kept = list(application.uploads.storage.keys())
    refuse_commits(tmp_path / "app.db", "users")
    monkeypatch.setattr(sqlite3, "connect", connect_and_check)
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        application.set_picture(example["picture"]("green"))

    assert list(application.uploads.storage.keys()) == application.used(kept) == kept
    assert list(application.uploads.storage.marks()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="a local storage needs flock")
def test_several_sizes_stand_behind_one_key(tmp_path: Path) -> None:
    """The page names four files, all of which are there; what is no picture is refused, and leaves nothing."""
    source = tmp_path / "upload"
    command = [sys.executable, "-W", "error", str(EXAMPLES / "several_sizes.py"), str(source), str(tmp_path)]

    source.write_bytes(b"no picture")
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    source.write_bytes(jpeg(640, 480))
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (refused.returncode, refused.stdout) == (1, "The file is not a picture.\n")
    assert (done.returncode, done.stderr) == (0, "")
    names = set(re.findall(r"pictures/([^ \"]+)", (tmp_path / "index.html").read_text()))
    assert names == {path.name for path in (tmp_path / "pictures").glob("[!.]*")}
    assert len(names) == 4
