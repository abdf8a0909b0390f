"""
One module for each library that keeps files beside rows; each has `STORE`, made ready to be set up.

A store is set up in an empty folder, once in each process: a database `people.db` with a table of people, and the files
below `media`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, Protocol

MEDIA: Final = "media"
DATABASE: Final = "people.db"


class Undo(Exception):
    """The application has changed its mind: what the block did is to be rolled back."""


class Unit(Protocol):
    """A transaction: what an application does in it. Rows are numbered from 1."""

    def load(self, row: int) -> object:
        """Read a row, under whatever lock there is."""

    def add(self, row: int, data: bytes, name: str) -> None:
        """Make a row with a picture."""

    def put(self, row: int, data: bytes, name: str) -> None:
        """Give a row another picture, in place of what `load` has found."""

    def rename(self, row: int) -> None:
        """Change another column."""

    def delete(self, row: int) -> None:
        """Delete a row."""

    def savepoint(self) -> AbstractContextManager[object]:
        """Nest: rolled back if the block ends by an exception, released otherwise."""


class Store(Protocol):
    """A library and how it is used."""

    def setup(self, folder: Path, *, locked: bool) -> None:
        """Open the database; `locked`: each transaction begins with a lock, otherwise as the driver does by itself."""

    @property
    def unit(self) -> Callable[[], AbstractContextManager[Unit]]:
        """Begin a transaction that is committed at the end of the block, and rolled back by an exception."""

    def token(self, value: str) -> str:
        """Return what the names of all files of a row begin with, given what is in its column."""

    def repair(self) -> bool:
        """Run what the library has to clean up with, as if a long time had passed; tell whether it has anything."""
