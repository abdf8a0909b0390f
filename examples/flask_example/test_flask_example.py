import errno
import hashlib
import importlib
import io
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fakes import FOREIGN_KEYS, refuse_commits
from flask.testing import FlaskClient
from sqlalchemy import event
from sqlalchemy.orm import Session
from werkzeug.datastructures import FileStorage
from werkzeug.test import TestResponse, encode_multipart

from safeupload.testing import check_endpoint, losing_reply, picture


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Give the application, with a database and a folder of its own."""
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'app.db'}")
    monkeypatch.setenv("MEDIA", str(tmp_path / "pictures"))
    sys.modules.pop("flask_example.app", None)
    module = importlib.import_module("flask_example.app")
    yield module
    module.engine.dispose()
    sys.modules.pop("flask_example.app", None)


@pytest.fixture
def client(module: ModuleType) -> FlaskClient:
    """Give a client of the application."""
    client: FlaskClient = module.app.test_client()
    return client


PICTURE = picture("rgb.png").data
RED = picture("rgba.png", colour="red").data


def form(field: str, content: bytes, *claims: str, **fields: str) -> dict[str, Any]:
    """
    Return a form with a file, for a method of Flask's client, which would leave a temporary file open.

    `claims` are the name and the content type of the file.
    """
    filename, content_type = claims or ("../holiday.png", None)
    file = FileStorage(io.BytesIO(content), filename, content_type=content_type)
    boundary, data = encode_multipart({**fields, field: file})
    return {"data": data, "content_type": f"multipart/form-data; boundary={boundary}"}


class User:
    """Somebody who uses the application."""

    def __init__(self, client: FlaskClient, created: Any) -> None:  # noqa: ANN401
        self.client = client
        self.url = f"/users/{created['id']}"
        self.headers = {"Authorization": f"Bearer {created['token']}"}
        self.picture: str = created["picture"]

    def put(self, file: bytes, *claims: str) -> TestResponse:
        """Change the picture."""
        return self.client.patch(f"{self.url}/picture", **form("file", file, *claims), headers=self.headers)

    def change(self, **fields: object) -> TestResponse:
        """Change the rest."""
        return self.client.patch(self.url, json=fields, headers=self.headers)

    def delete(self, what: str = "") -> TestResponse:
        """Remove the account, or the picture."""
        return self.client.delete(self.url + what, headers=self.headers)

    def shown(self) -> Any:  # noqa: ANN401
        """Return the profile."""
        return self.client.get(self.url).json


@pytest.fixture
def ada(client: FlaskClient) -> User:
    """Give a user with a picture."""
    response = client.post("/users", **form("picture", PICTURE, name="Ada"))
    assert response.status_code == 201
    return User(client, response.json)


def files(module: ModuleType) -> list[str]:
    """Return the addresses of all files there are."""
    return [f"/pictures/{key}" for key in module.uploads.storage.keys()]  # noqa: SIM118 - a method, not a dictionary


def check_problem(response: TestResponse, status: int, code: str | None = None) -> None:
    """Check that the response is a problem document that no cache keeps."""
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["Cache-Control"] == "no-store"
    document = response.json
    assert document is not None
    assert (document["status"], document.get("code")) == (status, code)


def test_a_user_is_created_with_a_picture_or_without_one(client: FlaskClient, module: ModuleType) -> None:
    """In one request."""
    response = client.post("/users", data={"name": "Bob"})
    assert (response.status_code, response.json["picture"]) == (201, None)  # type: ignore[index]
    response = client.post("/users", **form("picture", PICTURE, name="Ada"))
    assert files(module) == [response.json["picture"]]  # type: ignore[index]
    assert client.get(response.json["picture"]).status_code == 200  # type: ignore[index]


def test_a_refused_picture_creates_no_user(client: FlaskClient, module: ModuleType) -> None:
    """Neither a row nor a file is left."""
    check_problem(client.post("/users", **form("picture", b"text", name="Ada")), 415, "not_an_image")
    assert client.get("/users/1").status_code == 404
    assert files(module) == []


@pytest.mark.parametrize("name", ["", " ", "x" * 101, "a\0b"])
def test_a_user_needs_a_name(client: FlaskClient, name: str) -> None:
    """One that every database can store."""
    check_problem(client.post("/users", data={"name": name}), 422)
    check_problem(client.post("/users"), 422)


def test_a_picture_is_replaced(ada: User, module: ModuleType) -> None:
    """The new one is served, the old one is gone, from the disk as well."""
    response = ada.put(RED)
    assert response.status_code == 200
    assert ada.shown() == response.json
    assert files(module) == [ada.shown()["picture"]]
    assert ada.client.get(ada.shown()["picture"]).status_code == 200
    check_problem(ada.client.get(ada.picture), 404, "file_missing")


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"text", 415, "not_an_image"),
        (b"", 422, "empty"),
        (bytes(5 * 1024 * 1024 + 1), 413, "too_large"),
        (bytes(6 << 20), 413, "too_large"),
        (PICTURE[:-20], 422, "corrupt"),
    ],
    ids=["text", "empty", "large", "larger", "torn"],
)
def test_a_refused_picture_changes_nothing(
    ada: User, module: ModuleType, content: bytes, status: int, code: str
) -> None:
    """The client is told why, as a problem document."""
    response = ada.put(content)
    check_problem(response, status, code)
    assert ada.shown()["picture"] == ada.picture
    assert files(module) == [ada.picture]


def test_every_upload_gets_its_answer(ada: User, module: ModuleType) -> None:
    """A picture of any kind replaces the one before it; whatever else is uploaded changes nothing."""

    def send(filename: str, data: bytes, content_type: str) -> TestResponse:
        before = ada.shown()["picture"]
        response = ada.put(data, filename, content_type)
        if response.status_code != 200:
            check_problem(response, response.status_code, response.json["code"])  # type: ignore[index]
        assert (ada.shown()["picture"] == before) == (response.status_code != 200)
        assert files(module) == [ada.shown()["picture"]]
        return response

    check_endpoint(send)


def test_the_framework_s_limit_has_the_words_of_the_library(ada: User) -> None:
    """Whether the form or the file was too large."""
    by_file, by_form = ada.put(bytes(5 * 1024 * 1024 + 1)), ada.put(bytes(6 << 20))
    assert by_form.json == by_file.json


def test_a_form_without_a_file_is_told_so(ada: User) -> None:
    """In the same form as every other error."""
    check_problem(ada.client.patch(f"{ada.url}/picture", data={"file": "text"}, headers=ada.headers), 422)


def test_json_cannot_set_the_file(ada: User) -> None:
    """Nor anything else but the name."""
    for field, value in {"image_file": "0" * 32 + ".jpg", "id": 7, "token_hash": "x", "picture": None}.items():
        check_problem(ada.change(name="Eve", **{field: value}), 422)
    check_problem(ada.client.patch(ada.url, data=b"[1]", headers=ada.headers, content_type="application/json"), 422)
    check_problem(ada.client.patch(ada.url, data=b"{", headers=ada.headers, content_type="application/json"), 400)
    check_problem(ada.client.patch(ada.url, data=b"name=Eve", headers=ada.headers), 415)
    check_problem(ada.change(name=7), 422)
    check_problem(ada.change(name="\ud83d"), 422)
    assert ada.shown() == {"id": 1, "name": "Ada", "picture": ada.picture}
    assert ada.change(name=" Ada Lovelace ").json == {"id": 1, "name": "Ada Lovelace", "picture": ada.picture}


def test_picture_and_account_are_deleted(ada: User, module: ModuleType) -> None:
    """And the files with them."""
    assert ada.delete("/picture").status_code == 204
    assert ada.shown()["picture"] is None
    assert files(module) == []
    assert ada.delete("/picture").status_code == 204
    ada.put(PICTURE)
    assert len(files(module)) == 1
    assert ada.delete().status_code == 204
    check_problem(ada.client.get(ada.url), 404)
    assert files(module) == []


def test_nobody_else_may_do_it(ada: User, module: ModuleType) -> None:
    """Without a token, with a wrong one, and with another user's."""
    other = User(ada.client, ada.client.post("/users", data={"name": "Eve"}).json)
    for headers, status in [({}, 401), ({"Authorization": "Bearer wrong"}, 401), (other.headers, 403)]:
        ada.headers = headers
        for response in (ada.put(RED), ada.change(name="Eve"), ada.delete("/picture"), ada.delete()):
            check_problem(response, status)
            assert response.headers.get("WWW-Authenticate") == ("Bearer" if status == 401 else None)
    assert ada.shown() == {"id": 1, "name": "Ada", "picture": ada.picture}
    assert files(module) == [ada.picture]


def test_a_stranger_is_refused_before_the_body_is_read(ada: User) -> None:
    """Not a byte of it."""

    class Body(io.BytesIO):
        def read(self, _: int | None = -1, /) -> bytes:
            raise AssertionError("read")

        readinto = readline = read  # type: ignore[assignment]

    options = {"content_type": "multipart/form-data; boundary=x", "input_stream": Body(bytes(1000))}
    response = ada.client.patch(f"{ada.url}/picture", headers={"Authorization": "Bearer wrong"}, **options)
    assert response.status_code == 401
    response = ada.client.patch(f"{ada.url}/picture", headers=ada.headers, **options)
    assert response.status_code == 500  # the owner's is read


def test_other_errors_have_the_same_form(ada: User) -> None:
    """A wrong address, a wrong method."""
    check_problem(ada.client.get("/nothing"), 404)
    response = ada.client.put(ada.url)
    check_problem(response, 405)
    assert "PATCH" in response.headers["Allow"]


def test_a_picture_is_served_for_good_and_for_nothing_else(ada: User) -> None:
    """It may be kept for a year, is never taken for a page or a script, and has its hash for an ETag."""
    response = ada.client.get(ada.picture)
    assert response.headers["Content-Type"] == "image/jpeg"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert response.headers["ETag"] == f'"{hashlib.sha256(response.data).hexdigest()}"'
    again = ada.client.get(ada.picture, headers={"If-None-Match": response.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


@pytest.mark.parametrize("name", [".pending", "..%2fapp.db", "0" * 32 + ".jpg", "app.db", "%00", "a" * 5000])
def test_nothing_but_pictures_is_served(ada: User, name: str) -> None:
    """What is not a key of ours reaches no file."""
    assert ada.client.get(f"/pictures/{name}").status_code == 404


def test_simultaneous_uploads_leave_one_picture(ada: User, module: ModuleType) -> None:
    """However many there are, and whoever is the last."""
    answers = []

    def several() -> None:
        client = module.app.test_client()
        for _ in range(5):
            response = client.patch(f"{ada.url}/picture", **form("file", RED), headers=ada.headers)
            answers.append(response.status_code)

    threads = [threading.Thread(target=several) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 40
    assert files(module) == [ada.shown()["picture"]]


def test_a_failing_storage_is_a_server_error(
    ada: User, module: ModuleType, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is answered as a document, stands in the log, and has changed nothing."""

    def failing(_: int) -> None:
        raise OSError(errno.EIO, "the disk is broken")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        response = ada.put(RED)
    check_problem(response, 503, "storage_error")
    assert "the disk is broken" in caplog.text
    assert ada.shown()["picture"] == ada.picture
    module.uploads.recover(min_age=0)
    assert files(module) == [ada.picture]


def test_a_commit_that_the_database_refuses_is_settled_at_once(ada: User, module: ModuleType, tmp_path: Path) -> None:
    """A deferred foreign key does so while the session still holds its lock; the new file is gone."""
    event.listen(module.engine, "connect", lambda connection, _: connection.execute(FOREIGN_KEYS))
    module.engine.dispose()
    refuse_commits(tmp_path / "app.db", "users")
    check_problem(ada.put(RED), 500)
    assert ada.shown()["picture"] == ada.picture
    assert files(module) == [ada.picture]


def test_a_lost_reply_loses_no_picture(ada: User, module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows whether the picture was changed, so both are kept until that can be asked."""
    with monkeypatch.context() as patch:
        patch.setattr(Session, "commit", losing_reply(Session.commit))
        check_problem(ada.put(RED), 500)
    shown = ada.shown()["picture"]
    assert shown != ada.picture
    assert set(files(module)) == {ada.picture, shown}
    assert ada.client.get(shown).status_code == 200
    module.uploads.recover(min_age=0)
    assert files(module) == [shown]
