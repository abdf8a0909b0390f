"""
Replace a picture with nothing but sqlite3: well, with the commit forgotten, and in a process that is killed.

    python examples/replacement.py [FOLDER]

Prints after each of them which files there are and which one the database names.
"""

from __future__ import annotations

import io
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

from PIL import Image

from safeupload import CommitMissing, Uploads
from safeupload.storage import LocalStorage


class Application:
    """A table of users, and a folder of pictures."""

    def __init__(self, folder: Path) -> None:
        self._database = folder / "app.db"
        with self._connection() as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS users (id INTEGER PRIMARY KEY, image_file TEXT UNIQUE)")
            connection.execute("INSERT OR IGNORE INTO users VALUES (1, NULL)")
        self.uploads = Uploads(LocalStorage(folder / "pictures"), references=self.used)

    @contextmanager
    def _connection(self) -> Generator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._database, timeout=30, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = EXTRA")  # what was committed survives a power loss
            yield connection

    def used(self, keys: list[str]) -> list[str]:
        """Return those of the keys that rows name."""
        marks = ",".join("?" * len(keys))
        with self._connection() as connection:
            rows = connection.execute(f"SELECT image_file FROM users WHERE image_file IN ({marks})", keys)  # noqa: S608
            return [key for (key,) in rows]

    def set_picture(self, upload: bytes, *, mishap: str = "") -> None:
        """Give user 1 another picture."""
        with self._connection() as connection, self.uploads.replace(upload) as new:
            connection.execute("BEGIN IMMEDIATE")  # a second upload waits here
            (old,) = connection.execute("SELECT image_file FROM users WHERE id = 1").fetchone()
            connection.execute("UPDATE users SET image_file = ? WHERE id = 1", [new.replacing(old)])
            if mishap == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if mishap != "forgotten":
                new.commit(lambda: connection.execute("COMMIT"))

    def show(self, what: str) -> None:
        """Print what is there now."""
        files = sorted(self.uploads.storage.keys())
        print(f"{what:22} files: {len(files)}, the database names {' '.join(self.used(files))}")


def picture(colour: str) -> bytes:
    """Return what a user might send."""
    file = io.BytesIO()
    Image.new("RGB", (640, 480), colour).save(file, "PNG")
    return file.getvalue()


def main(folder: Path) -> None:
    """Show all of it."""
    application = Application(folder)
    application.set_picture(picture("red"))
    application.show("a first picture")
    application.set_picture(picture("green"))
    application.show("another one")
    try:
        application.set_picture(picture("blue"), mishap="forgotten")
    except CommitMissing as error:
        print(f"{type(error).__name__}: {error}")
    application.show("the commit forgotten")
    subprocess.run([sys.executable, __file__, str(folder), "killed"], check=False)
    application.show("the process killed")
    application.uploads.recover(min_age=0)  # in real life: by itself, after a minute
    application.show("recovered")


if __name__ == "__main__":
    if sys.argv[2:] == ["killed"]:
        Application(Path(sys.argv[1])).set_picture(picture("yellow"), mishap="killed")
    elif sys.argv[1:]:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
