"""The recipes of the pages about FastAPI and Flask work as they are; Django's: integration/django_page.py."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import fastapi
import flask
import httpx2
import pytest
from builders.pictures import jpeg
from fastapi import Header, HTTPException, UploadFile
from frameworks_page import files
from sqlalchemy import select
from test_docs import database

import safeupload
from safeupload import AVATAR, AsyncUploads
from safeupload.storage import MemoryStorage

MB = 1024 * 1024


OF_DJANGO = {"api", "forms", "limits", "pictures", "problems", "views"}


@pytest.mark.parametrize(
    ("page", "run"),
    [
        ("index.md", {"main.py", "app.py", "accounts/front.py"}),
        ("how-to/fastapi.md", {"app.py"}),
        ("how-to/flask.md", {"app.py"}),
        ("how-to/django.md", {"settings.py", "asgi.py", *(f"accounts/{name}.py" for name in OF_DJANGO)}),
    ],
)
def test_every_block_says_where_it_belongs(page: str, run: set[str]) -> None:
    """No block is left untested because it names no file, or one that no test looks at."""
    assert set(files(page)) == run


def current_user(authorization: Annotated[str, Header()] = "") -> int:
    """Be what every application has."""
    if authorization != "Bearer of Ada":
        raise HTTPException(401)
    return 1


@pytest.fixture
def scope(tmp_path: Path) -> dict[str, Any]:
    """Return the application that the page takes for granted."""
    names = database(tmp_path)

    async def used(keys: list[str]) -> list[str | None]:
        async with names["async_engine"].connect() as connection:
            user = names["User"]
            return list(await connection.scalars(select(user.image_file).where(user.image_file.in_(keys))))

    uploads = AsyncUploads(MemoryStorage(), references=used)
    banner = replace(AVATAR, max_bytes=10 * MB)
    return {
        **names,
        "__name__": __name__,
        "uploads": uploads,
        "current_user": current_user,
        "BANNER": banner,
    }


@pytest.fixture
def of_fastapi(scope: dict[str, Any]) -> dict[str, Any]:
    """Run the blocks for FastAPI, and add an endpoint that only normalizes."""
    exec(compile(files("how-to/fastapi.md")["app.py"], "app.py", "exec"), scope)  # noqa: S102
    app: fastapi.FastAPI = scope["app"]

    @app.post("/users/1/{name}")
    async def post(name: str, file: UploadFile) -> int:
        if name == "banner":
            return len(await file.read())
        if await file.read(1) == b"!":
            raise safeupload.StorageError("the disk is full")
        return len((await safeupload.normalize_async(file)).data)

    return scope


@asynccontextmanager
async def client(app: fastapi.FastAPI) -> AsyncGenerator[httpx2.AsyncClient]:
    """Return a client of the application, on another origin."""
    transport = httpx2.ASGITransport(app=app)
    headers = {"Origin": "https://app.example"}
    async with httpx2.AsyncClient(transport=transport, base_url="http://test", headers=headers) as each:
        yield each


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"no picture", 415, "not_an_image"),
        (b"", 422, "empty"),
        (bytes(6 * MB), 413, "too_large"),
        (b"!", 503, "storage_error"),
    ],
    ids=["text", "nothing", "large", "full"],
)
def test_fastapi_answers_with_problems(of_fastapi: dict[str, Any], data: bytes, status: int, code: str) -> None:
    """Whatever is refused, wherever, is told in one form, and pages of another origin may read it."""

    async def post() -> httpx2.Response:
        async with client(of_fastapi["app"]) as each:
            return await each.post("/users/1/avatar", files={"file": data})

    answer = asyncio.run(post())

    assert (answer.status_code, answer.json()["code"], answer.json()["status"]) == (status, code, status)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"


@pytest.mark.parametrize(("data", "logged"), [(b"!", 1), (b"no picture", 0)], ids=["full", "text"])
def test_fastapi_logs_what_is_no_fault_of_the_upload(
    of_fastapi: dict[str, Any], data: bytes, logged: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk leaves a trace, with what it was; a refused upload leaves none."""

    async def post() -> httpx2.Response:
        async with client(of_fastapi["app"]) as each:
            return await each.post("/users/1/avatar", files={"file": data})

    asyncio.run(post())

    assert [record.exc_text is not None for record in errors(caplog)] == [True] * logged


def errors(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Return what was logged as an error."""
    return [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_fastapi_lets_browsers_ask(of_fastapi: dict[str, Any]) -> None:
    """A page of the other origin may use the endpoint of this page, with its token; one of a third origin may not."""

    async def preflight(origin: str) -> httpx2.Response:
        asked = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization"}
        async with client(of_fastapi["app"]) as each:
            return await each.options("/me/picture", headers={"Origin": origin, **asked})

    answer = asyncio.run(preflight("https://app.example"))
    assert answer.status_code == 200
    assert "PATCH" in answer.headers["Access-Control-Allow-Methods"]
    assert "authorization" in answer.headers["Access-Control-Allow-Headers"].lower()
    assert asyncio.run(preflight("https://other.example")).status_code == 400


@pytest.mark.parametrize(("size", "status"), [(6 * MB, 200), (11 * MB, 413)])
def test_fastapi_has_limits_by_route(of_fastapi: dict[str, Any], size: int, status: int) -> None:
    """A route may take more, and has a limit, too."""

    async def post() -> httpx2.Response:
        async with client(of_fastapi["app"]) as each:
            return await each.post("/users/1/banner", files={"file": bytes(size)})

    assert asyncio.run(post()).status_code == status


def test_fastapi_asks_who_it_is_before_the_body(of_fastapi: dict[str, Any]) -> None:
    """A stranger's body is not asked for; a friend's picture is replaced; without a file there is an answer."""
    taken = 0

    async def body() -> AsyncGenerator[bytes]:
        nonlocal taken
        for _ in range(100):
            taken += 1
            yield bytes(1024)

    async def visit() -> list[httpx2.Response]:
        async with client(of_fastapi["app"]) as each:
            multipart = {"Content-Type": "multipart/form-data; boundary=x"}
            friend = {"Authorization": "Bearer of Ada"}
            return [
                await each.patch("/me/picture", content=body(), headers=multipart),
                await each.patch("/me/picture", files={"file": jpeg(64, 64)}, headers=friend),
                await each.patch("/me/picture", files={"file": jpeg(96, 64)}, headers=friend),
                await each.patch("/me/picture", files={"other": jpeg(64, 64)}, headers=friend),
                await each.patch("/me/picture", files={"file": b"x"}, headers=friend),
            ]

    assert [answer.status_code for answer in asyncio.run(visit())] == [401, 200, 200, 422, 415]
    assert taken == 0
    with of_fastapi["engine"].connect() as connection:
        assert connection.scalars(select(of_fastapi["User"].image_file)).all() == list(
            of_fastapi["uploads"].storage.keys()
        )


@pytest.fixture
def of_flask(scope: dict[str, Any]) -> flask.Flask:
    """Run the blocks for Flask, and add a view that only normalizes."""
    exec(compile(files("how-to/flask.md")["app.py"], "app.py", "exec"), scope)  # noqa: S102
    app: flask.Flask = scope["app"]

    @app.post("/picture")
    def post() -> str:
        file = flask.request.files["file"]
        if file.read(1) == b"!":
            raise safeupload.StorageError("the disk is full")
        return str(len(safeupload.normalize(file).data))

    return app


def send(app: flask.Flask, path: str, data: bytes) -> Any:  # noqa: ANN401 - Werkzeug's
    """Send a form with a file, made by hand: Werkzeug leaves the file of a large one to the garbage collector."""
    form = httpx2.Request("POST", "http://test", files={"file": data})
    return app.test_client().post(path, data=form.read(), content_type=form.headers["Content-Type"])


@pytest.mark.parametrize(
    ("path", "data", "status", "code"),
    [
        ("/picture", b"no picture", 415, "not_an_image"),
        ("/picture", b"", 422, "empty"),
        ("/picture", bytes(6 * MB), 413, "too_large"),
        ("/picture", b"!", 503, "storage_error"),
        ("/banner", bytes(6 * MB), 415, "not_an_image"),
        ("/banner", bytes(11 * MB), 413, "too_large"),
    ],
    ids=["text", "nothing", "large", "full", "large banner", "too large banner"],
)
def test_flask_answers_with_problems(of_flask: flask.Flask, path: str, data: bytes, status: int, code: str) -> None:
    """Whatever is refused, wherever, is told in one form; a view may take more."""
    answer = send(of_flask, path, data)

    assert (answer.status_code, answer.get_json()["code"], answer.get_json()["status"]) == (status, code, status)
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(("path", "limit"), [("/picture", 5 * MB), ("/banner", 10 * MB)])
def test_flask_tells_the_limit_of_the_view(of_flask: flask.Flask, path: str, limit: int) -> None:
    """What is too large is told the limit that it was over."""
    answer = send(of_flask, path, bytes(limit + MB)).get_json()

    assert answer == safeupload.TooLarge(limit).problem()


def test_flask_logs_what_is_no_fault_of_the_upload(of_flask: flask.Flask, caplog: pytest.LogCaptureFixture) -> None:
    """A full disk leaves a trace, with what it was; a refused upload leaves none."""
    send(of_flask, "/picture", b"no picture")
    assert errors(caplog) == []
    send(of_flask, "/picture", b"!")
    assert [record.exc_text is not None for record in errors(caplog)] == [True]


def test_flask_takes_pictures(of_flask: flask.Flask) -> None:
    """What is fine is not refused."""
    answer = send(of_flask, "/banner", jpeg(64, 64))

    assert answer.get_json()["size"] > 100


def test_the_first_page_shows_fastapi(scope: dict[str, Any]) -> None:
    """A picture is replaced twice; a stranger has none, and one file is left."""
    exec(compile(files("index.md")["main.py"], "main.py", "exec"), scope)  # noqa: S102

    async def visit() -> list[int]:
        friend = {"Authorization": "Bearer of Ada"}
        async with client(scope["app"]) as each:
            answers = [
                await each.put("/me/picture", files={"file": jpeg(64, 64)}, headers=headers)
                for headers in ({}, friend, friend)
            ]
        return [answer.status_code for answer in answers]

    assert asyncio.run(visit()) == [401, 204, 204]
    one_is_left(scope)


def test_the_first_page_shows_flask(scope: dict[str, Any], tmp_path: Path) -> None:
    """A picture is replaced twice, and one file is left."""
    (tmp_path / "flask").mkdir()
    names = database(tmp_path / "flask")
    scope |= {**names, "current_user": lambda: 1}
    exec(compile(files("index.md")["app.py"], "app.py", "exec"), scope)  # noqa: S102

    for _ in range(2):
        form = httpx2.Request("PUT", "http://test", files={"file": jpeg(64, 64)})
        answer = (
            scope["app"].test_client().put("/me/picture", data=form.read(), content_type=form.headers["Content-Type"])
        )
        assert answer.status_code == 204
    one_is_left(scope)


def one_is_left(scope: dict[str, Any]) -> None:
    """See that the one file is the one that the row names."""
    with scope["engine"].connect() as connection:
        assert connection.scalars(select(scope["User"].image_file)).all() == list(scope["uploads"].storage.keys())
