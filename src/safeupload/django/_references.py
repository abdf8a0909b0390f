"""The question that `recover`, `sweep` and every replacement ask, put to Django's database."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from django.apps import apps
from django.db import router, transaction

from safeupload.errors import InvalidReferences

__all__ = ["references"]

_PARTS: Final = 3


def references(*columns: str) -> Callable[[list[str]], list[str]]:
    """
    Return the `references` for Django: it asks for keys in these columns, each "app.Model.field".

    It reads the database that is written to and not a replica, rows that a default manager hides too, and never inside
    a transaction, whose own changes nobody else knows yet (Django refuses that with a `RuntimeError`).

    Raises:
        InvalidReferences: no column, or not of that form.

    """
    split = [tuple(column.split(".")) for column in columns]
    if not split or any(len(parts) != _PARTS for parts in split):
        raise InvalidReferences('columns: expected one or more like "app.Model.field"')

    def used(keys: list[str]) -> list[str]:
        found: list[str] = []
        for app, name, field in split:
            model = apps.get_model(app, name)
            using = router.db_for_write(model)
            with _outside_a_transaction(using):
                rows = model._base_manager.using(using).filter(**{f"{field}__in": keys})  # noqa: SLF001 - its name, in Django's own manual
                found += map(str, rows.values_list(field, flat=True))
        return found

    return used


def _outside_a_transaction(using: str) -> AbstractContextManager[object]:
    """
    Return a block that is refused inside a transaction, by Django itself, which makes an exception for its `TestCase`.

    Outside there is nothing to begin: on SQLite that may take a lock, which others hold while they write.
    """
    if transaction.get_connection(using).in_atomic_block:
        block: AbstractContextManager[object] = transaction.atomic(using=using, durable=True)
        return block
    return nullcontext()
