"""
Users with a picture: Flask, SQLAlchemy, and safeupload.

From the folder above, while developing and in earnest (there, behind a proxy such as nginx):

    flask --app flask_example.app run
    gunicorn --threads 8 flask_example.app:app

DATABASE_URL names the database (default: SQLite, beside this file) and MEDIA the folder of the pictures. For
PostgreSQL: DATABASE_URL=postgresql+psycopg://user:password@host/name
"""

import hashlib
import logging
import os
import secrets
from collections.abc import Callable, Collection
from functools import wraps
from pathlib import Path
from typing import Any

from flask import Flask, Response, abort, jsonify, request
from flask.typing import ResponseReturnValue
from sqlalchemy import String, create_engine, event, orm, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

import safeupload
from safeupload.storage import LocalStorage

VAR = Path(__file__).parent / "var"
DATABASE_URL = os.environ.get("DATABASE_URL") or f"sqlite:///{VAR / 'app.db'}"
MEDIA = Path(os.environ.get("MEDIA") or VAR / "pictures")
MEDIA.parent.mkdir(parents=True, exist_ok=True)
NAME_LENGTH = 100  # characters

logger = logging.getLogger(__name__)


# --- the database ----------------------------------------------------------------------------------------------------


class Base(DeclarativeBase):
    """The tables."""


class User(Base):
    """Somebody with a picture, or without one."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    image_file: Mapped[str | None] = mapped_column(String(64), unique=True)


engine = create_engine(DATABASE_URL)
locking = engine.execution_options()  # the same database, by the same connections
Session = sessionmaker(locking, expire_on_commit=False)

if engine.dialect.name == "sqlite":  # which ignores FOR UPDATE; a transaction that begins at once is its lock
    event.listen(locking, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    event.listen(engine, "reset", lambda connection, *_: connection.rollback())  # also if COMMIT has failed


def used(keys: Collection[str]) -> Collection[str | None]:
    """
    Return those keys that committed rows name: what safeupload asks before it removes a file.

    By the engine that takes no lock: a session may still hold it, after a COMMIT that was refused for instance.
    """
    with engine.connect() as connection:
        return connection.scalars(select(User.image_file).where(User.image_file.in_(keys))).all()


def locked(session: orm.Session, user_id: int) -> User:
    """Return the user for a change; two changes of one user wait for each other."""
    user = session.get(User, user_id, with_for_update=True, populate_existing=True)
    return user or abort(404, "There is no such user.")


uploads = safeupload.Uploads(LocalStorage(MEDIA), references=used)


# --- the application -------------------------------------------------------------------------------------------------

app = Flask(__name__)
FRAME = 64 * 1024  # bytes of the form around a picture
app.config["MAX_CONTENT_LENGTH"] = uploads.policy.max_bytes + FRAME  # or 500 MB are on the disk before anybody is asked

# Make the tables, and settle what a crash has left.
Base.metadata.create_all(engine)
uploads.recover()
engine.dispose()  # a server that forks its workers after this must not share a connection among them


@app.errorhandler(safeupload.Rejected)
@app.errorhandler(safeupload.Unavailable)
def refused(error: safeupload.SafeUploadError) -> Response:
    """Answer for safeupload; a `Misuse` is a bug of ours, and goes to the log like any other."""
    if error.status >= 500:  # noqa: PLR2004
        logger.error("the storage failed", exc_info=error)
    return problem(error.problem())


@app.errorhandler(RequestEntityTooLarge)
def too_large(_: RequestEntityTooLarge) -> Response:
    """Answer for Flask's own limit as safeupload does for a file."""
    return problem(safeupload.TooLarge((request.max_content_length or FRAME) - FRAME).problem())


@app.errorhandler(HTTPException)
def http_error(error: HTTPException) -> Response:
    """Answer for the framework, in the same form."""
    kept = {name: value for name, value in error.get_headers() if name != "Content-Type"}  # such as Allow
    return problem({"title": error.description, "status": error.code}, kept)


def problem(document: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    """Return a problem document (RFC 9457), which no cache keeps: the picture may be there in a moment."""
    response = jsonify(document)
    response.status_code = document["status"]
    response.headers.update({"Cache-Control": "no-store", **(headers or {})})
    response.content_type = "application/problem+json"
    return response


def profile(user: User, **more: str) -> dict[str, Any]:
    """Return what anybody may see of a user."""
    picture = f"/pictures/{user.image_file}" if user.image_file else None
    return {"id": user.id, "name": user.name, "picture": picture, **more}


def digest(token: str) -> str:
    """Return what is stored of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def owner_only(view: Callable[[int], ResponseReturnValue]) -> Callable[[int], ResponseReturnValue]:
    """Let only the user of the path do this. Flask has received no body yet: it waits until `request.files` is used."""

    @wraps(view)
    def checked(user_id: int) -> ResponseReturnValue:
        token = request.authorization.token if request.authorization else None
        with Session() as session:
            found = session.scalar(select(User.id).where(User.token_hash == digest(token or "")))
        if found is None:
            abort(problem({"title": "A valid token is needed.", "status": 401}, {"WWW-Authenticate": "Bearer"}))
        if found != user_id:
            abort(403, "This is somebody else's account.")
        return view(user_id)

    return checked


def valid_name(value: object) -> str:
    """Return a name that every database can store."""
    name = value.strip() if isinstance(value, str) else ""
    if not 1 <= len(name) <= NAME_LENGTH or "\0" in name or name != name.encode(errors="ignore").decode():
        abort(422, f"name: a text of 1 to {NAME_LENGTH} characters is expected here.")
    return name


def received(name: str) -> FileStorage:
    """Return a file of the form."""
    return request.files.get(name) or abort(422, f"{name}: a file is expected here.")


@app.post("/users")
def create_user() -> tuple[dict[str, Any], int]:
    """Create a user, with a picture or without one."""
    token = secrets.token_urlsafe()
    user = User(name=valid_name(request.form.get("name")), token_hash=digest(token))
    with Session() as session, uploads.transaction() as tx:
        user.image_file = tx.save(received("picture")) if "picture" in request.files else None
        session.add(user)
        tx.commit(session.commit)
    return profile(user, token=token), 201


@app.get("/users/<int:user_id>")
def show_user(user_id: int) -> dict[str, Any]:
    """Show a user."""
    with Session() as session:
        return profile(session.get(User, user_id) or abort(404, "There is no such user."))


@app.patch("/users/<int:user_id>")
@owner_only
def change_user(user_id: int) -> dict[str, Any]:
    """Change what may be changed by JSON. Anything but the name, `image_file` above all, is refused."""
    change = request.get_json()
    if not isinstance(change, dict) or change.keys() != {"name"}:
        abort(422, 'An object with a "name", and nothing else, is expected here.')
    with Session() as session:
        user = locked(session, user_id)
        user.name = valid_name(change["name"])
        session.commit()
    return profile(user)


@app.patch("/users/<int:user_id>/picture")
@owner_only
def change_picture(user_id: int) -> dict[str, Any]:
    """Put a picture in the place of the one that was there."""
    with Session() as session, uploads.replace(received("file")) as new:
        user = locked(session, user_id)
        user.image_file = new.replacing(user.image_file)
        new.commit(session.commit)
    return profile(user)


@app.delete("/users/<int:user_id>/picture")
@owner_only
def delete_picture(user_id: int) -> tuple[str, int]:
    """Remove the picture."""
    with Session() as session, uploads.transaction() as tx:
        user = locked(session, user_id)
        tx.release(user.image_file)
        user.image_file = None
        tx.commit(session.commit)
    return "", 204


@app.delete("/users/<int:user_id>")
@owner_only
def delete_user(user_id: int) -> tuple[str, int]:
    """Remove the user, and the picture."""
    with Session() as session, uploads.transaction() as tx:
        user = locked(session, user_id)
        tx.release(user.image_file)
        session.delete(user)
        tx.commit(session.commit)
    return "", 204


@app.get("/pictures/<key>")
def show_picture(key: str) -> ResponseReturnValue:
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
        "X-Content-Type-Options": "nosniff",
    }
    response = Response(data, headers=headers, mimetype="image/jpeg")
    response.set_etag(hashlib.sha256(data).hexdigest())
    return response.make_conditional(request)
