"""What the stores with SQLAlchemy have in common."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from libraries.faults import FaultyConnection
from libraries.stores import DATABASE, MEDIA


def engine(folder: Path) -> Engine:
    """Return an engine."""
    return create_engine(f"sqlite:///{folder / DATABASE}", connect_args={"factory": FaultyConnection, "timeout": 30})


def locking(plain: Engine) -> Engine:
    """Return an engine of the same connections, whose transactions begin with the lock of the database."""
    made = plain.execution_options()
    event.listen(made, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    event.listen(plain, "reset", lambda connection, *_: connection.rollback())
    return made


def model(column: Any) -> type[Any]:  # noqa: ANN401
    """Return a class of people whose picture has that type."""

    class Base(DeclarativeBase):
        pass

    class Person(Base):
        __tablename__ = "people_person"

        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str] = mapped_column(default="")
        picture: Mapped[Any] = mapped_column(column, nullable=True)

    return Person


class SqlalchemyUnit:
    """A session's transaction; subclasses say what is assigned."""

    def __init__(self, session: Session, person: type[Any], upload: Callable[[bytes, str], Any]) -> None:
        self.session = session
        self.person = person
        self.upload = upload
        self.loaded: dict[int, Any] = {}  # a session forgets what nobody holds

    def load(self, row: int) -> Any:  # noqa: ANN401
        """Read a row, once."""
        if row not in self.loaded:
            self.loaded[row] = self.session.get_one(self.person, row)
        return self.loaded[row]

    def add(self, row: int, data: bytes, name: str) -> None:
        """Make a row."""
        self.session.add(self.person(id=row, name="", picture=self.upload(data, name)))
        self.session.flush()

    def put(self, row: int, data: bytes, name: str) -> None:
        """Replace the picture."""
        self.load(row).picture = self.upload(data, name)
        self.session.flush()

    def rename(self, row: int) -> None:
        """Change another column."""
        self.load(row).name = "renamed"
        self.session.flush()

    def delete(self, row: int) -> None:
        """Delete the row."""
        self.session.delete(self.load(row))
        self.session.flush()

    def savepoint(self) -> AbstractContextManager[object]:
        """Nest."""
        return self.session.begin_nested()


class SqlalchemyStore:
    """A store whose library works by itself once it is set up, by events or in the type of the column."""

    engine: Engine
    sessions: Callable[[], Session]
    person: type[Any]

    def setup(self, folder: Path, *, locked: bool) -> None:
        """Open the database and make the table."""
        self.media = folder / MEDIA
        self.media.mkdir(exist_ok=True)
        self.engine = engine(folder)
        self.person = model(self.column())
        self.person.metadata.create_all(self.engine)
        self.sessions = self.maker(locking(self.engine) if locked else self.engine)

    def column(self) -> Any:  # noqa: ANN401
        """Return the type of the column."""
        raise NotImplementedError

    def maker(self, made: Engine) -> Callable[[], Session]:
        """Return what makes sessions."""
        return lambda: Session(made)

    def upload(self, data: bytes, name: str) -> Any:  # noqa: ANN401
        """Return what is assigned to the column."""
        raise NotImplementedError

    @contextlib.contextmanager
    def unit(self) -> Generator[SqlalchemyUnit]:
        """Begin a transaction."""
        with self.sessions() as session, session.begin():
            yield SqlalchemyUnit(session, self.person, self.upload)

    def token(self, value: str) -> str:
        """Return what the row's files are called."""
        raise NotImplementedError

    def repair(self) -> bool:
        """Tell that there is nothing."""
        return False
