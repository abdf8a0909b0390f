"""The half of the page that is about bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from libraries import tables
from libraries.tables import Record, Row

_NAMES: Final = tuple(dict.fromkeys(tables.OUTCOMES.values()))
_MUCH_TIME: Final = 1.0  # seconds that are worth a word
_MUCH_MEMORY: Final = 100e6


def lines(record: Record) -> Iterator[str]:
    """Yield the lines of the page."""
    ways = tables.titles(record, "way")
    seconds, memory = record["limits"]["seconds"], record["limits"]["memory"] >> 30
    yield from (
        "## From bytes to a picture",
        "",
        "Each file went through each library in a process of its own, with",
        f"{seconds} seconds of processor time and {memory} GiB of address space; times are those of the processor.",
        "Where the documentation has options for orientation, colour or metadata, they were set, and the format of the",
        "upload was kept by those that can.",
        "Libraries for Django got what a form's field had let through, as in an application.",
        "filetype, puremagic and python-magic were used as a check: JPEG, PNG, GIF and WebP may pass.",
        "",
    )
    yield from _hostile(record, ways)
    yield from _damaged(record, ways)
    yield from _benign(record, ways)


def _table(counts: dict[str, Counter[str]], more: str, cells: dict[str, str]) -> Iterator[str]:
    """Yield a table of counts, of outcomes that there were at all, with one more column."""
    names = [name for name in _NAMES if any(each[name] for each in counts.values())]
    yield "| Library | " + " | ".join([*(name.capitalize() for name in names), more]) + " |"
    yield "| --- |" + " ---: |" * len(names) + " --- |"
    for title, each in counts.items():
        yield f"| {title} | " + " | ".join(str(each[name] or "") for name in names) + f" | {cells[title]} |"


def _hostile(record: Record, ways: dict[str, str]) -> Iterator[str]:
    refuse = tables.samples(record, "hostile", refuse=True)
    yield from (
        "### Files made to harm",
        "",
        f"The {len(refuse)} files that `python -m safeupload compare` makes and that have to be refused.",
        "*Refused* is an exception of the library's own, of its framework's validation, or one that Pillow's",
        "documentation names, so that an application can catch it by family; *other exception* is anything else.",
        "*Taken* made a picture or let the file pass. *Time* and *out of memory* are the limits.",
        "",
    )
    yield from _table(
        {title: tables.hostile(record, way) for way, title in ways.items()},
        "Most memory for a file",
        {title: f"{tables.highest(record, way) / 1e6:,.0f} MB" for way, title in ways.items()},
    )
    yield from ("", "What it comes to depends on the file:", "")
    for sample in refuse:
        yield from _by_outcome(record, sample, ways)
    yield from (
        "A page of a TIFF or a frame of a GIF that is taken does no harm by itself; it is counted because",
        "whoever allows JPEG, PNG, WebP and GIF of a reasonable length has not asked for it.",
        "",
    )


def _by_outcome(record: Record, sample: Row, ways: dict[str, str]) -> Iterator[str]:
    """Say of a sample which libraries did what with it."""
    yield f"**{sample['name']}** ({_size(sample['bytes'])}): {sample['about']}"
    yield ""
    rows = {row["library"]: row for row in record["files"] if row["file"] == sample["name"]}
    groups: dict[str, list[str]] = {}
    for way, title in ways.items():
        row = rows[way]
        outcome = tables.OUTCOMES[row["outcome"]]
        said = {
            "other exception": f"{row['error']}, which nobody documents",
            "time": f"still at work after {record['limits']['seconds']} seconds",
            "process died": f"the process died ({row['error']})",
        }.get(outcome, outcome)
        groups.setdefault(said, []).append(title + (_cost(row) if outcome in {"taken", "refused"} else ""))
    for said, names in sorted(groups.items()):
        yield f"- {said}: {', '.join(names)}"
    yield ""


def _cost(row: Row) -> str:
    """Say what a file cost where it is much."""
    parts = [f"{row['seconds']:.0f} s"] if row["seconds"] >= _MUCH_TIME else []
    parts += [f"{row['peak'] / 1e6:,.0f} MB"] if row["peak"] >= _MUCH_MEMORY else []
    return f" ({', '.join(parts)})" if parts else ""


def _size(count: int) -> str:
    return f"{count} bytes" if count < 10_000 else f"{count / 1e3:,.0f} kB"  # noqa: PLR2004 - a matter of taste


def _damaged(record: Record, ways: dict[str, str]) -> Iterator[str]:
    yield from (
        "### Damaged files",
        "",
        f"{tables.damaged_files(record)} small pictures with some bytes changed or cut out.",
        "Many are still pictures, so that taking one is not wrong; an exception that nobody knows to catch becomes an",
        "answer of 500.",
        "",
    )
    found = {title: tables.damaged(record, way) for way, title in ways.items()}
    yield from _table(
        {title: outcomes for title, (outcomes, _) in found.items()},
        "Which exceptions",
        {title: ", ".join(f"{name} ({n})" for name, n in errors.most_common()) for title, (_, errors) in found.items()},
    )
    yield ""


def _benign(record: Record, ways: dict[str, str]) -> Iterator[str]:
    honest = tables.samples(record, "benign")
    yield from (
        "### Honest pictures",
        "",
        "What becomes of the samples that the usual pipeline gets wrong, for libraries that make a picture:",
        "closeness to a careful reference in decibels (of the thumbnail that the library makes, laid over white",
        "if it is transparent, turned as its EXIF data say and in the colours of its profile, as browsers do).",
        f"Below {tables.ALIKE:.0f} dB, in bold, anybody sees that it is wrong:",
        "lying on its side, wrong colours, black where it was transparent.",
        "*Left* is what was planted in these and the hostile files, and is still in the pictures made of them;",
        "*keeps*, that the upload itself is stored as it came, with all that is in it.",
        "",
        "| Library | " + " | ".join(each["name"] for each in honest) + " | Left | Keeps |",
        "| --- |" + " ---: |" * len(honest) + " --- | --- |",
    )
    for way, title in ways.items():
        if tables.makes_pictures(record, way):
            rows = {row["file"]: row for row in tables.tried(record, way, honest)}
            cells = [_alike(rows[each["name"]]) for each in honest]
            left = ", ".join(tables.leftovers(record, way))
            keeps = "the upload" if tables.keeps(record, way) else ""
            yield f"| {title} | {' | '.join(cells)} | {left} | {keeps} |"
    yield ""


def _alike(row: Row) -> str:
    if row["outcome"] != "picture":
        return f"**{row['error'] or row['outcome']}**"
    if row["psnr"] is None:
        return "**no picture**"
    return f"{row['psnr']:.0f}" if row["psnr"] >= tables.ALIKE else f"**{row['psnr']:.0f}**"
