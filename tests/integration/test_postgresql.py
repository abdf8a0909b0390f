"""Replacements on a real PostgreSQL, through every driver: what is committed, refused, forgotten and retried."""

import threading
from collections.abc import Callable
from typing import Any

import asyncpg
import psycopg
import pytest
from fakes import picture
from postgres_users import CHANGES, Change, User, change_sqlalchemy, rows, sqlalchemy_session, used_by
from sqlalchemy import create_engine, select
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from safeupload import CommitMissing, NotCommitted, Uploads
from safeupload.storage import LocalStorage

BEFORE_COMMIT = "UPDATE users SET n = 2 WHERE id = 1"  # refused at COMMIT: user 2 has it


every_driver = pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__.removeprefix("change_"))


@every_driver
def test_p6_a_commit_leaves_the_new_file_alone(change: Change, dsn: str, storage: LocalStorage) -> None:
    """After each commit the file that the row names is there, and no other."""
    for _ in range(3):
        assert change(dsn, storage) == "committed"
        assert set(storage.keys()) == rows(dsn)
        assert len(rows(dsn)) == 1
    assert list(storage.marks()) == []


@every_driver
def test_p6_a_refusal_leaves_the_old_file_alone(change: Change, dsn: str, storage: LocalStorage) -> None:
    """A constraint that fails at COMMIT removes the new file at once, and the error is the database's."""
    change(dsn, storage)
    old = rows(dsn)

    with pytest.raises((psycopg.errors.UniqueViolation, IntegrityError, asyncpg.UniqueViolationError)):
        change(dsn, storage, BEFORE_COMMIT)

    assert rows(dsn) == old == set(storage.keys())
    assert list(storage.marks()) == []


@every_driver
def test_p7_an_error_in_the_block_leaves_its_file_on_record(change: Change, dsn: str, storage: LocalStorage) -> None:
    """A statement that fails after the key was handed out keeps both files, until `recover` asks."""
    change(dsn, storage)
    old = rows(dsn)

    with pytest.raises((psycopg.errors.UndefinedTable, asyncpg.UndefinedTableError, Exception), match="nowhere"):
        change(dsn, storage, "UPDATE nowhere SET n = 2")

    assert len(list(storage.keys())) == 2
    Uploads(storage, references=used_by(dsn)).recover(min_age=0)
    assert rows(dsn) == old == set(storage.keys())
    assert list(storage.marks()) == []


@every_driver
def test_a_commit_that_did_nothing_is_loud(change: Change, dsn: str, storage: LocalStorage) -> None:
    """A transaction that was rolled back before its commit raises, with an old file as without one, and keeps all."""
    with pytest.raises(NotCommitted):
        change(dsn, storage, rollback=True)
    change(dsn, storage)
    old = rows(dsn)
    with pytest.raises(NotCommitted):
        change(dsn, storage, rollback=True)

    assert old < set(storage.keys())
    Uploads(storage, references=used_by(dsn)).recover(min_age=0)
    assert rows(dsn) == old == set(storage.keys())


def test_a_commit_by_hand_is_loud_and_safe(dsn: str, storage: LocalStorage) -> None:
    """`session.commit()` in the block raises; what the row names is there, and `recover` removes the other file."""
    change_sqlalchemy(dsn, storage)
    uploads = Uploads(storage, references=used_by(dsn))

    def change() -> None:
        with sqlalchemy_session(dsn) as session, uploads.replace(picture("new")) as new:
            user = session.get_one(User, 1, with_for_update=True)
            user.image_file = new.replacing(user.image_file)
            session.commit()

    with pytest.raises(CommitMissing):
        change()

    assert rows(dsn) < set(storage.keys())
    uploads.recover(min_age=0)
    assert rows(dsn) == set(storage.keys())
    assert list(storage.marks()) == []


def test_p6_a_serialization_failure_at_commit_is_a_refusal(dsn: str, storage: LocalStorage) -> None:
    """40001 at COMMIT, though SQLAlchemy calls it an OperationalError, removes the new file; a retry goes round."""
    engine = create_engine(
        dsn.replace("postgresql://", "postgresql+psycopg://"), poolclass=NullPool, isolation_level="SERIALIZABLE"
    )
    uploads = Uploads(storage, references=used_by(dsn))

    def change(user_id: int, other_id: int, meanwhile: Callable[[], object]) -> None:
        with Session(engine) as session, uploads.replace(picture("new")) as new:
            session.scalar(select(User.image_file).where(User.id == other_id))  # each reads what the other writes
            user = session.get_one(User, user_id)
            user.image_file = new.replacing(user.image_file)
            session.flush()
            meanwhile()
            new.commit(session.commit)

    with pytest.raises(OperationalError) as caught:
        change(1, 2, lambda: change(2, 1, lambda: None))

    assert getattr(caught.value.orig, "sqlstate", None) == "40001"
    assert set(storage.keys()) == rows(dsn)
    assert list(storage.marks()) == []
    change(1, 2, lambda: None)
    assert set(storage.keys()) == rows(dsn)
    assert len(rows(dsn)) == 2
    engine.dispose()


def for_update(cursor: Any, key: Callable[[object], str]) -> None:  # noqa: ANN401 - of psycopg
    """Lock, read, write."""
    (old,) = cursor.execute("SELECT image_file FROM users WHERE id = 1 FOR UPDATE").fetchone()
    cursor.execute("UPDATE users SET image_file = %s WHERE id = 1", [key(old)])


def returning_locked(cursor: Any, key: Callable[[object], str]) -> None:  # noqa: ANN401
    """Write and learn in one statement what was there; the new key is asked for first."""
    new = key(None)
    row = cursor.execute(
        "WITH prev AS (SELECT image_file FROM users WHERE id = 1 FOR UPDATE)"
        " UPDATE users SET image_file = %s FROM prev WHERE id = 1 RETURNING prev.image_file",
        [new],
    ).fetchone()
    assert key(row[0]) == new


def returning_old(cursor: Any, key: Callable[[object], str]) -> None:  # noqa: ANN401
    """PostgreSQL 18 returns what was there."""
    new = key(None)
    row = cursor.execute("UPDATE users SET image_file = %s WHERE id = 1 RETURNING old.image_file", [new]).fetchone()
    assert key(row[0]) == new


class Lost(Exception):
    """Somebody was faster."""


def compare_and_swap(cursor: Any, key: Callable[[object], str]) -> None:  # noqa: ANN401
    """Write only if the value is still the one that was read."""
    (old,) = cursor.execute("SELECT image_file FROM users WHERE id = 1").fetchone()
    cursor.execute(
        "UPDATE users SET image_file = %s WHERE id = 1 AND image_file IS NOT DISTINCT FROM %s", [key(old), old]
    )
    if not cursor.rowcount:
        raise Lost


RECIPES = [for_update, returning_locked, returning_old, compare_and_swap]


def race(dsn: str, storage: LocalStorage, recipe: Callable[..., None], replaces: int) -> list[str]:
    """Let eight threads replace the picture of one user; return the keys that were removed as old ones."""
    released: list[str] = []
    errors: list[BaseException] = []
    uploads = Uploads(
        storage,
        references=used_by(dsn),
        on_event=lambda event: released.extend(event.keys) if event.name == "released" else None,
    )

    def worker() -> None:
        with psycopg.connect(dsn) as connection:
            done = 0
            while done < replaces:
                try:
                    with uploads.replace(picture("new")) as new:
                        recipe(connection.cursor(), new.replacing)
                        new.commit(connection.commit)
                    done += 1
                except Lost:
                    connection.rollback()  # after the block, as it may be: its file stays on record
                except BaseException as error:  # noqa: BLE001 - the test looks at them
                    errors.append(error)
                    return

    threads = [threading.Thread(target=worker) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    return released


def check_race(dsn: str, storage: LocalStorage, recipe: Callable[..., None], replaces: int) -> None:
    """Check that nothing leaked, and nothing was removed twice."""
    released = race(dsn, storage, recipe, replaces)
    if recipe is compare_and_swap:  # who lost left its file on record: its key was handed out
        Uploads(storage, references=used_by(dsn)).recover(min_age=0)

    assert len(released) == len(set(released)) == 8 * replaces - 1
    assert set(storage.keys()) == rows(dsn)
    assert list(storage.marks()) == []


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.__name__)
def test_no_recipe_leaks(recipe: Callable[..., None], dsn: str, storage: LocalStorage) -> None:
    """Eight threads replace the picture of one user at once: every old file goes, once."""
    check_race(dsn, storage, recipe, 6)


@pytest.mark.long
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.__name__)
def test_no_recipe_leaks_for_long(recipe: Callable[..., None], dsn: str, storage: LocalStorage) -> None:
    """The same, fifty times each."""
    check_race(dsn, storage, recipe, 50)
