"""Step 0: a profile picture as one meets it in tutorials. Not to be copied."""

import io
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

from fastapi import FastAPI, HTTPException, UploadFile
from fastapi.concurrency import run_in_threadpool
from fastapi.staticfiles import StaticFiles
from PIL import Image, ImageOps, UnidentifiedImageError
from sqlalchemy import String
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

MEDIA = Path(os.environ.get("MEDIA", "var")) / "profile_pics"
MEDIA.mkdir(parents=True, exist_ok=True)
LIMIT = 5 * 1024 * 1024

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


def save_picture(content: bytes) -> str:
    """Write the picture to the folder; return its name."""
    with Image.open(io.BytesIO(content)) as image:
        upright = ImageOps.exif_transpose(image)
        picture = ImageOps.fit(upright, (300, 300)).convert("RGB")
    name = f"{uuid4().hex}.jpg"
    picture.save(MEDIA / name, quality=85)
    return name


@app.put("/users/{user_id}/picture")
async def change_picture(user_id: int, file: UploadFile) -> dict[str, object]:
    """Put a picture in the place of the one that was there."""
    content = await file.read()
    if len(content) > LIMIT:
        raise HTTPException(413, "This file is too large.")
    async with Session() as session:
        user = await found(session, user_id)
        old = user.image_file
        try:
            user.image_file = await run_in_threadpool(save_picture, content)
        except UnidentifiedImageError:
            raise HTTPException(400, "This file is not a picture.") from None
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
