"""Django's ORM on SQLite and PostgreSQL, in processes of their own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


def run(folder: Path, dsn: str = "", name: str = "django_application.py", least: int = 42) -> None:
    """Run the tests of an application, of which there are `least`."""
    environment = {**os.environ, "SAFEUPLOAD_TEST_FOLDER": str(folder), "SAFEUPLOAD_TEST_DSN": dsn}
    script = str(Path(__file__).with_name(name))
    command = [sys.executable, "-m", "pytest", "-n0", "-q", "-p", "no:cacheprovider", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=ROOT)

    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"(\d+) passed", done.stdout)
    assert found is not None
    assert int(found[1]) >= least
    assert "skipped" not in done.stdout


def test_django_on_sqlite(tmp_path: Path) -> None:
    """What `safeupload.django` promises, on SQLite."""
    run(tmp_path)


def test_django_on_postgresql(tmp_path: Path, server: str) -> None:
    """The same, on PostgreSQL."""
    run(tmp_path, server)


def test_the_field_and_the_limit(tmp_path: Path) -> None:
    """What `safeupload.django` has for forms and uploads."""
    run(tmp_path, name="django_edge.py", least=27)


@pytest.mark.long
def test_the_page_about_frameworks(tmp_path: Path) -> None:
    """What the pages show for Django."""
    run(tmp_path, name="django_page.py", least=8)


@pytest.mark.long
def test_the_page_about_migrating(tmp_path: Path) -> None:
    """What the page shows takes over a folder of Django's."""
    run(tmp_path, name="django_adopting.py", least=2)


@pytest.mark.parametrize("statement", ["import safeupload", "import safeupload._cli.main"])
def test_django_is_not_imported_by_others(statement: str) -> None:
    """It is imported by `safeupload.django` alone."""
    probe = f"import sys; {statement}; sys.exit('django' in sys.modules)"
    subprocess.run([sys.executable, "-c", probe], check=True)
