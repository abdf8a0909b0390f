"""Django for the libraries that need it: settings without a file, the tables, and what a view does with an upload."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

MEDIA = "media"


def configure(
    folder: Path, field: Callable[[], Any], apps: Sequence[str] = (), *, database: str = ":memory:", **more: object
) -> None:
    """Set Django up with a model that has the field, files and database below the folder, and make the tables."""
    import django
    from django.conf import settings
    from django.core.management import call_command

    databases = more.pop("options", {})
    settings.configure(
        INSTALLED_APPS=[*apps, "libraries.people"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": database, "OPTIONS": databases}},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        MEDIA_ROOT=str(folder / MEDIA),
        MEDIA_URL="/media/",
        PICTURE_FIELD=field,
        USE_TZ=True,
        LOGGING_CONFIG=None,
        **more,
    )
    django.setup()
    call_command("migrate", run_syncdb=True, verbosity=0)


def checked(data: bytes, name: str) -> Any:  # noqa: ANN401 - Django has no types
    """Return the upload after the form field of the model's field has looked at it, as in every ModelForm."""
    from libraries.people.models import Person

    return Person._meta.get_field("picture").formfield().clean(upload(data, name))  # noqa: SLF001 - Django's own name


def stored(data: bytes, name: str) -> Any:  # noqa: ANN401 - Django has no types
    """Return the file of a model after the form's check; the row itself is not written."""
    from libraries.people.models import Person

    person = Person()
    person.picture.save(name, checked(data, name), save=False)
    return person.picture


def upload(data: bytes, name: str) -> Any:  # noqa: ANN401 - Django has no types
    """Return what a view finds in `request.FILES`."""
    from django.core.files.uploadedfile import SimpleUploadedFile

    return SimpleUploadedFile(name, data, content_type="application/octet-stream")


def read(file: Any) -> bytes:  # noqa: ANN401 - Django has no types
    """Return the bytes of a stored file."""
    with file.open("rb") as opened:
        return bytes(opened.read())
