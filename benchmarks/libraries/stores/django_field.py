"""Django's own ImageField, and what the stores with Django have in common."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from libraries import with_django
from libraries.faults import FaultyConnection
from libraries.stores import DATABASE


class DjangoUnit:
    """A transaction in which each change goes through a form of the model, as in a view."""

    def __init__(self) -> None:
        from libraries.people.models import Person

        self.person = Person
        self.loaded: dict[int, Any] = {}

    def load(self, row: int) -> Any:  # noqa: ANN401
        """Read a row, once."""
        if row not in self.loaded:
            self.loaded[row] = self.person.objects.get(pk=row)
        return self.loaded[row]

    def add(self, row: int, data: bytes, name: str) -> None:
        """Make a row."""
        self._save(self.person(pk=row, name="somebody"), data, name)

    def put(self, row: int, data: bytes, name: str) -> None:
        """Replace the picture."""
        self._save(self.load(row), data, name)

    def _save(self, person: Any, data: bytes, name: str) -> None:  # noqa: ANN401
        from django.forms import modelform_factory

        form = modelform_factory(self.person, fields=["picture"])
        form(files={"picture": with_django.upload(data, name)}, instance=person).save()

    def rename(self, row: int) -> None:
        """Change another column."""
        person = self.load(row)
        person.name = "renamed"
        person.save()

    def delete(self, row: int) -> None:
        """Delete the row."""
        self.load(row).delete()

    def savepoint(self) -> AbstractContextManager[object]:
        """Nest."""
        from django.db import transaction

        made: AbstractContextManager[object] = transaction.atomic()
        return made


class DjangoStore:
    """A field, and the applications and settings that it needs."""

    def __init__(
        self,
        field: Callable[[], Any],
        apps: Sequence[str] = (),
        after: Callable[[], None] | None = None,
        **more: object,
    ) -> None:
        self._field = field
        self._apps = apps
        self._after = after
        self._more = more
        self._locked = True

    def setup(self, folder: Path, *, locked: bool) -> None:
        """Configure Django."""
        options: dict[str, object] = {"factory": FaultyConnection, "timeout": 30}
        if locked:
            options["transaction_mode"] = "IMMEDIATE"
        self._locked = locked
        database = str(folder / DATABASE)
        with_django.configure(folder, self._field, self._apps, database=database, options=options, **self._more)
        if self._after is not None:
            self._after()

    @contextlib.contextmanager
    def unit(self) -> Generator[DjangoUnit]:
        """Begin a transaction; without a lock each statement is one, as in a view without atomic."""
        from django.db import transaction

        with transaction.atomic() if self._locked else contextlib.nullcontext():
            yield DjangoUnit()

    def token(self, value: str) -> str:
        """Return the name without its folder and extension."""
        return Path(value).name.partition(".")[0]

    def repair(self) -> bool:
        """Tell that there is nothing."""
        return False


def image_field() -> Any:  # noqa: ANN401
    """Return the field."""
    from django.db.models import ImageField

    return ImageField(upload_to="pictures", blank=True)


STORE = DjangoStore(image_field)
