"""The kit as a package: what it imports, and what it says of itself."""

import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

import safeupload
import safeupload.testing
from safeupload.testing import StorageContract

ROOT = Path(__file__).resolve().parent.parent.parent
MODULES = [safeupload.testing.__name__] + [
    info.name
    for info in pkgutil.iter_modules(safeupload.testing.__path__, "safeupload.testing.")
    if not info.name.rpartition(".")[2].startswith("_")
]

PROBE = """
import sys
for name in ("pytest", "hypothesis", "sqlalchemy", "numpy", "pillow_heif"):
    sys.modules[name] = None
import safeupload.testing as kit
from safeupload.storage import MemoryStorage
for name in kit.__all__:
    getattr(kit, name)
assert kit.HOSTILE["empty.jpg"].data == b""
assert not [name for name in kit.BENIGN if name.endswith(".heic")]
kit.check_endpoint(lambda name, data, kind: 415, [case for case in kit.endpoint_cases() if case.name == "words.jpg"])
kit.StorageContract().test_a_picture_is_replaced(kit.FaultyStorage(MemoryStorage()))
"""


def test_the_kit_needs_no_framework_of_tests() -> None:
    """Where neither pytest nor Hypothesis is installed, all of it works but their own two modules."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", PROBE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_library_does_not_import_the_kit() -> None:
    """Nor the samples, which only the kit and a command need."""
    found = "[name for name in sys.modules if 'testing' in name or '_samples' in name]"
    code = f"import sys, safeupload.storage, safeupload.asgi; print({found})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_is_documented(name: str) -> None:
    """A function or class has a docstring, and so has each public method; a constant a comment above it."""
    module = importlib.import_module(name)
    assert inspect.getdoc(module)
    for public in module.__all__:
        value = getattr(module, public)
        if not callable(value) or get_args(value):
            assert _comment_above(public), public
            continue
        assert inspect.getdoc(value), public
        for attribute, member in vars(value).items() if inspect.isclass(value) else ():
            if not attribute.startswith("_") and (callable(member) or isinstance(member, property)):
                assert inspect.getdoc(member), f"{public}.{attribute}"


def _comment_above(name: str) -> bool:
    """Tell whether a constant has a line that begins with "#:" above it, where it is made."""
    sources = (path.read_text() for path in Path(safeupload.__file__).parent.rglob("*.py"))
    return any(re.search(rf"^#: .*\n(#.*\n)*{name}: ", source, re.MULTILINE) for source in sources)


def test_every_public_name_is_on_the_page() -> None:
    """The page about testing names each, and that about storages the contract; the small ones come with theirs."""
    pages = "".join((ROOT / "docs/how-to" / page).read_text() for page in ("testing.md", "storage.md"))
    names = [public for name in MODULES for public in importlib.import_module(name).__all__]
    assert len(names) >= 22
    assert not [name for name in names if not re.search(rf"\b{name}\b", pages)]


def test_the_contract_s_names_do_not_change() -> None:
    """Who has skipped or marked one by its name finds it again."""
    names = [name.removeprefix("test_") for name in vars(StorageContract) if name.startswith("test_")]
    assert names == [
        "a_saved_file_is_there_and_on_record",
        "renditions_come_and_go_with_their_file",
        "a_mark_is_dropped_and_its_file_stays",
        "settling_twice_is_no_error",
        "a_file_without_a_mark_is_removed",
        "several_marks_can_be_on_one_file",
        "what_somebody_works_on_is_left_alone",
        "what_nobody_works_on_any_more_is_settled",
        "a_retained_file_goes_when_its_time_has_come",
        "no_mark_is_missed",
        "names_of_others_are_refused",
        "threads_do_not_get_in_each_other_s_way",
        "a_picture_is_replaced",
    ]
