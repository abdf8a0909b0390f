"""
Replace pictures in a process that is killed before every one of its system calls, and look what is left.

Run as a script in a process of its own, since it forks:

    python kill_scenarios.py SCENARIO JOURNAL DURABILITY STEP RECOVERY_STEP

DURABILITY is one of a `LocalStorage`, or "leases" for one whose marks are held by leases.

Kills before every STEP-th system call of the scenario, and before every RECOVERY_STEP-th of the `recover` after each of
these. Prints what it found as JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import killing
from fakes import files

from safeupload import ImageInfo, NormalizedImage, RenderedImage, Uploads
from safeupload.storage import LocalStorage

SYNCHRONOUS = {"delete": "EXTRA", "wal": "FULL"}
INFO = ImageInfo(format="PNG", width=1, height=1, orientation=1, animated=False, has_alpha=False, has_icc=False)


def image(text: str) -> NormalizedImage:
    """Return a "picture" that is told from others by its bytes, of more than one page."""
    data = text.encode() * 3000
    thumb = RenderedImage(data=data, width=1, height=1, media_type="image/webp", extension="webp", sha256=text)
    return NormalizedImage(data=data, width=1, height=1, sha256=text, info=INFO, renditions={"thumb": thumb})


class World:
    """A folder with a database of two users and a storage; `kept` are the bytes of every file that was ever stored."""

    def __init__(self, folder: Path, journal: str, durability: Any) -> None:  # noqa: ANN401 - from the command line
        self.folder = folder
        self.journal = journal
        self.durability = durability

    def connect(self) -> sqlite3.Connection:
        """Open a connection with the journal that is tried."""
        connection = sqlite3.connect(self.folder / "app.db", isolation_level=None, timeout=10)
        connection.execute(f"PRAGMA journal_mode = {self.journal}").fetchone()
        connection.execute(f"PRAGMA synchronous = {SYNCHRONOUS[self.journal]}")
        return connection

    def rows(self) -> list[str]:
        """Return the keys that committed rows name."""
        with closing(self.connect()) as connection:
            found = connection.execute("SELECT image_file FROM users WHERE image_file IS NOT NULL").fetchall()
        return [key for (key,) in found]

    def used(self, keys: list[str]) -> list[str]:
        """Answer `references`."""
        return [key for key in self.rows() if key in keys]

    def uploads(self) -> Uploads:
        """Open the storage."""
        folder = self.folder / "pictures"
        leased = self.durability == "leases"
        storage = LocalStorage(folder, lease=60) if leased else LocalStorage(folder, durability=self.durability)
        return Uploads(storage, references=self.used)

    def let_leases_end(self) -> None:
        """Let an hour go by for the marks."""
        for path in (self.folder / "pictures/.pending").iterdir():
            date = path.stat().st_mtime - 3600
            os.utime(path, (date, date))

    def set_up(self) -> None:
        """Make the database and the first pictures."""
        with closing(self.connect()) as connection:
            connection.execute(
                "CREATE TABLE users (id INTEGER PRIMARY KEY, image_file TEXT UNIQUE, cover TEXT, n INTEGER UNIQUE)"
            )
            uploads = self.uploads()
            for user in (1, 2):
                with uploads.transaction() as tx:
                    connection.execute("BEGIN IMMEDIATE")
                    key = tx.save(image(f"old{user}"))
                    connection.execute("INSERT INTO users VALUES (?, ?, NULL, ?)", [user, key, user])
                    tx.commit(lambda: connection.execute("COMMIT"))

    def dangling(self) -> list[str]:
        """Return the keys that a row names and under which there is not the whole file."""
        found = files(self.folder / "pictures")
        return [key for key in self.rows() if not is_whole(found.get(key, b""))]

    def difference(self) -> list[str]:
        """Return what is there and should not be, or the other way round; and every mark."""
        storage = LocalStorage(self.folder / "pictures", durability="none")
        return [*(files(self.folder / "pictures").keys() ^ set(self.rows())), *(mark.name for mark in storage.marks())]


def is_whole(data: bytes) -> bool:
    """Tell whether these are all bytes of one of our pictures."""
    return any(data == image(text).data for text in ("old1", "old2", "new", "more"))


def replace(world: World) -> Callable[[], object]:
    """Replace the picture of user 1."""
    connection, uploads = world.connect(), world.uploads()

    def work() -> None:
        with uploads.replace(image("new")) as new:
            connection.execute("BEGIN IMMEDIATE")
            (old,) = connection.execute("SELECT image_file FROM users WHERE id = 1").fetchone()
            connection.execute("UPDATE users SET image_file = ? WHERE id = 1", [new.replacing(old)])
            new.commit(lambda: connection.execute("COMMIT"))

    return work


def create(world: World) -> Callable[[], object]:
    """Create user 3 with a picture."""
    connection, uploads = world.connect(), world.uploads()

    def work() -> None:
        with uploads.transaction() as tx:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO users VALUES (3, ?, NULL, 3)", [tx.save(image("new"))])
            tx.commit(lambda: connection.execute("COMMIT"))

    return work


def delete(world: World) -> Callable[[], object]:
    """Delete user 1."""
    connection, uploads = world.connect(), world.uploads()

    def work() -> None:
        with uploads.transaction() as tx:
            connection.execute("BEGIN IMMEDIATE")
            (old,) = connection.execute("SELECT image_file FROM users WHERE id = 1").fetchone()
            tx.release(old)
            connection.execute("DELETE FROM users WHERE id = 1")
            tx.commit(lambda: connection.execute("COMMIT"))

    return work


def two(world: World) -> Callable[[], object]:
    """Give two users other pictures at once."""
    connection, uploads = world.connect(), world.uploads()

    def work() -> None:
        with uploads.transaction() as tx:
            connection.execute("BEGIN IMMEDIATE")
            for user, text in ((1, "new"), (2, "more")):
                (old,) = connection.execute("SELECT image_file FROM users WHERE id = ?", [user]).fetchone()
                tx.release(old)
                connection.execute("UPDATE users SET image_file = ? WHERE id = ?", [tx.save(image(text)), user])
            tx.commit(lambda: connection.execute("COMMIT"))

    return work


def refused(world: World) -> Callable[[], object]:
    """Try to replace a picture in a transaction that the database refuses at its end."""
    connection, uploads = world.connect(), world.uploads()

    def work() -> None:
        try:
            with uploads.replace(image("new")) as new:
                connection.execute("BEGIN IMMEDIATE")
                (old,) = connection.execute("SELECT image_file FROM users WHERE id = 1").fetchone()
                connection.execute("UPDATE users SET image_file = ? WHERE id = 1", [new.replacing(old)])
                new.commit(lambda: connection.execute("UPDATE users SET n = 2 WHERE id = 1"))
        except sqlite3.IntegrityError:
            connection.execute("ROLLBACK")

    return work


def plain(world: World) -> Callable[[], object]:
    """Replace the picture of user 1 as tutorials do, for comparison: write, commit, unlink."""
    connection = world.connect()
    pictures = world.folder / "pictures"

    def work() -> None:
        key = f"{os.urandom(16).hex()}.jpg"
        (pictures / key).write_bytes(image("new").data)
        connection.execute("BEGIN IMMEDIATE")
        (old,) = connection.execute("SELECT image_file FROM users WHERE id = 1").fetchone()
        connection.execute("UPDATE users SET image_file = ? WHERE id = 1", [key])
        connection.execute("COMMIT")
        (pictures / old).unlink()

    return work


def recovery(world: World) -> Callable[[], object]:
    """Settle everything."""
    uploads = world.uploads()
    if world.durability == "leases":
        world.let_leases_end()
    return lambda: uploads.recover(min_age=0)


SCENARIOS = {each.__name__: each for each in (replace, create, delete, two, refused, plain)}


def main(scenario: str, journal: str, durability: str, step: int, recovery_step: int) -> dict[str, Any]:
    """Kill and look; return how often, and what was wrong."""
    work = SCENARIOS[scenario]
    found: dict[str, Any] = {"calls": 0, "kills": 0, "recovery_kills": 0}
    found |= {"dangling": [], "left": [], "not_recovered": []}
    with tempfile.TemporaryDirectory() as name:
        base = Path(name) / "base"
        base.mkdir()
        World(base, journal, durability).set_up()

        def fresh(of: Path) -> World:
            shutil.rmtree(Path(name) / "now", ignore_errors=True)
            return World(_copied(of, Path(name) / "now"), journal, durability)

        world = fresh(base)
        calls = killing.run(partial(work, world))
        assert calls is not None
        found["calls"] = calls
        found["left"] += world.difference()
        for point in range(0, calls, step):
            world = fresh(base)
            if killing.run(partial(work, world), point) is not None:
                continue  # a run that took fewer calls
            found["kills"] += 1
            found["dangling"] += world.dangling()
            crashed = _copied(world.folder, Path(name) / "crashed")
            if scenario == "plain":
                found["not_recovered"] += [point] if world.difference() else []
                continue
            recovering = point % recovery_step
            while True:
                world = fresh(crashed)
                ended = killing.run(partial(recovery, world), recovering)
                found["dangling"] += world.dangling()
                recovery(world)()
                if world.dangling() or world.difference():
                    found["not_recovered"].append([point, recovering])
                if ended is not None:
                    break
                found["recovery_kills"] += 1
                recovering += recovery_step
    return found


def _copied(folder: Path, to: Path) -> Path:
    """Copy a world, hard links and all: a mark and its file are one."""
    shutil.rmtree(to, ignore_errors=True)
    inodes: dict[int, Path] = {}
    for path in sorted(folder.rglob("*")):
        target = to / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        inode = path.stat().st_ino
        if path.is_dir():
            target.mkdir(mode=0o700, exist_ok=True)
        elif inode in inodes:
            os.link(inodes[inode], target)
        else:
            shutil.copy2(path, target)
            inodes[inode] = target
    return to


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(*sys.argv[1:4], *map(int, sys.argv[4:]))))  # type: ignore[arg-type]
