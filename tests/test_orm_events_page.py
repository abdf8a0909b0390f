"""docs/explanation/orm-events.md is so: the blocks for Django; those for SQLAlchemy are run by test_docs."""

import subprocess
import sys
from pathlib import Path

import django
import pytest
import sqlalchemy
from pages import ROOT, blocks

PAGE = ROOT / "docs/explanation/orm-events.md"


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_the_blocks_for_django_run(tmp_path: Path) -> None:
    """All of them, in the order of the page, with one database."""
    script = "tests/integration/django_events.py"
    sources = [block.source for block in blocks(PAGE) if block.run_by == script]
    command = [sys.executable, "-W", "error", str(ROOT / script), str(tmp_path)]
    done = subprocess.run(command, input="\0".join(sources), capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "ok\n" * 4


def test_the_page_names_the_versions_that_it_is_about() -> None:
    """They are those that run its blocks."""
    versions = [".".join(module.__version__.split(".")[:2]) for module in (sqlalchemy, django)]

    assert "with SQLAlchemy {} and Django {}.".format(*versions) in PAGE.read_text()
