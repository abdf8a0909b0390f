"""Each step runs, and is in docs/tutorial.md; what steps 1 and 2 mend is wrong before them, and right from then on."""

import json
import sys
from collections.abc import MutableMapping
from typing import Any

import pytest
from PIL import Image
from tutorial.running import HERE, STEPS, Run, Running, around, blocks, encoded, middle, picture

MB = 1024 * 1024

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a local storage needs flock")


def body(step: int) -> str:
    """Return the code of a step, behind the line that tells what it is."""
    return (HERE / f"step{step}.py").read_text().partition("\n\n")[2]


def test_the_first_step_is_on_the_page() -> None:
    """All of its code, in one block."""
    assert body(0) in blocks(0, "python")


@pytest.mark.parametrize("step", STEPS[1:])
def test_the_page_leads_from_file_to_file(step: int) -> None:
    """Who makes the changes that the page shows in the file of the step before has the file of the step."""
    code = body(step - 1)
    for hunk in blocks(step, "diff"):
        lines = [line or " " for line in hunk.splitlines()]
        before, after = ("".join(f"{line[1:]}\n" for line in lines if line[0] in kept) for kept in (" -", " +"))
        assert code.count(before) == 1, f"not there, or not once: {hunk}"
        code = code.replace(before, after)

    assert code == body(step)


def test_the_last_step_is_on_the_page() -> None:
    """The tests of the application, as they are."""
    assert (HERE / "test_step6.py").read_text() in blocks(6, "python")


@pytest.mark.parametrize("step", STEPS)
def test_every_step_runs(run: Run, step: int) -> None:
    """A picture is set, shown, replaced, and its account deleted; what is no picture is refused."""
    with run(step) as app:
        assert app.put(picture("red")).json() == {"id": 1, "picture": app.named()}
        assert middle(app.shown()) == (256, 0, 0)
        assert app.put(picture("blue")).status_code == 200
        assert middle(app.shown()) == (0, 0, 256)
        assert app.files() == [app.named()]
        assert 400 <= app.put(b"no picture").status_code < 500
        assert app.put(bytes(6 * MB)).status_code == 413
        assert app.client.put("/users/2/picture", files={"file": picture()}).status_code == 404
        assert len(app.files()) == 1
        assert app.client.delete("/users/1").status_code == 204
        assert app.client.get("/users/1").status_code == 404


# --- step 1: what becomes of a file ----------------------------------------------------------------------------------

TRANSPARENT = encoded(Image.new("RGBA", (400, 400), (0, 0, 0, 0)))
DEEP = encoded(Image.new("I;16", (400, 400), 0x8000))
SCRIPT = b"<script>alert(1)</script>"
COMMENTED = encoded(Image.new("RGB", (400, 400)), "JPEG", comment=SCRIPT)
TORN = encoded(Image.effect_noise((400, 400), 64), "JPEG")[:-2000]
FLAT = encoded(Image.new("1", (7800, 7800)))


@pytest.mark.parametrize("step", around(1))
def test_pictures_keep_their_look_from_step_1_on(run: Run, step: int) -> None:
    """Before it, what is transparent turns black, and a grey of 16 bits white."""
    with run(step) as app:
        looks = [middle(app.shown()) for upload in (TRANSPARENT, DEEP) if app.put(upload).status_code == 200]

    assert looks == ([(0, 0, 0), (256, 256, 256)] if step < 1 else [(256, 256, 256), (128, 128, 128)])


@pytest.mark.parametrize("step", around(1))
def test_nothing_but_a_picture_is_stored_from_step_1_on(run: Run, step: int) -> None:
    """Before it, a script in a comment is in the file that is served."""
    with run(step) as app:
        assert app.put(COMMENTED).status_code == 200

        assert (SCRIPT in app.shown()) == (step < 1)


@pytest.mark.parametrize("step", around(1))
def test_hostile_files_are_refused_from_step_1_on(run: Run, step: int) -> None:
    """Before it, a torn file is an error of the server, and 61 megapixels in 8 KB are decoded."""
    assert len(FLAT) < 8192
    with run(step) as app:
        answers = [app.put(upload) for upload in (TORN, FLAT)]

    if step < 1:
        assert [answer.status_code for answer in answers] == [500, 200]
    else:
        codes = [(answer.status_code, answer.json()["code"]) for answer in answers]
        assert codes == [(422, "corrupt"), (413, "too_many_pixels")]
        assert {answer.headers["Content-Type"] for answer in answers} == {"application/problem+json"}
        assert [answers[0].json()] == [json.loads(block) for block in blocks(1, "json")]


# --- step 2: what is received ----------------------------------------------------------------------------------------


def receive(app: Running, total: int) -> tuple[int, int]:
    """Send a form of that many bytes without saying how many; return the status and how many the application took."""
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    taken, status = 0, []

    async def receive() -> MutableMapping[str, Any]:
        nonlocal taken
        chunk = bytes(MB) if taken else head + bytes(MB)
        taken += len(chunk)
        if taken < total:
            return {"type": "http.request", "body": chunk, "more_body": True}
        return {"type": "http.request", "body": chunk + b"\r\n--x--\r\n", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            status.append(message["status"])

    path, headers = "/users/1/picture", [(b"content-type", b"multipart/form-data; boundary=x")]
    scope = {"type": "http", "method": "PUT", "path": path, "query_string": b"", "headers": headers}
    assert app.client.portal is not None
    app.client.portal.call(app.module.app, scope, receive, send)
    return status[0], taken


@pytest.mark.parametrize("step", around(2))
def test_a_large_body_is_not_received_from_step_2_on(run: Run, step: int) -> None:
    """Before it, all of it arrives before anybody looks at its size."""
    with run(step) as app:
        status, taken = receive(app, 40 * MB)

    assert status == 413
    assert taken >= 40 * MB if step < 2 else taken <= 10 * MB
