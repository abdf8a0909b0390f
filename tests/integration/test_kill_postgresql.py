"""A client that is killed while the server is still committing for it loses nothing."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psycopg
import pytest
from fakes import picture
from postgres_users import change_psycopg, rows, soon, used_by

from safeupload import Uploads
from safeupload.storage import LocalStorage

#: The commit takes 0.7 seconds: what it has to check at its end is slow.
SLOW_COMMIT = """
CREATE CONSTRAINT TRIGGER slow AFTER UPDATE ON users DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW WHEN (NEW.id = 1) EXECUTE FUNCTION dawdle()
"""


def client(dsn: str, folder: Path) -> None:
    """Replace the picture of user 1, in a process of its own."""
    change_psycopg(dsn, LocalStorage(folder, durability="none"))


def fenced(dsn: str) -> Callable[[list[str]], list[str]]:
    """Return `references` that wait for all who are writing to the table."""

    def used(keys: list[str]) -> list[str]:
        with psycopg.connect(dsn) as own:
            own.execute("SET LOCAL lock_timeout = '5s'")
            own.execute("LOCK TABLE users IN SHARE MODE")
            found = own.execute("SELECT image_file FROM users WHERE image_file = ANY(%s)", [keys])
            return [key for (key,) in found]

    return used


@pytest.mark.parametrize("delay", [0.0, 0.3])
@pytest.mark.parametrize("kind", ["waits", "fenced"])
def test_p5_a_killed_client_loses_no_file(
    kind: str, delay: float, dsn: str, storage: LocalStorage, tmp_path: Path
) -> None:
    """Neither a `recover` that waits long enough nor one whose `references` are fenced removes the file in flight."""
    change_psycopg(dsn, storage)
    old = rows(dsn)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(SLOW_COMMIT)
    process = multiprocessing.get_context("spawn").Process(target=client, args=(dsn, tmp_path / "pictures"))
    process.start()
    soon(lambda: committing(dsn))
    time.sleep(delay)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    process.close()
    assert rows(dsn) == old

    if kind == "fenced":
        report = Uploads(storage, references=fenced(dsn)).recover(min_age=0)
        assert set(report.removed) == old
    else:
        uploads = Uploads(storage, references=used_by(dsn))
        report = uploads.recover(min_age=5)
        assert (report.removed, report.waiting) == ((), 2)
        assert old < set(storage.keys())
        soon(lambda: rows(dsn) != old)
        assert rows(dsn) < set(storage.keys())
        uploads.recover(min_age=0)
    soon(lambda: rows(dsn) != old)
    assert set(storage.keys()) == rows(dsn)
    assert list(storage.marks()) == []


def committing(dsn: str) -> bool:
    """Tell whether a client is in the middle of its commit."""
    with psycopg.connect(dsn, autocommit=True) as own:
        row = own.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE upper(query) LIKE 'COMMIT%' AND state = 'active'"
        ).fetchone()
    return bool(row and row[0])


def test_p5_killed_at_any_time(dsn: str, storage: LocalStorage, tmp_path: Path) -> None:
    """A client that is killed in the middle of many replacements leaves whole files, and marks for the rest."""
    change_psycopg(dsn, storage)
    uploads = Uploads(storage, references=used_by(dsn))
    for moment in range(4):
        process = multiprocessing.get_context("spawn").Process(target=clients, args=(dsn, tmp_path / "pictures"))
        before = rows(dsn)
        process.start()
        soon(partial(has_changed, dsn, before))
        time.sleep(0.006 * moment)
        process.kill()
        process.join()
        process.close()
        soon(lambda: not committing(dsn))
        for key in rows(dsn):
            assert storage.read(key) == picture("new").data
        uploads.recover(min_age=0)
        assert set(storage.keys()) == rows(dsn)
        assert list(storage.marks()) == []


def has_changed(dsn: str, before: set[str]) -> bool:
    """Tell whether the rows name something else now."""
    return rows(dsn) != before


def clients(dsn: str, folder: Path) -> None:
    """Replace the picture of user 1 again and again."""
    storage = LocalStorage(folder, durability="none")
    for _ in range(1000):
        change_psycopg(dsn, storage)
