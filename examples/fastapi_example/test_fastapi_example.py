import hashlib
import importlib
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import httpx2
import pytest
from fakes import FOREIGN_KEYS, refuse_commits
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError

from safeupload.testing import ConnectionLost, check_endpoint_async, losing_reply, picture

PICTURE = picture("rgb.png").data
RED = picture("rgba.png", colour="red").data
pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """Run on asyncio, as FastAPI's servers do."""
    return "asyncio"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Give the application, with a database and a folder of its own."""
    monkeypatch.setenv("DATABASE_URL", f"sqlite+aiosqlite:///{tmp_path / 'app.db'}")
    monkeypatch.setenv("MEDIA", str(tmp_path / "pictures"))
    sys.modules.pop("fastapi_example.app", None)
    yield importlib.import_module("fastapi_example.app")
    sys.modules.pop("fastapi_example.app", None)


@pytest.fixture
async def client(module: ModuleType) -> AsyncIterator[httpx2.AsyncClient]:
    """Give a client of the running application."""
    transport = httpx2.ASGITransport(module.app)
    async with module.lifespan(module.app), httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


class User:
    """Somebody who uses the application."""

    def __init__(self, client: httpx2.AsyncClient, created: dict[str, Any]) -> None:
        self.client = client
        self.url = f"/users/{created['id']}"
        self.headers = {"Authorization": f"Bearer {created['token']}"}
        self.picture: str = created["picture"]

    async def put(self, file: bytes | tuple[str, bytes, str]) -> httpx2.Response:
        """Change the picture."""
        return await self.client.patch(f"{self.url}/picture", files={"file": file}, headers=self.headers)

    async def shown(self) -> Any:  # noqa: ANN401
        """Return the profile."""
        return (await self.client.get(self.url)).json()


@pytest.fixture
async def ada(client: httpx2.AsyncClient) -> User:
    """Give a user with a picture."""
    response = await client.post("/users", data={"name": "Ada"}, files={"picture": PICTURE})
    assert response.status_code == 201
    return User(client, response.json())


def files(module: ModuleType) -> list[str]:
    """Return the addresses of all files there are."""
    return [f"/pictures/{key}" for key in module.uploads.storage.keys()]  # noqa: SIM118 - a method, not a dictionary


async def test_a_user_is_created_with_a_picture_or_without_one(client: httpx2.AsyncClient, module: ModuleType) -> None:
    """In one request."""
    response = await client.post("/users", data={"name": "Bob"})
    assert (response.status_code, response.json()["picture"]) == (201, None)
    response = await client.post("/users", data={"name": "Ada"}, files={"picture": PICTURE})
    assert files(module) == [response.json()["picture"]]
    assert (await client.get(response.json()["picture"])).status_code == 200


@pytest.mark.parametrize("name", ["", " ", "x" * 101, "a\0b"])
async def test_a_user_needs_a_name(client: httpx2.AsyncClient, name: str) -> None:
    """One that every database can store."""
    assert (await client.post("/users", data={"name": name})).status_code == 422
    assert (await client.post("/users")).status_code == 422


async def test_a_refused_picture_creates_no_user(client: httpx2.AsyncClient, module: ModuleType) -> None:
    """Neither a row nor a file is left."""
    response = await client.post("/users", data={"name": "Ada"}, files={"picture": b"text"})
    assert (response.status_code, response.json()["code"]) == (415, "not_an_image")
    assert (await client.get("/users/1")).status_code == 404
    assert files(module) == []


async def test_a_picture_is_replaced(ada: User, module: ModuleType) -> None:
    """The new one is served, the old one is gone, from the disk as well."""
    response = await ada.put(RED)
    assert response.status_code == 200
    assert await ada.shown() == response.json()
    assert files(module) == [response.json()["picture"]]
    assert (await ada.client.get(response.json()["picture"])).status_code == 200
    old = await ada.client.get(ada.picture)
    assert (old.status_code, old.json()["code"], old.headers["Cache-Control"]) == (404, "file_missing", "no-store")


@pytest.mark.parametrize(
    ("upload", "status", "code"),
    [
        (b"text", 415, "not_an_image"),
        (b"", 422, "empty"),
        (bytes(6 << 20), 413, "too_large"),
        (PICTURE[:-20], 422, "corrupt"),
    ],
    ids=["text", "empty", "large", "torn"],
)
async def test_a_refused_picture_changes_nothing(
    ada: User, module: ModuleType, upload: bytes, status: int, code: str
) -> None:
    """The client is told why, as a problem document."""
    response = await ada.put(upload)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.headers["Content-Type"] == "application/problem+json"
    assert (await ada.shown())["picture"] == ada.picture
    assert files(module) == [ada.picture]


async def test_every_upload_gets_its_answer(ada: User, module: ModuleType) -> None:
    """A picture of any kind replaces the one before it, and is served; whatever else is uploaded changes nothing."""

    async def send(*file: Any) -> httpx2.Response:  # noqa: ANN401 - name, bytes and content type
        before = (await ada.shown())["picture"]
        response = await ada.put(file)
        if response.status_code != 200:
            assert response.headers["Content-Type"] == "application/problem+json"
            assert response.json()["status"] == response.status_code
        after = (await ada.shown())["picture"]
        assert (after == before) == (response.status_code != 200)
        assert files(module) == [after]
        return response

    async def fetch(response: httpx2.Response) -> bytes:
        return (await ada.client.get(response.json()["picture"])).content

    await check_endpoint_async(send, fetch=fetch)


async def test_a_form_without_a_file_is_told_so(ada: User) -> None:
    """In the same form as every other error."""
    response = await ada.client.patch(f"{ada.url}/picture", data={"file": "text"}, headers=ada.headers)
    assert response.status_code in {400, 422}
    assert response.headers["Content-Type"] == "application/problem+json"


async def test_json_cannot_set_the_file(ada: User) -> None:
    """Nor anything else but the name."""
    for field, value in {"image_file": "0" * 32 + ".jpg", "id": 7, "token_hash": "x", "picture": None}.items():
        response = await ada.client.patch(ada.url, json={"name": "Eve", field: value}, headers=ada.headers)
        assert response.status_code == 422
        assert response.json()["errors"][0]["field"] == field
    assert await ada.shown() == {"id": 1, "name": "Ada", "picture": ada.picture}
    response = await ada.client.patch(ada.url, json={"name": " Ada Lovelace "}, headers=ada.headers)
    assert response.json()["name"] == "Ada Lovelace"


async def test_picture_and_account_are_deleted(ada: User, module: ModuleType) -> None:
    """And the files with them."""
    assert (await ada.client.delete(f"{ada.url}/picture", headers=ada.headers)).status_code == 204
    assert (await ada.shown())["picture"] is None
    assert files(module) == []
    assert (await ada.client.delete(f"{ada.url}/picture", headers=ada.headers)).status_code == 204
    await ada.put(PICTURE)
    assert len(files(module)) == 1
    assert (await ada.client.delete(ada.url, headers=ada.headers)).status_code == 204
    assert (await ada.client.get(ada.url)).status_code == 404
    assert files(module) == []


async def test_nobody_else_may_do_it(ada: User, module: ModuleType) -> None:
    """Without a token, with a wrong one, and with another user's."""
    other = User(ada.client, (await ada.client.post("/users", data={"name": "Eve"})).json())
    for headers, status in [({}, 401), ({"Authorization": "Bearer wrong"}, 401), (other.headers, 403)]:
        ada.headers = headers
        answers = [
            await ada.put(RED),
            await ada.client.patch(ada.url, json={"name": "Eve"}, headers=headers),
            await ada.client.delete(f"{ada.url}/picture", headers=headers),
            await ada.client.delete(ada.url, headers=headers),
        ]
        assert {answer.status_code for answer in answers} == {status}
        assert ("WWW-Authenticate" in answers[0].headers) == (status == 401)
    assert await ada.shown() == {"id": 1, "name": "Ada", "picture": ada.picture}
    assert files(module) == [ada.picture]


async def test_a_stranger_is_refused_before_the_body_is_read(ada: User) -> None:
    """Not a byte of it."""
    taken = []

    async def body() -> AsyncIterator[bytes]:
        taken.append(1)
        yield b"--x\r\n"

    headers = {"Content-Type": "multipart/form-data; boundary=x", "Authorization": "Bearer wrong"}
    response = await ada.client.patch(f"{ada.url}/picture", content=body(), headers=headers)
    assert response.status_code == 401
    assert not taken


async def test_a_picture_is_served_for_good_and_for_nothing_else(ada: User) -> None:
    """It may be kept for a year, is never taken for a page or a script, and has its hash for an ETag."""
    response = await ada.client.get(ada.picture)
    assert response.headers["Content-Type"] == "image/jpeg"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert response.headers["ETag"] == f'"{hashlib.sha256(response.content).hexdigest()}"'
    again = await ada.client.get(ada.picture, headers={"If-None-Match": response.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", [".pending", "..%2fapp.db", "0" * 32 + ".jpg", "app.db", "%00", "a" * 5000])
async def test_nothing_but_pictures_is_served(ada: User, name: str) -> None:
    """What is not a key of ours reaches no file."""
    assert (await ada.client.get(f"/pictures/{name}")).status_code == 404


async def test_simultaneous_uploads_leave_one_picture(ada: User, module: ModuleType) -> None:
    """However many there are, and whoever is the last."""

    async def several() -> None:
        for _ in range(5):
            assert (await ada.put(RED)).status_code == 200

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(several)
    assert files(module) == [(await ada.shown())["picture"]]


async def test_the_interface_is_described(client: httpx2.AsyncClient) -> None:
    """The form is in the documentation, though it is read by hand."""
    operation = (await client.get("/openapi.json")).json()["paths"]["/users/{user_id}/picture"]["patch"]
    assert "multipart/form-data" in operation["requestBody"]["content"]


async def test_a_commit_that_the_database_refuses_is_settled_at_once(
    ada: User, module: ModuleType, tmp_path: Path
) -> None:
    """A deferred foreign key does so while the session still holds its lock; the new file is gone."""
    event.listen(module.engine.sync_engine, "connect", lambda connection, _: connection.execute(FOREIGN_KEYS))
    await module.engine.dispose()
    refuse_commits(tmp_path / "app.db", "users")
    with pytest.raises(IntegrityError, match="FOREIGN KEY"):
        await ada.put(RED)
    assert (await ada.shown())["picture"] == ada.picture
    assert files(module) == [ada.picture]


async def test_a_lost_reply_loses_no_picture(ada: User, module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows whether the picture was changed, so both are kept until that can be asked."""
    with monkeypatch.context() as patch:
        patch.setattr(module.AsyncSession, "commit", losing_reply(module.AsyncSession.commit))
        with pytest.raises(ConnectionLost):
            await ada.put(RED)
    shown = (await ada.shown())["picture"]
    assert shown != ada.picture
    assert set(files(module)) == {ada.picture, shown}
    assert (await ada.client.get(shown)).status_code == 200
    await module.uploads.recover(min_age=0)
    assert files(module) == [shown]
