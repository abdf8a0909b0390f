"""One PostgreSQL for all tests of this folder, and an empty table of users for each."""

import os
from collections.abc import Generator
from pathlib import Path

import postgres
import psycopg
import pytest

from safeupload.storage import LocalStorage

TABLES = """
DROP TABLE IF EXISTS users;
CREATE TABLE users (
    id integer PRIMARY KEY,
    image_file varchar(64) UNIQUE,
    version integer NOT NULL DEFAULT 1,
    n integer,
    CONSTRAINT late UNIQUE (n) DEFERRABLE INITIALLY DEFERRED
);
INSERT INTO users (id, n) VALUES (1, 1), (2, 2);
CREATE OR REPLACE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN PERFORM pg_sleep(0.7); RETURN NULL; END $$;
"""


@pytest.fixture(scope="session")
def server() -> Generator[str]:
    """Give the address of a server; skip where there is none, unless that is forbidden."""
    try:
        with postgres.server() as address:
            yield address
    except postgres.Unavailable as error:
        if "postgresql" in os.environ.get("SAFEUPLOAD_REQUIRE", "").split():
            raise
        pytest.skip(str(error))


@pytest.fixture
def dsn(server: str) -> str:
    """Give the address of a database with users 1 and 2, who have no picture."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(TABLES)
    return server


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    """Give an empty storage."""
    return LocalStorage(tmp_path / "pictures", durability="none")
