"""A commit that Django makes."""

from __future__ import annotations

from types import TracebackType

from django.db import transaction

from safeupload._blocks import Replacement, Transaction
from safeupload._drive import drive
from safeupload.errors import InvalidArgument

__all__ = ["atomic"]


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
