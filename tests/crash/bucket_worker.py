"""
Change the pictures of three users in one bucket and one SQLite database, again and again, until somebody kills this.

Run as a script, as many at a time as you like:

    python bucket_worker.py ADDRESS BUCKET PREFIX DATABASE NUMBER

Those with an odd number delete users as well. What was done is counted in the database, by the transaction that did it.
"""

from __future__ import annotations

import hashlib
import os
import random
import sqlite3
import sys
from collections.abc import Callable
from typing import Any

from fakes import picture
from obstore.store import S3Store

from safeupload import Uploads
from safeupload.errors import LeaseExpired
from safeupload.storage import ObjectStorage

LEASE, SKEW = 2, 1
#: How old marks are that a worker settles while the others go on, beside the lease and the skew: on a machine that is
#: busy, a commit may reach the database late.
MIN_AGE = 3
USERS = 3

SCHEMA = """
CREATE TABLE users (id INTEGER PRIMARY KEY, image_file TEXT NOT NULL UNIQUE, sha256 TEXT NOT NULL);
CREATE TABLE counts (what TEXT PRIMARY KEY, number INTEGER NOT NULL);
"""


class Worker:
    """One process: its storage and its connections."""

    def __init__(self, address: str, bucket: str, prefix: str, database: str, seed: int) -> None:
        options: Any = {"access_key_id": "key", "secret_access_key": "secret", "region": "us-east-1"}
        store = S3Store(bucket, endpoint=address, client_options={"allow_http": True}, **options)
        storage = ObjectStorage(store, prefix=prefix, lease=LEASE, skew=SKEW)
        self.die = random.Random(seed)
        self.connection = connect(database)
        self.uploads = Uploads(storage, references=used(connect(database)))

    def run(self, *, deletes: bool) -> None:
        """Do one thing."""
        chance = self.die.random()
        try:
            if chance < 0.05:
                self.recover()
            elif chance < 0.25 and deletes:
                self.delete()
            else:
                self.put()
        except LeaseExpired:
            self.rollback()
            self.count("expired")

    def put(self) -> None:
        """Replace the picture of a user, who is created where there is none."""
        image = picture(f"{self.die.random()} " * 25)
        with self.uploads.replace(image) as new:
            user, old = self.chosen()
            key = new.replacing(old)
            self.connection.execute("INSERT OR REPLACE INTO users VALUES (?, ?, ?)", [user, key, sha256(image.data)])
            self.count("created" if old is None else "replaced")
            new.commit(lambda: self.connection.execute("COMMIT"))

    def delete(self) -> None:
        """Delete a user."""
        with self.uploads.transaction() as tx:
            user, old = self.chosen()
            if old is None:
                self.rollback()
                return
            tx.release(old)
            self.connection.execute("DELETE FROM users WHERE id = ?", [user])
            self.count("deleted")
            tx.commit(lambda: self.connection.execute("COMMIT"))

    def recover(self) -> None:
        """Settle what others have left, while they go on."""
        report = self.uploads.recover(min_age=MIN_AGE)
        assert not report.failed
        self.count("settled", len(report.removed) + report.kept)

    def chosen(self) -> tuple[int, str | None]:
        """Choose a user, whom nobody else changes until the transaction ends; tell what the row holds."""
        user = self.die.randint(1, USERS)
        self.connection.execute("BEGIN IMMEDIATE")
        row = self.connection.execute("SELECT image_file FROM users WHERE id = ?", [user]).fetchone()
        return user, row and row[0]

    def count(self, what: str, number: int = 1) -> None:
        """Count something that was done."""
        change = "ON CONFLICT (what) DO UPDATE SET number = number + excluded.number"
        self.connection.execute(f"INSERT INTO counts VALUES (?, ?) {change}", [what, number])  # noqa: S608

    def rollback(self) -> None:
        """End the transaction if there is one."""
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")


def connect(database: str) -> sqlite3.Connection:
    """Open a connection."""
    connection = sqlite3.connect(database, isolation_level=None, timeout=30)
    connection.execute("PRAGMA journal_mode = wal").fetchone()
    return connection


def used(connection: sqlite3.Connection) -> Callable[[list[str]], list[str]]:
    """Return `references` on a connection of its own."""

    def found(keys: list[str]) -> list[str]:
        marks = ", ".join("?" * len(keys))
        rows = connection.execute(f"SELECT image_file FROM users WHERE image_file IN ({marks})", keys)  # noqa: S608
        return [key for (key,) in rows]

    return found


def sha256(data: bytes) -> str:
    """Return what tells a picture from others."""
    return hashlib.sha256(data).hexdigest()


def main(address: str, bucket: str, prefix: str, database: str, number: str) -> None:
    """Work until somebody kills this process, or the one that has started it."""
    parent = os.getppid()
    worker = Worker(address, bucket, prefix, database, int(number))
    while os.getppid() == parent:
        worker.run(deletes=bool(int(number) % 2))


if __name__ == "__main__":
    main(*sys.argv[1:])
