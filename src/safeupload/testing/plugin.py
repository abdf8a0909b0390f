"""
Fixtures for pytest, on request: ``pytest_plugins = ["safeupload.testing.plugin"]`` in your uppermost conftest.py.

Nothing here loads by itself: a plugin that is found by its entry point is imported by every pytest of its environment.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

from safeupload.storage import MemoryStorage
from safeupload.testing import Database, FaultyStorage

__all__ = ["safeupload_database", "safeupload_storage"]


@pytest.fixture
def safeupload_storage() -> Generator[FaultyStorage]:
    """
    Give an empty storage in memory, whose calls fail when the test says so: see `FaultyStorage`.

    A fault that was planned and never came fails the test.
    """
    storage = FaultyStorage(MemoryStorage())
    yield storage
    if storage.planned:
        pytest.fail(f"the test ended before the storage failed as planned: {', '.join(storage.planned)}")


@pytest.fixture
def safeupload_database() -> Generator[Database]:
    """
    Give an empty `Database`, whose commits end as the test says.

    An outcome that was planned and never came fails the test.
    """
    database = Database()
    yield database
    if database.planned:
        pytest.fail(f"the test ended before commits ended as planned: {', '.join(database.planned)}")
