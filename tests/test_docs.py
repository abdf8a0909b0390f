"""Every Python block of the documentation runs, and every link leads somewhere."""

import asyncio
import io
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, get_args

import pytest
from builders.pictures import jpeg
from docs._ext import states
from sqlalchemy import String, create_engine, event, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker
from sqlalchemy.pool import NullPool
from starlette.datastructures import UploadFile
from werkzeug.datastructures import FileStorage

import safeupload
import safeupload.storage
from safeupload._cli.main import main
from safeupload._events import EventName
from safeupload._machine import TABLE, Does
from safeupload.asgi import BodyLimit

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")])
#: Pages whose blocks need a server, and are run by a test of their own.
ELSEWHERE = {"object-stores.md"}
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


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
    for each in (engine, async_engine.sync_engine):
        event.listen(each, "connect", lambda connection, record: setattr(connection, "isolation_level", None))
        event.listen(each, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    Base.metadata.create_all(engine)
    session = sessionmaker(engine)
    with session() as first:
        first.add(User(id=1, name="Ada"))
        first.commit()

    def used(keys: list[str]) -> list[str | None]:
        with session() as own:
            return list(own.scalars(select(User.image_file).where(User.image_file.in_(keys))))

    return {
        "used": used,
        "engine": engine,
        "Session": session,
        "AsyncSession": async_sessionmaker(async_engine),
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
        "app": app,
        "UploadFile": UploadFile,
        "BodyLimit": BodyLimit,
        "Response": lambda data, **kind: (data, kind),
        "HttpResponse": lambda data, **kind: (data, kind),
        "request": SimpleNamespace(files={"file": FileStorage(io.BytesIO(data))}),
    }


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name not in ELSEWHERE], ids=lambda page: str(page.relative_to(ROOT))
)
def test_every_block_runs(page: Path, tmp_path: Path) -> None:
    """What the page shows works, in the order of the page; the views it defines are called."""
    scope = names(tmp_path)
    for source in BLOCK.findall(page.read_text()):
        scope.pop("change_picture", None)
        exec(compile(source, str(page), "exec"), scope)  # noqa: S102 - to run them is the point
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


@pytest.mark.parametrize(("uploads", "change"), [("uploads", "change"), ("async_uploads", "change_async")])
def test_the_function_of_the_page_takes_over_a_folder(
    uploads: str, change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The module that the page shows is one that the command runs with."""
    module = ModuleType("take_over")
    vars(module).update(names(tmp_path))
    for source in BLOCK.findall((ROOT / "docs/how-to/migrating.md").read_text()):
        exec(compile(source, "migrating.md", "exec"), vars(module))  # noqa: S102 - to run them is the point
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


def test_there_are_blocks_to_run() -> None:
    """The pattern finds the blocks: the README alone has half a dozen."""
    assert len(BLOCK.findall((ROOT / "README.md").read_text())) >= 6


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    """A relative link names a file of the repository."""
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_the_table_of_limits_is_true() -> None:
    """The page's defaults are the policy's."""
    table = (ROOT / "docs/explanation/pictures.md").read_text()
    for name in (field for field in safeupload.Policy.__dataclass_fields__ if field.startswith("max_")):
        value = getattr(safeupload.AVATAR, name)
        stated = f"{value // (1 << 20)} MiB" if name.endswith("bytes") else f"{value:,}"
        assert f"| `{name}` | {stated} |" in table


def test_the_table_of_errors_is_true() -> None:
    """The page's codes and statuses are the classes'."""
    table = (ROOT / "docs/explanation/pictures.md").read_text()
    for error in (each for each in vars(safeupload).values() if isinstance(each, type)):
        if issubclass(error, safeupload.Rejected) and error is not safeupload.Rejected:
            assert f"| `{error.__name__}` | `{error.code}` | {error.status} |" in table


def test_the_diagram_is_the_table() -> None:
    """The picture shows the states and transitions that the code has; what changes no file has no arrow."""
    assert states.PICTURE.read_text(encoding="utf-8") == states.svg()
    assert "](states.svg)" in (ROOT / "docs/explanation/two-stores.md").read_text()
    told = [happened for reasons in states.legend().values() for each in reasons.values() for happened in each]
    assert len(told) == sum(does is not Does.NOTHING for _, does in TABLE.values())


def test_the_table_of_mistakes_is_true() -> None:
    """Every error that the page names is one of misuse, and every event is one that is told."""
    page = (ROOT / "docs/how-to/replacing.md").read_text()
    section = page.partition("## What fails loudly")[2].partition("\n## ")[0]
    mistakes = re.findall(r"^\|.*\| `(\w+)` \|$", section, re.MULTILINE)

    assert len(mistakes) >= 7
    assert all(issubclass(getattr(safeupload, name), safeupload.Misuse) for name in mistakes)
    events = re.findall(r"`(\w+)`", page.partition("\nThere are `saved`")[1] + page.partition("\nThere are `saved`")[2])
    assert sorted(events) == sorted(get_args(EventName))
