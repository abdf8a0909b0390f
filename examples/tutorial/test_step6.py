"""Step 6: the application's own tests."""

import importlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from PIL import Image


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """Give a client of the application, which has an empty database and an empty folder."""
    monkeypatch.setenv("DATABASE_URL", f"sqlite+aiosqlite:///{tmp_path / 'app.db'}")
    monkeypatch.setenv("MEDIA", str(tmp_path))
    monkeypatch.delitem(sys.modules, "step5", raising=False)
    with TestClient(importlib.import_module("step5").app) as client:
        yield client


def picture(colour: str) -> bytes:
    """Return an upload."""
    file = io.BytesIO()
    Image.new("RGB", (640, 480), colour).save(file, "PNG")
    return file.getvalue()


def test_a_picture_is_replaced(client: TestClient) -> None:
    """The new one is served, and the old one is gone."""
    user = f"/users/{client.post('/users').json()['id']}"
    old = client.put(f"{user}/picture", files={"file": picture("red")}).json()["picture"]
    new = client.put(f"{user}/picture", files={"file": picture("blue")}).json()["picture"]

    assert client.get(user).json()["picture"] == new
    assert [client.get(address).status_code for address in (old, new)] == [404, 200]


@pytest.mark.parametrize(
    ("upload", "status", "code"),
    [(b"text", 415, "not_an_image"), (picture("red")[:-20], 422, "corrupt"), (bytes(6 << 20), 413, "too_large")],
    ids=["text", "torn", "large"],
)
def test_what_is_refused_changes_nothing(client: TestClient, upload: bytes, status: int, code: str) -> None:
    """The client is told why, and the picture stays."""
    user = f"/users/{client.post('/users').json()['id']}"
    old = client.put(f"{user}/picture", files={"file": picture("red")}).json()["picture"]
    answer = client.put(f"{user}/picture", files={"file": upload})

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert client.get(user).json()["picture"] == old


def test_a_picture_goes_with_its_account(client: TestClient, tmp_path: Path) -> None:
    """The folder is empty afterwards."""
    user = f"/users/{client.post('/users').json()['id']}"
    client.put(f"{user}/picture", files={"file": picture("red")})
    assert len(list(tmp_path.glob("pictures/*.jpg"))) == 1
    assert client.delete(user).status_code == 204

    assert list(tmp_path.glob("pictures/*.jpg")) == []
