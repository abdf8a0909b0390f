"""The blocks of docs/how-to/testing.md and docs/how-to/storage.md are files of a project, whose tests pass."""

import io
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask
import pytest
from pages import DOCS, blocks
from PIL import Image, UnidentifiedImageError

import safeupload
from safeupload._samples.kinds import KINDS
from safeupload.testing import BENIGN, HOSTILE, check_endpoint, endpoint_cases

TESTING, STORAGE = DOCS / "how-to/testing.md", DOCS / "how-to/storage.md"
_FILE = re.compile(r"# (\w+\.py)\n")

#: The module that the page takes for granted.
DATABASE = """
from pathlib import Path
from test_docs import database
globals().update(database(Path(__file__).parent))
"""

DJANGO = """
import sys
import django
from django.conf import settings
from django.http import HttpResponse
from django.urls import path
import safeupload
from safeupload.testing import check_endpoint

def put_picture(request):
    try:
        safeupload.normalize(request.FILES["file"])
    except safeupload.Rejected as error:
        return HttpResponse(status=error.status)
    return HttpResponse(status=204)

urlpatterns = [path("me/picture", put_picture)]
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["testserver"])
django.setup()
from django.test import Client
client = Client()
{source}
check_endpoint(send)
"""


def files(page: Path) -> dict[str, str]:
    """Return the files of a page: its blocks that begin with a name, those of one name together."""
    found: dict[str, str] = defaultdict(str)
    for block in blocks(page):
        named = _FILE.match(block.source)
        if block.language == "python" and named:
            found[named[1]] += block.source
    return found


def others(page: Path) -> list[str]:
    """Return the blocks that are no files."""
    return [block.source for block in blocks(page) if block.language == "python" and not _FILE.match(block.source)]


def run(page: Path, folder: Path) -> str:
    """Run the tests of a page and return what pytest says."""
    written = files(page)
    (folder / "database.py").write_text(DATABASE)
    for name, source in written.items():
        (folder / name).write_text(source)
    path = [str(folder), *sys.path]
    command = [sys.executable, "-c", f"import sys, pytest; sys.path[:] = {path!r}; sys.exit(pytest.main())"]
    options = ["-q", "-p", "no:cacheprovider", "-W", "error", "--strict-markers", "--rootdir", str(folder), str(folder)]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.long
def test_the_tests_of_the_page_pass(tmp_path: Path) -> None:
    """All of them, one after the other as they stand there."""
    output = run(TESTING, tmp_path)
    tests = len(re.findall(r"^def test_", files(TESTING)["test_picture.py"], re.MULTILINE))

    assert tests == 12
    found = re.search(r"(\d+) passed", output)
    assert found is not None
    assert int(found[1]) > tests + len(endpoint_cases())
    assert "failed" not in output


@pytest.mark.long
def test_the_bucket_of_the_page_keeps_the_contract(tmp_path: Path) -> None:
    """Its dictionary is a storage."""
    assert set(files(STORAGE)) == {"bucket.py", "conftest.py", "test_bucket.py"}
    assert others(STORAGE) == []
    assert "13 passed" in run(STORAGE, tmp_path)


def test_the_other_clients_of_the_page_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each `send` of a tab uploads what it is given, and the checker is content."""
    flask_tab, django_tab, server_tab = others(TESTING)
    application = flask.Flask("page")

    @application.put("/me/picture")
    def put_picture() -> tuple[str, int]:
        try:
            safeupload.normalize(flask.request.files["file"])
        except safeupload.Rejected as error:
            return "", error.status
        return "", 204

    scope: dict[str, Any] = {"client": application.test_client()}
    exec(flask_tab, scope)  # noqa: S102 - to run it is the point
    check_endpoint(scope["send"])

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", DJANGO.format(source=django_tab)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr

    sent: list[Any] = []

    def put(url: str, **arguments: Any) -> int:  # noqa: ANN401
        sent.append((url, arguments))
        return 204

    monkeypatch.setattr("httpx.put", put)
    scope = {"headers": {}}
    exec(server_tab, scope)  # noqa: S102
    assert scope["send"]("a.jpg", b"data", "image/jpeg") == 204
    file = {"file": ("a.jpg", b"data", "image/jpeg")}
    assert sent == [("https://staging.example/me/picture", {"files": file, "headers": {}})]


def by_the_tutorial(filename: str, data: bytes, content_type: str) -> int:
    """Answer as the page says of a view: look at the content type, and leave the rest to Pillow."""
    if not content_type.startswith("image/"):
        return 415
    try:
        image: Image.Image = Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        return 415
    image.convert("RGB").save(io.BytesIO(), "JPEG")
    return 201


def told(table: str) -> Iterator[tuple[str, ...]]:
    """Yield the lines of a table as their cells, without the times."""
    for line in table.splitlines():
        name, expected, answered, *_, about = re.split(r" {2,}", line)
        yield name, expected, answered, about


def test_the_table_of_the_page_is_true() -> None:
    """It is what the checker says of such a view, but for the times."""
    (shown,) = (block.source for block in blocks(TESTING) if block.language == "text")
    names = [line.partition("  ")[0] for line in shown.splitlines()[1:]]
    cases = [case for case in endpoint_cases() if case.name in names]
    with pytest.raises(AssertionError) as caught:
        check_endpoint(by_the_tutorial, cases)

    assert list(told(str(caught.value).partition("\n\n")[2])) == list(told(shown))


def test_the_lists_of_the_page_are_whole() -> None:
    """Every kind stands beside its format, and every hostile file beside its code."""
    rows = re.findall(r"^\| ([^|]+) \| (`[^|]*`) \|$", TESTING.read_text(), re.MULTILINE)
    listed = {head.strip("`"): re.findall(r"`([^`]+)`", names) for head, names in rows}
    for name, kind in KINDS.items():
        assert name in listed[kind.format]
        assert name in BENIGN
    for name, sample in HOSTILE.items():
        assert name in listed[sample.code or "none, but no payload is left"]
    assert sum(map(len, listed.values())) == len(KINDS) + len(HOSTILE)
