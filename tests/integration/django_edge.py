"""Tests of the form field and the upload handler of `safeupload.django`, in a process of their own: see test_django."""

from __future__ import annotations

import asyncio
import gc
import io
import json
from collections.abc import Iterator
from typing import Any

import django
from django.conf import global_settings, settings

settings.configure(
    ROOT_URLCONF=__name__,
    SECRET_KEY="for tests",  # noqa: S106
    ALLOWED_HOSTS=["*"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=["django.contrib.contenttypes", "rest_framework"],
    MIDDLEWARE=["django.middleware.csrf.CsrfViewMiddleware", f"{__name__}.Problems"],
    FILE_UPLOAD_HANDLERS=[f"{__name__}.Limit", *global_settings.FILE_UPLOAD_HANDLERS],
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
    STORAGES={
        "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
        "staticfiles": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    },
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    REST_FRAMEWORK={
        "EXCEPTION_HANDLER": f"{__name__}.handler",
        "DEFAULT_AUTHENTICATION_CLASSES": [],
        "DEFAULT_PERMISSION_CLASSES": [],
        "UNAUTHENTICATED_USER": None,
    },
)
django.setup()

import pytest  # noqa: E402
from builders.pictures import encoded, jpeg, photograph  # noqa: E402
from django import forms  # noqa: E402
from django.core.exceptions import SynchronousOnlyOperation, ValidationError  # noqa: E402
from django.core.files.storage import default_storage  # noqa: E402
from django.core.files.uploadedfile import SimpleUploadedFile  # noqa: E402
from django.db import models  # noqa: E402
from django.http import HttpRequest, HttpResponse, JsonResponse  # noqa: E402
from django.middleware.csrf import get_token  # noqa: E402
from django.test import Client  # noqa: E402
from django.urls import path  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView, exception_handler  # noqa: E402

import safeupload  # noqa: E402
import safeupload.django  # noqa: E402
from safeupload._body import FRAME, GRACE  # noqa: E402
from safeupload._keys import is_key  # noqa: E402
from safeupload.django import BodyLimitUploadHandler, PictureField, PictureFile  # noqa: E402
from safeupload.storage import MemoryStorage  # noqa: E402

LIMIT = 100_000


class Limit(BodyLimitUploadHandler):
    """Other limits than the usual ones."""

    max_bytes = LIMIT
    routes = {"/users/*/banner": 5 * LIMIT}  # noqa: RUF012 - as the documentation shows it


class Form(forms.Form):  # type: ignore[misc]
    """A name and a picture."""

    name = forms.CharField(required=False)
    picture = PictureField()


class Problems:
    """Answers rejected uploads."""

    def __init__(self, get_response: Any) -> None:  # noqa: ANN401
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> Any:  # noqa: ANN401
        """Change nothing."""
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Make a problem document of a rejection."""
        if isinstance(error, safeupload.Rejected):
            return JsonResponse(error.problem(), status=error.status, content_type="application/problem+json")
        return None


def handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """Answer rejected uploads, for Django REST framework."""
    if isinstance(error, safeupload.Rejected):
        return Response(error.problem(), error.status, content_type="application/problem+json")
    return exception_handler(error, context)


def plain(request: HttpRequest, **_: object) -> HttpResponse:
    """Take a picture as a view without a form does."""
    picture = safeupload.normalize(request.FILES["picture"])
    return JsonResponse({"name": request.POST.get("name"), "format": picture.info.format})


def formed(request: HttpRequest) -> HttpResponse:
    """Take a picture as a view with a form does."""
    form = Form(request.POST, request.FILES)
    return HttpResponse("fine") if form.is_valid() else JsonResponse(json.loads(form.errors.as_json()), status=422)


class Rest(APIView):  # type: ignore[misc]
    """Takes a picture as a view of Django REST framework does."""

    def patch(self, request: Any) -> Response:  # noqa: ANN401
        """Normalize it."""
        return Response({"format": safeupload.normalize(request.FILES["picture"]).info.format})


def token(request: HttpRequest) -> HttpResponse:
    """Give a token against CSRF."""
    return HttpResponse(get_token(request))


urlpatterns = [
    path("plain/", csrf_exempt(plain)),
    path("users/<int:n>/banner", csrf_exempt(plain)),
    path("guarded/", plain),
    path("form/", csrf_exempt(formed)),
    path("rest/", Rest.as_view()),
    path("token/", token),
]


class Body(io.BytesIO):
    """A request's body that tells how much of it was read."""

    taken = 0

    def read(self, size: int | None = -1) -> bytes:
        """Read, and count."""
        data = super().read(size)
        self.taken += len(data)
        return data


def post(
    url: str, size: int | bytes, *, before: bytes = b"", method: str = "POST", token: str = "", file: bool = True
) -> tuple[Any, Body]:
    """Send a form with a file of that size, or these bytes; return the response and the body."""
    content = bytes(size) if isinstance(size, int) else size
    name = b'; filename="a.jpg"' if file else b""
    head = b'--x\r\nContent-Disposition: form-data; name="picture"%b\r\n\r\n' % name
    body = Body(before + head + content + b"\r\n--x--\r\n")
    client = Client(enforce_csrf_checks=True, raise_request_exception=False)
    if token:
        client.cookies["csrftoken"] = token
    extra: dict[str, Any] = {
        "wsgi.input": body,
        "CONTENT_LENGTH": str(len(body.getvalue())),
        "CONTENT_TYPE": "multipart/form-data; boundary=x",
    }
    return client.generic(method, url, **extra), body


def field(name: str, value: str) -> bytes:
    """Return one field of a form."""
    return f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()


@pytest.fixture(autouse=True)
def nothing_left_open() -> Iterator[None]:
    """Let a file that nobody closes be an error of the test that left it."""
    yield
    gc.collect()


def test_a_file_within_the_limit_is_received_as_ever() -> None:
    """The handler is in nobody's way."""
    response, _ = post("/plain/", jpeg(), before=field("name", "Ada"))
    assert response.json() == {"name": "Ada", "format": "JPEG"}


@pytest.mark.parametrize(("extra", "status"), [(-200, 415), (FRAME + 1, 413)])
def test_the_limit_has_two_sides(extra: int, status: int) -> None:
    """A body within it is looked at, and is no picture; one beyond it is not looked at."""
    assert post("/plain/", LIMIT + extra)[0].status_code == status


def test_a_body_that_is_too_large_is_not_received() -> None:
    """Of 50 MB a piece is read, and the view is told by reading the file."""
    response, body = post("/plain/", 50_000_000, before=field("name", "Ada"))
    assert response.status_code == 413
    assert response.json() == safeupload.TooLarge(LIMIT).problem()
    assert body.taken <= 2 * FRAME


def test_a_body_that_is_a_little_too_large_is_received_to_its_end() -> None:
    """And thrown away, so that the client reads the answer."""
    response, body = post("/plain/", LIMIT + GRACE)
    assert response.status_code == 413
    assert body.taken == len(body.getvalue())
    _, body = post("/plain/", LIMIT + GRACE + FRAME)
    assert body.taken <= 2 * FRAME


def test_paths_have_their_own_limits() -> None:
    """As a subclass says."""
    assert post("/users/7/banner", 4 * LIMIT)[0].status_code == 415
    assert post("/users/7/banner", 6 * LIMIT)[0].status_code == 413


def test_a_form_says_it_in_the_field() -> None:
    """No code of the view's is needed."""
    response, _ = post("/form/", 50_000_000, before=field("name", "Ada"))
    assert response.json() == {"picture": [{"message": "The file is larger than 97.6 KiB.", "code": "too_large"}]}


def test_a_token_against_csrf_counts_though_the_file_is_not_received() -> None:
    """Whoever has the token is told about the file, and not about the token."""
    value = Client().get("/token/").content.decode()
    before = field("csrfmiddlewaretoken", value)
    assert post("/guarded/", jpeg(), before=before, token=value)[0].status_code == 200
    assert post("/guarded/", 50_000_000, before=before, token=value)[0].status_code == 413
    assert post("/guarded/", 50_000_000, token=value)[0].status_code == 403


@pytest.mark.parametrize(
    "before", [b"", b"--x\r\n\r\n" + bytes(1_000_000) + b"\r\n", field("name", "A" * 1_000_000), bytes(1_000_000)]
)
def test_a_body_without_a_file_in_its_beginning_is_refused(before: bytes) -> None:
    """Whatever it begins with, no more than a piece or two of it is read."""
    response, body = post("/plain/", 50_000_000, before=before, file=False)
    assert response.status_code == 400
    assert body.taken <= 3 * FRAME


def test_the_sum_of_several_files_counts() -> None:
    """And whichever of them the view asks for, it is told."""
    other = b'--x\r\nContent-Disposition: form-data; name="other"; filename="b"\r\n\r\n' + bytes(LIMIT) + b"\r\n"
    response, _ = post("/plain/", LIMIT, before=other)
    assert response.status_code == 413


def test_rest_framework_reads_a_patch_under_the_same_limit() -> None:
    """Its parser asks the same handlers."""
    assert post("/rest/", jpeg(), method="PATCH")[0].json() == {"format": "JPEG"}
    response, body = post("/rest/", 50_000_000, method="PATCH")
    assert (response.status_code, response.json()["code"]) == (413, "too_large")
    assert body.taken <= 2 * FRAME


def test_a_handler_with_a_limit_that_is_none_is_misuse() -> None:
    """A number of bytes, or an error with the first request."""

    class Wrong(BodyLimitUploadHandler):
        max_bytes = 0

    with pytest.raises(safeupload.InvalidArgument):
        Wrong()


def cleaned(upload: bytes, **options: Any) -> PictureFile:  # noqa: ANN401
    """Return what the field makes of an upload."""
    value = PictureField(**options).clean(SimpleUploadedFile("../../evil.php", upload))
    assert isinstance(value, PictureFile)
    return value


def test_the_field_gives_a_clean_picture_under_a_name_of_ours() -> None:
    """Neither the bytes nor the name are the client's."""
    png = encoded(photograph(40, 30), "PNG")
    value = cleaned(png)
    assert value.normalized == safeupload.normalize(png)
    assert value.read() == value.normalized.data
    assert is_key(value.name)
    assert value.content_type == "image/jpeg"


@pytest.mark.parametrize(
    ("upload", "code"),
    [(b"", "empty"), (b"text", "not_an_image"), (jpeg()[:300], "corrupt"), (bytes(2_000), "too_large")],
)
def test_the_field_says_what_is_wrong(upload: bytes, code: str) -> None:
    """A rejection becomes the field's error, with its code and its text."""
    policy = safeupload.Policy(max_bytes=1_000)
    with pytest.raises(ValidationError) as caught:
        cleaned(upload, policy=policy)
    assert caught.value.code == code


def test_texts_can_be_replaced() -> None:
    """By code, with the members of the problem in them."""
    policy = safeupload.Policy(max_bytes=1_000)
    with pytest.raises(ValidationError) as caught:
        cleaned(bytes(2_000), policy=policy, error_messages={"too_large": "Hoechstens %(limit)d Byte."})
    assert caught.value.messages == ["Hoechstens 1000 Byte."]


def test_a_missing_picture_and_a_form_without_enctype_are_told_as_django_tells_them() -> None:
    """What is no upload is not our affair."""
    for value, code in ((None, "required"), ("a.jpg", "invalid")):
        with pytest.raises(ValidationError) as caught:
            PictureField().clean(value)
        assert caught.value.code == code
    assert PictureField(required=False).clean(None) is None
    assert PictureField(required=False).clean(False) is False  # noqa: FBT003 - Django's sign for "clear it"


def test_the_file_chooser_offers_what_the_policy_takes() -> None:
    """Unless the widget says otherwise."""
    assert 'accept="image/gif,image/jpeg,image/png,image/webp"' in str(Form()["picture"])
    field = PictureField(policy=safeupload.Policy(formats={"PNG"}), widget=forms.FileInput(attrs={"accept": "image/*"}))
    assert field.widget.attrs["accept"] == "image/*"


def test_a_policy_that_is_none_is_misuse() -> None:
    """So that a forgotten keyword shows when the form is defined."""
    with pytest.raises(safeupload.InvalidArgument):
        PictureField(policy={"size": (1, 1)})  # type: ignore[arg-type]


def test_the_field_decodes_in_workers_and_checks() -> None:
    """As `normalize` does; what a check refuses is the field's error, and what has passed is stored."""
    asked: list[bytes] = []

    def check(upload: bytes, picture: safeupload.NormalizedImage) -> None:
        asked.append(upload)
        if picture.info.width > 50:
            raise safeupload.CheckFailed("At most 50 wide, please.")

    upload, wide = jpeg(40, 30), jpeg(60, 30)
    with safeupload.WorkerProcesses(1) as workers:
        value = cleaned(upload, decoder=workers, checks=[check])
        assert value.normalized == safeupload.normalize(upload)
        with pytest.raises(ValidationError) as caught:
            cleaned(wide, decoder=workers, checks=[check])
    assert (caught.value.code, caught.value.messages) == ("check_failed", ["At most 50 wide, please."])
    assert asked == [upload, wide]

    uploads = safeupload.Uploads(MemoryStorage(), references=lambda keys: [], checks=[check])
    with uploads.replace(value) as new:
        assert new.image == value.normalized
    with pytest.raises(safeupload.NotChecked), uploads.replace(cleaned(upload)):
        pass
    with pytest.raises(safeupload.AsyncCallable):
        PictureField(checks=[coroutine_check])  # type: ignore[list-item]


async def coroutine_check(upload: bytes, picture: safeupload.NormalizedImage) -> None:
    """Let everything pass."""


def test_a_picture_is_not_decoded_on_the_event_loop() -> None:
    """Django's own error says what to do."""

    async def view() -> None:
        cleaned(jpeg())

    with pytest.raises(SynchronousOnlyOperation, match="sync_to_async"):
        asyncio.run(view())


def test_the_value_is_stored_as_it_is_and_not_made_once_more() -> None:
    """Uploads takes what the field gives, whichever block it is given to."""
    value = cleaned(jpeg())
    storage = MemoryStorage()
    uploads = safeupload.Uploads(storage, references=list)
    with uploads.replace(value) as new:
        key = new.replacing(None)
        new.commit(lambda: None)
    with uploads.transaction() as tx:
        other = tx.save(value)
        tx.commit(lambda: None)
    assert storage.read(key) == storage.read(other) == value.normalized.data

    async def store() -> str:
        async with safeupload.AsyncUploads(storage, references=references).replace(value) as new:
            key = new.replacing(None)
            await new.commit(nothing)
        return key

    async def references(keys: list[str]) -> list[str]:
        return keys

    async def nothing() -> None:
        pass

    assert storage.read(asyncio.run(store())) == value.normalized.data


def test_a_model_stores_the_value_where_django_does() -> None:
    """With a FileField and the default storage, the bytes are clean and the name is ours."""

    class Thing(models.Model):  # type: ignore[misc]  # noqa: DJ008 - never shown
        """Has a picture."""

        picture = models.FileField(upload_to="things", max_length=64)

        class Meta:
            """Of no application."""

            app_label = "tests"

    class ThingForm(forms.ModelForm):  # type: ignore[misc]
        """Takes it."""

        picture = PictureField()

        class Meta:
            """Of the model."""

            model = Thing
            fields = ("picture",)

    form = ThingForm(files={"picture": SimpleUploadedFile("../../evil.php", jpeg())})
    assert form.is_valid(), form.errors
    thing = form.save(commit=False)
    thing.picture.save(thing.picture.name, thing.picture.file, save=False)
    folder, name = thing.picture.name.split("/")
    assert folder == "things"
    assert is_key(name)
    with default_storage.open(thing.picture.name) as file:
        assert file.read() == safeupload.normalize(jpeg()).data
