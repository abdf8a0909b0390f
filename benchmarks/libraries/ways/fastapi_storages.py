"""fastapi-storages: a column for a picture, which is looked at when it is written."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

from fastapi_storages import FileSystemStorage
from fastapi_storages.exceptions import ValidationException
from fastapi_storages.integrations.sqlalchemy import ImageType
from sqlalchemy.dialects import sqlite

from libraries.ways import PILLOW

DOCUMENTED = (ValidationException, *PILLOW)


def prepare(folder: Path) -> None:
    """Nothing."""


def take(data: bytes, name: str, folder: Path) -> None:
    """Bind the parameter, and read it back, as a session does."""
    column = ImageType(storage=FileSystemStorage(path=str(folder)))
    upload = SimpleNamespace(filename=name, file=io.BytesIO(data))
    column.process_result_value(column.process_bind_param(upload, sqlite.dialect()), sqlite.dialect())
