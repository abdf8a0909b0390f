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

import psycopg
import pytest
from builders.pictures import jpeg
from pages import PAGES, ROOT, Block, blocks
from sqlalchemy import String, create_engine, event, select
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker
from sqlalchemy.pool import NullPool

import safeupload
import safeupload.storage
from docs._ext import states
from safeupload._cli.main import main
from safeupload._machine import TABLE, Does

#: Pages whose blocks are run by a file of tests of their own, most of them since they need a framework or a server.
ELSEWHERE = {
    "README.md": "tests/test_docs_readme.py",
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
        "async_session": async_sessionmaker(async_locking),
        "User": User,
        "user_id": 1,
        "media": folder,
        "uploads": safeupload.Uploads(safeupload.storage.LocalStorage(folder / "kept"), references=used),
        "run": asyncio.run,
    }


def names(folder: Path) -> dict[str, Any]:
    """Return what the pages take for granted, and docs/install.md lists: the application's own, and an upload."""
    data = jpeg(640, 480)
    return {
        **database(folder),
        "data": data,
        "upload": io.BytesIO(data),
        "store": lambda data: None,
        "storage": safeupload.storage.MemoryStorage(),
    }


def test_what_is_taken_for_granted_is_listed(tmp_path: Path) -> None:
    """The page about installing has every name that these tests give to the blocks."""
    section = (ROOT / "docs/install.md").read_text().partition("## What the pages take")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`[^|]+) \|", section, re.MULTILINE)
    listed = {name for cell in cells for name in re.findall(r"\w+", cell)}

    assert set(names(tmp_path)) - {"store"} == listed - {"current_user"}


#: Pages that say for themselves what stands around their code.
ALONE = {"docs/tutorial.md", "docs/how-to/django.md", "docs/how-to/storage.md", "docs/how-to/testing.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_is_taken_for_granted_is_said(page: Path) -> None:
    """A page with blocks that use an application's names links to where these are explained."""
    code = "".join(block.source for block in blocks(page) if block.language == "python")
    used = re.search(r"\b(Session|async_session|engine|async_engine|media|user_id|current_user)\b", code)

    if used and str(page.relative_to(ROOT)) not in ALONE:
        assert "install.md#what-the-pages-take-for-granted" in page.read_text(), used[0]


def module(name: str, scope: dict[str, Any]) -> ModuleType:
    """Return a module that has these names."""
    made = ModuleType(name)
    vars(made).update(scope)
    return made


def mine(page: Path) -> list[Block]:
    """Return the blocks of a page that are run here, all of them but those that another file of tests runs."""
    if str(page.relative_to(ROOT)) in ELSEWHERE:
        return []
    return [block for block in blocks(page) if block.language == "python" and not block.run_by]


@pytest.mark.parametrize("page", [page for page in PAGES if mine(page)], ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the page shows works, in the order of the page; a block that is a module imports what it uses."""
    granted = names(tmp_path)
    scope = dict(granted)
    task = SimpleNamespace(task=lambda function, name: function, conf=SimpleNamespace())
    monkeypatch.setitem(sys.modules, "celery", module("celery", {"Celery": lambda name, broker: task}))
    for name in ("app", "app.main"):
        monkeypatch.setitem(sys.modules, name, module(name, {"uploads": scope["uploads"]}))
    for block in mine(page):
        named = re.match(r"# (\w+)\.py\n", block.source)
        around = dict(granted) if named else scope
        try:
            exec(block.compiled(), around)  # noqa: S102 - to run them is the point
        except BaseException as error:
            error.add_note(f"in the block at {block}")
            raise
        if named:
            monkeypatch.setitem(sys.modules, named[1], module(named[1], around))
            scope |= around
    scope["engine"].dispose()  # a page may have made one


def failed(error: psycopg.Error) -> DBAPIError:
    """Return what SQLAlchemy raises for an error of PostgreSQL."""
    wrapped = DBAPIError.instance("COMMIT", {}, error, psycopg.Error)
    assert isinstance(wrapped, DBAPIError)
    return wrapped


def test_the_loop_of_the_page_runs_again_after_a_serialization_failure(tmp_path: Path) -> None:
    """Twice at most, and after nothing else."""
    scope = names(tmp_path)
    for block in mine(ROOT / "docs/how-to/replacing.md"):
        exec(block.compiled(), scope)  # noqa: S102 - to run them is the point
    scope["engine"].dispose()
    conflict, unique = failed(psycopg.errors.SerializationFailure()), failed(psycopg.errors.UniqueViolation())
    assert isinstance(conflict, OperationalError)
    assert isinstance(unique, IntegrityError)
    raised: list[DBAPIError] = []

    def set_picture(user_id: int, _: object) -> int:
        if raised:
            raise raised.pop()
        return user_id

    scope["set_picture"] = set_picture
    for errors, left in (([conflict], 0), ([conflict] * 2, 0), ([conflict] * 3, 0), ([unique] * 3, 2)):
        raised[:] = errors
        if errors in ([conflict], [conflict] * 2):
            assert scope["set_picture_serializable"](1, scope["data"]) == 1
        else:
            with pytest.raises(type(errors[0])):
                scope["set_picture_serializable"](1, scope["data"])
        assert len(raised) == left


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
    made = module("take_over", names(tmp_path))
    for block in mine(ROOT / "docs/how-to/migrating.md"):
        exec(block.compiled(), vars(made))  # noqa: S102 - to run them is the point
    monkeypatch.setitem(sys.modules, "take_over", made)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    old = tmp_path / "profile_pics"
    old.mkdir()
    (old / "user_1.png").write_bytes(jpeg(640, 480))
    with vars(made)["Session"]() as session:
        session.get(User, 1).image_file = "user_1.png"
        session.commit()

    assert main(["adopt", f"take_over:{uploads}", str(old), "--change", f"take_over:{change}", "--go"]) == 0

    with vars(made)["Session"]() as session:
        key = session.get(User, 1).image_file
    assert vars(made)[uploads].storage.read(key) == safeupload.normalize(jpeg(640, 480)).data


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
