"""
What a page of a tutorial does: write the new file, change the row, commit, remove the old file.

"with clean-up" also removes the new file when an exception ends the block.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import String
from sqlalchemy.orm import Session

from libraries.stores.with_sqlalchemy import SqlalchemyStore, SqlalchemyUnit


class _Unit(SqlalchemyUnit):
    def __init__(self, session: Session, person: type[Any], media: Path) -> None:
        super().__init__(session, person, self._write)
        self._media = media
        self.new: list[Path] = []
        self.old: list[Path] = []

    def _write(self, data: bytes, _name: str) -> str:
        name = f"{uuid4().hex}.jpg"
        (self._media / name).write_bytes(data)
        self.new.append(self._media / name)
        return name

    def put(self, row: int, data: bytes, name: str) -> None:
        self.old.append(self._media / self.load(row).picture)
        super().put(row, data, name)

    def delete(self, row: int) -> None:
        self.old.append(self._media / self.load(row).picture)
        super().delete(row)


class _Store(SqlalchemyStore):
    def __init__(self, *, careful: bool) -> None:
        self._careful = careful

    def column(self) -> Any:  # noqa: ANN401
        return String(64)

    def token(self, value: str) -> str:
        return value.partition(".")[0]

    @contextlib.contextmanager
    def unit(self) -> Generator[_Unit]:
        with self.sessions() as session:
            made = _Unit(session, self.person, self.media)
            try:
                yield made
                session.commit()
            except BaseException:
                for path in made.new if self._careful else ():
                    path.unlink()
                raise
            for path in made.old:
                path.unlink()


STORE = _Store(careful=False)
CAREFUL = _Store(careful=True)
