"""The lock that the tutorial takes is one, on a database that has locks for rows: examples/tutorial/step5.py."""

import importlib
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from fastapi.testclient import TestClient
from tutorial.running import LAST, Running, picture

STEP = f"tutorial.step{LAST}"


@pytest.fixture
def running(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """Give the last step, with a database of its own on the server."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS tutorial")
        connection.execute("CREATE DATABASE tutorial")
    address = server.replace("postgresql:", "postgresql+asyncpg:", 1).rpartition("/")[0]
    monkeypatch.setenv("DATABASE_URL", f"{address}/tutorial")
    monkeypatch.setenv("MEDIA", str(tmp_path))
    monkeypatch.delitem(sys.modules, STEP, raising=False)
    module = importlib.import_module(STEP)
    with TestClient(module.app, raise_server_exceptions=False) as client:
        yield Running(module, client, tmp_path)


def test_uploads_at_once_take_turns(running: Running) -> None:
    """However many there are, one file is left, and the row names it."""
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(running.put, [picture("green"), picture("blue")] * 20))

    assert {answer.status_code for answer in answers} == {200}
    assert running.files() == [running.named()]
