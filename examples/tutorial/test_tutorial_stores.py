"""What the steps 3 to 5 of the tutorial mend is wrong before them, and right from them on."""

import io
import os
import re
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from fakes import FOREIGN_KEYS, refuse_commits
from fastapi import UploadFile
from fastapi.testclient import TestClient
from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from tutorial.running import HERE, LAST, Run, Running, around, blocks, middle, picture, settings

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a local storage needs flock")


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


@pytest.mark.parametrize("step", [3, LAST])
def test_a_commit_that_the_database_refuses_is_settled_at_once_from_step_3_on(run: Run, step: int) -> None:
    """A deferred foreign key does so while the session still holds its lock; the new file is gone."""
    with run(step) as app:
        old = app.put(picture("red")).json()["picture"]
        engine = app.module.engine
        event.listen(engine.sync_engine, "connect", lambda connection, _: connection.execute(FOREIGN_KEYS))
        assert app.client.portal is not None
        app.client.portal.call(engine.dispose)
        refuse_commits(app.folder / "app.db", "users")
        assert app.put(picture("blue")).status_code == 500

        assert app.files() == [app.named()] == [old]


@pytest.mark.parametrize("step", [0, 2])
def test_two_uploads_at_once_leave_a_file_before_step_3(run: Run, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
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
    (mend,) = (block for block in blocks(3, "python") if block.startswith("# the obvious mend"))
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


def crash(app: Running, step: int, moment: str) -> None:
    """Change the picture in a process of its own, which ends before or after its commit, for no reason at all."""
    upload = app.folder / "upload"
    upload.write_bytes(picture("blue"))
    command = [sys.executable, str(HERE / "pulled_plug.py"), f"step{step}", moment, str(upload)]
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
