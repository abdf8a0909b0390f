"""The application's own tests, in a process of their own: Django is configured but once, and other tests do it too."""

import os
import re
import subprocess
import sys
from pathlib import Path

import postgres
import pytest

HERE = Path(__file__).resolve().parent


def run(folder: Path, database: str) -> None:
    """Run the tests of people/tests.py, with that database and a folder for the pictures."""
    environment = {
        **os.environ,
        "DATABASE_URL": database,
        "DJANGO_SETTINGS_MODULE": "django_example.settings",
        "MEDIA": str(folder / "pictures"),
        "PYTHONPATH": str(HERE.parent),
    }
    command = [sys.executable, "-m", "pytest", "-n0", "-q", "-p", "no:cacheprovider", str(HERE / "people" / "tests.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=HERE.parent.parent)

    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"(\d+) passed", done.stdout)
    assert found is not None
    assert int(found[1]) >= 40
    assert "skipped" not in done.stdout


def test_the_example_on_sqlite(tmp_path: Path) -> None:
    """Everything that people/tests.py states, on SQLite."""
    run(tmp_path, f"sqlite:///{tmp_path / 'app.db'}")


@pytest.mark.long
def test_the_example_on_postgresql(tmp_path: Path) -> None:
    """The same, on PostgreSQL."""
    try:
        with postgres.server() as address:
            run(tmp_path, address)
    except postgres.Unavailable as error:
        if "postgresql" in os.environ.get("SAFEUPLOAD_REQUIRE", "").split():
            raise
        pytest.skip(str(error))
