"""
Many replace one picture at once: by every recipe of the documentation nothing is left over or removed twice.

And what the database refuses, or the application gives up, is settled at once.
"""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import recipes
from fakes import refuse_commits
from sqlalchemy.exc import OperationalError

from safeupload import Replacement


def check(application: recipes.Application, released: list[str], replaces: int) -> None:
    """Check that each old file was removed once, and exactly the last new one is there."""
    assert Counter(Counter(released).values()) == {1: replaces - 1}
    assert list(application.storage.keys()) == application.named()
    assert list(application.storage.marks()) == []


@pytest.fixture
def application(tmp_path: Path) -> Iterator[recipes.Application]:
    """Give an application with one user."""
    application = recipes.Application(tmp_path)
    application.set_up()
    yield application
    application.engine.dispose()


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[recipes.Application]:
    """Give one that waits for locks no longer than 0.2 seconds."""
    application = recipes.Application(tmp_path, timeout=0.2)
    application.set_up()
    yield application
    application.engine.dispose()


def by_threads(application: recipes.Application, recipe: str, replaces: int) -> None:
    """Eight threads."""
    recipes.race(application, recipes.RECIPES[recipe], 8, replaces)
    check(application, application.released, 8 * replaces)


def by_processes(application: recipes.Application, recipe: str, replaces: int) -> None:
    """Eight processes."""
    here = Path(recipes.__file__)
    environment = {**os.environ, "PYTHONPATH": str(here.parent)}
    command = [sys.executable, str(here), recipe, str(application.path.parent), str(replaces)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) for _ in range(8)]
    released: list[str] = []
    for process in processes:
        out, _ = process.communicate()
        assert process.returncode == 0
        released += json.loads(out)
    check(application, released, 8 * replaces)


@pytest.mark.parametrize("recipe", recipes.RECIPES)
def test_no_recipe_leaks_by_threads(application: recipes.Application, recipe: str) -> None:
    """Eight threads of one process."""
    by_threads(application, recipe, 6)


@pytest.mark.parametrize("recipe", ["compare_and_swap"])
def test_no_recipe_leaks_by_processes(application: recipes.Application, recipe: str) -> None:
    """Eight processes."""
    by_processes(application, recipe, 6)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("recipe", recipes.RECIPES)
@pytest.mark.parametrize("many", [by_threads, by_processes], ids=["threads", "processes"])
def test_no_recipe_leaks_for_long(application: recipes.Application, recipe: str, many: object) -> None:
    """The same, fifty times each."""
    assert callable(many)
    many(application, recipe, 50)


def test_the_wrong_way_leaks(application: recipes.Application) -> None:
    """Reading without a lock leaves files that no row names; the library tells some, `sweep` finds all."""
    replaces = 25
    told = recipes.race(application, recipes.unlocked, 8, replaces)["NotCommitted"]
    files = len(list(application.storage.keys()))

    assert files > 1
    application.uploads.recover(min_age=0)
    leaked = len(list(application.storage.keys())) - 1
    assert set(application.named()) <= set(application.storage.keys())  # nothing is lost, though
    application.uploads.sweep(min_age=0, force=True)
    assert list(application.storage.keys()) == application.named()
    sys.stdout.write(f"of {8 * replaces}: {files - 1} left over, {told} told, {leaked} for a sweep\n")


def give_up(new: Replacement, commit: object) -> None:
    """Abort where the recipe commits: in the middle of its transaction."""
    new.abort()


def refused(application: recipes.Application, recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace a picture, and let a deferred foreign key refuse the COMMIT; the transaction is open after that."""
    refuse_commits(application.path, "users", "versioned")
    with pytest.raises(Exception, match="FOREIGN KEY constraint failed"):
        recipes.RECIPES[recipe](application, lambda: None)


def given_up(application: recipes.Application, recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace a picture, and call `abort` while the transaction is open."""
    with monkeypatch.context() as patch:
        patch.setattr(Replacement, "commit", give_up)
        recipes.RECIPES[recipe](application, lambda: None)


End = Callable[[recipes.Application, str, pytest.MonkeyPatch], None]
ENDS = pytest.mark.parametrize("end", [refused, given_up], ids=["refused", "given_up"])


@ENDS
@pytest.mark.parametrize("recipe", recipes.RECIPES)
def test_what_does_not_happen_is_settled_at_once(
    application: recipes.Application, recipe: str, end: End, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`references` does not wait for the lock that the transaction itself still holds."""
    recipes.RECIPES[recipe](application, lambda: None)
    (old,) = application.storage.keys()
    application.told.clear()
    started = time.perf_counter()
    end(application, recipe, monkeypatch)

    assert [event.name for event in application.told] == ["saved", "aborted"]
    assert time.perf_counter() - started < recipes.TIMEOUT / 10
    assert list(application.storage.keys()) == application.named() == [old]
    assert list(application.storage.marks()) == []
    with application.session() as session:  # which gets the lock
        assert session.get_one(recipes.User, 1).image_file in {None, old}


@ENDS
def test_a_question_that_takes_the_lock_waits_for_its_own_transaction(
    impatient: recipes.Application, end: End, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wrong way: it waits in vain, and all stays in doubt, until `recover` asks again."""
    application = impatient
    application.uploads = application.asking(application.used_locking)
    if end is given_up:
        with pytest.raises(OperationalError, match="database is locked"):
            end(application, "sqlalchemy_immediate", monkeypatch)
    else:
        end(application, "sqlalchemy_immediate", monkeypatch)

    assert [event.name for event in application.told if event.name != "failed"] == ["saved", "in_doubt"]
    assert len(list(application.storage.keys())) == 1
    application.uploads.recover(min_age=0)
    assert list(application.storage.keys()) == application.named() == []


def test_what_was_never_committed_is_not_read(impatient: recipes.Application) -> None:
    """A reader keeps a COMMIT from its lock, which leaves the transaction open; nobody asks by its connection."""
    recipes.sqlalchemy_immediate(impatient, lambda: None)
    (old,) = impatient.storage.keys()
    with closing(impatient.connect()) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM users").fetchall()
        with pytest.raises(OperationalError, match="database is locked"):
            recipes.sqlalchemy_immediate(impatient, lambda: None)
    assert impatient.told[-1].name == "in_doubt"
    impatient.uploads.recover(min_age=0)

    assert list(impatient.storage.keys()) == impatient.named() == [old]
