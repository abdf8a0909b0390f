"""sqlalchemy-file: a field that checks a picture and stores it with a thumbnail, when the session is flushed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from libcloud.storage.drivers.local import LocalStorageDriver
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy_file import File, ImageField
from sqlalchemy_file.exceptions import ValidationError
from sqlalchemy_file.processors import ThumbnailGenerator
from sqlalchemy_file.storage import StorageManager

from libraries.ways import PILLOW

DOCUMENTED = (ValidationError, *PILLOW)


class _Base(DeclarativeBase):
    pass


class _Person(_Base):
    __tablename__ = "people"

    id: Mapped[int] = mapped_column(primary_key=True)
    picture: Mapped[Any] = mapped_column(ImageField(processors=[ThumbnailGenerator((300, 300))]))


def prepare(folder: Path) -> None:
    """Make the container."""
    folder.mkdir(exist_ok=True)
    StorageManager.add_storage("default", LocalStorageDriver(str(folder)).create_container("pictures"))


def take(data: bytes, name: str, folder: Path) -> bytes:
    """Return the thumbnail."""
    (folder / "pictures").mkdir(exist_ok=True)
    engine = create_engine("sqlite://")
    _Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(person := _Person(picture=File(content=data, filename=name)))
        session.commit()
        return bytes(StorageManager.get_file(person.picture["thumbnail"]["path"]).read())
