"""
Ways to read the old key and write the new one on SQLite, each by many at once.

Run as a script it is one of several processes, and prints the keys that it removed: recipes.py RECIPE FOLDER REPLACES
"""

from __future__ import annotations

import json
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from fakes import FOREIGN_KEYS, picture
from sqlalchemy import create_engine, event, select, union_all
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker
from sqlalchemy.orm.exc import StaleDataError

from safeupload import Event, NotCommitted, Uploads
from safeupload.storage import LocalStorage

TIMEOUT = 60  # seconds that one waits for another's lock


class Base(DeclarativeBase):
    """The tables."""


class User(Base):
    """Somebody with a picture."""

    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    image_file: Mapped[str | None]


class Versioned(Base):
    """The same, with a counter of versions."""

    __tablename__ = "versioned"
    id: Mapped[int] = mapped_column(primary_key=True)
    image_file: Mapped[str | None]
    version: Mapped[int] = mapped_column(default=1)
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 - the mapper's own way


NAMED = union_all(select(User.image_file), select(Versioned.image_file))


class Application:
    """One user, and a storage."""

    def __init__(self, folder: Path, timeout: float = TIMEOUT) -> None:
        self.path = folder / "app.db"
        self.storage = LocalStorage(folder / "pictures", durability="none")
        self.engine = create_engine(f"sqlite:///{self.path}", connect_args={"timeout": timeout})
        event.listen(self.engine, "connect", lambda connection, record: connection.execute(FOREIGN_KEYS))
        locking = self.engine.execution_options()
        event.listen(locking, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
        event.listen(self.engine, "reset", lambda connection, *_: connection.rollback())
        self.session = sessionmaker(locking)
        self.told: list[Event] = []
        self.uploads = self.asking(self.used)

    def asking(self, used: Callable[[list[str]], list[str]]) -> Uploads:
        """Return what replaces pictures, with an answer to `references`."""
        return Uploads(self.storage, references=used, on_event=self.told.append)

    @property
    def released(self) -> list[str]:
        """Return the keys of the old files that were removed."""
        return [key for each in self.told if each.name == "released" for key in each.keys]

    def set_up(self) -> None:
        """Make the tables and the user."""
        Base.metadata.create_all(self.engine)
        with self.session() as session:
            session.add_all([User(id=1), Versioned(id=1)])
            session.commit()

    def connect(self) -> sqlite3.Connection:
        """Open a connection that begins when it is told."""
        connection = sqlite3.connect(self.path, timeout=TIMEOUT, isolation_level=None)
        connection.execute(FOREIGN_KEYS)
        return connection

    def named(self) -> list[str]:
        """Return what rows name."""
        with closing(self.connect()) as connection:
            rows = connection.execute("SELECT image_file FROM users UNION ALL SELECT image_file FROM versioned")
            return [key for (key,) in rows if key]

    def used(self, keys: list[str]) -> list[str]:
        """Answer `references`, as the documentation has it: by the engine that takes no lock."""
        with self.engine.connect() as connection:
            return [key for key in connection.scalars(NAMED) if key in keys]

    def used_locking(self, keys: list[str]) -> list[str]:
        """Answer it the wrong way: by a session, whose transaction waits for the lock."""
        with self.session() as session:
            return [key for key in session.scalars(NAMED) if key in keys]


def begin_immediate(application: Application, between: Callable[[], object]) -> None:
    """Take the lock of the database first."""
    with closing(application.connect()) as connection, application.uploads.replace(picture("new")) as new:
        connection.execute("BEGIN IMMEDIATE")
        (old,) = connection.execute("SELECT image_file FROM users WHERE id = 1").fetchone()
        between()
        connection.execute("UPDATE users SET image_file = ? WHERE id = 1", [new.replacing(old)])
        new.commit(lambda: connection.execute("COMMIT"))


def sqlalchemy_immediate(application: Application, between: Callable[[], object]) -> None:
    """Let SQLAlchemy take the lock first."""
    with application.session() as own, application.uploads.replace(picture("new")) as new:
        user = own.get_one(User, 1, with_for_update=True, populate_existing=True)
        between()
        user.image_file = new.replacing(user.image_file)
        new.commit(own.commit)


def version_column(application: Application, between: Callable[[], object]) -> None:
    """Read without a lock; the write tells by the version whether somebody was faster, and then all starts over."""
    while True:
        with application.session() as reader:
            user = reader.get_one(Versioned, 1)
            reader.expunge(user)
        between()
        with application.session() as own, application.uploads.replace(picture("new")) as new:
            own.add(user)
            user.image_file = new.replacing(user.image_file)
            try:
                own.flush()
            except StaleDataError:
                own.rollback()
                new.abort()
                continue
            new.commit(own.commit)
            return


def compare_and_swap(application: Application, between: Callable[[], object]) -> None:
    """Write only where the value is still the one that was read, or start over."""
    while True:
        with closing(application.connect()) as connection, application.uploads.replace(picture("new")) as new:
            (old,) = connection.execute("SELECT image_file FROM users WHERE id = 1").fetchone()
            between()
            connection.execute("BEGIN IMMEDIATE")
            changed = connection.execute(
                "UPDATE users SET image_file = ? WHERE id = 1 AND image_file IS ?", [new.replacing(old), old]
            )
            if not changed.rowcount:
                connection.execute("ROLLBACK")
                new.abort()
                continue
            new.commit(lambda connection=connection: connection.execute("COMMIT"))  # type: ignore[misc]
            return


def unlocked(application: Application, between: Callable[[], object]) -> None:
    """The wrong way: read early, write later."""
    with closing(application.connect()) as connection, application.uploads.replace(picture("new")) as new:
        (old,) = connection.execute("SELECT image_file FROM users WHERE id = 1").fetchone()
        between()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE users SET image_file = ? WHERE id = 1", [new.replacing(old)])
        new.commit(lambda: connection.execute("COMMIT"))


RECIPES = {each.__name__: each for each in (begin_immediate, sqlalchemy_immediate, version_column, compare_and_swap)}


def race(application: Application, recipe: Callable[..., None], threads: int, replaces: int) -> dict[str, int]:
    """Let threads replace the picture again and again; return how often the library said that something is wrong."""
    errors: list[BaseException] = []
    told = {"NotCommitted": 0}

    def work() -> None:
        try:
            for _ in range(replaces):
                try:
                    recipe(application, lambda: time.sleep(0.0005))
                except NotCommitted:
                    if recipe is not unlocked:
                        raise
                    told["NotCommitted"] += 1
        except BaseException as error:  # noqa: BLE001 - told below
            errors.append(error)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if errors:
        raise ExceptionGroup("replacing", [Exception(repr(error)) for error in errors])
    return told


def main(recipe: str, folder: str, replaces: str) -> Any:  # noqa: ANN401
    """Be one of several processes."""
    application = Application(Path(folder))
    race(application, RECIPES[recipe], 1, int(replaces))
    return application.released


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(*sys.argv[1:])))
