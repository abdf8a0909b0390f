"""sqlalchemy-file, on a folder."""

from __future__ import annotations

import json
from typing import Any

from libcloud.storage.drivers.local import LocalStorageDriver
from sqlalchemy_file import File, FileField
from sqlalchemy_file.storage import StorageManager

from libraries.stores.with_sqlalchemy import SqlalchemyStore


class _Store(SqlalchemyStore):
    def column(self) -> Any:  # noqa: ANN401
        (self.media / "pictures").mkdir(exist_ok=True)
        StorageManager.add_storage("default", LocalStorageDriver(str(self.media)).get_container("pictures"))
        return FileField

    def upload(self, data: bytes, name: str) -> Any:  # noqa: ANN401
        return File(content=data, filename=name)

    def token(self, value: str) -> str:
        return str(json.loads(value)["file_id"])


STORE = _Store()
