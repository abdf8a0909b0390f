"""
Tests of the application, for pytest, with the settings in the environment: see test_django_example.py.

They empty the database and the folder of pictures that DATABASE_URL and MEDIA name.
"""

# ruff: noqa: ARG001, ARG005, PLR2004, PT012, S101 - what tests may do

from __future__ import annotations

import asyncio
import gc
import hashlib
import html
import io
import json
import re
import threading
from collections.abc import Callable, Generator
from typing import Any

import django
import httpx2
import pytest
from PIL import Image

django.setup()

from django.contrib.admin.models import LogEntry  # noqa: E402 - after the set-up
from django.contrib.auth.models import User  # noqa: E402
from django.contrib.sessions.models import Session  # noqa: E402
from django.core.files.uploadedfile import SimpleUploadedFile  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import OperationalError, connection, connections  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart  # noqa: E402
from django.test.utils import setup_test_environment, teardown_test_environment  # noqa: E402

import safeupload  # noqa: E402
from django_example.people.models import Person  # noqa: E402
from django_example.people.pictures import uploads  # noqa: E402
from django_example.wsgi import application  # noqa: E402
from safeupload._body import FRAME  # noqa: E402
from safeupload.testing import check_endpoint, losing_reply, picture  # noqa: E402

LARGE = bytes(6 << 20)
PICTURE = picture("rgb.png").data
RED = picture("rgba.png", colour="red").data


@pytest.fixture(scope="module", autouse=True)
def environment() -> Generator[None]:
    """Let Django know that these are tests."""
    setup_test_environment(debug=False)
    gc.collect()
    gc.freeze()  # what was imported needs no looking at after every test
    yield
    gc.unfreeze()
    teardown_test_environment()


@pytest.fixture(autouse=True)
def clean() -> Generator[None]:
    """Begin with nothing; in the end, files and rows agree, nothing is on record, and nothing was left open."""
    for model in (LogEntry, Session, User, Person):
        model.objects.all().delete()
    uploads.sweep(min_age=0, force=True)
    assert files() == []
    yield
    named = Person.objects.exclude(image_file=None).values_list("image_file", flat=True)
    assert files() == sorted(f"/pictures/{key}" for key in named)
    assert list(uploads.storage.marks()) == []
    connections.close_all()
    gc.collect()


def files() -> list[str]:
    """Return the addresses of all files there are."""
    return sorted(f"/pictures/{key}" for key in uploads.storage.keys())  # noqa: SIM118 - a method, not a dictionary


def upload(content: bytes, filename: str = "../holiday.png", content_type: str = "image/png") -> SimpleUploadedFile:
    """Return a file as a browser names it."""
    return SimpleUploadedFile(filename, content, content_type)


class Owner:
    """Somebody who uses the interface."""

    def __init__(self, created: dict[str, Any]) -> None:
        self.id: int = created["id"]
        self.url = f"/users/{self.id}"
        self.headers = {"Authorization": f"Bearer {created['token']}"}
        self.picture: str = created["picture"]

    def put(self, content: Any, name: str = "file") -> Any:  # noqa: ANN401 - Django's, as all responses below
        """Change the picture."""
        body = encode_multipart(BOUNDARY, {name: upload(content) if isinstance(content, bytes) else content})
        client = Client(headers=self.headers)
        return client.patch(f"{self.url}/picture", body, content_type=MULTIPART_CONTENT)

    def patch(self, change: object) -> Any:  # noqa: ANN401
        """Change the rest."""
        data = change if isinstance(change, bytes) else json.dumps(change).encode()
        return Client(headers=self.headers).patch(self.url, data, content_type="application/json")

    def delete(self, what: str = "") -> Any:  # noqa: ANN401
        """Remove the account, or the picture."""
        return Client(headers=self.headers).delete(self.url + what)

    def shown(self) -> Any:  # noqa: ANN401
        """Return the profile."""
        return Client().get(self.url).json()


def create(name: str = "Ada", content: bytes | None = None) -> Any:  # noqa: ANN401
    """Create somebody."""
    return Client().post("/users", {"name": name} | ({} if content is None else {"picture": upload(content)}))


@pytest.fixture
def ada() -> Owner:
    """Give somebody with a picture."""
    response = create("Ada", PICTURE)
    assert response.status_code == 201
    return Owner(response.json())


@pytest.fixture
def staff() -> Client:
    """Give the browser of somebody of the staff, who has logged in."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("root"))
    return client


def check_problem(response: Any, status: int) -> None:  # noqa: ANN401
    """Check that the response is a problem document that no cache keeps."""
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.json()["status"] == status
    assert {"type", "title", "detail"} <= response.json().keys()


def submit(client: Client, url: str, **fields: object) -> Any:  # noqa: ANN401
    """Send a form as a browser does: with the token against CSRF that the page had."""
    page = client.get(url).content.decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
    assert token is not None
    return client.post(url, {"csrfmiddlewaretoken": token[1], **fields})


# --- the interface ---------------------------------------------------------------------------------------------------


def test_a_person_is_created_with_a_picture_or_without_one() -> None:
    """In one request, and nobody is given a cookie."""
    response = create("Bob")
    assert (response.status_code, response.json()["picture"]) == (201, None)
    response = create("Ada", PICTURE)
    assert response.json().keys() == {"id", "name", "picture", "token"}
    assert files() == [response.json()["picture"]]
    assert Client().get(files()[0]).status_code == 200
    assert not response.cookies


@pytest.mark.parametrize("name", ["", " ", "A" * 101, "A\0"])
def test_a_name_is_needed(name: str) -> None:
    """Without one there is no person, and no file."""
    response = create(name, PICTURE)
    check_problem(response, 422)
    assert response.json()["errors"][0]["field"] == "name"
    assert Person.objects.count() == 0


@pytest.mark.parametrize(
    ("content", "status", "code"), [(b"text", 415, "not_an_image"), (b"", 422, "empty"), (LARGE, 413, "too_large")]
)
def test_a_refused_picture_creates_nobody(content: bytes, status: int, code: str) -> None:
    """Neither a row nor a file is left; and the order of the fields does not matter."""
    for name in ("picture", "name"):
        fields = {name: "", "name": "Ada", "picture": upload(content)}
        response = Client().post("/users", fields)
        check_problem(response, status)
        assert response.json()["code"] == code
    assert Person.objects.count() == 0


def test_a_picture_is_replaced(ada: Owner) -> None:
    """The new one is served, the old one is gone, from the disk as well."""
    response = ada.put(RED)
    assert (response.status_code, response.json()) == (200, ada.shown())
    assert files() == [response.json()["picture"]]
    assert Client().get(files()[0]).status_code == 200
    old = Client().get(ada.picture)
    check_problem(old, 404)
    assert old.json()["code"] == "file_missing"


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"text", 415, "not_an_image"),
        (b"", 422, "empty"),
        (LARGE, 413, "too_large"),
        (bytes((5 << 20) + 1), 413, "too_large"),
        (PICTURE[:-20], 422, "corrupt"),
    ],
    ids=["text", "empty", "large", "barely-large", "torn"],
)
def test_a_refused_picture_changes_nothing(ada: Owner, content: bytes, status: int, code: str) -> None:
    """The client is told why, as a problem document."""
    response = ada.put(content)
    check_problem(response, status)
    assert response.json()["code"] == code
    assert files() == [ada.shown()["picture"]] == [ada.picture]


def test_every_upload_gets_its_answer(ada: Owner) -> None:
    """A picture of any kind replaces the one before it; whatever else is uploaded changes nothing."""

    def send(filename: str, data: bytes, content_type: str) -> Any:  # noqa: ANN401
        before = ada.shown()["picture"]
        response = ada.put(upload(data, filename, content_type))
        if response.status_code != 200:
            check_problem(response, response.status_code)
        after = ada.shown()["picture"]
        assert (after == before) == (response.status_code != 200)
        assert files() == [after]
        return response

    check_endpoint(send)


def test_a_lost_reply_loses_no_picture(ada: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows whether the picture was changed, so both are kept until that can be asked."""
    with monkeypatch.context() as patch:
        patch.setattr(connection, "commit", losing_reply(connection.commit, OperationalError("the reply was lost")))
        with pytest.raises(OperationalError):
            ada.put(RED)
    shown = ada.shown()["picture"]
    assert shown != ada.picture
    assert files() == sorted([ada.picture, shown])
    assert Client().get(shown).status_code == 200
    uploads.recover(min_age=0)
    assert files() == [shown]


def test_a_form_without_a_file_is_told_so(ada: Owner) -> None:
    """In the same form as every other error."""
    for response in (ada.put("text"), ada.put(PICTURE, name="other")):
        check_problem(response, 422)
        assert response.json()["errors"] == [{"field": "file", "detail": "A file is expected here."}]
    response = Client(headers=ada.headers).patch(f"{ada.url}/picture", b"{}", content_type="application/json")
    check_problem(response, 400)


@pytest.mark.parametrize("field", ["image_file", "id", "token_hash", "picture"])
def test_json_cannot_set_anything_but_the_name(ada: Owner, field: str) -> None:
    """It is refused, and said which field it was."""
    for value in ("0" * 32 + ".jpg", 7, None):
        response = ada.patch({"name": "Eve", field: value})
        check_problem(response, 422)
        assert response.json()["errors"] == [{"field": field, "detail": "This cannot be changed."}]
    assert ada.shown() == {"id": ada.id, "name": "Ada", "picture": ada.picture}


def test_json_sets_the_name(ada: Owner) -> None:
    """And nothing happens to the picture."""
    response = ada.patch({"name": " Ada Lovelace "})
    assert (response.status_code, response.json()) == (200, ada.shown())
    assert ada.shown() == {"id": ada.id, "name": "Ada Lovelace", "picture": ada.picture}


@pytest.mark.parametrize(
    "change",
    [b"", b"{", b"\xff", b"[" * 60_000, b'{"name": "\\ud800"}', [], "name", {}, {"name": None}, {"name": 7}],
    ids=repr,
)
def test_what_is_no_change_is_refused(ada: Owner, change: object) -> None:
    """Whatever it is in place of a JSON object with a name in it."""
    check_problem(ada.patch(change), 422)
    assert ada.shown()["name"] == "Ada"


def test_a_document_that_is_too_large_is_refused(ada: Owner) -> None:
    """Bodies without files have a limit of their own."""
    check_problem(ada.patch({"name": "A" * (1 << 20)}), 413)


def test_picture_and_account_are_deleted(ada: Owner) -> None:
    """And the files with them."""
    assert ada.delete("/picture").status_code == 204
    assert ada.shown()["picture"] is None
    assert files() == []
    assert ada.delete("/picture").status_code == 204
    ada.put(PICTURE)
    assert len(files()) == 1
    response = ada.delete()
    assert (response.status_code, response.content) == (204, b"")
    check_problem(Client().get(ada.url), 404)
    assert files() == []
    assert ada.put(PICTURE).status_code == 401


@pytest.mark.parametrize(
    ("header", "status"), [(None, 401), ("Bearer", 401), ("Bearer wrong", 401), ("Basic {}", 401), ("Bearer {}", 403)]
)
def test_nobody_else_may_do_it(ada: Owner, header: str | None, status: int) -> None:
    """Without a token, with a wrong one, and with another person's."""
    token = create("Eve").json()["token"]
    ada.headers = {"Authorization": header.format(token)} if header else {}
    for response in (ada.put(RED), ada.patch({"name": "Eve"}), ada.delete("/picture"), ada.delete()):
        check_problem(response, status)
        assert ("WWW-Authenticate" in response) == (status == 401)
    assert ada.shown() == {"id": ada.id, "name": "Ada", "picture": ada.picture}


class Body(io.BytesIO):
    """A request's body that tells how much of it was read."""

    taken = 0

    def read(self, size: int | None = -1) -> bytes:
        """Read, and count."""
        data = super().read(size)
        self.taken += len(data)
        return data


def send(url: str, headers: dict[str, str], size: int) -> tuple[Any, Body]:
    """Send that much as a file; return the response and the body."""
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'
    body = Body(head + bytes(size) + b"\r\n--x--\r\n")
    extra: dict[str, Any] = {
        "wsgi.input": body,
        "CONTENT_LENGTH": str(len(body.getvalue())),
        "CONTENT_TYPE": "multipart/form-data; boundary=x",
    }
    return Client(headers=headers).generic("PATCH", f"{url}/picture", **extra), body


@pytest.mark.parametrize("header", ["", "Bearer wrong"])
def test_a_stranger_is_refused_before_the_body_is_read(ada: Owner, header: str) -> None:
    """Not a byte of it."""
    response, body = send(ada.url, {"Authorization": header}, 1 << 20)
    check_problem(response, 401)
    assert body.taken == 0


def test_a_body_that_is_far_too_large_is_not_received(ada: Owner) -> None:
    """Of 50 MB a piece is read."""
    response, body = send(ada.url, ada.headers, 50_000_000)
    check_problem(response, 413)
    assert body.taken <= 2 * FRAME


def test_a_picture_is_served_for_good_and_for_nothing_else(ada: Owner) -> None:
    """It may be kept for a year, is never taken for a page or a script, and has its hash for an ETag."""
    response = Client().get(ada.picture)
    with Image.open(io.BytesIO(response.content)) as image:
        assert (image.format, image.size) == ("JPEG", (300, 300))
    assert response["Content-Type"] == "image/jpeg"
    assert response["Content-Disposition"] == "inline"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert response["Cross-Origin-Resource-Policy"] == "same-origin"
    assert response["Cache-Control"] == "public, max-age=31536000, immutable"
    assert response["ETag"] == f'"{hashlib.sha256(response.content).hexdigest()}"'
    assert "Vary" not in response
    assert not response.cookies
    again = Client().get(ada.picture, headers={"If-None-Match": response["ETag"]})
    assert (again.status_code, again.content, again["ETag"]) == (304, b"", response["ETag"])
    assert again["Cache-Control"] == response["Cache-Control"]
    assert Client().get(ada.picture, headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize("name", [".pending", "..%2fapp.db", "0" * 32 + ".jpg", "app.db", "%00", "a" * 5000])
def test_nothing_but_pictures_is_served(ada: Owner, name: str) -> None:
    """What is not a key of ours reaches no file."""
    check_problem(Client().get(f"/pictures/{name}"), 404)


@pytest.mark.parametrize("url", ["/users/7", "/users/99999999999999999999", "/users/x", "/pictures/", "/nothing"])
def test_what_is_not_there_is_told_in_the_same_form(url: str) -> None:
    """A number nobody has, one that no column holds, no number, and addresses of nothing."""
    check_problem(Client().get(url), 404)


def test_a_wrong_method_is_told_in_the_same_form() -> None:
    """With the methods there are."""
    response = Client().get("/users")
    check_problem(response, 405)
    assert "POST" in response["Allow"]


def test_a_storage_that_fails_is_logged(
    ada: Owner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The client is told to come back, the log gets the traceback, and nothing has changed."""

    def failing(*args: object) -> None:
        raise safeupload.StorageError("no space")

    monkeypatch.setattr("safeupload.storage._locks.LockedMark.save", failing)
    response = ada.put(RED)
    check_problem(response, 503)
    assert "no space" not in response.content.decode()
    (record,) = (record for record in caplog.records if record.message == "the storage failed")
    assert record.exc_info is not None
    assert files() == [ada.picture]


def test_a_mistake_of_the_application_is_no_problem_of_the_client(ada: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Misuse goes to the log like any other bug: here, a row that was not saved."""
    monkeypatch.setattr(Person, "save", lambda person: None)
    with pytest.raises(safeupload.NotCommitted):
        ada.put(RED)
    uploads.recover(min_age=0)
    assert files() == [ada.picture]


def together(work: Callable[[], None], threads: int = 8) -> None:
    """Do the same in several threads."""
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)
        finally:
            connections.close_all()

    workers = [threading.Thread(target=guarded) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert errors == []


def test_simultaneous_uploads_leave_one_picture(ada: Owner) -> None:
    """However many there are, and whoever is the last."""

    def work() -> None:
        for _ in range(5):
            assert ada.put(RED).status_code == 200

    together(work)
    assert files() == [ada.shown()["picture"]]


def test_the_application_speaks_asgi_too(ada: Owner) -> None:
    """With the limit before Django, which would receive everything."""
    from django_example.asgi import application as asgi  # noqa: PLC0415 - one of two ways to start

    async def put(content: bytes) -> httpx2.Response:
        transport = httpx2.ASGITransport(asgi)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.patch(f"{ada.url}/picture", files={"file": content}, headers=ada.headers)

    assert asyncio.run(put(RED)).status_code == 200
    assert asyncio.run(put(LARGE)).json()["code"] == "too_large"
    assert callable(application)


def test_the_migrations_are_complete() -> None:
    """They make the table that the models describe."""
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)
    assert "people_person" in connection.introspection.table_names()


# --- the page --------------------------------------------------------------------------------------------------------


def test_the_staff_replaces_a_picture_with_a_form(ada: Owner, staff: Client) -> None:
    """And is sent back to the page, so that reloading it sends nothing twice."""
    response = submit(staff, "/form/", person=ada.id, picture=upload(RED))
    assert (response.status_code, response["Location"]) == (302, "/form/")
    assert files() == [ada.shown()["picture"]] != [ada.picture]


@pytest.mark.parametrize(
    ("content", "text"),
    [(b"text", "not"), (b"", "empty"), (LARGE, "larger than 5 MiB"), (bytes(50_000_000), "larger than 5 MiB")],
)
def test_the_form_says_at_the_field_what_is_wrong(ada: Owner, staff: Client, content: bytes, text: str) -> None:
    """A body that was not even received is told like any other, and the rest of the form is still there."""
    response = submit(staff, "/form/", person=ada.id, picture=upload(content))
    assert response.status_code == 200
    form = response.context["form"]
    assert form.errors.keys() == {"picture"}
    assert text in form.errors["picture"][0]
    assert html.escape(form.errors["picture"][0]) in response.content.decode()
    assert form["person"].value() == str(ada.id)
    assert files() == [ada.picture]


def test_the_form_is_for_the_staff_and_for_its_own_page(ada: Owner, staff: Client) -> None:
    """A stranger is asked to log in; who is logged in, but comes from elsewhere, has no token."""
    assert "/admin/login/" in Client().get("/form/")["Location"]
    fields = {"person": ada.id, "picture": upload(RED)}
    assert staff.post("/form/", fields).status_code == 403
    assert files() == [ada.picture]


# --- the admin -------------------------------------------------------------------------------------------------------

ADMIN = "/admin/people/person/"


def test_the_admin_adds_a_person_with_a_picture_or_without_one(staff: Client) -> None:
    """And shows the token once, which works."""
    for name, content in (("Bob", None), ("Ada", PICTURE)):
        fields = {"name": name} | ({"picture": upload(content)} if content else {})
        assert submit(staff, f"{ADMIN}add/", **fields).status_code == 302
        page = staff.get(ADMIN).content.decode()
        token = re.search(r"told this once: ([\w-]+)", page)
        assert token is not None
        person = Person.objects.get(name=name)
        owner = Owner({"id": person.pk, "token": token[1], "picture": person.picture_url})
        assert owner.patch({"name": f"{name} II"}).status_code == 200
        assert token[1] not in staff.get(ADMIN).content.decode()
    assert files() == [owner.picture]


def test_the_admin_changes_a_name_and_replaces_a_picture(ada: Owner, staff: Client) -> None:
    """The first leaves the picture alone, the second removes the old file."""
    url = f"{ADMIN}{ada.id}/change/"
    assert ada.picture in staff.get(url).content.decode()
    assert submit(staff, url, name="Ada Lovelace").status_code == 302
    assert ada.shown() == {"id": ada.id, "name": "Ada Lovelace", "picture": ada.picture}
    assert submit(staff, url, name="Ada", picture=upload(RED)).status_code == 302
    assert files() == [ada.shown()["picture"]] != [ada.picture]
    assert LogEntry.objects.count() == 2


@pytest.mark.parametrize(("content", "text"), [(b"text", "not"), (b"", "empty"), (LARGE, "larger than 5 MiB")])
def test_the_admin_says_at_the_field_what_is_wrong(ada: Owner, staff: Client, content: bytes, text: str) -> None:
    """And changes nothing, the name neither."""
    response = submit(staff, f"{ADMIN}{ada.id}/change/", name="Eve", picture=upload(content))
    assert response.status_code == 200
    errors = response.context["adminform"].form.errors
    assert errors.keys() == {"picture"}
    assert text in errors["picture"][0]
    assert html.escape(errors["picture"][0]) in response.content.decode()
    assert ada.shown() == {"id": ada.id, "name": "Ada", "picture": ada.picture}
    response = submit(staff, f"{ADMIN}add/", name="Eve", picture=upload(content))
    assert (response.status_code, Person.objects.count()) == (200, 1)


def test_the_admin_deletes_one(ada: Owner, staff: Client) -> None:
    """With the picture; asking whether it is meant deletes nothing."""
    url = f"{ADMIN}{ada.id}/delete/"
    staff.get(url)
    assert files() == [ada.picture]
    assert submit(staff, url, post="yes").status_code == 302
    assert Person.objects.count() == 0
    assert files() == []
    assert submit(staff, f"{ADMIN}add/", name="Ada").status_code == 302  # no block was left open


def test_the_admin_deletes_those_that_were_selected(ada: Owner, staff: Client) -> None:
    """With their pictures, and leaves the others."""
    others = [Owner(create(name, content).json()) for name, content in (("Bob", PICTURE), ("Eve", None))]
    fields = {"action": "delete_selected", "_selected_action": [ada.id, others[1].id]}
    assert submit(staff, ADMIN, **fields).status_code == 200
    assert Person.objects.count() == 3
    assert submit(staff, ADMIN, **fields, post="yes").status_code == 302
    assert Person.objects.get().name == "Bob"
    assert files() == [others[0].picture]


def test_the_admin_rolls_back_all_or_nothing(ada: Owner, staff: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error after the saving, in Django's own log of changes, takes back the row and the new file."""

    def failing(*args: object) -> None:
        raise ZeroDivisionError

    url = f"{ADMIN}{ada.id}/change/"
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr("django.contrib.admin.ModelAdmin.log_change", failing)
        submit(staff, url, name="Eve", picture=upload(RED))
    assert ada.shown() == {"id": ada.id, "name": "Ada", "picture": ada.picture}
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr("django.contrib.admin.ModelAdmin.response_delete", failing)
        submit(staff, f"{ADMIN}{ada.id}/delete/", post="yes")
    assert files() == [ada.shown()["picture"]] == [ada.picture]


def test_the_admin_and_the_owner_at_once(ada: Owner, staff: Client) -> None:
    """A name that is saved while a picture is replaced does not bring the old one back."""
    url = f"{ADMIN}{ada.id}/change/"
    cookies = staff.cookies

    def work() -> None:
        client = Client(enforce_csrf_checks=True)
        client.cookies = cookies
        for _ in range(3):
            assert ada.put(RED).status_code == 200
            assert submit(client, url, name="Ada").status_code == 302
            assert submit(client, url, name="Ada", picture=upload(PICTURE)).status_code == 302

    together(work, 4)
    assert files() == [ada.shown()["picture"]]


def test_somebody_who_is_gone_cannot_be_changed(ada: Owner, staff: Client) -> None:
    """The admin says so, as ever."""
    page = staff.get(f"{ADMIN}add/").content.decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
    assert token is not None
    ada.delete()
    for what in ("change", "delete"):
        fields = {"csrfmiddlewaretoken": token[1], "name": "Eve", "post": "yes", "picture": upload(PICTURE)}
        response = staff.post(f"{ADMIN}{ada.id}/{what}/", fields)
        assert (response.status_code, response["Location"]) == (302, "/admin/")
    assert files() == []
