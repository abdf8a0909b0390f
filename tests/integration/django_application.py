"""
Tests of `safeupload.django` that run in a process of their own, since Django is configured but once: see test_django.

SAFEUPLOAD_TEST_FOLDER is where the databases of SQLite are, SAFEUPLOAD_TEST_DSN names one of PostgreSQL in place of the
first.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Generator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import django
from django.apps import AppConfig
from django.conf import settings

FOLDER = Path(os.environ["SAFEUPLOAD_TEST_FOLDER"])
DSN = os.environ.get("SAFEUPLOAD_TEST_DSN", "")


def sqlite(name: str) -> dict[str, Any]:
    """Return a database of SQLite, as the documentation has it."""
    options = {"transaction_mode": "IMMEDIATE", "timeout": 30}
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(FOLDER / name), "OPTIONS": options}


def postgresql(dsn: str) -> dict[str, Any]:
    """Return a database of PostgreSQL."""
    from urllib.parse import urlsplit  # noqa: PLC0415

    parts = urlsplit(dsn)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": parts.hostname,
        "PORT": parts.port,
        "USER": parts.username,
        "PASSWORD": parts.password or "",
        "NAME": parts.path.lstrip("/"),
    }


class Router:
    """Sends readers to a replica, which knows nothing."""

    def db_for_read(self, model: type[Any], **hints: object) -> str:
        """Read there."""
        return "replica"

    def db_for_write(self, model: type[Any], **hints: object) -> str:
        """Write here."""
        return "default"


class Accounts(AppConfig):  # type: ignore[misc]  # Django has no types
    """The application."""

    name = __name__
    label = "accounts"
    path = str(FOLDER)


settings.configure(
    DATABASES={
        "default": postgresql(DSN) if DSN else sqlite("app.db"),
        "replica": sqlite("replica.db"),
        "other": sqlite("other.db"),
    },
    DATABASE_ROUTERS=[f"{__name__}.Router"],
    INSTALLED_APPS=[f"{__name__}.Accounts"],
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    USE_TZ=True,
)
django.setup()

import pytest  # noqa: E402
from django.db import IntegrityError, connection, connections, models, transaction  # noqa: E402
from django.test import TestCase  # noqa: E402
from fakes import picture  # noqa: E402

import safeupload.django  # noqa: E402
from safeupload import (  # noqa: E402
    AsyncUploads,
    InvalidArgument,
    InvalidReferences,
    NotCommitted,
    StorageError,
    Uploads,
)
from safeupload.storage import LocalStorage, MemoryStorage  # noqa: E402


class Present(models.Manager):  # type: ignore[misc]  # Django has no types
    """Hides those who have left, as default managers do."""

    def get_queryset(self) -> Any:  # noqa: ANN401
        """Return those who are there."""
        return super().get_queryset().filter(left=False)


class User(models.Model):  # type: ignore[misc]  # noqa: DJ008
    """Somebody with a picture and a cover."""

    image_file = models.CharField(max_length=64, null=True, unique=True)  # noqa: DJ001 - unique, so not empty
    cover = models.CharField(max_length=64, null=True, unique=True)  # noqa: DJ001
    left = models.BooleanField(default=False)
    objects = Present()

    class Meta:
        """Of an application that is not installed."""

        app_label = "accounts"


class Friend(models.Model):  # type: ignore[misc]  # noqa: DJ008
    """A row that needs a user, which the database looks at when it commits."""

    user = models.ForeignKey(User, on_delete=models.CASCADE)

    class Meta:
        """Of the same."""

        app_label = "accounts"


@pytest.fixture(scope="session", autouse=True)
def tables() -> Generator[None]:
    """Make the tables in every database."""
    for alias in connections:
        with connections[alias].schema_editor() as editor:
            for model in (Friend, User):
                if model._meta.db_table in connections[alias].introspection.table_names():
                    editor.delete_model(model)
            for model in (User, Friend):
                editor.create_model(model)
    assert connection.vendor == ("postgresql" if DSN else "sqlite")
    yield
    connections.close_all()


class World:
    """A storage and the rows."""

    def __init__(self, folder: Path, using: str = "default") -> None:
        self.using = using
        self.storage = LocalStorage(folder, durability="none")
        self.uploads = Uploads(self.storage, references=self.used)
        User._base_manager.using(using).all().delete()
        self.user = User._base_manager.using(using).create()
        self.state = ""

    def used(self, keys: list[str]) -> list[str]:
        """Answer `references` by hand, as an application would."""
        return list(
            User._base_manager.using(self.using).filter(image_file__in=keys).values_list("image_file", flat=True)
        )

    def change(self, body: Any = None, *, save: bool = True) -> None:  # noqa: ANN401
        """Replace the picture, with something more in the block."""
        new = self.uploads.replace(picture("new"))
        try:
            with new, safeupload.django.atomic(new, using=self.using):
                user = User._base_manager.using(self.using).select_for_update().get(pk=self.user.pk)
                user.image_file = new.replacing(user.image_file)
                if save:
                    user.save(using=self.using)
                if body is not None:
                    body()
        finally:
            self.state = new.state

    def named(self) -> set[str]:
        """Return what rows name."""
        return set(User._base_manager.using(self.using).exclude(image_file=None).values_list("image_file", flat=True))

    def check(self, state: str) -> None:
        """Check the state, that exactly the referenced files are there, and that nothing is on record."""
        assert self.state == state
        assert set(self.storage.keys()) == self.named()
        assert list(self.storage.marks()) == []
        assert not connections[self.using].in_atomic_block


@pytest.fixture(params=["default", "other"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    """Give a user with a picture, in either database."""
    world = World(tmp_path, request.param)
    world.change()
    return world


def raising(error: BaseException) -> Any:  # noqa: ANN401
    """Return a function that raises."""

    def function() -> None:
        raise error

    return function


def test_a_commit(world: World) -> None:
    """The new file is there, the old one is not."""
    before = world.named()
    world.change()
    world.check("committed")
    assert world.named() != before


@pytest.mark.parametrize("error", [ZeroDivisionError(), KeyboardInterrupt(), IntegrityError()], ids=repr)
def test_an_error_in_the_block(world: World, error: BaseException) -> None:
    """It is rolled back, so the new file goes at once; the error comes out as it is."""
    before = world.named()
    with pytest.raises(type(error)) as caught:
        world.change(raising(error))
    assert caught.value is error
    world.check("aborted")
    assert world.named() == before


def test_a_commit_that_the_database_refuses(world: World) -> None:
    """A deferred foreign key does so, and Django has given back its lock when it is asked; the new file goes."""
    if world.using == "default":
        world.uploads = Uploads(world.storage, references=safeupload.django.references("accounts.User.image_file"))
    orphan = Friend(user_id=-1)
    before = world.named()
    with pytest.raises(IntegrityError):
        world.change(lambda: orphan.save(using=world.using))
    world.check("aborted")
    assert world.named() == before


def test_a_rollback_on_purpose(world: World) -> None:
    """`set_rollback(True)` is no error; the new file goes."""
    before = world.named()
    world.change(lambda: transaction.set_rollback(True, using=world.using))
    world.check("aborted")
    assert world.named() == before


@pytest.mark.parametrize("error", [ZeroDivisionError(), KeyboardInterrupt(), ConnectionResetError()], ids=repr)
def test_a_hook_that_raises(world: World, error: BaseException) -> None:
    """The commit has happened before it, so the old file goes; the error comes out."""
    before = world.named()
    with pytest.raises(type(error)):
        world.change(lambda: transaction.on_commit(raising(error), using=world.using))
    world.check("committed")
    assert world.named() != before


def test_a_hook_that_raises_after_a_commit_of_nothing(world: World) -> None:
    """That the database has committed is not enough: it still names the old file, so that one stays."""
    before = world.named()
    with pytest.raises(ZeroDivisionError):
        world.change(lambda: transaction.on_commit(raising(ZeroDivisionError()), using=world.using), save=False)
    assert world.state == "in_doubt"
    assert before < set(world.storage.keys())
    world.uploads.recover(min_age=0)
    world.check("in_doubt")
    assert world.named() == before


def test_a_block_in_another_block(world: World) -> None:
    """It is refused before anything is done, as under ATOMIC_REQUESTS; the new file goes."""
    with pytest.raises(RuntimeError, match="durable"), transaction.atomic(using=world.using):
        world.change()
    world.check("aborted")


def test_an_early_return(world: World) -> None:
    """A block that is left before the key was handed out leaves nothing."""
    with world.uploads.replace(picture("new")) as new, safeupload.django.atomic(new, using=world.using):
        pass
    world.state = new.state
    world.check("aborted")


def test_a_forgotten_save(world: World) -> None:
    """It is loud, and keeps all."""
    with pytest.raises(NotCommitted):
        world.change(save=False)
    assert len(list(world.storage.keys())) == 2
    world.uploads.recover(min_age=0)
    world.check("in_doubt")


def test_a_record_that_cannot_be_made(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the commit is not called: Django's block is rolled back, and closed."""
    before = world.named()
    monkeypatch.setattr("safeupload._transaction.Core._record", raising_method)
    with pytest.raises(StorageError):
        world.change()
    monkeypatch.undo()
    assert world.named() == before
    world.check("aborted")


def raising_method(self: object) -> None:
    """Fail as a full disk."""
    raise StorageError("no space")


def test_a_deletion(world: World) -> None:
    """An account goes with its picture, in a transaction."""
    with world.uploads.transaction() as tx, safeupload.django.atomic(tx, using=world.using):
        user = User._base_manager.using(world.using).select_for_update().get(pk=world.user.pk)
        tx.release(user.image_file)
        user.delete(using=world.using)
    world.state = tx.state
    world.check("committed")
    assert world.named() == set()


def test_a_creation(world: World) -> None:
    """A row is made with its picture; one that is refused leaves none."""
    with world.uploads.transaction() as tx, safeupload.django.atomic(tx, using=world.using):
        User._base_manager.using(world.using).create(image_file=tx.save(picture("new")))
    assert len(world.named()) == 2
    taken = world.named().pop()
    with pytest.raises(IntegrityError):  # noqa: SIM117 - the block is in it
        with world.uploads.transaction() as tx, safeupload.django.atomic(tx, using=world.using):
            tx.save(picture("new"))
            User._base_manager.using(world.using).create(image_file=taken)
    world.state = tx.state
    world.check("aborted")


def test_only_our_blocks_go_in() -> None:
    """The async ones cannot, nor anything else."""

    async def used(keys: list[str]) -> list[str]:
        return keys

    for wrong in (AsyncUploads(MemoryStorage(), references=used).replace(b""), None):
        with pytest.raises(InvalidArgument):
            safeupload.django.atomic(wrong)  # type: ignore[arg-type]


def test_references_see_everybody(tmp_path: Path) -> None:
    """All columns are asked, of rows that the default manager hides too, in the database that is written to."""
    World(tmp_path)
    User._base_manager.using("default").create(image_file="a", cover="b", left=True)
    User._base_manager.using("replica").create(image_file="c")
    used = safeupload.django.references("accounts.User.image_file", "accounts.User.cover")
    assert sorted(used(["a", "b", "c", "d"])) == ["a", "b"]
    assert safeupload.django.references("accounts.User.cover")(["a", "b"]) == ["b"]


def test_references_are_not_asked_inside_a_transaction(tmp_path: Path) -> None:
    """They would see what is not committed."""
    World(tmp_path)
    used = safeupload.django.references("accounts.User.image_file")
    with transaction.atomic(), pytest.raises(RuntimeError, match="durable"):
        used(["a"])


def test_references_wait_for_nobody(tmp_path: Path) -> None:
    """They read while somebody else writes, where a transaction would begin with the lock of the whole database."""
    World(tmp_path)
    User._base_manager.create(image_file="a")
    used = safeupload.django.references("accounts.User.image_file")
    with ExitStack() as others:
        if not DSN:
            writer = others.enter_context(closing(sqlite3.connect(connection.settings_dict["NAME"])))
            writer.execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        assert used(["a", "b"]) == ["a"]
        assert time.monotonic() - started < 10  # of the 30 seconds that Django would wait


@pytest.mark.parametrize("columns", [[], ["image_file"], ["User.image_file"], ["a.b.c.d"]])
def test_wrong_columns(columns: list[str]) -> None:
    """What is no column is told at once."""
    with pytest.raises(InvalidReferences, match=r"app\.Model\.field"):
        safeupload.django.references(*columns)


def test_many_at_once(tmp_path: Path) -> None:
    """Eight threads replace the picture of one user, each under a lock: no file is left over."""
    world = World(tmp_path)
    world.uploads = Uploads(world.storage, references=safeupload.django.references("accounts.User.image_file"))
    errors: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(6):
                with world.uploads.replace(picture("new")) as new, safeupload.django.atomic(new):
                    user = User._base_manager.using("default").select_for_update().get(pk=world.user.pk)
                    user.image_file = new.replacing(user.image_file)
                    user.save(using="default")
        except BaseException as error:  # noqa: BLE001 - the test looks at them
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    world.check("")


class InATestCase(TestCase):  # type: ignore[misc]
    """Django's own `TestCase` wraps every test in a transaction; hooks of `on_commit` do not run in it."""

    databases = {"default", "other", "replica"}  # noqa: RUF012 - Django's way

    def test_a_replacement(self) -> None:
        """All the same, files are replaced, rolled back and refused as in real life."""
        storage = MemoryStorage()
        used = safeupload.django.references("accounts.User.image_file")
        uploads = Uploads(storage, references=used)
        user = User._base_manager.using("default").create()
        for rollback, state in ((False, "committed"), (False, "committed"), (True, "aborted")):
            with uploads.replace(picture("new")) as new, safeupload.django.atomic(new):
                user.refresh_from_db(using="default")
                user.image_file = new.replacing(user.image_file)
                user.save(using="default")
                if rollback:
                    transaction.set_rollback(True)
            assert new.state == state
            user.refresh_from_db(using="default")
            assert list(storage.keys()) == [user.image_file]
        assert list(storage.marks()) == []
