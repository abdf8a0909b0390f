# ruff: noqa: PLR2004 - the page has this code, and 500 is clear
"""Step 4: a picture goes with its account, or alone."""

import logging
import os
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, HTTPException, Request, Response, UploadFile
from fastapi.responses import JSONResponse
from sqlalchemy import String, event, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

import safeupload
from safeupload.asgi import BodyLimit
from safeupload.storage import LocalStorage

MEDIA = Path(os.environ.get("MEDIA", "var"))
logger = logging.getLogger(__name__)

engine = create_async_engine(os.environ.get("DATABASE_URL", "sqlite+aiosqlite:///var/app.db"))
locking = engine.execution_options()  # the same database, by the same connections
Session = async_sessionmaker(locking, expire_on_commit=False)

if engine.dialect.name == "sqlite":  # which has no lock for a row: let a transaction begin with that of the database
    event.listen(locking.sync_engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    event.listen(engine.sync_engine, "reset", lambda connection, *_: connection.rollback())  # also if COMMIT has failed


class Base(DeclarativeBase):
    """The tables."""


class User(Base):
    """Somebody with a picture, or without one."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    image_file: Mapped[str | None] = mapped_column(String(64), unique=True)


async def used(keys: Collection[str]) -> Collection[str | None]:
    """Return those keys that committed rows name."""
    async with engine.connect() as connection:
        return (await connection.scalars(select(User.image_file).where(User.image_file.in_(keys)))).all()


uploads = safeupload.AsyncUploads(LocalStorage(MEDIA / "pictures"), references=used)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
    """Make the tables."""
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)
app.add_middleware(BodyLimit)


@app.exception_handler(safeupload.Rejected)
@app.exception_handler(safeupload.Unavailable)
async def refused(_: Request, error: safeupload.SafeUploadError) -> Response:
    """Answer for safeupload: a code, a text for the uploader, an HTTP status."""
    if error.status >= 500:
        logger.error("an upload could not be kept", exc_info=error)
    return JSONResponse(error.problem(), error.status, media_type="application/problem+json")


def shown(user: User) -> dict[str, object]:
    """Return what a page needs."""
    return {"id": user.id, "picture": user.image_file and f"/pictures/{user.image_file}"}


@app.post("/users", status_code=201)
async def create_user() -> dict[str, object]:
    """Create a user."""
    async with Session() as session:
        user = User()
        session.add(user)
        await session.commit()
    return shown(user)


@app.get("/users/{user_id}")
async def show_user(user_id: int) -> dict[str, object]:
    """Show a user."""
    async with Session() as session:
        return shown(await found(session, user_id))


async def found(session: AsyncSession, user_id: int, *, lock: bool = False) -> User:
    """Return the user, if there is one; with the lock, others who want it wait."""
    user = await session.get(User, user_id, with_for_update=lock, populate_existing=lock)
    if user is None:
        raise HTTPException(404, "There is no such user.")
    return user


@app.put("/users/{user_id}/picture")
async def change_picture(user_id: int, file: UploadFile) -> dict[str, object]:
    """Put a picture in the place of the one that was there."""
    async with Session() as session, uploads.replace(file) as new:
        user = await found(session, user_id, lock=True)
        user.image_file = new.replacing(user.image_file)
        await new.commit(session.commit)
    return shown(user)


@app.get("/pictures/{key}")
def show_picture(key: str) -> Response:
    """Serve a picture; what is no key of ours is 404."""
    headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "public, max-age=31536000, immutable"}
    return Response(uploads.storage.read(key), headers=headers, media_type="image/jpeg")


@app.delete("/users/{user_id}", status_code=204)
async def delete_user(user_id: int) -> None:
    """Delete the account."""
    async with Session() as session, uploads.transaction() as tx:
        user = await found(session, user_id, lock=True)
        tx.release(user.image_file)
        await session.delete(user)
        await tx.commit(session.commit)


@app.delete("/users/{user_id}/picture", status_code=204)
async def delete_picture(user_id: int) -> None:
    """Delete the picture, and keep the account."""
    async with Session() as session, uploads.transaction() as tx:
        user = await found(session, user_id, lock=True)
        tx.release(user.image_file)
        user.image_file = None
        await tx.commit(session.commit)
