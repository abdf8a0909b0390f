"""Django, by the types of django-stubs."""

from typing import assert_type

from django import forms
from django.http import HttpRequest, HttpResponse
from sync_uploads import small, used_async

import safeupload
from safeupload.django import BodyLimitUploadHandler, PictureField, PictureFile, atomic, references
from safeupload.storage import MemoryStorage

uploads = safeupload.Uploads(MemoryStorage(), references=references("people.User.picture"))
async_uploads = safeupload.AsyncUploads(MemoryStorage(), references=used_async)


class Banner(BodyLimitUploadHandler):
    """A limit of our own."""

    max_bytes = 10 << 20


class PictureForm(forms.Form):
    """A form with a picture."""

    picture = PictureField(policy=safeupload.AVATAR, checks=[small], required=False)


def change_picture(request: HttpRequest) -> HttpResponse:
    """Take an upload from the form."""
    picture = safeupload.normalize(request.FILES["file"])
    with uploads.replace(request.FILES["file"]) as new, atomic(new):
        new.replacing(None)
    with uploads.transaction() as tx, atomic(tx, using="default"):
        tx.save(request.FILES["file"])
    return HttpResponse(picture.data, content_type=picture.media_type)


def of_a_form(file: PictureFile) -> None:
    """The value of the field is a source, and carries the picture."""
    assert_type(file.normalized, safeupload.NormalizedImage)
    with uploads.replace(file) as new, atomic(new):
        new.replacing(None)


# --- misuse


async def wrong_colour(request: HttpRequest) -> None:
    """Django's block is a plain one, and so are the blocks that go with it."""
    async with async_uploads.replace(request.FILES["file"]) as new:
        atomic(new)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


PictureField(policy="avatar")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
references(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
