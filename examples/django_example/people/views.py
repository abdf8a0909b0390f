"""The interface for programs, and one page for people."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.cache import get_conditional_response
from django.views import View

import safeupload.django
from django_example.people.forms import PersonForm, PictureForm
from django_example.people.models import Person, digest
from django_example.people.pictures import uploads
from django_example.people.problems import described, problem

Method = Callable[[Any, HttpRequest, int], HttpResponse]


def shown(person: Person) -> dict[str, Any]:
    """Return what anybody may see of a person."""
    return {"id": person.pk, "name": person.name, "picture": person.picture_url}


def locked(person_id: int) -> Person:
    """Return a person for a change, in a transaction; two changes of one person wait for each other."""
    return get_object_or_404(Person.objects.select_for_update(), pk=person_id)  # type: ignore[no-any-return]


def owner_only(method: Method) -> Method:
    """Ask for the token of this person, before anything is read of the body."""

    @wraps(method)
    def checked(view: View, request: HttpRequest, person_id: int) -> HttpResponse:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        owner = Person.objects.filter(token_hash=digest(token.strip())).first()
        if owner is None or scheme.lower() != "bearer":
            return problem(described(401, "A valid token is needed."), {"WWW-Authenticate": "Bearer"})
        if owner.pk != person_id:
            raise PermissionDenied("This is somebody else's account.")
        return method(view, request, person_id)

    return checked


@contextmanager
def received(request: HttpRequest) -> Generator[UploadedFile]:
    """
    Receive the file of a form that was sent by PATCH.

    Django does that for POST alone; for any other method request.FILES stays empty, without a word. This is what it
    calls itself, with the same handlers and limits. Nobody else knows of the files, so they are closed here.
    """
    _, files = request.parse_file_upload(request.META, request)
    with ExitStack() as closing:
        for _, several in files.lists():
            for file in several:
                closing.callback(file.close)
        if files.get("file") is None:
            raise ValidationError({"file": "A file is expected here."})
        yield files["file"]


def json_fields(request: HttpRequest) -> dict[str, str]:
    """Return the fields of a change; all but the name are refused, `image_file` above all."""
    try:
        fields = json.loads(request.body)
    except (ValueError, RecursionError) as error:
        raise ValidationError({"": "A JSON document is expected here."}) from error
    if not isinstance(fields, dict):
        raise ValidationError({"": "A JSON object is expected here."})
    if others := fields.keys() - {"name"}:
        raise ValidationError(dict.fromkeys(sorted(others), "This cannot be changed."))
    if not isinstance(fields.get("name", ""), str):
        raise ValidationError({"name": "A text is expected here."})
    return fields


class PeopleView(View):  # type: ignore[misc]  # Django has no types
    """/users."""

    def post(self, request: HttpRequest) -> HttpResponse:
        """Create a person, with a picture or without one."""
        # The picture first: of a body that is too large, the name may not have been read. And before the transaction,
        # so that nobody waits for the decoding.
        upload = request.FILES.get("picture")
        picture = None if upload is None else safeupload.normalize(upload, uploads.policy)
        form = PersonForm(request.POST)
        if not form.is_valid():
            raise ValidationError(form.errors.as_data())
        person = form.save(commit=False)
        token = person.new_token()
        with uploads.transaction() as tx, safeupload.django.atomic(tx):
            if picture is not None:
                person.image_file = tx.save(picture)
            person.save()
        return JsonResponse({**shown(person), "token": token}, status=201)


class PersonView(View):  # type: ignore[misc]
    """/users/ID."""

    def get(self, _: HttpRequest, person_id: int) -> HttpResponse:
        """Show a person."""
        return JsonResponse(shown(get_object_or_404(Person, pk=person_id)))

    @owner_only
    def patch(self, request: HttpRequest, person_id: int) -> HttpResponse:
        """Change what may be changed by JSON."""
        fields = json_fields(request)
        with transaction.atomic():
            # Under the lock: save() writes all columns, and would put back a picture that was replaced meanwhile.
            form = PersonForm(fields, instance=locked(person_id))
            if not form.is_valid():
                raise ValidationError(form.errors.as_data())
            person = form.save()
        return JsonResponse(shown(person))

    @owner_only
    def delete(self, _: HttpRequest, person_id: int) -> HttpResponse:
        """Remove a person, and the picture."""
        with uploads.transaction() as tx, safeupload.django.atomic(tx):
            person = locked(person_id)
            tx.release(person.image_file)
            person.delete()
        return HttpResponse(status=204)


class PersonPictureView(View):  # type: ignore[misc]
    """/users/ID/picture."""

    @owner_only
    def patch(self, request: HttpRequest, person_id: int) -> HttpResponse:
        """Put a picture in the place of the one that was there."""
        with received(request) as file, uploads.replace(file) as new, safeupload.django.atomic(new):
            person = locked(person_id)
            person.image_file = new.replacing(person.image_file)
            person.save()
        return JsonResponse(shown(person))

    @owner_only
    def delete(self, _: HttpRequest, person_id: int) -> HttpResponse:
        """Remove the picture."""
        with uploads.transaction() as tx, safeupload.django.atomic(tx):
            person = locked(person_id)
            tx.release(person.image_file)
            person.image_file = None
            person.save()
        return HttpResponse(status=204)


class PictureView(View):  # type: ignore[misc]
    """/pictures/KEY."""

    def get(self, request: HttpRequest, key: str) -> HttpResponse:
        """
        Serve a picture.

        What a key names never changes, so caches may keep it for a year. After a replacement the old one is gone: 404.
        """
        data = uploads.storage.read(key)
        headers = {
            "Cache-Control": "public, max-age=31536000, immutable",
            "Content-Disposition": "inline",
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "Cross-Origin-Resource-Policy": "same-origin",
            "ETag": f'"{hashlib.sha256(data).hexdigest()}"',
            "X-Content-Type-Options": "nosniff",
        }
        response = HttpResponse(data, content_type="image/jpeg", headers=headers)
        return get_conditional_response(request, etag=headers["ETag"], response=response)


def picture_form(request: HttpRequest) -> HttpResponse:
    """Let the staff give somebody another picture, on a page; what is wrong with it stands at the field."""
    form = PictureForm(request.POST or None, request.FILES or None)
    if not form.is_valid():
        return render(request, "people/form.html", {"form": form})
    with uploads.replace(form.cleaned_data["picture"]) as new, safeupload.django.atomic(new):
        person = locked(form.cleaned_data["person"].pk)
        person.image_file = new.replacing(person.image_file)
        person.save()
    return redirect("form")
