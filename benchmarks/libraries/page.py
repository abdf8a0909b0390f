"""
Write the documentation's page of comparison from the record, so that no figure on it was typed.

    python3.11 benchmarks/libraries
    python3.11 benchmarks/libraries/page.py
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).resolve().parent
RECORD: Final = HERE / "record.json"
PAGE: Final = HERE.parent.parent / "docs/explanation/comparison.md"

if __name__ == "__main__":
    sys.path.append(str(HERE.parent))

from libraries import page_bytes, page_stores, tables  # noqa: E402 - a script finds its package first


def text(record: tables.Record) -> str:
    """Return the page."""
    libraries = record["libraries"]
    return "\n".join(
        [
            "# Beside published libraries",
            "",
            "What the Python libraries do with a picture that somebody uploads, measured: the released packages,",
            "used as their documentation shows, on the same files and at the same moments as safeupload itself.",
            "This page is made from a recorded run; [how to repeat it](#repeat-it) is at the end.",
            "",
            "Most of these libraries never set out to do what is measured here.",
            "A thumbnail library makes thumbnails of pictures that it is given to trust, a type detector tells a",
            "type, and Django's documentation says that it removes no files. What each is good at stands",
            "in the first table; the others tell what is left for the application to do.",
            "",
            "## The libraries",
            "",
            "| | Release | | What it is for |",
            "| --- | --- | --- | --- |",
            *(f"| {each['title']} | {each['version']} | {each['released']} | {each['about']} |" for each in libraries),
            "",
            f"Run on {record['date']} with {_machine(record['machine'])}.",
            "The month is that of the release; each is the newest that runs there, as is what they need beside it.",
            "",
            "Not measured: SQLAlchemy-ImageAttach 1.1.0 (2017-10), which needs a library of ImageMagick on the",
            "system, and services that run beside the application, such as thumbor.",
            "",
            *page_bytes.lines(record),
            *page_stores.lines(record),
            *_END,
        ]
    )


def _machine(machine: dict[str, str]) -> str:
    versions = ", ".join(f"{name} {machine[key]}" for name, key in _VERSIONS.items())
    return f"{versions} on {machine['system']}"


_VERSIONS: Final = {"Python": "python", "Pillow": "pillow", "Django": "django", "SQLAlchemy": "sqlalchemy"}

_END: Final = (
    "## Which to take",
    "",
    "Thumbnails in templates and on demand, filters, a point of interest, the markup of pictures for responsive",
    "pages, other engines than Pillow, files that are no pictures: safeupload has none of it, and libraries above do.",
    "They can stand behind it: what `normalize` returns is an ordinary JPEG, which any of them may store and resize",
    "without meeting what a stranger has sent.",
    "",
    "## Repeat it",
    "",
    "```sh",
    "python3.11 benchmarks/libraries       # in a private environment, from benchmarks/libraries/requirements.txt",
    "python3.11 benchmarks/libraries --only filedepot    # one of them anew",
    "python3.11 benchmarks/libraries/page.py",
    "```",
    "",
    "It takes about half an hour on two processors, and needs Linux.",
    "[The adapters](../../benchmarks/libraries/stores/django_field.py) are short; whoever sees a library",
    "used wrongly there, please say so.",
    "",
)


def main() -> None:
    """Write the page."""
    PAGE.parent.mkdir(exist_ok=True)
    record: dict[str, Any] = json.loads(RECORD.read_text())
    PAGE.write_text(text(record))


if __name__ == "__main__":
    main()
