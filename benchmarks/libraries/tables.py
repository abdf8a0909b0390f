"""What the record says, counted: the rows of the page's tables, each from the rows of the record and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

Record = dict[str, Any]
Row = dict[str, Any]

#: What can become of a file, in the order of the tables, and what the page calls it.
OUTCOMES: Final = {
    "refused": "refused",
    "other": "other exception",
    "time": "time",
    "memory": "out of memory",
    "died": "process died",
    "picture": "taken",
    "accepted": "taken",
}
#: From so many decibels on a result shows what the picture shows: wrong colours, sides or levels are below 10, and
#: hard or coloured edges of these samples cost down to 20.
ALIKE: Final = 15.0
#: What can become of a file beside a row, the worst first.
VERDICTS: Final = ("lost", "left", "later", "fine")


def titles(record: Record, kind: str) -> dict[str, str]:
    """Return the names of the libraries that have a module of the kind, "way" or "store", by that module."""
    return {each[kind]: each["title"] for each in record["libraries"] if each[kind]}


def samples(record: Record, kind: str, *, refuse: bool | None = None) -> list[Row]:
    """Return the samples of a kind; `refuse`: those that have to be refused, or those that may not be."""
    return [each for each in record["samples"] if each["kind"] == kind and refuse in {None, each["refuse"]}]


def tried(record: Record, library: str, among: Sequence[Row]) -> Iterator[Row]:
    """Yield what a library did with some samples."""
    names = {each["name"] for each in among}
    return (row for row in record["files"] if row["library"] == library and row["file"] in names)


def hostile(record: Record, library: str) -> Counter[str]:
    """Return how many of the files that have to be refused had which outcome."""
    rows = tried(record, library, samples(record, "hostile", refuse=True))
    return Counter(OUTCOMES[row["outcome"]] for row in rows)


def highest(record: Record, library: str) -> int:
    """Return the most memory, in bytes, that a file which has to be refused took."""
    peaks: list[int] = [row["peak"] for row in tried(record, library, samples(record, "hostile", refuse=True))]
    return max(peaks)


def damaged_files(record: Record) -> int:
    """Return how many damaged files each library got."""
    counts = Counter[str]()
    for row in record["damaged"]:
        counts[row["library"]] += row["files"]
    (count,) = set(counts.values())
    return count


def damaged(record: Record, library: str) -> tuple[Counter[str], Counter[str]]:
    """Return how many damaged files had which outcome, and the names of the other exceptions."""
    outcomes: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    for row in record["damaged"]:
        if row["library"] == library:
            errors.update(row["errors"])
            for outcome, count in row["outcomes"].items():
                outcomes[OUTCOMES[outcome]] += count
    return outcomes, errors


def makes_pictures(record: Record, library: str) -> bool:
    """Tell whether the library returned any picture at all, or only looks at uploads."""
    return any(row["outcome"] == "picture" for row in record["files"] if row["library"] == library)


def leftovers(record: Record, library: str) -> list[str]:
    """Return what was planted in files and found in the pictures made of them."""
    found = [what for row in record["files"] if row["library"] == library for what in row.get("left", ())]
    return sorted(set(found))


def keeps(record: Record, library: str) -> bool:
    """Tell whether a file that was taken lay in the library's storage afterwards, byte for byte."""
    rows = [row for row in record["files"] if row["library"] == library and row["outcome"] in {"picture", "accepted"}]
    return any(row["kept"] for row in rows)


def verdict(row: Row) -> str:
    """Return what became of the files in a drill."""
    first, second = row["at once"], row["later"]
    if second["whole"] is False or not second["other whole"]:
        return "lost"
    if second["old left"] or second["new left"]:
        return "left"
    return "later" if first["old left"] or first["new left"] else "fine"


def verdicts(record: Record, library: str) -> Counter[str]:
    """Return how many drills of a library ended how."""
    return Counter(verdict(row) for row in record["stores"] if row["library"] == library)


def files_left(row: Row) -> str:
    """Return which files no row names, in words."""
    second = row["later"]
    return " and ".join(word for word in ("old", "new") if second[f"{word} left"])


def cleaners(record: Record, stores: dict[str, str]) -> list[str]:
    """Return the names of the libraries that have something for cleaning up, which was run."""
    found = {row["library"] for row in record["stores"] if row["repair"]}
    return [title for store, title in stores.items() if store in found]
