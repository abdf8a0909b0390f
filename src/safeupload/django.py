"""
What Django needs of its own: a commit that Django makes, and a question that sees only what is committed.

::

    uploads = safeupload.Uploads(storage, references=safeupload.django.references("accounts.User.image_file"))

    with uploads.replace(request.FILES["file"]) as new, safeupload.django.atomic(new):
        user = User.objects.select_for_update().get(pk=request.user.pk)
        user.image_file = new.replacing(user.image_file)
        user.save()
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Final

from django.apps import apps
from django.db import router, transaction

from safeupload._blocks import Replacement, Transaction
from safeupload._drive import drive
from safeupload.errors import InvalidArgument, InvalidReferences

__all__ = ["atomic", "references"]

_PARTS: Final = 3


class atomic:  # noqa: N801 - Django's own is called so
    """
    A durable ``transaction.atomic`` whose outcome decides about the files of `new`.

    Committed means that Django has run the hooks of ``on_commit``, of which ours is the first: a hook that raises after
    it, or a Ctrl-C, changes nothing. A block that is rolled back, by an exception or ``set_rollback(True)``, removes
    the new file. `using` is the alias of the database.

    Nothing around it may be atomic, neither a block nor ``ATOMIC_REQUESTS`` (use ``transaction.non_atomic_requests``):
    Django refuses that with a `RuntimeError`, since the outcome would be known only later.
    """

    def __init__(self, new: Replacement | Transaction, using: str | None = None) -> None:
        if not isinstance(new, Replacement | Transaction):
            raise InvalidArgument(f"new: expected the block of an Uploads, got {type(new).__name__}")
        self._new = new
        self._using = using
        self._atomic = transaction.atomic(using=using, durable=True)
        self._committed = self._left = False

    def __enter__(self) -> None:
        self._atomic.__enter__()
        transaction.on_commit(self._note, using=self._using)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        core = self._new._core  # noqa: SLF001 - the same package
        try:
            if error is None:
                drive(core.finish(self._leave, lambda: self._committed))
        except BaseException as failure:
            kind, error, traceback = type(failure), failure, failure.__traceback__
            raise
        finally:
            if not self._left:  # rolled back, by an exception of the block or because the commit was not even called
                try:
                    self._atomic.__exit__(kind, error, traceback)
                finally:
                    drive(core.roll_back())

    def _leave(self) -> None:
        self._left = True
        self._atomic.__exit__(None, None, None)

    def _note(self) -> None:
        self._committed = True


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
            with transaction.atomic(using=using, durable=True):
                rows = model._base_manager.using(using).filter(**{f"{field}__in": keys})  # noqa: SLF001 - its name, in Django's own manual
                found += map(str, rows.values_list(field, flat=True))
        return found

    return used
