"""What importing the package does, and does not do."""

import importlib
import inspect
import json
import pkgutil
import subprocess
import sys
from importlib.metadata import requires, version

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
    """The version is the distribution's."""
    assert version("safeupload")[0].isdigit()


def test_all_public_names_are_listed_and_documented() -> None:
    """What is in `__all__` exists and has a docstring; nothing else public is in the package but its modules."""
    for name in safeupload.__all__:
        assert inspect.getdoc(getattr(safeupload, name)), name
    public = {name for name in vars(safeupload) if not name.startswith("_")}
    modules = {name for name in public if inspect.ismodule(getattr(safeupload, name))}

    assert public - modules == set(safeupload.__all__)
    assert sorted(safeupload.__all__) == list(safeupload.__all__) or set(safeupload.__all__) == public - modules


def test_every_module_declares_what_is_public() -> None:
    """Public modules have an `__all__` that is true."""
    for info in pkgutil.iter_modules(safeupload.__path__):
        if not info.name.startswith("_"):
            module = importlib.import_module(f"safeupload.{info.name}")
            assert set(module.__all__) <= set(vars(module)), info.name
