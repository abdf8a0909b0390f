"""
Users with a picture: FastAPI, async SQLAlchemy, and safeupload.

From the folder above:

    uvicorn fastapi_example.app:app

DATABASE_URL names the database (default: SQLite, beside this file) and MEDIA the folder of the pictures. For
PostgreSQL: DATABASE_URL=postgresql+asyncpg://user:password@host/name
DECODER=processes decodes in processes of their own (not on Windows).
"""

import hashlib
import logging
import os
import secrets
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any, Self

from fastapi import Depends, FastAPI, Form, HTTPException, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, StringConstraints
from sqlalchemy import String, event, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from starlette.datastructures import UploadFile as ReceivedFile
from starlette.exceptions import HTTPException as StarletteHTTPException

import safeupload
from safeupload.asgi import BodyLimit
from safeupload.storage import LocalStorage

VAR = Path(__file__).parent / "var"
DATABASE_URL = os.environ.get("DATABASE_URL") or f"sqlite+aiosqlite:///{VAR / 'app.db'}"
MEDIA = Path(os.environ.get("MEDIA") or VAR / "pictures")
MEDIA.parent.mkdir(parents=True, exist_ok=True)

logger = logging.getLogger(__name__)


# --- the database ----------------------------------------------------------------------------------------------------


class Base(DeclarativeBase):
    """The tables."""


class User(Base):
    """Somebody with a picture, or without one."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    image_file: Mapped[str | None] = mapped_column(String(64), unique=True)


engine = create_async_engine(DATABASE_URL)
locking = engine.execution_options()  # the same database, by the same connections
Session = async_sessionmaker(locking, expire_on_commit=False)

if engine.dialect.name == "sqlite":  # which ignores FOR UPDATE; a transaction that begins at once is its lock
    event.listen(locking.sync_engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    event.listen(engine.sync_engine, "reset", lambda connection, *_: connection.rollback())  # also if COMMIT has failed


async def used(keys: Collection[str]) -> Collection[str | None]:
    """
    Return those keys that committed rows name: what safeupload asks before it removes a file.

    By the engine that takes no lock: a session may still hold it, after a COMMIT that was refused for instance.
    """
    async with engine.connect() as connection:
        return (await connection.scalars(select(User.image_file).where(User.image_file.in_(keys)))).all()


async def locked(session: AsyncSession, user_id: int) -> User:
    """Return the user for a change; two changes of one user wait for each other."""
    user = await session.get(User, user_id, with_for_update=True, populate_existing=True)
    if user is None:
        raise HTTPException(404, "There is no such user.")
    return user


decoder = safeupload.WorkerProcesses() if os.environ.get("DECODER") == "processes" else None
uploads = safeupload.AsyncUploads(LocalStorage(MEDIA), references=used, decoder=decoder)


# --- the application -------------------------------------------------------------------------------------------------


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
    """Make the tables, settle what a crash has left, and start what decodes."""
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    await uploads.recover()
    with decoder or nullcontext():
        yield
    await engine.dispose()


app = FastAPI(title="Users with a picture", lifespan=lifespan)
app.add_middleware(BodyLimit)  # or 500 MB are on the disk before anybody is asked


@app.exception_handler(safeupload.Rejected)
@app.exception_handler(safeupload.Unavailable)
async def refused(_: Request, error: safeupload.SafeUploadError) -> Response:
    """Answer for safeupload; a `Misuse` is a bug of ours, and goes to the log like any other."""
    if error.status >= 500:  # noqa: PLR2004
        logger.error("the storage failed", exc_info=error)
    return problem(error.problem())


@app.exception_handler(StarletteHTTPException)
async def http_error(_: Request, error: StarletteHTTPException) -> Response:
    """Answer for the framework, in the same form."""
    return problem({"title": error.detail, "status": error.status_code}, error.headers)


@app.exception_handler(RequestValidationError)
async def invalid(_: Request, error: RequestValidationError) -> Response:
    """Answer for fields that are missing, wrong, or not to be set."""
    errors = [{"field": ".".join(map(str, each["loc"][1:])), "detail": each["msg"]} for each in error.errors()]
    return problem({"title": "The request is not valid.", "status": 422, "errors": errors})


def problem(document: dict[str, Any], headers: Any = None) -> Response:  # noqa: ANN401 - Starlette's
    """Return a problem document (RFC 9457), which no cache keeps: the picture may be there in a moment."""
    headers = {"Cache-Control": "no-store", **(headers or {})}
    return JSONResponse(document, document["status"], headers, media_type="application/problem+json")


# Without NUL, which PostgreSQL cannot store.
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=r"^[^\x00]*$")]


class Change(BaseModel):
    """What a user may change by JSON. Anything else, `image_file` above all, is refused."""

    model_config = ConfigDict(extra="forbid")
    name: Name


class Profile(BaseModel):
    """What anybody may see of a user."""

    id: int
    name: str
    picture: str | None

    @classmethod
    def of(cls, user: User, **more: str) -> Self:
        """Return a user's profile."""
        picture = f"/pictures/{user.image_file}" if user.image_file else None
        return cls(id=user.id, name=user.name, picture=picture, **more)


class Created(Profile):
    """A new user's profile, and the token, which is told this once."""

    token: str


def digest(token: str) -> str:
    """Return what is stored of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


async def authenticated(
    user_id: int, credentials: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]
) -> int:
    """Return the id of the user whose token came along, if it is the one of the path."""
    async with Session() as session:
        found = await session.scalar(select(User.id).where(User.token_hash == digest(credentials.credentials)))
    if found is None:
        raise HTTPException(401, "This is no valid token.", {"WWW-Authenticate": "Bearer"})
    if found != user_id:
        raise HTTPException(403, "This is somebody else's account.")
    return user_id


Owner = Annotated[int, Depends(authenticated)]


async def received(request: Request, _: Owner) -> AsyncGenerator[ReceivedFile]:
    """
    Receive the file of a form, now that we know whose it is.

    With a parameter `file: UploadFile`, FastAPI would receive the body before it asks any dependency.
    """
    async with request.form(max_files=1, max_fields=0) as form:
        file = form.get("file")
        if not isinstance(file, ReceivedFile):
            raise HTTPException(422, "file: a file is expected here.")
        yield file


File = Annotated[ReceivedFile, Depends(received)]
FORM = {"type": "object", "required": ["file"], "properties": {"file": {"type": "string", "format": "binary"}}}
WITH_FILE = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": FORM}}}}


@app.post("/users", status_code=201)
async def create_user(name: Annotated[Name, Form()], picture: UploadFile | None = None) -> Created:
    """Create a user, with a picture or without one."""
    token = secrets.token_urlsafe()
    user = User(name=name, token_hash=digest(token))
    async with Session() as session, uploads.transaction() as tx:
        user.image_file = await tx.save(picture) if picture else None
        session.add(user)
        await tx.commit(session.commit)
    return Created.of(user, token=token)


@app.get("/users/{user_id}")
async def show_user(user_id: int) -> Profile:
    """Show a user."""
    async with Session() as session:
        user = await session.get(User, user_id)
    if user is None:
        raise HTTPException(404, "There is no such user.")
    return Profile.of(user)


@app.patch("/users/{user_id}")
async def change_user(user_id: Owner, change: Change) -> Profile:
    """Change what may be changed by JSON."""
    async with Session() as session:
        user = await locked(session, user_id)
        user.name = change.name
        await session.commit()
    return Profile.of(user)


@app.patch("/users/{user_id}/picture", openapi_extra=WITH_FILE)
async def change_picture(user_id: Owner, file: File) -> Profile:
    """Put a picture in the place of the one that was there."""
    async with Session() as session, uploads.replace(file) as new:
        user = await locked(session, user_id)
        user.image_file = new.replacing(user.image_file)
        await new.commit(session.commit)
    return Profile.of(user)


@app.delete("/users/{user_id}/picture", status_code=204)
async def delete_picture(user_id: Owner) -> None:
    """Remove the picture."""
    async with Session() as session, uploads.transaction() as tx:
        user = await locked(session, user_id)
        tx.release(user.image_file)
        user.image_file = None
        await tx.commit(session.commit)


@app.delete("/users/{user_id}", status_code=204)
async def delete_user(user_id: Owner) -> None:
    """Remove the user, and the picture."""
    async with Session() as session, uploads.transaction() as tx:
        user = await locked(session, user_id)
        tx.release(user.image_file)
        await session.delete(user)
        await tx.commit(session.commit)


@app.get("/pictures/{key}")
def show_picture(key: str, request: Request) -> Response:
    """
    Serve a picture.

    What a key names never changes, so caches may keep it for a year. After a replacement the old one is gone: 404.
    """
    data = uploads.storage.read(key)
    headers = {
        "Cache-Control": "public, max-age=31536000, immutable",
        "Content-Disposition": "inline",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cross-Origin-Resource-Policy": "same-origin",
        "ETag": f'"{hashlib.sha256(data).hexdigest()}"',
        "X-Content-Type-Options": "nosniff",
    }
    if headers["ETag"] in request.headers.get("If-None-Match", ""):
        return Response(status_code=304, headers=headers)
    return Response(data, headers=headers, media_type="image/jpeg")
