"""The recipes for Django work as docs/how-to/django.md and docs/index.md show them, in a process: see test_django."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Generator
from pathlib import Path

FOLDER = Path(os.environ["SAFEUPLOAD_TEST_FOLDER"])
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(FOLDER))

from frameworks_page import files  # noqa: E402

# What the page takes for granted, before its own blocks.
AROUND = {
    "settings.py": """
import os
from pathlib import Path
from django.conf import global_settings
ALLOWED_HOSTS = ["*"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "accounts"]
MEDIA_ROOT = Path(os.environ["SAFEUPLOAD_TEST_FOLDER"], "media")
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
ROOT_URLCONF = "urls"
SECRET_KEY = "for tests"
TEMPLATES = [{
    "BACKEND": "django.template.backends.django.DjangoTemplates",
    "OPTIONS": {"loaders": [("django.template.loaders.locmem.Loader", {"picture.html": "{{ form.errors }}"})]},
}]
USE_TZ = True
""",
    "accounts/__init__.py": "",
    "accounts/models.py": """
from django.conf import settings
from django.db import models

class Team(models.Model):
    pass

class Person(models.Model):
    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE)
    team = models.ForeignKey(Team, models.CASCADE, null=True)
    image_file = models.CharField(max_length=64, null=True, unique=True)

class Member(models.Model):
    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE)
    portrait = models.FileField(blank=True)
""",
    "urls.py": """
from accounts import api, front, views
from django.urls import path

urlpatterns = [
    path("picture", views.change_picture, name="picture"),
    path("portrait", views.change_portrait),
    path("teams/<int:team_id>", views.delete_team),
    path("raw", views.raw),
    path("upload", views.upload_picture),
    path("front", front.change_picture),
    path("api", api.PictureView.as_view()),
]
""",
}
# And what it does not show: a view without a form, and one of REST framework.
AFTER = {
    "accounts/views.py": """
def raw(request):
    with uploads.replace(request.FILES["file"]):  # and change our mind
        return HttpResponse()
""",
    "accounts/api.py": """
from accounts.pictures import uploads
from rest_framework.response import Response
from rest_framework.views import APIView

class PictureView(APIView):
    authentication_classes = ()

    def patch(self, request):
        with uploads.replace(request.data["file"]):
            return Response("fine")
""",
}
PAGE = {**files("how-to/django.md"), "accounts/front.py": files("index.md")["accounts/front.py"]}
for name in {*AROUND, *PAGE}:
    parts = [AROUND.get(name, ""), PAGE.get(name, ""), AFTER.get(name, "")]
    (FOLDER / name).parent.mkdir(exist_ok=True)
    (FOLDER / name).write_text("\n".join(parts))

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"

import django  # noqa: E402

django.setup()

import pytest  # noqa: E402
from builders.pictures import jpeg  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.core.files.storage import default_storage  # noqa: E402
from django.core.files.uploadedfile import SimpleUploadedFile  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.test import AsyncRequestFactory, Client, override_settings  # noqa: E402
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart  # noqa: E402

MB = 1024 * 1024


def picture(data: bytes) -> SimpleUploadedFile:
    """Return a file to send."""
    return SimpleUploadedFile("x.jpg", data)


@pytest.fixture(scope="module", autouse=True)
def tables() -> None:
    """Make the tables."""
    call_command("migrate", run_syncdb=True, verbosity=0)


@pytest.fixture
def client() -> Generator[Client]:
    """Return a client of somebody who is known; in the end, rows and files agree."""
    from accounts.models import Member, Person  # type: ignore[import-not-found]  # noqa: PLC0415
    from accounts.pictures import uploads  # type: ignore[import-not-found]  # noqa: PLC0415

    user = User.objects.create(username="ada")
    Person.objects.create(user=user)
    Member.objects.create(user=user)
    each = Client()
    each.force_login(user)
    yield each
    assert list(uploads.storage.keys()) == [key for key in Person.objects.values_list("image_file", flat=True) if key]
    user.delete()
    uploads.sweep(min_age=0, force=True)


def test_a_form_replaces_and_refuses(client: Client) -> None:
    """A picture goes in, another one takes its place, and what is none stands at the field."""
    from accounts.models import Person  # noqa: PLC0415

    for width in (64, 96):
        assert client.post("/picture", {"picture": picture(jpeg(width, 64))}).status_code == 302
    key = Person.objects.get().image_file

    assert b"is not a picture" in client.post("/picture", {"picture": picture(b"x")}).content
    assert b"at most 5242880 bytes" in client.post("/picture", {"picture": picture(bytes(6 * MB))}).content
    assert Person.objects.get().image_file == key


@pytest.mark.parametrize("path", ["/upload", "/front"])
def test_a_view_replaces(client: Client, path: str) -> None:
    """The shortest view does it: one file is there, the one that the row names."""
    from accounts import front, pictures  # type: ignore[import-not-found]  # noqa: PLC0415
    from accounts.models import Person  # noqa: PLC0415

    uploads = front.uploads if path == "/front" else pictures.uploads
    for width in (64, 96):
        assert client.post(path, {"file": picture(jpeg(width, 64))}).status_code == 204

    assert list(uploads.storage.keys()) == [Person.objects.get().image_file]
    Person.objects.update(image_file=None)
    front.uploads.sweep(min_age=0, force=True)
    pictures.uploads.sweep(min_age=0, force=True)


@pytest.mark.parametrize(
    ("data", "status", "code"), [(b"x", 415, "not_an_image"), (bytes(6 * MB), 413, "too_large")], ids=["text", "large"]
)
def test_other_views_answer_with_problems(client: Client, data: bytes, status: int, code: str) -> None:
    """Views without a form, and those of REST framework, tell it in the form of RFC 9457."""
    body = encode_multipart(BOUNDARY, {"file": picture(data)})
    for answer in (client.post("/raw", {"file": picture(data)}), client.patch("/api", body, MULTIPART_CONTENT)):
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert answer["Content-Type"] == "application/problem+json"


def test_rest_framework_takes_a_picture(client: Client) -> None:
    """What is fine is not refused, and what is not ours stays with the framework."""
    body = encode_multipart(BOUNDARY, {"file": picture(jpeg(64, 64))})

    assert client.patch("/api", body, MULTIPART_CONTENT).json() == "fine"
    assert client.put("/api").status_code == 405


def test_a_subclass_has_other_limits(client: Client) -> None:
    """A limit for all, and one for a route."""
    from accounts.limits import Limit  # type: ignore[import-not-found]  # noqa: PLC0415
    from django.conf import settings  # noqa: PLC0415

    handlers = ["accounts.limits.Limit", *settings.FILE_UPLOAD_HANDLERS[1:]]
    with override_settings(FILE_UPLOAD_HANDLERS=handlers):
        assert client.post("/raw", {"file": picture(bytes(3 * MB))}).json()["limit"] == Limit.max_bytes == 2 * MB
    assert client.post("/raw", {"file": picture(bytes(3 * MB))}).json()["code"] == "not_an_image"


def test_the_limit_under_asgi() -> None:
    """The application that a server gets has the limit around it."""
    from asgi import application  # type: ignore[import-not-found]  # noqa: PLC0415

    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.disconnect"}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    headers = [(b"content-length", b"%d" % (6 * MB))]
    scope = AsyncRequestFactory()._base_scope(path="/raw", method="POST", headers=headers)
    asyncio.run(application(scope, receive, send))

    assert sent[0]["status"] == 413


def test_default_storage_keeps_the_new_one(client: Client) -> None:
    """The old file goes after the commit, the new one stays; a refused one changes nothing."""
    from accounts.models import Member  # noqa: PLC0415

    for width in (64, 96):
        assert client.post("/portrait", {"picture": picture(jpeg(width, 64))}).status_code == 302
    assert b"is not a picture" in client.post("/portrait", {"picture": picture(b"x")}).content

    assert default_storage.listdir("")[1] == [Member.objects.get().portrait.name]


def test_a_cascade_takes_the_pictures_along(client: Client) -> None:
    """A team, its members, and their pictures are deleted."""
    from accounts.models import Person, Team  # noqa: PLC0415

    client.post("/picture", {"picture": picture(jpeg(64, 64))})
    team = Team.objects.create()
    Person.objects.update(team=team)

    assert client.post(f"/teams/{team.pk}").status_code == 204
    assert not Person.objects.exists()
