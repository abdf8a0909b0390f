"""safeupload with Django."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from pathlib import Path
from typing import Any

import safeupload
from libraries import with_django
from libraries.stores.django_field import DjangoStore, DjangoUnit
from safeupload.storage import LocalStorage


def _field() -> Any:  # noqa: ANN401
    from django.db.models import CharField

    return CharField(max_length=64, null=True, unique=True)


class _Unit(DjangoUnit):
    def __init__(self, transaction: safeupload.Transaction) -> None:
        super().__init__()
        self._transaction = transaction

    def add(self, row: int, data: bytes, name: str) -> None:  # noqa: ARG002
        self.person.objects.create(pk=row, picture=self._transaction.save(data))

    def put(self, row: int, data: bytes, name: str) -> None:  # noqa: ARG002
        person = self.load(row)
        self._transaction.release(person.picture)
        person.picture = self._transaction.save(data)
        person.save()

    def delete(self, row: int) -> None:
        self._transaction.release(self.load(row).picture)
        super().delete(row)


class _Store(DjangoStore):
    uploads: safeupload.Uploads

    def setup(self, folder: Path, *, locked: bool) -> None:
        super().setup(folder, locked=locked)
        import safeupload.django

        used = safeupload.django.references("people.Person.picture")
        self.uploads = safeupload.Uploads(LocalStorage(folder / with_django.MEDIA), references=used)

    @contextlib.contextmanager
    def unit(self) -> Generator[_Unit]:
        import safeupload.django

        with self.uploads.transaction() as transaction, safeupload.django.atomic(transaction):
            yield _Unit(transaction)

    def repair(self) -> bool:
        self.uploads.recover(min_age=0)
        self.uploads.sweep(min_age=0)
        return True


STORE = _Store(_field)
