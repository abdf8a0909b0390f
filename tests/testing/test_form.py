"""A real form, which redirects and is shown again, behind a limit on bodies: what is served is looked at as well."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI, Request, UploadFile
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.testclient import TestClient

from safeupload import AVATAR, Rejected, normalize, validate
from safeupload.asgi import BodyLimit
from safeupload.testing import EndpointReport, check_endpoint, endpoint_cases, picture

CASES = endpoint_cases(accepted={302}, refused={200})
FORM = "<form method='post' enctype='multipart/form-data'><input type='file' name='file'></form>"


def form(make: Callable[[bytes], bytes | None]) -> TestClient:
    """Return a client of an application that serves what `make` makes of an upload; it follows no redirects."""
    app = FastAPI()
    app.add_middleware(BodyLimit, max_bytes=AVATAR.max_bytes)
    stored: list[bytes | None] = []

    @app.post("/picture")
    def post(request: Request, file: UploadFile) -> Response:
        try:
            stored.append(make(file.file.read()))
        except Rejected as error:
            return HTMLResponse(f"<p>{error.code}</p>{FORM}")
        return RedirectResponse(f"{request.url}/{len(stored) - 1}", 302)

    @app.get("/picture/{number}")
    def get(number: int) -> Response:
        served = stored[number]
        return Response(status_code=404) if served is None else Response(served, media_type="image/jpeg")

    return TestClient(app, follow_redirects=False)


def checked(make: Callable[[bytes], bytes | None], *names: str) -> EndpointReport:
    """Check such a form, with these uploads or all."""
    client = form(make)

    def fetch(answer: Any) -> bytes | None:  # noqa: ANN401
        response = client.get(answer.headers["location"])
        return response.content if response.status_code == 200 else None

    cases = [case for case in CASES if not names or case.name in names]
    return check_endpoint(lambda *file: client.post("/picture", files={"file": file}), cases, fetch=fetch)


def test_a_right_form_passes() -> None:
    """Some refusals come from the edge, before there is a form to show again."""
    statuses = {result.case.name: result.status for result in checked(lambda data: normalize(data).data).results}

    assert statuses["baseline.jpg"] == 302
    assert statuses["cut-rgb.png"] == statuses["too-large.jpg"] == 200
    assert statuses["far-too-large.jpg"] == 413


def checks_and_keeps(data: bytes) -> bytes:
    """Make the likeliest mistake: check the upload, and store it as it came."""
    validate(data)
    return data


def checks_and_adds(data: bytes) -> bytes:
    """Leave what stands in the upload behind the picture."""
    return normalize(data).data + data


#: What a view stores, by mistake; and what is said of the upload.
MISTAKES: dict[str, tuple[Callable[[bytes], bytes | None], str, str]] = {
    "the upload": (checks_and_keeps, "rgb.png", "302, and serves the upload itself"),
    "a payload": (checks_and_adds, "program-inside.jpg", "302, and serves the program"),
    "another size": (
        lambda data: normalize(data).data and picture(size=(30, 20)).data,
        "baseline.jpg",
        "302, and serves 30 x 20 pixels, not 300 x 300",
    ),
    "a PNG": (
        lambda data: normalize(data).data and picture("rgb.png", size=(300, 300)).data,
        "baseline.jpg",
        "302, and serves no JPEG (format_not_allowed)",
    ),
    "nothing": (lambda data: None if normalize(data) else b"", "baseline.jpg", "302, and serves nothing"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_what_is_served_is_looked_at(name: str) -> None:
    """Although each upload was answered as it has to be."""
    make, upload, said = MISTAKES[name]
    with pytest.raises(AssertionError) as caught:
        checked(make, upload, "cut-rgb.png")
    (line,) = (line for line in str(caught.value).splitlines() if line.startswith(f"{upload}  "))
    assert f" {said}  " in line


def test_what_fetching_raises_is_a_failure_and_refusals_are_not_fetched() -> None:
    """Nor is what was answered wrongly."""
    answers = {"baseline.jpg": 302, "gray.jpg": 415, "cut-rgb.png": 200}
    fetched: list[int] = []

    def fetch(answer: int) -> bytes:
        fetched.append(answer)
        raise KeyError("picture")

    with pytest.raises(AssertionError, match="2 of 3") as caught:
        check_endpoint(lambda name, *_: answers[name], [case for case in CASES if case.name in answers], fetch=fetch)
    assert "raised KeyError: 'picture'" in str(caught.value)
    assert fetched == [302]
