"""The reference has every public name once, and its tables are those of the code."""

import importlib
import inspect
import pkgutil
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import get_args

import pytest
from builders import gif, png
from builders.pictures import encoded, photograph
from pages import DOCS
from PIL import Image

import safeupload
from docs._ext import signatures, tables
from safeupload import AVATAR
from safeupload._events import EventName
from safeupload.storage import Failure

#: Modules whose names are public; what `safeupload` has as well is documented as its own.
MODULES = [
    "safeupload",
    *(info.name for info in pkgutil.walk_packages(safeupload.__path__, "safeupload.") if "._" not in info.name),
]
SHOWN = re.compile(r"^\.\. (currentmodule|auto\w+|py:data):: ([\w.]+)", re.MULTILINE)


def shown() -> Iterator[str]:
    """Yield the names that the reference documents, without what stands before the first dot."""
    for page in DOCS.glob("reference/*.md"):
        module = ""
        for directive, name in SHOWN.findall(page.read_text()):
            if directive == "currentmodule":
                module = name
            else:
                whole = f"{module}.{name}" if directive == "py:data" else name
                yield whole.removeprefix("safeupload.")


def public() -> set[str]:
    """Return all public names, each under the shortest way to it, without what stands before the first dot."""
    found: dict[int, str] = {}
    for name in MODULES:
        module = importlib.import_module(name)
        for each in module.__all__:
            found.setdefault(id(getattr(module, each)), f"{name}.{each}".removeprefix("safeupload."))
    return set(found.values())


def test_every_public_name_is_there_once() -> None:
    """Nothing public is missing from the reference, nothing is there twice, and nothing else is there."""
    found = Counter(shown())

    assert set(found) == public()
    assert set(found.values()) == {1}


def test_everything_is_shown_as_what_it_is() -> None:
    """A class is not shown as a function, an error not as a class, and an alias that is a string not as a string."""
    kinds: dict[str, Callable[[object], bool]] = {
        "autofunction": inspect.isroutine,
        "autoclass": inspect.isclass,
        "autoexception": inspect.isclass,
        "autodata": lambda each: not isinstance(each, str),
    }
    for page in DOCS.glob("reference/*.md"):
        for directive, name in SHOWN.findall(page.read_text()):
            if directive in {"currentmodule", "py:data"}:
                continue
            module, _, attribute = name.rpartition(".")
            shown = getattr(importlib.import_module(module), attribute)
            error = inspect.isclass(shown) and issubclass(shown, BaseException)
            assert kinds[directive](shown), name
            assert error == (directive == "autoexception"), name


def test_a_docstring_stays_whole() -> None:
    """The first sentence of an attribute is not torn at its colon, and what nobody wrote ends the build."""
    lines = ["Seconds between: two.", "More: text."]

    assert signatures.whole("property", lines) == ["Seconds between:", "two.", "More: text."]
    assert signatures.whole("function", lines) == signatures.whole("function", list(lines)) == lines
    assert signatures.whole("data", []) == []
    assert signatures.nonsense(["Text.", "", ":param a: b", ":type a: int"]) == []
    wrong = [*(str.__doc__ or "").splitlines()[:1], str(Failure.key.__doc__), ":type: Seconds between"]
    assert signatures.nonsense(wrong) == wrong


def test_every_error_is_in_one_table() -> None:
    """Each error that can be raised is in the table of its family, with its code and status."""
    page = tables.filled((DOCS / "reference/errors.md").read_text())
    abstract = {"SafeUploadError", "Rejected", "Unavailable", "Misuse"}
    classes = [getattr(safeupload.errors, name) for name in safeupload.errors.__all__ if name not in abstract]

    for error in classes:
        row = rf"^\| \{{py:obj\}}`~safeupload\.{error.__name__}` \| `{error.code}` \| {error.status} \| [^|]+ \|$"
        assert len(re.findall(row, page, re.MULTILINE)) == 1, error.__name__
    assert len(re.findall(r"^\| \{py:obj\}", page, re.MULTILINE)) == len(classes) >= 30


def test_every_limit_is_in_the_table() -> None:
    """Each has its default and its reason, and is found in the docstring of the policy."""
    rows = tables.limits().splitlines()[2:]
    names = [name for name in safeupload.Policy.__dataclass_fields__ if name.startswith("max_")]

    assert [row.split("`")[1] for row in rows] == names == list(tables.REFUSALS)
    assert "| `max_bytes` | 5 MiB | Size of the upload. 5 MiB: a 12 megapixel photograph" in rows[0]
    assert "| 50,000,000 |" in rows[1]


def test_every_event_is_in_the_table() -> None:
    """Each has its text, and its level."""
    rows = tables.events().splitlines()[2:]

    assert [row.split("`")[1] for row in rows] == list(get_args(EventName))
    assert {row.split("|")[-2].strip() for row in rows} == {"info", "warning"}


PROGRESSIVE = encoded(photograph(64, 48), "JPEG", progressive=True)
GREY = ((0, 0, 0), (99, 99, 99), (1, 1, 1), (2, 2, 2))
#: For each limit, a file that keeps it as it is, and a limit that it does not keep.
BEYOND = {
    "max_bytes": (PROGRESSIVE, 100),
    "max_pixels": (PROGRESSIVE, 64 * 48 - 1),
    "max_decode_bytes": (PROGRESSIVE, 1000),
    "max_scans": (PROGRESSIVE, 2),
    "max_scan_blocks": (PROGRESSIVE, 10),
    "max_chunks": (png.with_metadata(*[png.Chunk(b"tEXt", b"a\0b")] * 20), 10),
    "max_frames": (gif.file(gif.screen(2, 2, GREY), gif.frame(2, 2), gif.frame(2, 2)), 1),
    "max_metadata_bytes": (png.with_metadata(png.compressed_text(b"a" * 2000)), 1000),
}


@pytest.mark.parametrize("name", tables.REFUSALS)
def test_the_table_names_the_error_of_a_limit(name: str) -> None:
    """A file that is beyond a limit raises what the table says, and nothing with the default."""
    data, limit = BEYOND[name]
    error, what = tables.REFUSALS[name]
    safeupload.validate(data)

    with pytest.raises(error) as caught:
        safeupload.validate(data, replace(AVATAR, **{name: limit}))  # type: ignore[arg-type]

    assert vars(caught.value)["limit"] == limit
    assert getattr(caught.value, "what", "") == what


def test_a_table_that_is_not_there_ends_the_build() -> None:
    """A name is not passed over."""
    assert tables.filled("a\n<!-- a remark -->\nb") == "a\n<!-- a remark -->\nb"
    with pytest.raises(KeyError):
        tables.filled("a\n<!-- table: nonsense -->\nb")


def test_signatures_are_those_of_the_source() -> None:
    """Names of aliases and of the default policy stand for what they are; an exception has its own arguments."""
    plain = f"(source: TypeAliasForwardRef('Source'), policy: Policy = {AVATAR!r})"

    assert signatures.readable(safeupload.normalize, plain, None) == ("(source: Source, policy: Policy = AVATAR)", None)
    assert signatures.readable(object, "(a: dict = <factory>)", "Duration") == ("(a: dict = ...)", "Duration")
    assert signatures.readable(safeupload.TooManyPixels, "(*args: object)", None) == ("(pixels, limit)", None)
    assert signatures.readable(safeupload.Empty, "(*args: object)", None) == ("", None)
    assert signatures.linked("`Uploads`, ``Uploads``, `Storage` and `limit`") == (
        "`~safeupload.Uploads`, ``Uploads``, `~safeupload.storage.Storage` and `limit`"
    )


def test_the_memory_of_the_page_about_limits() -> None:
    """With 128 MiB a JPEG of 50 megapixels passes and a PNG of 25, but not one of 50."""
    small = replace(AVATAR, max_decode_bytes=128 * 1024 * 1024)
    grey = Image.new("RGB", (7071, 7071), "grey")

    safeupload.validate(encoded(grey, "JPEG"), small)
    safeupload.validate(encoded(grey.resize((5000, 5000)), "PNG", compress_level=1), small)
    with pytest.raises(safeupload.TooComplex):
        safeupload.validate(encoded(grey, "PNG", compress_level=1), small)
    assert "With 128 MiB a JPEG of 50 megapixels still passes" in (DOCS / "how-to/limits.md").read_text()
