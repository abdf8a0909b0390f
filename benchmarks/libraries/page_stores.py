"""The half of the page that is about files beside rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from libraries import tables
from libraries.tables import Record, Row

#: Moments at which everybody raises what the connection raised, or is killed.
_RAISING: Final = frozenset(
    {"commit refused", "commit not sent", "answer lost", "killed before the commit", "killed after the commit"}
)


def lines(record: Record) -> Iterator[str]:
    """Yield the lines of the page."""
    stores = tables.titles(record, "store")
    yield from (
        "## A file beside a row",
        "",
        f"{len(record['drills'])} moments in the life of a row with a picture, each with a database (SQLite) and",
        "a folder of its own, in a process of its own; the connection fails, loses the answer, or kills the",
        "process exactly there.",
        "Afterwards somebody else's picture is replaced, and what the library has for cleaning up is run, as if a",
        f"long time had passed ({', '.join(tables.cleaners(record, stores))} have something; safeupload `recover`",
        "and `sweep`).",
        "Then the files are compared with the rows.",
        "",
        "*Lost*: the row names a file that is gone or torn. *Left*: files that no row names stay for ever.",
        "*Later*: such files were there at first, and then gone. *Fine*: each row has its file, and there is no other.",
        "",
        "| Library | Lost | Left | Later | Fine |",
        "| --- | ---: | ---: | ---: | ---: |",
    )
    for store, title in stores.items():
        counts = tables.verdicts(record, store)
        yield f"| {title} | " + " | ".join(str(counts[name] or "") for name in tables.VERDICTS) + " |"
    yield from ("", "One after the other:", "")
    for drill in record["drills"]:
        yield from _by_verdict(record, drill, stores)
    yield from (
        "To leave a file is a choice that can be right: Django and the libraries that build on its field do not",
        "remove an old one, so that nothing is lost, and leave that to the application or to the two packages for it.",
        "safeupload keeps both files wherever the outcome of a commit is unknown, and removes one of them when",
        "the database has told which. A savepoint that is rolled back around a replacement it takes for a",
        "mistake of the application.",
        "",
    )


def _by_verdict(record: Record, drill: Row, stores: dict[str, str]) -> Iterator[str]:
    """Say of a drill which libraries came out how."""
    yield f"**{drill['name'].capitalize()}**: {drill['about']}"
    yield ""
    rows = {row["library"]: row for row in record["stores"] if row["drill"] == drill["name"]}
    groups: dict[tuple[int, str], list[str]] = {}
    for store, title in stores.items():
        row = rows[store]
        name = tables.verdict(row)
        said = {
            "lost": f"lost, the row names the {row['later']['row']} file",
            "left": f"left, the {tables.files_left(row)}",
        }.get(name, name)
        raised = f" ({row['raised']})" if row["raised"] and drill["name"] not in _RAISING else ""
        groups.setdefault((tables.VERDICTS.index(name), said), []).append(title + raised)
    for (_, said), names in sorted(groups.items()):
        yield f"- {said}: {', '.join(names)}"
    yield ""
