"""Each step of the tutorial runs; what a step mends is wrong in the one before it, and right from it on."""

import importlib
import io
import os
import re
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx2
import pytest
from fastapi import UploadFile
from fastapi.testclient import TestClient
from PIL import Image
from sqlalchemy.exc import OperationalError

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent.parent / "docs/tutorial.md"
STEPS = range(6)
LAST = 5
MB = 1024 * 1024

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a local storage needs flock")


class Running:
    """A step that is being served, to the user 1."""

    def __init__(self, module: ModuleType, client: TestClient, folder: Path) -> None:
        self.module = module
        self.client = client
        self.folder = folder
        created = client.post("/users")
        assert (created.status_code, created.json()) == (201, {"id": 1, "picture": None})

    def put(self, data: bytes) -> httpx2.Response:
        """Upload a picture."""
        return self.client.put("/users/1/picture", files={"file": data})

    def named(self) -> str | None:
        """Return the address that the row leads to."""
        address: str | None = self.client.get("/users/1").json()["picture"]
        return address

    def files(self) -> list[str]:
        """Return the addresses of all files there are."""
        return sorted(f"/pictures/{path.name}" for path in self.folder.glob("*/*.jpg"))

    def shown(self) -> bytes:
        """Return the picture that the row leads to."""
        address = self.named()
        assert address is not None
        answer = self.client.get(address)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/jpeg")
        return answer.content


Run = Callable[[int], AbstractContextManager[Running]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Give what serves a step, each with a database and a folder of its own."""

    @contextmanager
    def running(step: int) -> Iterator[Running]:
        folder = tmp_path / f"{step}"
        folder.mkdir()
        with monkeypatch.context() as patched:
            for name, value in settings(folder).items():
                patched.setenv(name, value)
            patched.delitem(sys.modules, f"step{step}", raising=False)
            module = importlib.import_module(f"step{step}")
        with TestClient(module.app, raise_server_exceptions=False) as client:
            yield Running(module, client, folder)

    return running


def around(step: int) -> list[int]:
    """Return the step before the one that mends something, that step, and the last one."""
    return sorted({step - 1, step, LAST})


def settings(folder: Path) -> dict[str, str]:
    """Return the environment of a step."""
    return {"DATABASE_URL": f"sqlite+aiosqlite:///{folder / 'app.db'}", "MEDIA": str(folder)}


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """Return the picture as a file."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def picture(colour: str = "teal") -> bytes:
    """Return an ordinary upload."""
    return encoded(Image.new("RGB", (640, 480), colour), "JPEG")


def middle(data: bytes) -> tuple[int, ...]:
    """Return the colour in the middle of a stored picture, to the nearest 16 levels."""
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (300, 300)
        pixel = image.getpixel((150, 150))
    assert isinstance(pixel, tuple)
    return tuple(round(level / 16) * 16 for level in pixel)


def section(step: int) -> str:
    """Return what the page says of a step."""
    return PAGE.read_text().partition(f"\n## Step {step}: ")[2].partition("\n## ")[0]


def blocks(step: int, language: str) -> list[str]:
    """Return the blocks of a step in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", section(step), re.MULTILINE | re.DOTALL)


def body(step: int) -> str:
    """Return the code of a step, behind the line that tells what it is."""
    return (HERE / f"step{step}.py").read_text().partition("\n\n")[2]


def test_the_first_step_is_on_the_page() -> None:
    """All of its code, in one block."""
    assert body(0) in blocks(0, "py")


@pytest.mark.parametrize("step", STEPS[1:])
def test_the_page_leads_from_file_to_file(step: int) -> None:
    """Who makes the changes that the page shows in the file of the step before has the file of the step."""
    code, done = body(step - 1), ""
    for hunk in blocks(step, "diff"):
        lines = [line or " " for line in hunk.splitlines()]
        before, after = ("".join(f"{line[1:]}\n" for line in lines if line[0] in kept) for kept in (" -", " +"))
        assert code.count(before) == 1, f"not there, or not once: {hunk}"
        done += code.partition(before)[0] + after
        code = code.partition(before)[2]

    assert done + code == body(step)


def test_the_last_step_is_on_the_page() -> None:
    """The tests of the application, as they are."""
    assert (HERE / "test_step6.py").read_text() in blocks(6, "py")


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


# --- step 3: two stores ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", around(3))
def test_what_the_database_refuses_leaves_no_file_from_step_3_on(run: Run, step: int) -> None:
    """Before it, the new file stays, and no row will ever name it."""
    with run(step) as app:
        with closing(sqlite3.connect(app.folder / "app.db")) as connection:
            connection.execute("CREATE TRIGGER no UPDATE ON users BEGIN SELECT RAISE(ABORT, 'no'); END")
        assert app.put(picture()).status_code == 500

        assert app.named() is None
        assert len(app.files()) == (1 if step < 3 else 0)


@pytest.mark.parametrize("step", [0, 2])
def test_two_uploads_at_once_leave_a_file_before_step_3(
    run: Run, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have read the same old name, so nobody removes the first of the new files."""
    with run(step) as app:
        app.put(picture("red"))
        both = threading.Barrier(2, timeout=60)
        save = app.module.save_picture

        def save_together(content: object) -> object:
            both.wait()
            return save(content)

        monkeypatch.setattr(app.module, "save_picture", save_together)
        with ThreadPoolExecutor(2) as pool:
            statuses = [answer.status_code for answer in pool.map(app.put, [picture("green"), picture("blue")])]

        assert 200 in statuses
        assert len(app.files()) == 2
        assert app.named() in app.files()


@pytest.mark.parametrize("step", [3, LAST])
def test_uploads_at_once_leave_one_file_from_step_3_on(run: Run, step: int) -> None:
    """They take turns."""
    with run(step) as app:
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(app.put, [picture("green"), picture("blue")] * 6))

        assert {answer.status_code for answer in answers} == {200}
        assert app.files() == [app.named()]


def lose_the_reply(app: Running) -> None:
    """Let the commits happen, and the connection break before anybody learns of it."""
    dialect = app.module.engine.sync_engine.dialect
    commit = dialect.do_commit

    def lost(connection: object) -> None:
        commit(connection)
        raise sqlite3.OperationalError("the server is gone")

    dialect.do_commit = lost


def test_the_obvious_mend_loses_the_picture(run: Run) -> None:
    """An `except` that removes the new file removes the one that the row names."""
    (mend,) = (block for block in blocks(3, "py") if block.startswith("# the obvious mend"))
    with run(2) as app:
        exec(compile(mend, "the obvious mend", "exec"), vars(app.module))  # noqa: S102 - to run it is the point
        app.put(picture("red"))
        lose_the_reply(app)
        assert app.client.portal is not None
        with pytest.raises(OperationalError):
            app.client.portal.call(app.module.change_picture, 1, UploadFile(io.BytesIO(picture("blue"))))

        assert app.client.get(app.named() or "").status_code == 404


@pytest.mark.parametrize("step", [3, LAST])
def test_a_lost_reply_loses_no_picture_from_step_3_on(run: Run, step: int) -> None:
    """The library keeps both files, and asks the database later."""
    with run(step) as app:
        app.put(picture("red"))
        lose_the_reply(app)
        assert app.put(picture("blue")).status_code == 500
        assert middle(app.shown()) == (0, 0, 256)
        assert len(app.files()) == 2
        assert app.client.portal is not None
        app.client.portal.call(lambda: app.module.uploads.recover(min_age=0))

        assert app.files() == [app.named()]


# --- step 4: the account ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", around(4))
def test_the_picture_goes_with_the_account_from_step_4_on(run: Run, step: int) -> None:
    """Before it, the picture of an account that is gone is still served to everybody."""
    with run(step) as app:
        address = app.put(picture()).json()["picture"]
        assert app.client.delete("/users/1").status_code == 204

        assert app.client.get(address).status_code == (200 if step < 4 else 404)


def test_the_picture_can_go_alone(run: Run) -> None:
    """The account stays, without a picture, also if it had none."""
    with run(4) as app:
        app.put(picture())
        for _ in range(2):
            assert app.client.delete("/users/1/picture").status_code == 204

        assert app.client.get("/users/1").json() == {"id": 1, "picture": None}
        assert app.files() == []


# --- step 5: crashes -------------------------------------------------------------------------------------------------

PLUG = """
import os, sys
sys.path.insert(0, sys.argv[4])
from importlib import import_module
from fastapi.testclient import TestClient
step = import_module(sys.argv[1])
with TestClient(step.app) as client:
    dialect = step.engine.sync_engine.dialect
    commit = dialect.do_commit
    def pull(connection):
        if sys.argv[2] == "after":
            commit(connection)
        os._exit(9)
    dialect.do_commit = pull
    client.put("/users/1/picture", files={"file": open(sys.argv[3], "rb")})
"""


def crash(app: Running, step: int, moment: str) -> None:
    """Change the picture in a process of its own, which ends before or after its commit, for no reason at all."""
    upload = app.folder / "upload"
    upload.write_bytes(picture("blue"))
    command = [sys.executable, "-c", PLUG, f"step{step}", moment, str(upload), str(HERE)]
    done = subprocess.run(command, env={**os.environ, **settings(app.folder)}, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (9, b"")


def pass_time(app: Running) -> None:
    """Make what is on record two minutes older."""
    then = time.time() - 120
    for mark in (app.folder / "pictures/.pending").iterdir():
        os.utime(mark, (then, then))


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("step", [2, 3, 5])
def test_a_crash_leaves_a_file_until_step_5(run: Run, step: int, moment: str) -> None:
    """At step 2 for good; from step 3 on it is on record, and at step 5 the next start settles it."""
    with run(step) as app:
        app.put(picture("red"))
        crash(app, step, moment)
        assert middle(app.shown()) == ((256, 0, 0) if moment == "before" else (0, 0, 256))
        assert len(app.files()) == 2
        if step > 2:
            pass_time(app)
        with TestClient(app.module.app):  # as if the application were started again
            assert len(app.files()) == (1 if step == 5 else 2)
        app.put(picture("green"))

        assert len(app.files()) == (2 if step < 3 else 1)
        assert app.named() in app.files()


def test_the_commands_of_step_5_find_what_is_left(run: Run) -> None:
    """`recover` what is on record, `sweep` what is not: a file whose row was deleted by hand."""
    (commands,) = blocks(5, "sh")
    with run(5) as app:
        app.put(picture())
        for _ in range(2):
            user = app.client.post("/users").json()["id"]
            app.client.put(f"/users/{user}/picture", files={"file": picture()})
        with closing(sqlite3.connect(app.folder / "app.db")) as connection, connection:
            connection.execute("DELETE FROM users WHERE id = 3")
        crash(app, 5, "before")
        assert len(app.files()) == 4
        left = []
        for command in re.findall(r"python (-m safeupload .*)", commands):
            words = [sys.executable, *command.split(), "--min-age", "0"]
            subprocess.run(words, cwd=HERE, env={**os.environ, **settings(app.folder)}, check=True)
            left.append(len(app.files()))

        assert left == [3, 2]
