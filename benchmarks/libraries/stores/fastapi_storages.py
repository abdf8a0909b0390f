"""fastapi-storages: the type of the column writes the file when its parameter is bound."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

from fastapi_storages import FileSystemStorage
from fastapi_storages.integrations.sqlalchemy import ImageType

from libraries.stores.with_sqlalchemy import SqlalchemyStore


class _Store(SqlalchemyStore):
    def column(self) -> Any:  # noqa: ANN401
        return ImageType(storage=FileSystemStorage(path=str(self.media)))

    def upload(self, data: bytes, name: str) -> Any:  # noqa: ANN401
        return SimpleNamespace(filename=f"{uuid4().hex}-{name}", file=io.BytesIO(data))

    def token(self, value: str) -> str:
        return value.partition(".")[0]


STORE = _Store()
