"""The database of the kit, with both classes of uploads; and commits that lose their reply."""

import asyncio
from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fakes import picture
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session as RealSession
from sqlalchemy.pool import NullPool

from safeupload import AsyncUploads, InvalidArgument, NotCommitted, Uploads
from safeupload._outcome import outcome
from safeupload.storage import MemoryStorage
from safeupload.testing import CommitRefused, ConnectionLost, Database, losing_reply

#: How a commit ends: what it raises, what the row then says, the state that is told, and whether both files are kept.
ENDS: dict[str, tuple[type[BaseException] | None, str, str, bool]] = {
    "returned": (None, "new", "committed", False),
    "refused": (CommitRefused, "old", "aborted", False),
    "reply_lost": (ConnectionLost, "new", "in_doubt", True),
    "connection_lost": (ConnectionLost, "old", "in_doubt", True),
    "late": (ConnectionLost, "old", "in_doubt", True),
    "did_nothing": (NotCommitted, "old", "in_doubt", True),
}


class Application:
    """A row with a picture, and how it is replaced."""

    def __init__(self, *, is_async: bool) -> None:
        self.database = Database({"ada": None})
        self.storage = MemoryStorage()
        self.is_async = is_async
        self.states: list[str] = []

    def replace(self) -> None:
        """Replace the picture."""
        if self.is_async:
            asyncio.run(self._replace_async())
            return
        uploads = Uploads(self.storage, references=self.database.references)
        with self.database.session() as session, uploads.replace(picture()) as new:
            session["ada"] = new.replacing(session["ada"])
            try:
                new.commit(session.commit)
            finally:
                self.states.append(new.state)

    async def _replace_async(self) -> None:
        uploads = AsyncUploads(self.storage, references=self.database.references_async)
        async with self.database.session() as session, uploads.replace(picture()) as new:
            session["ada"] = new.replacing(session["ada"])
            try:
                await new.commit(session.commit_async)
            finally:
                self.states.append(new.state)

    def recover(self) -> None:
        """Settle everything."""
        Uploads(self.storage, references=self.database.references).recover(min_age=0)


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def application(request: pytest.FixtureRequest) -> Application:
    """Give an application whose row has a picture."""
    application = Application(is_async=request.param)
    application.replace()
    return application


@pytest.mark.parametrize("end", ENDS)
def test_a_commit_ends_as_it_was_told(application: Application, end: Any) -> None:  # noqa: ANN401
    """The row, the state, and the files are those of such an end; the commit after it is an ordinary one."""
    error, row, state, keeps_both = ENDS[end]
    old = application.database.rows["ada"]
    application.database.next_commit(end)
    if error is None:
        application.replace()
    else:
        with pytest.raises(error):
            application.replace()
    assert application.states[-1] == state
    assert (application.database.rows["ada"] == old) == (row == "old")
    assert len(list(application.storage.keys())) == (2 if keeps_both else 1)
    application.database.catch_up()
    application.recover()
    assert list(application.storage.keys()) == [application.database.rows["ada"]]
    assert (application.database.rows["ada"] == old) == (row == "old" and end != "late")
    application.replace()
    assert application.states[-1] == "committed"
    assert application.database.planned == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), asyncio.CancelledError()], ids=repr)
def test_a_commit_can_be_interrupted(error: BaseException) -> None:
    """After it took effect: the picture is kept, and so is the old one, for `recover`."""
    application = Application(is_async=False)
    application.replace()
    application.database.next_commit("reply_lost", error=error)
    with pytest.raises(type(error)):
        application.replace()
    assert application.states[-1] == "in_doubt"
    assert len(list(application.storage.keys())) == 2


def test_outcomes_come_in_the_order_in_which_they_were_told() -> None:
    """Each is for one commit."""
    database = Database()
    database.next_commit("did_nothing")
    database.next_commit("refused")
    assert database.planned == ["did_nothing", "refused"]
    with database.session() as session:
        session["a"] = "1"
        session.commit()
        session["b"] = "2"
        with pytest.raises(CommitRefused):
            session.commit()
        session["c"] = "3"
        session.commit()
    assert database.rows == {"c": "3"}


def test_a_session_is_a_transaction() -> None:
    """It sees its own changes, others see them after the commit; what is not committed is forgotten."""
    database = Database({"ada": "1", "bob": "2"})
    with database.session() as session:
        session["ada"] = "3"
        del session["bob"]
        assert session["ada"] == "3"
        for gone in ("bob", "eve"):
            with pytest.raises(KeyError):
                session[gone]
            with pytest.raises(KeyError):
                del session[gone]
        assert database.rows == {"ada": "1", "bob": "2"}
        assert database.references(["1", "3"]) == ["1"]
        session.rollback()
        assert session["bob"] == "2"
        del session["bob"]
        session.commit()
        session["ada"] = "4"
    assert database.rows == {"ada": "1"}


def test_what_no_commit_can_do_is_refused() -> None:
    """When it is told."""
    database = Database()
    with pytest.raises(InvalidArgument, match="none of returned, refused"):
        database.next_commit("lost")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="did nothing raises none"):
        database.next_commit("did_nothing", error=ValueError())
    assert database.planned == []


def test_the_errors_say_what_those_of_drivers_say() -> None:
    """The library takes them for what they stand for."""
    assert outcome(ConnectionLost()) == "unknown"
    assert outcome(CommitRefused()) == "refused"


# --- a real session


@pytest.fixture
def session(tmp_path: Path) -> Generator[RealSession]:
    """Give a session of a database with a row."""
    engine = create_engine(f"sqlite:///{tmp_path / 'app.db'}", poolclass=NullPool)
    with RealSession(engine) as session:
        session.execute(text("CREATE TABLE users (image_file TEXT)"))
        session.execute(text("INSERT INTO users VALUES (NULL)"))
        session.commit()
        yield session
    engine.dispose()


def test_a_real_commit_can_lose_its_reply(session: RealSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row is committed, the caller is told of a lost connection, and the picture is kept."""
    storage = MemoryStorage()

    def used(keys: list[str]) -> list[str]:
        with RealSession(session.bind) as own:
            return [key for (key,) in own.execute(text("SELECT image_file FROM users")) if key in keys]

    uploads = Uploads(storage, references=used)
    with monkeypatch.context() as patch, pytest.raises(ConnectionLost), uploads.replace(picture()) as new:
        patch.setattr(RealSession, "commit", losing_reply(RealSession.commit))
        session.execute(text("UPDATE users SET image_file = :key"), {"key": new.replacing(None)})
        new.commit(session.commit)

    assert new.state == "in_doubt"
    uploads.recover(min_age=0)
    (key,) = storage.keys()
    assert used([key]) == [key]


def test_a_commit_that_loses_its_reply_has_been_called() -> None:
    """With its arguments; the error can be another."""
    called: list[object] = []
    with pytest.raises(ConnectionLost):
        losing_reply(partial(called.append, 1))()
    with pytest.raises(ConnectionLost):
        losing_reply(called.append)(2)
    error = TimeoutError()
    with pytest.raises(TimeoutError) as caught:
        losing_reply(called.append, error)(3)
    assert called == [1, 2, 3]
    assert caught.value is error


def test_a_coroutine_that_loses_its_reply_has_been_awaited() -> None:
    """The error comes when it has ended."""
    called: list[int] = []

    async def commit(number: int) -> None:
        await asyncio.sleep(0)
        called.append(number)

    with pytest.raises(ConnectionLost):
        asyncio.run(losing_reply(commit)(4))
    assert called == [4]


def test_a_commit_that_fails_keeps_its_own_error() -> None:
    """There was no reply to lose."""

    def commit() -> None:
        raise ValueError("full")

    with pytest.raises(ValueError, match="full"):
        losing_reply(commit)()
