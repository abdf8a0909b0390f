"""What serves the steps."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from tutorial.running import Run, Running, settings


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Give what serves a step, each with a database and a folder of its own."""

    @contextmanager
    def running(step: int) -> Iterator[Running]:
        folder = tmp_path / f"{step}"
        folder.mkdir()
        with monkeypatch.context() as patched:
            for name, value in settings(folder).items():
                patched.setenv(name, value)
            patched.delitem(sys.modules, f"step{step}", raising=False)
            module = importlib.import_module(f"step{step}")
        with TestClient(module.app, raise_server_exceptions=False) as client:
            yield Running(module, client, folder)

    return running
