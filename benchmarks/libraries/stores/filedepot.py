"""filedepot: its field for SQLAlchemy, on a folder."""

from __future__ import annotations

import io
import json
from typing import Any

from depot.fields.sqlalchemy import UploadedFileField
from depot.io.utils import FileIntent
from depot.manager import DepotManager

from libraries.stores.with_sqlalchemy import SqlalchemyStore


class _Store(SqlalchemyStore):
    def column(self) -> Any:  # noqa: ANN401
        DepotManager.configure("default", {"depot.storage_path": str(self.media)})
        return UploadedFileField

    def upload(self, data: bytes, name: str) -> Any:  # noqa: ANN401
        return FileIntent(io.BytesIO(data), name, "image/jpeg")

    def token(self, value: str) -> str:
        return str(json.loads(value)["file_id"])


STORE = _Store()
