"""Every Python block of the documentation runs, and every link leads somewhere."""

import asyncio
import io
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from builders.pictures import jpeg
from starlette.datastructures import UploadFile
from werkzeug.datastructures import FileStorage

import safeupload

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")])
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def names() -> dict[str, Any]:
    """Return what the pages take for granted: the application around the block, and an upload."""
    data = jpeg(640, 480)
    app = SimpleNamespace(post=lambda path: lambda view: view)
    return {
        "safeupload": safeupload,
        "data": data,
        "upload": io.BytesIO(data),
        "store": lambda data: None,
        "app": app,
        "UploadFile": UploadFile,
        "Response": lambda data, **kind: (data, kind),
        "HttpResponse": lambda data, **kind: (data, kind),
        "request": SimpleNamespace(files={"file": FileStorage(io.BytesIO(data))}),
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_runs(page: Path) -> None:
    """What the page shows works, in the order of the page; the views it defines are called."""
    scope = names()
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
    table = (ROOT / "docs/pictures.md").read_text()
    for name in (field for field in safeupload.Policy.__dataclass_fields__ if field.startswith("max_")):
        value = getattr(safeupload.AVATAR, name)
        stated = f"{value // (1 << 20)} MiB" if name.endswith("bytes") else f"{value:,}"
        assert f"| `{name}` | {stated} |" in table


def test_the_table_of_errors_is_true() -> None:
    """The page's codes and statuses are the classes'."""
    table = (ROOT / "docs/pictures.md").read_text()
    for error in (each for each in vars(safeupload).values() if isinstance(each, type)):
        if issubclass(error, safeupload.Rejected) and error is not safeupload.Rejected:
            assert f"| `{error.__name__}` | `{error.code}` | {error.status} |" in table
