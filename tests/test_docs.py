"""Every Python block of the documentation runs, and every link leads somewhere."""

import asyncio
import io
import re
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from builders.pictures import jpeg
from pages import PAGES, ROOT, Block, blocks
from sqlalchemy import String, create_engine, event, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker
from sqlalchemy.pool import NullPool
from starlette.datastructures import UploadFile
from werkzeug.datastructures import FileStorage

import safeupload
import safeupload.storage
from docs._ext import states
from safeupload._cli.main import main
from safeupload._machine import TABLE, Does
from safeupload.asgi import BodyLimit

#: Pages whose blocks are run by a file of tests of their own, most of them since they need a framework or a server.
ELSEWHERE = {
    "docs/index.md": "tests/test_frameworks_page.py",
    "docs/how-to/django.md": "tests/integration/django_page.py",
    "docs/how-to/fastapi.md": "tests/test_frameworks_page.py",
    "docs/how-to/flask.md": "tests/test_frameworks_page.py",
    "docs/how-to/object-stores.md": "tests/test_object_stores_page.py",
    "docs/how-to/storage.md": "tests/testing/test_testing_pages.py",
    "docs/how-to/testing.md": "tests/testing/test_testing_pages.py",
    "docs/tutorial.md": "examples/tutorial/test_tutorial.py",
}
#: What else may stand in a block: what a shell runs or prints, other languages, and directives of Sphinx.
OTHERS = {"console", "diff", "json", "sh", "sql", "text", "{eval-rst}", "{image}", "{literalinclude}", "{toctree}"}

#: What no text begins a line with, but a block that somebody calls text so that it is not run.
PYTHON = re.compile(r"^(import|from|(async )?(def|with|for)|class|assert|@\w+) ?", re.MULTILINE)


class Base(DeclarativeBase):
    """The tables of the application that the pages take for granted."""


class User(Base):
    """Somebody with a picture."""

    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(default="")
    image_file: Mapped[str | None] = mapped_column(String(64), unique=True)


def database(folder: Path) -> dict[str, Any]:
    """Return the application's database, with one user, as the pages name its parts."""
    engine = create_engine(f"sqlite:///{folder / 'app.db'}", connect_args={"timeout": 30}, poolclass=NullPool)
    async_engine = create_async_engine(
        f"sqlite+aiosqlite:///{folder / 'app.db'}", connect_args={"timeout": 30}, poolclass=NullPool
    )
    locking, async_locking = engine.execution_options(), async_engine.execution_options()
    for each in (locking, async_locking.sync_engine):
        event.listen(each, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    Base.metadata.create_all(engine)
    session = sessionmaker(locking)
    with session() as first:
        first.add(User(id=1, name="Ada"))
        first.commit()

    def used(keys: list[str]) -> list[str | None]:
        with engine.connect() as connection:
            return list(connection.scalars(select(User.image_file).where(User.image_file.in_(keys))))

    return {
        "used": used,
        "engine": engine,
        "async_engine": async_engine,
        "Session": session,
        "AsyncSession": async_sessionmaker(async_locking),
        "SerializationFailure": OperationalError,
        "User": User,
        "user_id": 1,
        "media": folder,
        "uploads": safeupload.Uploads(safeupload.storage.LocalStorage(folder / "kept"), references=used),
        "run": asyncio.run,
    }


def names(folder: Path) -> dict[str, Any]:
    """Return what the pages take for granted: the application around the block, and an upload."""
    data = jpeg(640, 480)
    app = SimpleNamespace(
        post=lambda path: lambda view: view,
        add_middleware=lambda middleware: None,
        exception_handler=lambda error: lambda handler: handler,
    )
    return {
        **database(folder),
        "safeupload": safeupload,
        "LocalStorage": safeupload.storage.LocalStorage,
        "data": data,
        "upload": io.BytesIO(data),
        "store": lambda data: None,
        "storage": safeupload.storage.MemoryStorage(),
        "Celery": lambda name, broker: SimpleNamespace(task=lambda function, name: function, conf=SimpleNamespace()),
        "app": app,
        "UploadFile": UploadFile,
        "BodyLimit": BodyLimit,
        "Response": lambda data, **kind: (data, kind),
        "HttpResponse": lambda data, **kind: (data, kind),
        "request": SimpleNamespace(files={"file": FileStorage(io.BytesIO(data))}),
    }


def mine(page: Path) -> list[Block]:
    """Return the blocks of a page that are run here, all of them but those that another file of tests runs."""
    if str(page.relative_to(ROOT)) in ELSEWHERE:
        return []
    return [block for block in blocks(page) if block.language == "python" and not block.run_by]


@pytest.mark.parametrize("page", [page for page in PAGES if mine(page)], ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_runs(page: Path, tmp_path: Path) -> None:
    """What the page shows works, in the order of the page; the views it defines are called."""
    scope = names(tmp_path)
    for block in mine(page):
        scope.pop("change_picture", None)
        try:
            exec(block.compiled(), scope)  # noqa: S102 - to run them is the point
        except BaseException as error:
            error.add_note(f"in the block at {block}")
            raise
        view = scope.get("change_picture")
        if view is None:
            continue
        if asyncio.iscoroutinefunction(view):
            body, kind = asyncio.run(view(UploadFile(io.BytesIO(scope["data"]))))
        elif view.__code__.co_argcount:
            body, kind = view(SimpleNamespace(FILES={"file": FileStorage(io.BytesIO(scope["data"]))}))
        else:
            body, kind = view()
        assert body == safeupload.normalize(scope["data"]).data
        assert set(kind.values()) == {"image/jpeg"}
    scope["engine"].dispose()  # a page may have made one


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_block_is_left_out(page: Path) -> None:
    """Code is Python, which is run, or in a language that is known to be none; who else runs it names the page."""
    for block in blocks(page):
        assert block.language in {"python", *OTHERS}, f"{block}: {block.language or 'no language'}"
        assert block.language != "text" or not PYTHON.search(block.source), f"{block}: this is Python"
        by = block.run_by or ELSEWHERE.get(str(page.relative_to(ROOT)), "")
        if block.language == "python" and by:
            assert page.name in (ROOT / by).read_text(encoding="utf-8"), f"{block}: {by} does not name the page"
    assert not re.search(r"^ *:{3,}\{(code|code-block|sourcecode|doctest)\}", page.read_text(), re.MULTILINE)


def test_the_statements_of_sql_run() -> None:
    """Rows without a picture say so, and the column is unique."""
    (source,) = (block.source for block in blocks(ROOT / "docs/how-to/migrating.md") if block.language == "sql")
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE users (image_file TEXT)")
        connection.executemany("INSERT INTO users VALUES (?)", [("default.jpg",), ("default.jpg",), ("other.jpg",)])
        connection.executescript(source)

        assert connection.execute("SELECT image_file FROM users").fetchall() == [(None,), (None,), ("other.jpg",)]
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute("INSERT INTO users VALUES ('other.jpg')")


def test_a_broken_block_is_told_with_its_line(tmp_path: Path) -> None:
    """What looks for blocks finds them in tabs and lists, and where a block raises is a line of the page."""
    page = ROOT / "docs/how-to/limits.md"
    tabs = "# A\n\n````{tab-set}\n```{code-block} python\na = 1\n```\n````\n\n"
    text = f"{tabs}- b\n\n  ```python\n  raise KeyError\n  ```\n"
    (tmp_path / "page.md").write_text(text)
    first, second = (block._replace(page=page) for block in blocks(tmp_path / "page.md"))

    assert (first.line, first.language, first.source) == (4, "python", "a = 1\n")
    with pytest.raises(KeyError) as caught:
        exec(second.compiled())  # noqa: S102
    assert caught.traceback[-1].lineno + 1 == 12
    assert str(second) == "docs/how-to/limits.md:11"


@pytest.mark.parametrize(("uploads", "change"), [("uploads", "change"), ("async_uploads", "change_async")])
def test_the_function_of_the_page_takes_over_a_folder(
    uploads: str, change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The module that the page shows is one that the command runs with."""
    module = ModuleType("take_over")
    vars(module).update(names(tmp_path))
    for block in mine(ROOT / "docs/how-to/migrating.md"):
        exec(block.compiled(), vars(module))  # noqa: S102 - to run them is the point
    monkeypatch.setitem(sys.modules, "take_over", module)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    old = tmp_path / "profile_pics"
    old.mkdir()
    (old / "user_1.png").write_bytes(jpeg(640, 480))
    with vars(module)["Session"]() as session:
        session.get(User, 1).image_file = "user_1.png"
        session.commit()

    assert main(["adopt", f"take_over:{uploads}", str(old), "--change", f"take_over:{change}", "--go"]) == 0

    with vars(module)["Session"]() as session:
        key = session.get(User, 1).image_file
    assert vars(module)[uploads].storage.read(key) == safeupload.normalize(jpeg(640, 480)).data


ANCHOR = re.compile(r"[^\w\- ]")


def anchors(page: Path) -> set[str]:
    """Return the anchors that a page has, as hosts of repositories and Sphinx make them of its headings."""
    inside = re.sub(r"^( *)(`{3,}|~{3,}).*?^\1\2 *$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ +(.*?) *$", inside, re.MULTILINE)
    return {ANCHOR.sub("", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    """A relative link names a file of the repository, and a heading of it; another one is a whole address."""
    for target, heading in re.findall(r"\]\(([^)#\s]*)(?:#([^)]*))?\)", page.read_text()):
        if ":" in target:
            address = urlsplit(target)
            assert address.scheme == "https", target
            assert re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", address.netloc), target
            continue
        file = page.parent / target if target else page
        assert file.exists(), target
        if heading and file.suffix == ".md":
            assert heading in anchors(file), f"{target}#{heading}"


def test_the_diagram_is_the_table() -> None:
    """The picture shows the states and transitions that the code has; what changes no file has no arrow."""
    assert states.PICTURE.read_text(encoding="utf-8") == states.svg()
    assert "](states.svg)" in (ROOT / "docs/explanation/two-stores.md").read_text()
    told = [happened for reasons in states.legend().values() for each in reasons.values() for happened in each]
    assert len(told) == sum(does is not Does.NOTHING for _, does in TABLE.values())


def test_the_table_of_mistakes_is_true() -> None:
    """Every error that the page names is one of misuse."""
    page = (ROOT / "docs/how-to/replacing.md").read_text()
    section = page.partition("## What fails loudly")[2].partition("\n## ")[0]
    mistakes = re.findall(r"^\|.*\| `(\w+)` \|$", section, re.MULTILINE)

    assert len(mistakes) >= 7
    assert all(issubclass(getattr(safeupload, name), safeupload.Misuse) for name in mistakes)
