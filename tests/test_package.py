"""What importing the package does, and does not do."""

import ast
import importlib
import inspect
import json
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import metadata, requires, version
from pathlib import Path
from types import ModuleType

import pytest

import safeupload

PROBE = """
import sys, warnings, json
from PIL import Image, ImageFile
before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, ImageFile.MAXBLOCK, list(warnings.filters),
          sorted(Image.ID), sorted(Image.OPEN), sorted(Image.EXTENSION))
import safeupload
{work}
after = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, ImageFile.MAXBLOCK, list(warnings.filters))
print(json.dumps({{"modules": sorted({{name.partition(".")[0] for name in sys.modules}}),
                  "same": before[:4] == after, "registered": sorted(Image.ID)}}))
"""
#: What applications import from, "" being the package itself.
PUBLIC = ("", "asgi", "django", "errors", "policy", "storage", "testing", "testing.plugin", "testing.strategies")
#: What they do not need to: all of it is in `safeupload.storage`.
WITHIN_STORAGE = ("storage.leases", "storage.local", "storage.memory", "storage.objectstore")
SOURCES = [path.read_text(encoding="utf-8") for path in Path(safeupload.__file__).parent.rglob("*.py")]
OPTIONAL = {"django", "starlette", "fastapi", "flask", "werkzeug", "litestar", "pillow_heif", "rich", "numpy", "trio",
            "obstore", "hypothesis", "pytest"}  # fmt: skip


def probe(work: str = "") -> dict[str, list[str]]:
    """Return what a fresh interpreter looks like after the import and some work."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROBE.format(work=work)], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


def test_the_import_is_light() -> None:
    """`import safeupload` imports no framework and no optional dependency, and changes nothing of Pillow's."""
    found = probe()

    assert not OPTIONAL & set(found["modules"])
    assert found["same"]


def test_work_changes_nothing_of_pillows() -> None:
    """Using the library leaves Pillow's limits, and the warning filters, as they were."""
    work = "import io; b = io.BytesIO(); Image.new('RGB', (9, 9)).save(b, 'WEBP'); safeupload.normalize(b.getvalue())"

    assert probe(work)["same"]


def test_the_runtime_dependencies_are_three() -> None:
    """Whatever else is needed is an extra."""
    needed = [line for line in requires("safeupload") or [] if "extra ==" not in line]

    assert sorted(line.partition(">=")[0] for line in needed) == ["anyio", "pillow", "typing-extensions"]


def test_the_package_has_a_version() -> None:
    """The version is the distribution's, of which there is one copy: in pyproject.toml."""
    assert re.fullmatch(r"\d+\.\d+\.\d+", version("safeupload"))
    assert not hasattr(safeupload, "__version__")


def test_the_description_stands_alone() -> None:
    """It is the README, without a link that leads nowhere outside of the repository."""
    description = str(metadata("safeupload").json["description"])

    assert description.lstrip().startswith("# safeupload")
    assert re.findall(r"\]\((?!https://)[^)]*\)", description) == []


def test_the_public_modules_are_the_intended_ones() -> None:
    """Whatever else there is begins with an underscore, itself or the package that it is in."""
    found = {
        info.name.removeprefix("safeupload.")
        for info in pkgutil.walk_packages(safeupload.__path__, "safeupload.")
        if not any(part.startswith("_") for part in info.name.removesuffix("__main__").split("."))
    }

    assert found == {*PUBLIC, *WITHIN_STORAGE, "__main__"} - {""}


@pytest.mark.parametrize("name", PUBLIC, ids=lambda name: name or "safeupload")
def test_what_is_public_is_listed_and_documented(name: str) -> None:
    """`__all__` is sorted, each name in it has a docstring or a comment of its own, and no other name is made there."""
    module = importlib.import_module(f"safeupload.{name}".rstrip("."))

    assert module.__all__ == sorted(module.__all__, key=lambda each: (not each.isupper(), each.islower(), each))
    assert [each for each in module.__all__ if not is_documented(getattr(module, each), each)] == []
    assert {each for each in made(module) if not each.startswith("_")} <= set(module.__all__)


@pytest.mark.parametrize("name", PUBLIC, ids=lambda name: name or "safeupload")
def test_nothing_else_of_ours_can_be_imported_from_there(name: str) -> None:
    """What a public module has of ours without listing it are its modules; nobody gets a name by two ways by chance."""
    module = importlib.import_module(f"safeupload.{name}".rstrip("."))
    if not hasattr(module, "__path__"):
        return  # a single module uses what it imports
    public = {each for each, value in vars(module).items() if not each.startswith("_") and not inspect.ismodule(value)}

    assert public == set(module.__all__)


def made(module: ModuleType) -> Iterator[str]:
    """Yield the names that a module's own lines make, other than by importing."""
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name))


def is_documented(value: object, name: str) -> bool:
    """Tell whether a class or function has a docstring of its own, or a constant or an alias a documenting comment."""
    if inspect.isclass(value) or inspect.isroutine(value):
        return bool(value.__doc__)
    return any(re.search(rf"^#: .*\n(#:.*\n)*{name}\b.* =", text, re.MULTILINE) for text in SOURCES)
