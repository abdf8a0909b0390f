"""
End a replacement, or a deletion, at each of its steps, and tell what is left: the tables of explanation/two-stores.md.

Run as a script in a process of its own, since it forks: python crash_points.py FOLDER

Prints JSON: of each scenario, for each step, the files, what is on record, what the row names, and the files that are
left when `recover` has run; each as a list of "old" and "new".
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from safeupload import ImageInfo, NormalizedImage, Uploads
from safeupload.storage import LocalStorage
from safeupload.storage._folder import Folder

INFO = ImageInfo(format="PNG", width=1, height=1, orientation=1, animated=False, has_alpha=False, has_icc=False)
PICTURE = NormalizedImage(data=b"a picture", width=1, height=1, sha256="", info=INFO)
REPLACE = ("writing", "stored", "changed", "noted", "committed", "removed", "forgotten", "done")
DELETE = ("changed", "noted", "committed", "removed", "done")


class World:
    """A folder with a database of one user, who has a picture, and a storage."""

    def __init__(self, folder: Path) -> None:
        self.database = folder / "app.db"
        with closing(self.connect()) as connection:
            connection.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, image_file TEXT)")
            connection.execute("INSERT INTO users VALUES (1, NULL)")
        self.uploads = Uploads(LocalStorage(folder / "pictures"), references=self.used)
        self.replace(lambda step: None)
        (self.old,) = self.rows()

    def connect(self) -> sqlite3.Connection:
        """Open a connection that begins when it is told."""
        return sqlite3.connect(self.database, isolation_level=None)

    def rows(self) -> list[str]:
        """Return the keys that committed rows name."""
        with closing(self.connect()) as connection:
            return [key for (key,) in connection.execute("SELECT image_file FROM users") if key]

    def used(self, keys: list[str]) -> list[str]:
        """Answer `references`."""
        return [key for key in self.rows() if key in keys]

    def replace(self, reached: Callable[[str], None]) -> None:
        """Replace the picture."""
        with closing(self.connect()) as connection, self.uploads.replace(PICTURE) as new:
            reached("stored")
            connection.execute("BEGIN IMMEDIATE")
            (old,) = connection.execute("SELECT image_file FROM users").fetchone()
            connection.execute("UPDATE users SET image_file = ?", [new.replacing(old)])
            reached("changed")
            new.commit(lambda: self.commit(connection, reached))
        reached("done")

    def delete(self, reached: Callable[[str], None]) -> None:
        """Delete the account."""
        with closing(self.connect()) as connection, self.uploads.transaction() as tx:
            connection.execute("BEGIN IMMEDIATE")
            (old,) = connection.execute("SELECT image_file FROM users").fetchone()
            connection.execute("DELETE FROM users")
            tx.release(old)
            reached("changed")
            tx.commit(lambda: self.commit(connection, reached))
        reached("done")

    @staticmethod
    def commit(connection: sqlite3.Connection, reached: Callable[[str], None]) -> None:
        """Commit."""
        reached("noted")
        connection.execute("COMMIT")
        reached("committed")

    def left(self) -> dict[str, list[str]]:
        """Tell what is there."""
        storage = self.uploads.storage
        found = {
            "files": storage.keys(),
            "on record": (mark.key for mark in storage.marks()),
            "row": self.rows(),
        }
        return {what: sorted("old" if key == self.old else "new" for key in keys) for what, keys in found.items()}


def watch(old: str, reached: Callable[[str], None]) -> None:
    """Tell of the steps that are inside the storage; what is `old` has to be removed before it is forgotten."""
    link, unlink = Folder.link, Folder.unlink

    def linked(self: Folder, name: str, other: Folder, new: str) -> None:
        reached("writing")
        link(self, name, other, new)

    def unlinked(self: Folder, name: str) -> None:
        unlink(self, name)
        if name == old:
            reached("removed")
        elif old in name:
            reached("forgotten")

    Folder.link = linked  # type: ignore[method-assign]
    Folder.unlink = unlinked  # type: ignore[method-assign]


def crash(folder: Path, scenario: str, last: str) -> dict[str, list[str]]:
    """Do it in a process that ends when it has reached a step; return what that left."""
    folder.mkdir()
    world = World(folder)
    child = os.fork()
    if not child:
        code = 1

        def reached(step: str) -> None:
            if step == last:
                os._exit(0)

        try:
            watch(world.old, reached)
            getattr(world, scenario)(reached)
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if status:
        raise RuntimeError(f"{scenario} did not reach {last!r}")
    found = world.left()
    world.uploads.recover(min_age=0)
    settled = world.left()
    if settled["on record"] or settled["row"] != found["row"]:
        raise RuntimeError(f"recover did not settle {scenario} after {last!r}")
    return {**found, "after recover": settled["files"]}


def main(folder: Path) -> None:
    """Try all of them."""
    steps = {"replace": REPLACE, "delete": DELETE}
    found = {
        scenario: {step: crash(folder / f"{scenario}-{step}", scenario, step) for step in each}
        for scenario, each in steps.items()
    }
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
