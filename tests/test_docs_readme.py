"""The blocks of README.md work as they are, those about frameworks in a real application."""

import logging
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fastapi
import flask
import httpx2
import pytest
from builders.pictures import jpeg
from fastapi.testclient import TestClient
from pages import ROOT, blocks
from test_docs import names
from werkzeug.datastructures import FileStorage

import safeupload

DATA = jpeg(640, 480)


@pytest.fixture
def scope(tmp_path: Path) -> dict[str, Any]:
    """Run all blocks in their order; one about a framework is a module of its own, whose `app` is an application."""
    scope = names(tmp_path)
    apps: dict[str, Any] = {"fastapi": fastapi.FastAPI(), "flask": flask.Flask("readme")}
    for block in blocks(ROOT / "README.md"):
        if block.language != "python":
            continue
        framework = re.search(r"^from (fastapi|flask|django)\b", block.source, re.MULTILINE)
        around = {**scope, "app": apps.get(framework[1])} if framework else scope
        exec(block.compiled(), around)  # noqa: S102 - to run them is the point
        if framework:
            apps.setdefault(framework[1], around.get("change_picture"))
    return apps


def test_fastapi_takes_pictures_and_refuses_the_rest(scope: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    """The answer is the picture, or a problem document; only what is no fault of the upload is logged as an error."""
    app: fastapi.FastAPI = scope["fastapi"]

    @app.post("/full")
    async def full() -> None:
        raise safeupload.StorageError("no space left on the device")

    client = TestClient(app)
    accepted = client.post("/picture", files={"file": DATA})
    assert (accepted.content, accepted.headers["Content-Type"]) == (safeupload.normalize(DATA).data, "image/jpeg")
    for data, status, code in ((b"no picture", 415, "not_an_image"), (bytes(6 << 20), 413, "too_large")):
        refused = client.post("/picture", files={"file": data})
        assert (refused.status_code, refused.json()["code"]) == (status, code)
        assert refused.headers["Content-Type"] == "application/problem+json"
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []

    assert client.post("/full").status_code == 503
    (logged,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "no space left on the device" in (logged.exc_text or "")


def test_flask_takes_pictures(scope: dict[str, Any]) -> None:
    """The answer is the picture."""
    form = httpx2.Request("POST", "http://test", files={"file": DATA})
    answer = scope["flask"].test_client().post("/picture", data=form.read(), content_type=form.headers["Content-Type"])

    assert (answer.data, answer.mimetype) == (safeupload.normalize(DATA).data, "image/jpeg")


def test_django_takes_pictures(scope: dict[str, Any], tmp_path: Path) -> None:
    """The answer is the picture."""
    (tmp_path / "upload").write_bytes(DATA)
    with (tmp_path / "upload").open("rb") as file:
        answer = scope["django"](SimpleNamespace(FILES={"file": FileStorage(file)}))

    assert (answer.content, answer["Content-Type"]) == (safeupload.normalize(DATA).data, "image/jpeg")
