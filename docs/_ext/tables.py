"""
Tables of the reference that are made from the code, each time that Sphinx reads a page.

A line `<!-- table: NAME -->` becomes the table of that name. Nothing that they say is typed here, but for which error
a limit raises; a test makes each of them happen.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Protocol, get_args

import safeupload
from safeupload import errors
from safeupload._events import _TEXTS, _WARNINGS, EventName

#: Of each limit of a policy the error, and what `TooComplex` says that there is too much of.
REFUSALS: Final[dict[str, tuple[type[safeupload.Rejected], str]]] = {
    "max_bytes": (safeupload.TooLarge, ""),
    "max_pixels": (safeupload.TooManyPixels, ""),
    "max_decode_bytes": (safeupload.TooComplex, "memory"),
    "max_scans": (safeupload.TooComplex, "scans"),
    "max_scan_blocks": (safeupload.TooComplex, "scans"),
    "max_chunks": (safeupload.TooComplex, "chunks"),
    "max_frames": (safeupload.TooComplex, "frames"),
    "max_metadata_bytes": (safeupload.TooComplex, "metadata"),
}
_FIELD: Final = re.compile(r"^`(\w+)`\n((?:    .*\n?)+)", re.MULTILINE)
_LINE: Final = re.compile(r"^<!-- table: ([\w ]+) -->$", re.MULTILINE)


def family(parent: type[errors.SafeUploadError]) -> str:
    """Return the table of the errors of a family, in the order of the module."""
    return _table(("Class", "Code", "Status", "When"), _errors(parent))


def _errors(parent: type[errors.SafeUploadError]) -> Iterator[tuple[str, ...]]:
    for each in vars(errors).values():
        if inspect.isclass(each) and issubclass(each, parent) and each is not parent:
            also = [f"`{base.__name__}`" for base in each.__mro__[1:-1] if base.__module__ == "builtins"]
            own = [name for name in also if name not in {"`RuntimeError`", "`Exception`", "`BaseException`"}]
            when = _first(each) + (f" (Also a {own[0]}.)" if own else "")
            yield f"{{py:obj}}`~safeupload.{each.__name__}`", f"`{each.code}`", str(each.status), when


def limits() -> str:
    """Return the table of what a policy bounds: the default, the reason in the docstring, and the error."""
    rows = []
    for name, text in _FIELD.findall(inspect.getdoc(safeupload.Policy) or ""):
        if name.startswith("max_"):
            error, what = REFUSALS[name]
            value = getattr(safeupload.AVATAR, name)
            shown = f"{value // (1 << 20)} MiB" if name.endswith("bytes") else f"{value:,}"
            refusal = f"{{py:obj}}`~safeupload.{error.__name__}`" + (f' ("{what}")' if what else "")
            rows.append((f"`{name}`", shown, " ".join(text.split()), refusal))
    return _table(("Field", "Default", "What it bounds, and why so", "Error"), rows)


def events() -> str:
    """Return the table of events, with the level that the log has them at."""
    rows = [(f"`{name}`", _TEXTS[name], "warning" if name in _WARNINGS else "info") for name in get_args(EventName)]
    return _table(("Event", "What happened", "Level of the log"), rows)


TABLES: Final[dict[str, Callable[[], str]]] = {
    "rejected": lambda: family(safeupload.Rejected),
    "unavailable": lambda: family(safeupload.Unavailable),
    "misuse": lambda: family(safeupload.Misuse),
    "limits": limits,
    "events": events,
}


def filled(source: str) -> str:
    """Return a page with its tables; a name that there is no table for is a `KeyError`."""
    return _LINE.sub(lambda found: TABLES[found[1]](), source)


def _first(documented: object) -> str:
    """Return the first paragraph of a docstring, on one line and in Markdown."""
    paragraph = (inspect.getdoc(documented) or "").partition("\n\n")[0]
    return " ".join(paragraph.replace("``", "`").split())


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


class _Sphinx(Protocol):
    """What is needed of the application of Sphinx, which the checks of types do not know."""

    def connect(self, event: str, callback: Callable[..., None]) -> int: ...


def _read(_app: _Sphinx, _page: str, source: list[str]) -> None:
    """Fill in the tables of a page that Sphinx has read."""
    source[0] = filled(source[0])


def setup(app: _Sphinx) -> dict[str, Any]:
    """Be an extension of Sphinx."""
    app.connect("source-read", _read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
