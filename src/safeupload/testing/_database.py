"""A database whose commits end as a test says, and a way to make those of a real one lose their reply."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Awaitable, Callable, Generator, Hashable, Iterable, Mapping
from typing import Any, Final, Literal, NoReturn, ParamSpec, Self, TypeAlias, TypeVar, cast, get_args

from safeupload._drive import is_async_callable
from safeupload.errors import InvalidArgument

__all__ = ["CommitOutcome", "CommitRefused", "ConnectionLost", "Database", "Session", "losing_reply"]

P = ParamSpec("P")
R = TypeVar("R")

#: How a commit ends; see `Database.next_commit`.
CommitOutcome: TypeAlias = Literal["returned", "refused", "reply_lost", "connection_lost", "late", "did_nothing"]
_OUTCOMES: Final = get_args(CommitOutcome)


class ConnectionLost(ConnectionError):
    """As drivers raise when the connection is gone: nobody knows whether the transaction was committed."""


class CommitRefused(Exception):
    """As drivers raise when the database has refused: nothing was committed."""

    sqlstate = "23505"  # unique_violation


class Database:
    """
    A table in memory, for tests: the keys of files, each in a row that has a name of any kind.

    ::

        database = Database({"ada": None})
        uploads = Uploads(MemoryStorage(), references=database.references)
        database.next_commit("reply_lost")
        with database.session() as session, uploads.replace(picture) as new:
            session["ada"] = new.replacing(session["ada"])
            new.commit(session.commit)

    `rows` is what is committed. There are no locks: of two sessions at once, the later commit wins.
    """

    def __init__(self, rows: Mapping[Hashable, str | None] | None = None) -> None:
        self.rows: dict[Hashable, str | None] = dict(rows or {})
        self._next: list[tuple[CommitOutcome, BaseException | None]] = []
        self._late: list[Mapping[Hashable, str | None]] = []
        self._lock = threading.Lock()

    def references(self, keys: Iterable[str]) -> list[str]:
        """Return which of these keys committed rows name: the ``references`` of `Uploads`."""
        with self._lock:
            named = set(self.rows.values())
        return [key for key in keys if key in named]

    async def references_async(self, keys: Iterable[str]) -> list[str]:
        """Do what `references` does, for `AsyncUploads`."""
        return self.references(keys)

    def session(self) -> Session:
        """Return a block, for `with` or `async with`, in which rows are read and changed; it ends with a rollback."""
        return Session(self)

    def next_commit(self, outcome: CommitOutcome, *, error: BaseException | None = None) -> None:
        """
        Say how the next commit is to end; said twice, the second is for the one after it.

        Args:
            outcome: "returned": it does what it should. "refused": it raises `CommitRefused`, and nothing is
                committed. "reply_lost": it is committed, and raises `ConnectionLost`. "connection_lost": it raises
                the same, and nothing is committed. "late": it raises the same, and is committed when `catch_up` is
                called. "did_nothing": it returns, and nothing is committed.
            error: raised in place of that: ``KeyboardInterrupt()``, or ``asyncio.CancelledError()`` for a commit that
                is cancelled.

        Raises:
            InvalidArgument: there is no such outcome, or an error for one that raises none.

        """
        if outcome not in _OUTCOMES:
            raise InvalidArgument(f"outcome: {outcome!r} is none of {', '.join(_OUTCOMES)}")
        if error is not None and outcome in {"returned", "did_nothing"}:
            raise InvalidArgument(f"error: a commit that {outcome.replace('_', ' ')} raises none")
        self._next.append((outcome, error))

    @property
    def planned(self) -> list[CommitOutcome]:
        """How the next commits are to end, those that were told."""
        return [outcome for outcome, _ in self._next]

    def catch_up(self) -> None:
        """Commit what was sent in commits that were "late"."""
        with self._lock:
            for changes in self._late:
                self._apply(changes)
            self._late.clear()

    def _apply(self, changes: Mapping[Hashable, Any]) -> None:
        for row, key in changes.items():
            if key is _DELETED:
                self.rows.pop(row, None)
            else:
                self.rows[row] = key

    def _commit(self, changes: Mapping[Hashable, Any]) -> None:
        with self._lock:
            outcome, error = self._next.pop(0) if self._next else ("returned", None)
            if outcome in {"returned", "reply_lost"}:
                self._apply(changes)
            elif outcome == "late":
                self._late.append(changes)
        if outcome == "refused":
            raise error or CommitRefused("the database has refused")
        if outcome in {"reply_lost", "connection_lost", "late"}:
            raise error or ConnectionLost("the connection was lost")


_DELETED: Final = object()


class Session:
    """A transaction of a `Database`: rows are read and changed as in a dictionary; nothing is seen before `commit`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._changes: dict[Hashable, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.rollback()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.rollback()

    def __getitem__(self, row: Hashable) -> str | None:
        """Return the key that a row names; raise `KeyError` if there is no such row."""
        key: Any = self._changes.get(row, self._database.rows.get(row, _DELETED))
        if key is _DELETED:
            raise KeyError(row)
        named: str | None = key
        return named

    def __setitem__(self, row: Hashable, key: str | None) -> None:
        self._changes[row] = key

    def __delitem__(self, row: Hashable) -> None:
        self[row]
        self._changes[row] = _DELETED

    def commit(self) -> None:
        """Commit the changes, or end as `Database.next_commit` says."""
        changes, self._changes = self._changes, {}
        self._database._commit(changes)  # noqa: SLF001 - the one that made it

    async def commit_async(self) -> None:
        """Do what `commit` does, for `AsyncUploads`."""
        self.commit()

    def rollback(self) -> None:
        """Forget the changes."""
        self._changes = {}


def losing_reply(commit: Callable[P, R], error: BaseException | None = None) -> Callable[P, R]:
    """
    Return a commit that commits, and then raises as if the connection had been lost before the reply came.

    For the session of a real database, in place of the method (or coroutine) that commits::

        monkeypatch.setattr(Session, "commit", losing_reply(Session.commit))

    Args:
        commit: a function, method or coroutine function; it gets the arguments of whoever calls.
        error: what is raised, this very object each time: by default a `ConnectionLost`, a new one each time. If your
            view catches the errors of your driver or mapper, give one of these: of SQLAlchemy,
            ``OperationalError("COMMIT", {}, ConnectionResetError())``.

    """

    def lost() -> BaseException:
        if error is None:
            return ConnectionLost("the reply to COMMIT was lost")
        return error.with_traceback(None)  # or that of the last time grows

    async def losing_async(*args: P.args, **named: P.kwargs) -> Any:  # noqa: ANN401 - the commit's own
        committed: Any = commit(*args, **named)
        await committed
        raise lost()

    def losing(*args: P.args, **named: P.kwargs) -> Any:  # noqa: ANN401
        result = commit(*args, **named)
        if inspect.isawaitable(result):
            return _Losing(result, lost)
        raise lost()

    return cast("Callable[P, R]", losing_async if is_async_callable(commit) else losing)


class _Losing:
    """The promise of a commit, and then of an error."""

    def __init__(self, committed: Awaitable[object], lost: Callable[[], BaseException]) -> None:
        self._committed = committed
        self._lost = lost

    def __await__(self) -> Generator[Any, Any, NoReturn]:
        yield from self._committed.__await__()
        raise self._lost()

    def __del__(self) -> None:
        if inspect.iscoroutine(self._committed):
            self._committed.close()  # or Python warns, of a block that is not async, that nobody awaited it
