"""Django's ORM on SQLite and PostgreSQL, in processes of their own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPT = Path(__file__).with_name("django_application.py")


def run(folder: Path, dsn: str = "") -> None:
    """Run the tests of the application."""
    environment = {**os.environ, "SAFEUPLOAD_TEST_FOLDER": str(folder), "SAFEUPLOAD_TEST_DSN": dsn}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(SCRIPT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=ROOT)

    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"(\d+) passed", done.stdout)
    assert found is not None
    assert int(found[1]) >= 39
    assert "skipped" not in done.stdout


def test_django_on_sqlite(tmp_path: Path) -> None:
    """What `safeupload.django` promises, on SQLite."""
    run(tmp_path)


def test_django_on_postgresql(tmp_path: Path, server: str) -> None:
    """The same, on PostgreSQL."""
    run(tmp_path, server)


@pytest.mark.parametrize("statement", ["import safeupload", "import safeupload._cli.main"])
def test_django_is_not_imported_by_others(statement: str) -> None:
    """It is imported by `safeupload.django` alone."""
    probe = f"import sys; {statement}; sys.exit('django' in sys.modules)"
    subprocess.run([sys.executable, "-c", probe], check=True)
