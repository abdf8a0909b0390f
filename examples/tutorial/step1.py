# ruff: noqa: PLR2004 - the page has this code, and 500 is clear
"""Step 1: whatever comes in, a clean picture or one clean error comes out."""

import logging
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

from fastapi import FastAPI, HTTPException, Request, Response, UploadFile
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from sqlalchemy import String
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

import safeupload

MEDIA = Path(os.environ.get("MEDIA", "var")) / "profile_pics"
MEDIA.mkdir(parents=True, exist_ok=True)
logger = logging.getLogger(__name__)

engine = create_async_engine(os.environ.get("DATABASE_URL", "sqlite+aiosqlite:///var/app.db"))
Session = async_sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    """The tables."""


class User(Base):
    """Somebody with a picture, or without one."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    image_file: Mapped[str | None] = mapped_column(String(64), unique=True)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
    """Make the tables."""
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)
app.mount("/pictures", StaticFiles(directory=MEDIA))


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


async def found(session: AsyncSession, user_id: int) -> User:
    """Return the user, if there is one."""
    user = await session.get(User, user_id)
    if user is None:
        raise HTTPException(404, "There is no such user.")
    return user


def save_picture(picture: safeupload.NormalizedImage) -> str:
    """Write the picture to the folder; return its name."""
    name = f"{uuid4().hex}.jpg"
    (MEDIA / name).write_bytes(picture.data)
    return name


@app.put("/users/{user_id}/picture")
async def change_picture(user_id: int, file: UploadFile) -> dict[str, object]:
    """Put a picture in the place of the one that was there."""
    async with Session() as session:
        user = await found(session, user_id)
        old = user.image_file
        picture = await safeupload.normalize_async(file)
        user.image_file = await run_in_threadpool(save_picture, picture)
        await session.commit()
    if old:
        (MEDIA / old).unlink()
    return shown(user)


@app.delete("/users/{user_id}", status_code=204)
async def delete_user(user_id: int) -> None:
    """Delete the account."""
    async with Session() as session:
        await session.delete(await found(session, user_id))
        await session.commit()
