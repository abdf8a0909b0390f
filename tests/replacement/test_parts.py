"""The small parts of the replacement: keys, marks' names, the table of states, what exceptions say, events, drivers."""

import asyncio
import gc
import re
import sqlite3
import time
import weakref
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any

import anyio
import asyncpg
import django.db
import psycopg
import pytest
import sqlalchemy.exc
import sqlalchemy.orm.exc
import trio
from hypothesis import given
from hypothesis import strategies as st

from safeupload._drive import CHECKPOINT, Flow, asking, drive, drive_async, storing
from safeupload._keys import Named, checked, is_key, named, new_key, new_mark, old_mark, parse_mark
from safeupload._machine import TABLE, Does, Happened, following
from safeupload._outcome import outcome
from safeupload.errors import AsyncCallable, IllegalTransition, InvalidKey

# --- keys ---


def test_keys_are_random() -> None:
    """A key has 32 hexadecimal digits and an extension, and comes once."""
    keys = {new_key() for _ in range(1000)}

    assert len(keys) == 1000
    assert all(re.fullmatch(r"[0-9a-f]{32}\.jpg", key) for key in keys)
    assert {len(key) for key in keys} == {36}


@given(st.text() | st.from_regex(r"[0-9a-fA-F]{30,34}\.jpe?g\n?"))
def test_p8_only_keys_are_keys(text: str) -> None:
    """Whatever has not exactly the form is refused, and foreign in a row."""
    good = re.fullmatch(r"[0-9a-f]{32}\.jpg", text, re.ASCII) is not None and not text.endswith("\n")

    assert is_key(text) is good
    if good:
        assert checked(text) == text
        assert named(text) == Named(text)
    else:
        with pytest.raises(InvalidKey):
            checked(text)
        assert named(text) == Named(None, foreign=text != "")


@given(st.text() | st.from_regex(r"~[0-9a-f]{32}\.jpg~[0-9a-f]{15,17}(~[0-9]{1,12})?"))
def test_what_is_no_mark_is_left_alone(text: str) -> None:
    """A name that is parsed as a mark's is the name of that mark."""
    mark = parse_mark(text)

    assert mark is None or mark.name == text
    assert mark is None or is_key(mark.key)


@given(st.integers(0, 10**9))
def test_marks_are_told_by_their_names(retain: int) -> None:
    """A mark's name says which file, whether it is new, and how long it stays."""
    new, old = new_mark(), old_mark(new_key(), retain)

    assert parse_mark(new.name) == new
    assert parse_mark(old.name) == old
    assert (new.is_new, old.is_new, old.retain) == (True, False, retain)
    assert len(old.name) < 100  # of the 255 that a file system takes
    assert old_mark(old.key, retain).name != old.name


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_marks_tell_their_leases(retain: int, lease: int) -> None:
    """A mark that is held by a lease says for how long, whether its file is new or old."""
    new, old = new_mark(lease), old_mark(new_key(), retain, lease)

    assert parse_mark(new.name) == new
    assert parse_mark(old.name) == old
    assert (new.lease, old.lease) == (lease, lease)
    assert parse_mark(old.name, 7.5) == old
    assert getattr(parse_mark(old.name, 7.5), "dated", None) == 7.5


def test_marks_that_are_held_by_locks_say_nothing_of_leases() -> None:
    """Nor of how long they retain, where that is not at all: those names are what every version has understood."""
    new, old = new_mark(), old_mark(new_key(), 0)

    assert (new.name, new.lease, old.lease) == (new.key, 0, 0)
    assert re.fullmatch(rf"~{re.escape(old.key)}~[0-9a-f]{{16}}", old.name)


# --- the table of states ---


def test_the_laws_of_the_table() -> None:
    """Nothing is removed in doubt; the commit is called in doubt; what has ended stays as it is."""
    for (state, happened), step in TABLE.items():
        if step.does in (Does.RELEASE, Does.DISCARD):
            assert happened in (Happened.CONFIRMED, Happened.REFUTED, Happened.LEFT_UNSEEN)
        if happened in (Happened.COMMIT_CALLED, Happened.ABORT_CALLED) and state == "staged":
            assert step == ("in_doubt", Does.ASK)
        if state in ("committed", "aborted"):
            assert step == (state, Does.NOTHING)
        if step.state != state:
            assert state in ("staged", "in_doubt")
            assert step.state != "staged"
    assert {step.does for step in TABLE.values()} == set(Does)


def test_every_block_can_be_left() -> None:
    """Whatever its state, a block ends."""
    for state in ("staged", "committed", "aborted", "in_doubt"):
        for happened in (Happened.LEFT, Happened.LEFT_UNSEEN):
            following(state, happened)


def test_what_the_table_does_not_have_is_illegal() -> None:
    """The error says what was called when."""
    with pytest.raises(IllegalTransition, match=r"abort\(\) is not possible here: the transaction is in doubt"):
        following("in_doubt", Happened.ABORT_CALLED, "abort()")


# --- what exceptions say ---


def with_state(sqlstate: str) -> Exception:
    """Return psycopg's error of that SQLSTATE."""
    return psycopg.errors.lookup(sqlstate)()


def wrapped(error: Exception) -> Exception:
    """Return SQLAlchemy's error for a driver's, raised from it."""
    kinds = {each.__name__: getattr(sqlalchemy.exc, each.__name__, None) for each in type(error).__mro__}
    kind = next(kind for kind in kinds.values() if kind is not None and issubclass(kind, sqlalchemy.exc.DBAPIError))
    return caused(kind("COMMIT", {}, error), error)


def caused(error: Exception, cause: BaseException) -> Exception:
    """Return the error, raised from another."""
    error.__cause__ = cause
    return error


def during(error: Exception, context: BaseException) -> Exception:
    """Return the error, raised while another was handled, and not shown with it."""
    error.__context__ = context
    error.__suppress_context__ = True
    return error


def cycle() -> Exception:
    """Return two errors that are each other's cause."""
    first, second = ValueError(), LookupError()
    first.__cause__, second.__cause__ = second, first
    return first


def named_like(name: str, base: type[BaseException] = Exception, **attributes: object) -> Any:  # noqa: ANN401
    """Return an error of a class of that name, as of a driver that is not installed here."""
    return type(name, (base,), attributes)()


@pytest.mark.parametrize(
    "error",
    [
        sqlite3.IntegrityError("FOREIGN KEY constraint failed"),
        sqlite3.ProgrammingError(),
        with_state("23505"),
        with_state("40001"),  # a subclass of OperationalError
        with_state("40P01"),
        with_state("25P02"),
        asyncpg.exceptions.SerializationError(),
        asyncpg.exceptions.UniqueViolationError(),
        wrapped(with_state("23505")),
        wrapped(with_state("40001")),  # an OperationalError of SQLAlchemy's
        wrapped(sqlite3.IntegrityError()),
        caused(django.db.IntegrityError(), with_state("23505")),
        caused(django.db.OperationalError(), with_state("40001")),
        sqlalchemy.orm.exc.StaleDataError(),
        named_like("IntegrityError", named_like("DatabaseError").__class__),
        named_like("Error", pgcode="23505"),
        caused(ValueError(), with_state("23505")),
    ],
)
def test_a_refusal_is_known(error: Exception) -> None:
    """The database said no: a constraint, a conflict, a mistake."""
    assert outcome(error) == "refused"


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(),
        TimeoutError(),
        asyncio.IncompleteReadError(b"", 1),
        EOFError(),
        OSError(),
        KeyboardInterrupt(),
        SystemExit(),
        asyncio.CancelledError(),
        GeneratorExit(),
        MemoryError(),
        trio.TooSlowError(),
        AsyncCallable(),
        sqlite3.OperationalError("database is locked"),
        sqlite3.InterfaceError(),
        sqlite3.DatabaseError(),
        psycopg.OperationalError("server closed the connection unexpectedly"),
        with_state("08006"),
        with_state("57P01"),
        with_state("58030"),
        with_state("XX000"),
        with_state("40003"),
        asyncpg.exceptions.ConnectionDoesNotExistError(),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.exceptions.InternalClientError(""),
        sqlalchemy.exc.TimeoutError(),
        wrapped(with_state("57P01")),
        wrapped(psycopg.OperationalError()),
        wrapped(sqlite3.OperationalError()),
        caused(django.db.OperationalError(), psycopg.OperationalError()),
        django.db.InterfaceError(),
        named_like("OperationalError", named_like("Error").__class__),
        named_like("AutoReconnect"),
        named_like("ReadTimeoutError"),
        caused(ValueError(), ConnectionResetError()),
        during(with_state("23505"), TimeoutError()),
        during(sqlite3.IntegrityError(), caused(ValueError(), with_state("57014"))),
        ExceptionGroup("", [ValueError(), ExceptionGroup("", [TimeoutError()])]),
        BaseExceptionGroup("", [ValueError(), KeyboardInterrupt()]),
    ],
)
def test_what_may_have_been_a_commit_is_unknown(error: BaseException) -> None:
    """A connection, a time-out, an interruption, anywhere in the chain, outranks every refusal."""
    assert outcome(error) == "unknown"


@pytest.mark.parametrize(
    "error",
    [ValueError(), ZeroDivisionError(), cycle(), ExceptionGroup("", [ValueError()]), caused(KeyError(), ValueError()),
     named_like("Surprise", sqlstate="short"), named_like("Surprise", sqlstate=7)],
)  # fmt: skip
def test_everything_else_is_plain(error: Exception) -> None:
    """An error of the application's own says nothing of the database."""
    assert outcome(error) == "plain"


# --- the drivers ---


def echo(value: object) -> object:
    """Return it."""
    return value


def fail(error: BaseException) -> None:
    """Raise it."""
    raise error


def both(make: Callable[[], Flow[Any]]) -> list[Any]:
    """Run a flow by every driver; return what each returned, or raised."""
    results: list[Any] = []
    ways: list[Callable[[], Any]] = [
        lambda: drive(make()),
        lambda: anyio.run(drive_async, make()),
        lambda: anyio.run(drive_async, make(), backend="trio"),
    ]
    for run in ways:
        try:
            results.append(run())
        except BaseException as error:  # noqa: BLE001 - to compare
            results.append(error)
    return results


def test_a_flow_gets_what_its_steps_return() -> None:
    """Values go in by `send`, and the last comes out."""

    def flow() -> Flow[list[Any]]:
        first = yield storing(echo, 1)
        second = yield storing(echo, 2, shielded=False)
        third = yield asking(echo, 3)
        return [first, second, third, (yield CHECKPOINT)]

    assert both(flow) == [[1, 2, 3, None]] * 3


@pytest.mark.parametrize("step", [storing, asking])
@pytest.mark.parametrize("error", [ValueError(), KeyboardInterrupt()], ids=repr)
def test_a_flow_has_thrown_into_it_what_its_steps_raise(step: Callable[..., Any], error: BaseException) -> None:
    """It may go on, or let it out."""

    def caught() -> Flow[Any]:
        try:
            yield step(fail, error)
        except BaseException as seen:  # noqa: BLE001 - to look at
            return seen
        return None

    def uncaught() -> Flow[None]:
        yield step(fail, error)

    if not isinstance(error, KeyboardInterrupt) or step is storing:  # which an event loop takes as it pleases
        assert both(caught) == [error] * 3
    if isinstance(error, ValueError):
        assert both(uncaught) == [error] * 3


def test_the_drivers_keep_no_exception_alive() -> None:
    """Nothing that a traceback holds, descriptors for one, waits for the garbage collector."""

    class Held:
        pass

    def flow() -> Flow[None]:
        held = Held()
        watched.append(weakref.ref(held))
        yield storing(lambda: 1 / 0)

    watched: list[weakref.ref[Held]] = []
    gc.disable()
    try:
        with suppress(ZeroDivisionError):
            drive(flow())
        assert [held() for held in watched] == [None]
    finally:
        gc.enable()


def test_a_plain_commit_that_returns_a_promise_is_refused() -> None:
    """A coroutine is closed, so that Python has nothing to complain of; a future is left to its owner."""

    async def commit() -> None:
        pytest.fail("it is not run")

    def flow() -> Flow[None]:
        yield asking(commit)

    with pytest.raises(AsyncCallable):
        drive(flow())
    loop = asyncio.new_event_loop()
    try:
        future = loop.create_future()

        def waiting() -> Flow[None]:
            yield asking(echo, future)

        with pytest.raises(AsyncCallable):
            drive(waiting())
    finally:
        loop.close()


def test_a_cancellation_waits_for_shielded_steps() -> None:
    """It reaches the flow at its next step that is not shielded, and the caller when the flow has ended."""
    heard: list[str] = []

    def flow(*, last: bool) -> Generator[Any, Any, str]:
        heard.append((yield storing(cancel, "first")))
        heard.append((yield storing(echo, "second")))
        if last:
            return "done"
        try:
            yield storing(echo, "third", shielded=False)
        except asyncio.CancelledError:
            heard.append("cancelled")
            raise
        return "not reached"

    def cancel(value: str) -> str:
        loops[-1].call_soon_threadsafe(tasks[-1].cancel)
        time.sleep(0.01)  # the event loop acts in the meantime
        return value

    async def main(*, last: bool) -> None:
        loops.append(asyncio.get_running_loop())
        tasks.append(asyncio.ensure_future(drive_async(flow(last=last))))
        await asyncio.wait(tasks[-1:])
        assert tasks[-1].cancelled()

    loops: list[asyncio.AbstractEventLoop] = []
    tasks: list[asyncio.Future[str]] = []
    asyncio.run(main(last=True))
    assert heard == ["first", "second"]
    heard.clear()
    asyncio.run(main(last=False))
    assert heard == ["first", "second", "cancelled"]
