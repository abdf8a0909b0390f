"""advanced-alchemy: its StoredObject, on a folder by obstore, with the listener that its configuration sets up."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from advanced_alchemy.config import SQLAlchemySyncConfig
from advanced_alchemy.types import FileObject
from advanced_alchemy.types.file_object import StoredObject, storages
from advanced_alchemy.types.file_object.backends.obstore import ObstoreBackend
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from libraries.stores.with_sqlalchemy import SqlalchemyStore


class _Store(SqlalchemyStore):
    def column(self) -> Any:  # noqa: ANN401
        storages.register_backend(ObstoreBackend(key="local", fs=f"file://{self.media}"))
        return StoredObject(backend="local")

    def maker(self, made: Engine) -> Callable[[], Session]:
        sessions: Callable[[], Session] = SQLAlchemySyncConfig(engine_instance=made).create_session_maker()
        return sessions

    def upload(self, data: bytes, name: str) -> Any:  # noqa: ANN401
        return FileObject(backend="local", filename=f"{uuid4().hex}-{name}", content=data)

    def token(self, value: str) -> str:
        return str(json.loads(value)["filename"]).partition(".")[0]


STORE = _Store()
