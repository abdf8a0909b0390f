"""
See to it that a page loads nothing from outside: no font, no script, no style and no picture of another host.

Links that a reader clicks on may lead anywhere. What is found is a warning of Sphinx, and so ends the build.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final, Protocol

from typing_extensions import override

# Sphinx counts what comes to the loggers under its own.
_LOG: Final = logging.getLogger("sphinx.safeupload.outside")
_ELSEWHERE: Final = re.compile(r"\s*(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)
_CSS: Final = re.compile(r"""(?:url\(|@import)\s*["']?([^"')\s;]+)""", re.IGNORECASE)
#: Attributes whose value a browser fetches by itself, whatever element they are on.
_FETCHED: Final = frozenset({"src", "srcset", "data", "poster", "background", "xlink:href"})
#: Elements whose href is fetched, too, unlike that of a link to click on.
_REFERRING: Final = frozenset({"link", "image", "use", "script", "base"})


class _Reader(HTMLParser):
    """Collects what a page makes a browser fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self._in_style = False

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_style = tag == "style"
        for name, value in attrs:
            if value is None:
                continue
            if name == "style":
                self.fetched += _CSS.findall(value)
            elif name == "srcset":
                self.fetched += [part.split()[0] for part in value.split(",") if part.split()]
            elif name in _FETCHED or (name == "href" and tag in _REFERRING):
                self.fetched.append(value)

    @override
    def handle_endtag(self, tag: str) -> None:
        self._in_style = False

    @override
    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.fetched += _CSS.findall(data)


def of_page(text: str) -> list[str]:
    """Return the addresses of other hosts that a page of HTML, or a picture of SVG, makes a browser fetch."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    return [address for address in reader.fetched if _ELSEWHERE.match(address)]


def of_style(text: str) -> list[str]:
    """Return the addresses of other hosts that a style sheet makes a browser fetch."""
    return [address for address in _CSS.findall(text) if _ELSEWHERE.match(address)]


def of_folder(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield what the files of a built documentation fetch from other hosts, each with its file."""
    for kind, look in {"*.html": of_page, "*.svg": of_page, "*.css": of_style}.items():
        for path in sorted(folder.rglob(kind)):
            for address in look(path.read_text(encoding="utf-8")):
                yield path, address


class _Sphinx(Protocol):
    """What is needed of the application of Sphinx, which the checks of types do not know."""

    outdir: Path

    def connect(self, event: str, callback: Callable[..., None]) -> int: ...


def _finished(app: _Sphinx, error: Exception | None) -> None:
    """Look at what was built."""
    if error is None:
        for path, address in of_folder(Path(app.outdir)):
            _LOG.warning("%s loads %s from outside", path, address)


def setup(app: _Sphinx) -> dict[str, Any]:
    """Be an extension of Sphinx."""
    app.connect("build-finished", _finished)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
