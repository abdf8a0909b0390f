"""The fixtures are there for whoever asks for them, and for nobody else."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

TESTS = """
import pytest
from safeupload import StorageError, Uploads
from safeupload.testing import ConnectionLost, picture

def replace(storage, database):
    uploads = Uploads(storage, references=database.references)
    with database.session() as session, uploads.replace(picture().data) as new:
        session["ada"] = new.replacing(None)
        new.commit(session.commit)

def test_passes(safeupload_storage, safeupload_database):
    safeupload_storage.fail("save")
    with pytest.raises(StorageError):
        replace(safeupload_storage, safeupload_database)
    safeupload_database.next_commit("reply_lost")
    with pytest.raises(ConnectionLost):
        replace(safeupload_storage, safeupload_database)

def test_each_gets_its_own(safeupload_storage, safeupload_database):
    assert list(safeupload_storage.keys()) == []
    assert safeupload_database.rows == {}

def test_storage_did_not_fail(safeupload_storage):
    safeupload_storage.fail("save")

def test_commit_did_not_fail(safeupload_database):
    safeupload_database.next_commit("refused")
"""


def run(folder: Path, conftest: str) -> subprocess.CompletedProcess[str]:
    """Run the tests in a project of its own."""
    (folder / "conftest.py").write_text(conftest)
    (folder / "test_it.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-rE", "-p", "no:cacheprovider", "-W", "error", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)


def test_the_fixtures_work_on_request(tmp_path: Path) -> None:
    """What was planned and never came is an error of the test's."""
    done = run(tmp_path, 'pytest_plugins = ["safeupload.testing.plugin"]\n')

    assert "4 passed, 2 errors" in done.stdout, done.stdout + done.stderr
    assert "ended before the storage failed as planned: save" in done.stdout
    assert "ended before commits ended as planned: refused" in done.stdout


def test_nothing_loads_by_itself(tmp_path: Path) -> None:
    """Without the line there are no fixtures, and no pytest of the environment imports the library."""
    done = run(tmp_path, "import sys\ndef pytest_sessionstart():\n    assert 'safeupload' not in sys.modules\n")

    assert "fixture 'safeupload_storage' not found" in done.stdout
    assert "4 errors" in done.stdout
    plugins = importlib.metadata.entry_points(group="pytest11")
    assert not [point for point in plugins if "safeupload" in point.value]
