"""What is wrong fails loudly in the first manual test, and keeps all files: with `with` as with `async with`."""

import inspect
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from datetime import timedelta
from functools import partial
from types import SimpleNamespace, TracebackType
from typing import Any
from unittest.mock import AsyncMock

import anyio
import anyio.lowlevel
import pytest
from builders.pictures import jpeg
from fakes import picture

import safeupload
from safeupload import (
    AsyncCallable,
    AsyncUploads,
    CommitMissing,
    IllegalTransition,
    InvalidArgument,
    InvalidReferences,
    Misuse,
    NewKeyReleased,
    NotAborted,
    NotCommitted,
    Uploads,
)
from safeupload._events import Event
from safeupload.storage import MemoryStorage


class Application:
    """A table, a storage, and what was asked and told, for the plain class or the async one."""

    def __init__(self, *, is_async: bool) -> None:
        self.is_async = is_async
        self.rows: dict[int, Any] = {}
        self.storage = MemoryStorage()
        self.asked: list[str] = []
        self.events: list[Event] = []

    def uploads(self, **options: Any) -> Any:  # noqa: ANN401
        """Return the class that is tried."""
        if self.is_async:
            return AsyncUploads(self.storage, references=self.used_async, on_event=self.events.append, **options)
        return Uploads(self.storage, references=self.used, on_event=self.events.append, **options)

    def used(self, keys: list[str]) -> list[str]:
        """Answer `references`."""
        self.asked += keys
        return [key for key in keys if key in self.rows.values()]

    async def used_async(self, keys: list[str]) -> list[str]:
        """Answer `references`."""
        await anyio.lowlevel.checkpoint()
        return self.used(keys)

    def commit(self, row: int, key: str | None) -> Callable[[], Any]:
        """Return a commit that gives a row a key."""

        def commit() -> str:
            self.rows[row] = key
            return "done"

        async def commit_async() -> str:
            await anyio.lowlevel.checkpoint()
            return commit()

        return commit_async if self.is_async else commit

    def failing(self, error: BaseException, row: int | None = None, key: str | None = None) -> Callable[[], Any]:
        """Return a commit that raises, after it took effect if a row is given."""

        def commit() -> None:
            if row is not None:
                self.rows[row] = key
            raise error

        async def commit_async() -> None:
            commit()

        return commit_async if self.is_async else commit

    def run(self, body: Callable[["Application"], Any]) -> Any:  # noqa: ANN401
        """Run a body that is written with `await` and `async with`, either way."""
        if self.is_async:
            return anyio.run(body, self)
        coroutine = body(self)
        try:
            coroutine.send(None)
        except StopIteration as end:
            return end.value
        raise AssertionError("the plain class does not wait")

    def block(self, made: Any) -> AbstractAsyncContextManager[Any]:  # noqa: ANN401
        """Enter a block of either class by `async with`."""
        return made if self.is_async else Awaited(made)

    def picture(self, row: int = 1) -> str:
        """Give a row a picture, well."""

        async def body(app: Application) -> str:
            async with app.block(app.uploads().replace(picture("old"))) as new:
                key = new.replacing(app.rows.get(row))
                await settled(new.commit(app.commit(row, key)))
            return str(key)

        key: str = self.run(body)
        self.asked.clear()
        self.events.clear()
        return key

    def names(self) -> list[str]:
        """Return the names of what was told."""
        return [event.name for event in self.events]

    def check_all_kept(self, files: int) -> None:
        """Check that there are so many files, and that `recover` leaves those that rows name."""
        assert len(list(self.storage.keys())) == files
        Uploads(self.storage, references=self.used).recover(min_age=0)
        assert set(self.storage.keys()) == {key for key in self.rows.values() if key}
        assert list(self.storage.marks()) == []


class Awaited(AbstractAsyncContextManager[Any]):
    """A plain block, entered by `async with`."""

    def __init__(self, plain: AbstractContextManager[Any]) -> None:
        self.plain = plain

    async def __aenter__(self) -> Any:  # noqa: ANN401
        return self.plain.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return self.plain.__exit__(kind, error, traceback)


async def settled(value: Any) -> Any:  # noqa: ANN401
    """Await what can be awaited."""
    return await value if inspect.isawaitable(value) else value


@pytest.fixture(params=["plain", "async"])
def app(request: pytest.FixtureRequest) -> Application:
    """Give an application without rows."""
    return Application(is_async=request.param == "async")


def test_a_replacement_returns_what_the_commit_returned(app: Application) -> None:
    """The old file goes, the new one is there, and `references` was asked about both on the way."""
    old = app.picture()

    async def body(app: Application) -> None:
        async with app.block(app.uploads().replace(picture("new"))) as new:
            assert new.state == "staged"
            assert new.image == picture("new")
            key = new.replacing(app.rows[1])
            assert await settled(new.commit(app.commit(1, key))) == "done"
            assert new.state == "committed"
        assert new.state == "committed"
        assert app.storage.read(key) == picture("new").data
        assert set(app.asked) == {key, old}

    app.run(body)
    assert list(app.storage.keys()) == [app.rows[1]]
    assert app.names() == ["saved", "committed", "released"]


def test_an_upload_is_normalized(app: Application) -> None:
    """What goes in is any source of bytes; what is no picture raises before anything is stored."""

    async def body(app: Application) -> None:
        async with app.block(app.uploads().replace(jpeg(64, 48))) as new:
            assert (new.image.width, new.image.info.width) == (300, 64)
            key = new.replacing(None)
            await settled(new.commit(app.commit(1, key)))
        async with app.block(app.uploads().transaction()) as tx:
            with pytest.raises(safeupload.NotAnImage):
                await settled(tx.save(b"no picture"))
        with pytest.raises(safeupload.Empty):
            async with app.block(app.uploads().replace(b"")):
                pytest.fail("the block is not entered")

    app.run(body)
    assert list(app.storage.keys()) == [app.rows[1]]


def test_p6_an_early_return_leaves_nothing(app: Application) -> None:
    """A block that is left before the key was handed out removes the file, without a question to the database."""

    async def body(app: Application) -> None:
        async with app.block(app.uploads().replace(picture())) as new:
            pass
        assert new.state == "aborted"
        async with app.block(app.uploads().transaction()) as tx:
            tx.release(None)
            tx.release("")
        assert tx.state == "aborted"

    app.run(body)
    assert list(app.storage.keys()) == []
    assert list(app.storage.marks()) == []
    assert app.asked == []


def test_p6_an_early_error_leaves_nothing(app: Application) -> None:
    """So does an exception; it is the one that comes out."""

    async def body(app: Application) -> None:
        with pytest.raises(LookupError, match="no such user"):
            async with app.block(app.uploads().replace(picture())):
                raise LookupError("no such user")

    app.run(body)
    assert list(app.storage.keys()) == []
    assert list(app.storage.marks()) == []


def test_a_forgotten_commit_is_loud(app: Application) -> None:
    """A block that handed the key out, or released a file, must not be left without a commit."""
    old = app.picture()

    async def body(app: Application) -> None:
        with pytest.raises(CommitMissing):
            async with app.block(app.uploads().replace(picture("new"))) as new:
                new.replacing(app.rows[1])
        assert new.state == "in_doubt"
        with pytest.raises(CommitMissing):
            async with app.block(app.uploads().transaction()) as tx:
                tx.release(old)
        with pytest.raises(CommitMissing):
            async with app.block(app.uploads().transaction()) as tx:
                await settled(tx.save(picture("new")))

    app.run(body)
    app.check_all_kept(3)


def test_a_commit_by_hand_settles_itself(app: Application) -> None:
    """`session.commit()` in the block is loud; the file that no row names any more is on record."""
    app.picture()

    async def body(app: Application) -> None:
        with pytest.raises(CommitMissing):
            async with app.block(app.uploads().replace(picture("new"))) as new:
                app.rows[1] = new.replacing(app.rows[1])

    app.run(body)
    app.check_all_kept(2)


def test_an_error_after_the_key_was_handed_out_keeps_all(app: Application) -> None:
    """Nobody knows what becomes of the transaction then; the exception is the one that comes out."""
    app.picture()

    async def body(app: Application) -> None:
        with pytest.raises(ZeroDivisionError):
            async with app.block(app.uploads().replace(picture("new"))) as new:
                new.replacing(app.rows[1])
                raise ZeroDivisionError
        assert new.state == "in_doubt"

    app.run(body)
    app.check_all_kept(2)


def test_the_new_key_is_not_the_old_one(app: Application) -> None:
    """Whoever assigns first and reads the row afterwards is told."""

    async def body(app: Application) -> None:
        with pytest.raises(NewKeyReleased):
            async with app.block(app.uploads().replace(picture("new"))) as new:
                key = new.replacing(None)
                new.replacing(key)
        with pytest.raises(NewKeyReleased):
            async with app.block(app.uploads().transaction()) as tx:
                tx.release(await settled(tx.save(picture("new"))))

    app.run(body)
    app.check_all_kept(2)


def test_calls_at_the_wrong_time_are_refused(app: Application) -> None:
    """Before the block, after the commit, after `abort`, twice: each is an `IllegalTransition`, and harmless."""
    key = app.picture()

    async def body(app: Application) -> None:
        uploads = app.uploads()
        new = uploads.replace(picture("new"))
        tx = uploads.transaction()
        for call in (
            lambda: new.replacing(None),
            lambda: new.commit(app.commit(1, None)),
            new.abort,
            lambda: tx.release(key),
            lambda: tx.save(picture("new")),
        ):
            with pytest.raises(IllegalTransition, match="not begun"):
                await settled(call())
        with pytest.raises(InvalidArgument):
            _ = new.image
        async with app.block(new):
            app.rows[2] = None
            await settled(new.commit(app.commit(2, new.replacing(None))))
            for call in (
                lambda: new.replacing(None),
                lambda: new.commit(app.commit(2, None)),
                new.abort,
            ):
                with pytest.raises(IllegalTransition, match="committed"):
                    await settled(call())
        with pytest.raises(IllegalTransition, match="again"):
            async with app.block(new):
                pytest.fail("the block is not entered")
        async with app.block(uploads.transaction()) as aborted:
            await settled(aborted.save(picture("new")))
            await settled(aborted.abort())
            await settled(aborted.abort())  # no harm in that
            for call in (
                lambda: aborted.save(picture("new")),
                lambda: aborted.release(key),
                lambda: aborted.commit(app.commit(1, None)),
            ):
                with pytest.raises(IllegalTransition, match="aborted"):
                    await settled(call())
        assert aborted.state == "aborted"

    app.run(body)
    assert set(app.storage.keys()) == set(app.rows.values())
    assert list(app.storage.marks()) == []


def test_the_block_can_be_entered_once(app: Application) -> None:
    """A second `with` on the same object finds nothing new stored."""

    async def body(app: Application) -> None:
        tx = app.uploads().transaction()
        async with app.block(tx):
            pass
        with pytest.raises(IllegalTransition):
            async with app.block(tx):
                pytest.fail("the block is not entered")

    app.run(body)


@pytest.mark.parametrize("had", [True, False])
def test_a_commit_that_changed_nothing_is_loud(app: Application, *, had: bool) -> None:
    """The row that was not assigned to, the other session: whether or not there was a picture before."""
    if had:
        app.picture()

    async def body(app: Application) -> None:
        with pytest.raises(NotCommitted, match="new file") as caught:
            async with app.block(app.uploads().replace(picture("new"))) as new:
                new.replacing(app.rows.get(1))
                await settled(new.commit(app.commit(2, None)))
        assert ("old file" in str(caught.value)) is had
        assert new.state == "in_doubt"

    app.run(body)
    app.check_all_kept(1 + had)


def test_a_deletion_that_changed_nothing_is_loud(app: Application) -> None:
    """A released file that a row still names stays."""
    app.picture()

    async def body(app: Application) -> None:
        with pytest.raises(NotCommitted, match="old file"):
            async with app.block(app.uploads().transaction()) as tx:
                tx.release(app.rows[1])
                await settled(tx.commit(app.commit(2, None)))

    app.run(body)
    app.check_all_kept(1)


def test_a_new_file_that_was_replaced_at_once_was_committed(app: Application) -> None:
    """Another upload may have been faster than our question: that is no mistake of anybody's."""

    async def body(app: Application) -> None:
        async with app.block(app.uploads().replace(picture("new"))) as new:
            key = new.replacing(None)

            async def both() -> None:
                app.rows[1] = key
                async with app.block(app.uploads().replace(picture("newer"))) as newer:
                    newest = newer.replacing(key)
                    await settled(newer.commit(app.commit(1, newest)))

            def both_plain() -> None:
                with pytest.raises(StopIteration):
                    both().send(None)

            await settled(new.commit(both if app.is_async else both_plain))
        assert new.state == "committed"

    app.run(body)
    assert list(app.storage.keys()) == [app.rows[1]]
    assert list(app.storage.marks()) == []


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (type("IntegrityError", (Exception,), {})(), "aborted"),
        (ValueError(), "aborted"),
        (ConnectionResetError(), "in_doubt"),
        (TimeoutError(), "in_doubt"),
        (KeyboardInterrupt(), "in_doubt"),
    ],
    ids=["refused", "plain", "connection", "time-out", "interrupt"],
)
def test_p6_what_a_failed_commit_leaves(app: Application, error: BaseException, state: str) -> None:
    """A refusal and a plain error remove the new file at once; what may have been a commit keeps both."""
    old = app.picture()

    async def body(app: Application) -> None:
        async with app.block(app.uploads().replace(picture("new"))) as new:
            new.replacing(app.rows[1])
            with pytest.raises(type(error)) as caught:
                await settled(new.commit(app.failing(error)))
            assert caught.value is error
        assert new.state == state

    app.run(body)
    if state == "aborted":
        assert list(app.storage.keys()) == [old]
        assert list(app.storage.marks()) == []
    app.check_all_kept(1 if state == "aborted" else 2)


@pytest.mark.parametrize("error", [ValueError(), ConnectionResetError()], ids=["hook", "lost reply"])
def test_p5_a_commit_that_raised_after_it_happened_keeps_all(app: Application, error: Exception) -> None:
    """A hook that raises after the commit, a reply that is lost: the row names the new file, so it stays."""
    app.picture()

    async def body(app: Application) -> None:
        async with app.block(app.uploads().replace(picture("new"))) as new:
            key = new.replacing(app.rows[1])
            with pytest.raises(type(error)):
                await settled(new.commit(app.failing(error, 1, key)))
        assert new.state == "in_doubt"

    app.run(body)
    app.check_all_kept(2)


def test_p7_a_deletion_that_raised_after_it_happened_is_on_record(app: Application) -> None:
    """There is no new key to ask for; that the old one is gone from the database tells."""
    app.picture()

    async def body(app: Application) -> None:
        async with app.block(app.uploads().transaction()) as tx:
            tx.release(app.rows[1])
            with pytest.raises(ZeroDivisionError):
                await settled(tx.commit(app.failing(ZeroDivisionError(), 1, None)))
        assert tx.state == "in_doubt"

    app.run(body)
    app.check_all_kept(1)


def test_abort_removes_the_new_files(app: Application) -> None:
    """The caller's word is enough, once the database agrees."""
    old = app.picture()

    async def body(app: Application) -> None:
        async with app.block(app.uploads().replace(picture("new"))) as new:
            key = new.replacing(app.rows[1])
            await settled(new.abort())
            assert new.state == "aborted"
            assert list(app.storage.keys()) == [old]
        assert key in app.asked

    app.run(body)
    assert list(app.storage.marks()) == []


def test_abort_after_a_commit_by_hand_is_loud(app: Application) -> None:
    """Whoever has committed all the same loses nothing."""
    app.picture()

    async def body(app: Application) -> None:
        async with app.block(app.uploads().replace(picture("new"))) as new:
            app.rows[1] = new.replacing(app.rows[1])
            with pytest.raises(NotAborted):
                await settled(new.abort())
            assert new.state == "in_doubt"

    app.run(body)
    app.check_all_kept(2)


@pytest.mark.parametrize(
    "value",
    ["default.jpg", "../x", "a\0b", "x" * 32 + ".jpg", "AB" * 16 + ".JPG", "ab" * 16 + ".jpg\n", 7, b"key", Ellipsis],
    ids=repr,
)
def test_p8_a_foreign_value_is_kept(app: Application, value: object, caplog: pytest.LogCaptureFixture) -> None:
    """What is no key of ours is never removed; it is told, and not repeated, for it may come from a client."""

    async def body(app: Application) -> None:
        async with app.block(app.uploads().replace(picture("new"))) as new:
            await settled(new.commit(app.commit(1, new.replacing(value))))
        assert new.state == "committed"

    app.run(body)
    assert app.names() == ["saved", "foreign_value", "committed"]
    assert all(str(value) not in record.getMessage() for record in caplog.records)
    assert all(app.storage.exists(key) for key in app.asked)


def test_a_field_of_django_is_its_name(app: Application) -> None:
    """A `FieldFile` goes in as it is, with a file or without."""
    old = app.picture()

    async def body(app: Application) -> None:
        for field, row in ((SimpleNamespace(name=old), 1), (SimpleNamespace(name=None), 2)):
            async with app.block(app.uploads().replace(picture("new"))) as new:
                await settled(new.commit(app.commit(row, new.replacing(field))))

    app.run(body)
    assert set(app.storage.keys()) == {app.rows[1], app.rows[2]}
    assert "foreign_value" not in app.names()


def test_references_that_fail_after_the_commit_keep_all(app: Application) -> None:
    """Their exception comes out: the commit has happened, and what it left cannot be settled now."""
    app.picture()

    async def body(app: Application) -> None:
        async with app.block(app.uploads().replace(picture("new"))) as new:
            key = new.replacing(app.rows[1])
            commit = app.commit(1, key)
            used, app.used = app.used, raising  # type: ignore[method-assign]
            uploads = app.uploads()
            del uploads
            new._core._references = app.used_async if app.is_async else app.used
            with pytest.raises(ZeroDivisionError):
                await settled(new.commit(commit))
            app.used = used  # type: ignore[method-assign]
        assert new.state == "in_doubt"

    app.run(body)
    app.check_all_kept(2)


def raising(keys: list[str]) -> list[str]:
    """Fail as a database that is away."""
    raise ZeroDivisionError


@pytest.mark.parametrize("answer", [None, "key", b"key", 7, [("key",)], [b"key"], [7]], ids=repr)
def test_an_answer_that_cannot_be_one_is_not_believed(answer: object) -> None:
    """Rows, bytes or nothing in place of keys would mean "none", and remove files; so they raise."""
    storage = MemoryStorage()
    uploads = Uploads(storage, references=lambda keys: answer)  # type: ignore[arg-type, return-value]

    def change() -> None:
        with uploads.replace(picture()) as new:
            new.replacing(None)
            new.commit(lambda: None)

    with pytest.raises(InvalidReferences, match="references must return"):
        change()
    assert len(list(storage.keys())) == 1
    with pytest.raises(InvalidReferences):
        uploads.recover(min_age=0)
    assert len(list(storage.keys())) == 1


@pytest.mark.parametrize("answer", [set, tuple, iter, lambda keys: [*keys, None, "another"]])
def test_an_answer_is_any_iterable_of_keys(answer: Callable[[list[str]], Any]) -> None:
    """Columns without a picture and keys that were not asked for do no harm."""
    uploads = Uploads(MemoryStorage(), references=answer)

    with uploads.replace(picture()) as new:
        new.replacing(None)
        new.commit(lambda: None)

    assert new.state == "committed"


async def async_commit() -> None:
    """Commit."""


class AsyncCommit:
    """An object that is called with await."""

    async def __call__(self) -> None:
        """Commit."""


@pytest.mark.parametrize(
    "commit",
    [async_commit, partial(async_commit), AsyncCommit(), AsyncMock()],
    ids=["function", "partial", "object", "mock"],
)
def test_a_coroutine_function_is_no_plain_commit(commit: Callable[[], Any]) -> None:
    """It is refused before it is called."""
    storage = MemoryStorage()
    uploads = Uploads(storage, references=lambda keys: [])

    def change() -> None:
        with uploads.replace(picture()) as new:
            new.replacing(None)
            with pytest.raises(AsyncCallable, match="AsyncUploads"):
                new.commit(commit)
            new.abort()

    change()
    assert list(storage.keys()) == []


def test_a_commit_that_returns_a_coroutine_is_loud() -> None:
    """A lambda around it cannot be told beforehand; the coroutine is closed without a warning, and all is kept."""
    storage = MemoryStorage()
    uploads = Uploads(storage, references=lambda keys: [])

    def change() -> None:
        with uploads.replace(picture()) as new:
            new.replacing(None)
            new.commit(lambda: async_commit())  # type: ignore[unused-coroutine]  # noqa: PLW0108 - as people do

    with pytest.raises(AsyncCallable):
        change()
    assert len(list(storage.keys())) == 1


def test_each_class_takes_its_own_kind_of_references() -> None:
    """A coroutine function in the plain class and a plain function in the async one are refused at once."""

    async def used(keys: list[str]) -> list[str]:
        return keys

    with pytest.raises(AsyncCallable):
        Uploads(MemoryStorage(), references=used)  # type: ignore[arg-type]
    with pytest.raises(InvalidReferences, match="async def"):
        AsyncUploads(MemoryStorage(), references=lambda keys: keys)  # type: ignore[arg-type, return-value]
    for kind in (Uploads, AsyncUploads):
        with pytest.raises(InvalidReferences, match="function"):
            kind(MemoryStorage(), references=None)  # type: ignore[arg-type]
    AsyncUploads(MemoryStorage(), references=partial(used))


@pytest.mark.parametrize("value", [-1, timedelta(seconds=-1), "60", None, float("nan"), float("inf"), True])
def test_durations_are_seconds_or_timedeltas(value: Any) -> None:  # noqa: ANN401
    """A negative or endless age raises where it is given."""
    uploads = Uploads(MemoryStorage(), references=lambda keys: keys)

    if value is not None:
        with pytest.raises(InvalidArgument, match="min_age"):
            uploads.recover(min_age=value)
    with pytest.raises(InvalidArgument, match="min_age"):
        Uploads(MemoryStorage(), references=lambda keys: keys, min_age=value)
    with pytest.raises(InvalidArgument, match="min_age"):
        uploads.sweep(min_age=value)
    if value is not None:
        with pytest.raises(InvalidArgument, match="retain"):
            Uploads(MemoryStorage(), references=lambda keys: keys, retain=value)
    uploads.recover(min_age=timedelta(minutes=1))
    uploads.recover(min_age=0)


@pytest.mark.parametrize("value", [-1, 1.5, "3", True])
def test_the_limit_is_a_number(value: Any) -> None:  # noqa: ANN401
    """So is a limit that is none."""
    with pytest.raises(InvalidArgument, match="limit"):
        Uploads(MemoryStorage(), references=lambda keys: keys).sweep(limit=value)


def test_every_mistake_is_misuse() -> None:
    """One except clause would catch them all, if anybody wanted to."""
    for mistake in (
        AsyncCallable, CommitMissing, IllegalTransition, InvalidArgument, InvalidReferences, NewKeyReleased, NotAborted,
        NotCommitted, safeupload.FolderNotOwned, safeupload.SweepRefused,
    ):  # fmt: skip
        assert issubclass(mistake, Misuse)


def test_a_hook_that_raises_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    """A broken metric is logged, and the transaction goes on."""
    storage = MemoryStorage()
    rows: list[str] = []

    def broken(event: Event) -> None:
        raise ZeroDivisionError

    uploads = Uploads(storage, references=lambda keys: rows, on_event=broken)
    with uploads.replace(picture()) as new:
        rows.append(new.replacing(None))
        new.commit(lambda: None)

    assert new.state == "committed"
    assert "on_event raised" in caplog.text


def test_the_log_is_structured(app: Application, caplog: pytest.LogCaptureFixture) -> None:
    """Every record has event, key, state and seconds."""
    caplog.set_level("INFO", "safeupload")
    old = app.picture()
    caplog.clear()

    async def body(app: Application) -> str:
        async with app.block(app.uploads().replace(picture("new"))) as new:
            key = new.replacing(app.rows[1])
            await settled(new.commit(app.commit(1, key)))
        return str(key)

    key = app.run(body)
    told = [(record.__dict__["event"], record.__dict__["key"], record.__dict__["state"]) for record in caplog.records]
    assert told == [
        ("saved", key, "staged"),
        ("committed", f"{key} {old}", "committed"),
        ("released", old, "committed"),
    ]
    assert all(0 <= record.__dict__["seconds"] < 10 for record in caplog.records)
