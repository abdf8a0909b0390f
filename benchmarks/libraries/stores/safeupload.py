"""safeupload with SQLAlchemy."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

from sqlalchemy import String, select
from sqlalchemy.orm import Session

import safeupload
from libraries.stores import Undo
from libraries.stores.with_sqlalchemy import SqlalchemyStore, SqlalchemyUnit
from safeupload.storage import LocalStorage


class _Unit(SqlalchemyUnit):
    def __init__(self, session: Session, person: type[Any], transaction: safeupload.Transaction) -> None:
        super().__init__(session, person, lambda data, _name: transaction.save(data))
        self._transaction = transaction

    def put(self, row: int, data: bytes, name: str) -> None:
        self._transaction.release(self.load(row).picture)
        super().put(row, data, name)

    def delete(self, row: int) -> None:
        self._transaction.release(self.load(row).picture)
        super().delete(row)


class _Store(SqlalchemyStore):
    uploads: safeupload.Uploads

    def setup(self, folder: Path, *, locked: bool) -> None:
        super().setup(folder, locked=locked)
        self.uploads = safeupload.Uploads(LocalStorage(self.media), references=self._used)

    def _used(self, keys: Iterable[str]) -> Iterable[str]:
        with self.engine.connect() as connection:
            return connection.scalars(select(self.person.picture).where(self.person.picture.in_(keys))).all()

    def column(self) -> Any:  # noqa: ANN401
        return String(64)

    def token(self, value: str) -> str:
        return value.partition(".")[0]

    @contextlib.contextmanager
    def unit(self) -> Generator[_Unit]:
        with self.sessions() as session, self.uploads.transaction() as transaction:
            try:
                yield _Unit(session, self.person, transaction)
            except Undo:
                session.rollback()
                transaction.abort()
                raise
            transaction.commit(session.commit)

    def repair(self) -> bool:
        self.uploads.recover(min_age=0)
        self.uploads.sweep(min_age=0)
        return True


STORE = _Store()
