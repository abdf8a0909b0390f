"""Users with pictures in PostgreSQL, and the replacement of a picture through each driver."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Protocol

import anyio
import asyncpg
import psycopg
from fakes import picture
from sqlalchemy import String, create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import NullPool

from safeupload import AsyncUploads, Uploads
from safeupload.storage import LocalStorage


class Base(DeclarativeBase):
    """The tables."""


class User(Base):
    """Somebody with a picture."""

    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    image_file: Mapped[str | None] = mapped_column(String(64))


def used_by(dsn: str) -> Callable[[list[str]], list[str]]:
    """Return `references`, on a connection of its own."""

    def used(keys: list[str]) -> list[str]:
        with psycopg.connect(dsn, autocommit=True) as own:
            rows = own.execute("SELECT image_file FROM users WHERE image_file = ANY(%s)", [keys])
            return [key for (key,) in rows]

    return used


def rows(dsn: str) -> set[str]:
    """Return what committed rows name."""
    with psycopg.connect(dsn, autocommit=True) as own:
        return {key for (key,) in own.execute("SELECT image_file FROM users WHERE image_file IS NOT NULL")}


class Change(Protocol):
    """Replace the picture of user 1 in a transaction with some more SQL in it; return the block's state."""

    def __call__(self, dsn: str, storage: LocalStorage, more: str = "", *, rollback: bool = False) -> str:
        """Do it."""


@contextmanager
def sqlalchemy_session(dsn: str) -> Generator[Session]:
    """Open a session of SQLAlchemy on psycopg."""
    engine = create_engine(dsn.replace("postgresql://", "postgresql+psycopg://"), poolclass=NullPool)
    with Session(engine) as session:
        yield session
    engine.dispose()


def change_psycopg(dsn: str, storage: LocalStorage, more: str = "", *, rollback: bool = False) -> str:
    """By psycopg."""
    uploads = Uploads(storage, references=used_by(dsn))
    with psycopg.connect(dsn) as connection:
        try:
            with uploads.replace(picture("new")) as new:
                row = connection.execute("SELECT image_file FROM users WHERE id = 1 FOR UPDATE").fetchone()
                assert row is not None
                connection.execute("UPDATE users SET image_file = %s WHERE id = 1", [new.replacing(row[0])])
                if more:
                    connection.execute(more)
                if rollback:
                    connection.rollback()
                new.commit(connection.commit)
        finally:
            connection.rollback()
    return new.state


def change_sqlalchemy(dsn: str, storage: LocalStorage, more: str = "", *, rollback: bool = False) -> str:
    """By SQLAlchemy."""
    uploads = Uploads(storage, references=used_by(dsn))
    with sqlalchemy_session(dsn) as session, uploads.replace(picture("new")) as new:
        user = session.get(User, 1, with_for_update=True, populate_existing=True)
        assert user is not None
        user.image_file = new.replacing(user.image_file)
        if more:
            session.flush()
            session.execute(text(more))
        if rollback:
            session.rollback()
        new.commit(session.commit)
    return new.state


def async_used_by(dsn: str) -> Callable[[list[str]], Any]:
    """Return `references` for the async class."""

    async def used(keys: list[str]) -> list[str]:
        own = await asyncpg.connect(dsn)
        try:
            found = await own.fetch("SELECT image_file FROM users WHERE image_file = ANY($1)", keys)
            return [row["image_file"] for row in found]
        finally:
            await own.close()

    return used


def change_asyncpg(dsn: str, storage: LocalStorage, more: str = "", *, rollback: bool = False) -> str:
    """By asyncpg."""

    async def change() -> str:
        uploads = AsyncUploads(storage, references=async_used_by(dsn))
        connection = await asyncpg.connect(dsn)
        try:
            async with uploads.replace(picture("new")) as new:
                transaction = connection.transaction()
                await transaction.start()
                old = await connection.fetchval("SELECT image_file FROM users WHERE id = 1 FOR UPDATE")
                await connection.execute("UPDATE users SET image_file = $1 WHERE id = 1", new.replacing(old))
                if more:
                    await connection.execute(more)
                await new.commit(transaction.rollback if rollback else transaction.commit)
        finally:
            await connection.close()
        return new.state

    return anyio.run(change)


@asynccontextmanager
async def async_session(dsn: str) -> AsyncGenerator[AsyncSession]:
    """Open a session of SQLAlchemy on asyncpg."""
    engine = create_async_engine(dsn.replace("postgresql://", "postgresql+asyncpg://"), poolclass=NullPool)
    async with AsyncSession(engine) as session:
        yield session
    await engine.dispose()


def change_sqlalchemy_async(dsn: str, storage: LocalStorage, more: str = "", *, rollback: bool = False) -> str:
    """By SQLAlchemy's async session."""

    async def change() -> str:
        uploads = AsyncUploads(storage, references=async_used_by(dsn))
        async with async_session(dsn) as session, uploads.replace(picture("new")) as new:
            user = await session.get(User, 1, with_for_update=True, populate_existing=True)
            assert user is not None
            user.image_file = new.replacing(user.image_file)
            if more:
                await session.flush()
                await session.execute(text(more))
            if rollback:
                await session.rollback()
            await new.commit(session.commit)
        return new.state

    return anyio.run(change)


CHANGES = [change_psycopg, change_sqlalchemy, change_asyncpg, change_sqlalchemy_async]


def soon(condition: Callable[[], Any]) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
