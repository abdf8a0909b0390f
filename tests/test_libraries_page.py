"""The page that compares with other libraries is its record, its counts are sums, and what made the record works."""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from libraries import measure, page, tables
from libraries.about import LIBRARIES

from safeupload._samples import SAMPLES

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
RECORD: dict[str, Any] = json.loads(page.RECORD.read_text())
WAYS = [each.way for each in LIBRARIES if each.way]
STORES = [each.store for each in LIBRARIES if each.store]

linux = pytest.mark.skipif(sys.platform != "linux", reason="the harness forks, and reads /proc")


def python(*arguments: str) -> str:
    """Run Python where the packages of the benchmarks are found; return what it prints."""
    paths = [str(BENCHMARKS), str(BENCHMARKS.parent / "tests")]
    code = (
        f"import sys, runpy; sys.path += {paths!r}; del sys.argv[0]; runpy.run_module(sys.argv[0], run_name='__main__')"
    )
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def table(title: str) -> dict[str, dict[str, str]]:
    """Return the first table below a heading of the page, by its first column and its titles."""
    _, _, below = page.PAGE.read_text().partition(f"# {title}\n")
    rows = re.findall(r"^\|(.*)\|$", below.partition("\n#")[0], re.MULTILINE)
    (_, *titles), _, *cells = [[cell.strip() for cell in row.split("|")] for row in rows]
    return {first: dict(zip(titles, rest, strict=True)) for first, *rest in cells}


def count(cell: str) -> int:
    """Return what a cell says, of which an empty one says nothing."""
    return int(cell or "0")


#: What the tables of files call each outcome.
NAMES = {
    "refused": "Refused",
    "other": "Other exception",
    "time": "Time",
    "memory": "Out of memory",
    "died": "Process died",
}


def test_the_page_is_the_record() -> None:
    """No figure on it was typed."""
    assert page.PAGE.read_text() == page.text(RECORD)


def test_the_record_is_of_the_pinned_releases() -> None:
    """Each library stands in it as it is described, in the release that the requirements pin."""
    pins = dict(
        re.findall(r"^([a-z0-9-]+)==([^ ]+)", (BENCHMARKS / "libraries/requirements.txt").read_text(), re.MULTILINE)
    )
    pins[""] = pins["safeupload"] = ""

    assert RECORD["libraries"] == [{**each._asdict(), "version": pins[each.distribution]} for each in LIBRARIES]
    assert all(bool(each.released) == bool(pins[each.distribution]) for each in LIBRARIES)


def test_nothing_is_missing_in_the_record() -> None:
    """Each library was given each sample and damaged files of each format, and was taken through each drill, once."""
    samples = [sample.name for sample in SAMPLES]
    drills = [drill["name"] for drill in RECORD["drills"]]
    damaged = {row["files"] for row in RECORD["damaged"]}

    assert [sample["name"] for sample in RECORD["samples"]] == samples
    assert [(row["library"], row["file"]) for row in RECORD["files"]] == [
        (way, name) for way in WAYS for name in samples
    ]
    assert [(row["library"], row["drill"]) for row in RECORD["stores"]] == [
        (s, name) for s in STORES for name in drills
    ]
    assert Counter(row["library"] for row in RECORD["damaged"]) == dict.fromkeys(WAYS, 4)
    assert len(damaged) == 1


def test_counts_of_hostile_files_are_sums_of_rows() -> None:
    """Each library's counts are those of its rows, and add up to the files that have to be refused."""
    refuse = {sample.name for sample in SAMPLES if sample.code is not None}
    found = table("Files made to harm")

    assert list(found) == [each.title for each in LIBRARIES if each.way]
    for each in LIBRARIES:
        if each.way:
            rows = [row for row in RECORD["files"] if row["library"] == each.way and row["file"] in refuse]
            cells = found[each.title]
            peak = cells.pop("Most memory for a file")
            for outcome, name in NAMES.items():
                assert count(cells.get(name, "")) == [row["outcome"] for row in rows].count(outcome)
            assert sum(map(count, cells.values())) == len(refuse) == len(rows)
            assert peak == f"{max(row['peak'] for row in rows) / 1e6:,.0f} MB"


def test_counts_of_damaged_files_are_sums_of_rows() -> None:
    """Each library's counts are sums over the formats and add up to the files, and its exceptions add up."""
    found = table("Damaged files")

    assert list(found) == [each.title for each in LIBRARIES if each.way]
    for each in LIBRARIES:
        if each.way:
            rows = [row for row in RECORD["damaged"] if row["library"] == each.way]
            cells = found[each.title]
            errors = re.findall(r"\((\d+)\)", cells.pop("Which exceptions"))
            for outcome, name in NAMES.items():
                assert count(cells.get(name, "")) == sum(row["outcomes"].get(outcome, 0) for row in rows)
            assert sum(map(count, cells.values())) == sum(row["files"] for row in rows)
            assert sum(map(count, errors)) == sum(
                row["outcomes"].get(outcome, 0) for row in rows for outcome in ("other", "died")
            )
    assert all(sum(row["outcomes"].values()) == row["files"] for row in RECORD["damaged"])


def test_counts_of_drills_are_sums_of_rows() -> None:
    """Each library's counts add up to the drills, and are those of the list below the table."""
    found = table("A file beside a row")
    _, _, below = page.PAGE.read_text().partition("One after the other:")
    listed = re.findall(r"^- (lost|left|later|fine)[^:\n]*: (.*)$", below, re.MULTILINE)

    assert list(found) == [each.title for each in LIBRARIES if each.store]
    for title, cells in found.items():
        said = Counter(
            word for word, names in listed for name in re.sub(r" \(\w+\)", "", names).split(", ") if name == title
        )
        assert {name.lower(): count(cell) for name, cell in cells.items()} == {
            word: said[word] for word in tables.VERDICTS
        }
        assert said.total() == len(RECORD["drills"])


@pytest.mark.parametrize(
    ("at_once", "later", "expected"),
    [
        ({}, {}, "fine"),
        ({"new left": 1}, {}, "later"),
        ({"old left": True}, {"old left": True}, "left"),
        ({}, {"new left": 2}, "left"),
        ({}, {"whole": False, "new left": 1}, "lost"),
        ({}, {"other whole": False}, "lost"),
        ({"row": "gone", "whole": None}, {"row": "gone", "whole": None}, "fine"),
    ],
)
def test_a_drill_is_judged(at_once: dict[str, object], later: dict[str, object], expected: str) -> None:
    """By the second look: a row without its file is worse than a file without a row."""
    look = {"row": "old", "whole": True, "old left": False, "new left": 0, "other whole": True}

    assert tables.verdict({"at once": look | at_once, "later": look | later}) == expected


def test_safeupload_keeps_its_word_in_the_record() -> None:
    """It refuses what has to be refused, makes the right picture of the rest, and never loses a file."""
    files = {row["file"]: row for row in RECORD["files"] if row["library"] == "safeupload"}

    for sample in SAMPLES:
        row = files[sample.name]
        assert row["outcome"] == ("picture" if sample.code is None else "refused")
        assert not row.get("left")
        assert row.get("psnr") is None or row["psnr"] >= tables.ALIKE
    assert tables.damaged(RECORD, "safeupload")[0].keys() <= {"refused", "taken"}
    for store in ("safeupload", "safeupload_django"):
        assert tables.verdicts(RECORD, store).keys() <= {"later", "fine"}


def test_measuring_one_anew_changes_only_that_one() -> None:
    """With `--only`, the rows of one library take the place of its old ones, where those were."""
    anew = {
        part: [row for row in RECORD[part] if row["library"] == "tutorial"] for part in ("files", "damaged", "stores")
    }
    anew["files"] = [row | {"outcome": "measured anew"} for row in anew["files"]]
    libraries = [each for each in RECORD["libraries"] if each["way"] == "tutorial"]

    found = measure.merged(RECORD, {**RECORD, **anew, "libraries": libraries})

    assert {row["library"] for row in found["files"] if row["outcome"] == "measured anew"} == {"tutorial"}
    assert [(row["library"], row["file"]) for row in found["files"]] == [
        (row["library"], row["file"]) for row in RECORD["files"]
    ]
    assert found["libraries"] == RECORD["libraries"]
    assert found["stores"] == RECORD["stores"]


@linux
@pytest.mark.long
@pytest.mark.parametrize("way", ["safeupload", "tutorial"])
def test_the_record_says_what_becomes_of_files(tmp_path: Path, way: str) -> None:
    """Quick samples through the harness anew: the same outcomes as in the record."""
    names = {"photo.jpg", "comment.jpg", "script.svg", "huge-header.png", "truncated.jpg", "alpha.webp"}
    (tmp_path / "files").mkdir()
    for sample in SAMPLES:
        if sample.name in names:
            (tmp_path / "files" / sample.name).write_bytes(sample.make())

    rows = [json.loads(line) for line in python("libraries.host", way, str(tmp_path)).splitlines()]

    then = {row["file"]: (row["outcome"], row["error"]) for row in RECORD["files"] if row["library"] == way}
    assert {row["file"]: (row["outcome"], row["error"]) for row in rows} == {name: then[name] for name in names}
    assert all(row["seconds"] > 0 and row["peak"] is not None for row in rows)


@linux
@pytest.mark.long
def test_the_harness_tells_every_outcome(tmp_path: Path) -> None:
    """A library that refuses, leaks, eats memory, dies, never ends, or keeps the upload is told as what it does."""
    names = ["accepted", "died", "memory", "other", "picture", "refused", "time"]
    (tmp_path / "files").mkdir()
    for name in names:
        (tmp_path / "files" / name).write_bytes(name.encode())
    script = tmp_path / "script.py"
    script.write_text(
        f"""
import os, sys, types
sys.path[:0] = [{str(BENCHMARKS)!r}]
from libraries import host
from pathlib import Path

def take(data, name, folder):
    if name == "refused":
        raise LookupError
    if name == "other":
        1 / 0
    if name == "memory":
        bytearray(host.MEMORY)
    if name == "died":
        os.abort()
    if name == "accepted":
        (folder / "kept").write_bytes(data)
    while name == "time":
        pass
    return data if name == "picture" else None

way = types.ModuleType("libraries.ways.planted")
way.DOCUMENTED, way.prepare, way.take = (LookupError,), lambda folder: None, take
sys.modules[way.__name__] = way
host.SECONDS = 1
host.main("planted", Path({str(tmp_path)!r}))
"""
    )

    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    rows = {row["file"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert {name: row["outcome"] for name, row in rows.items()} == {name: name for name in names}
    assert [name for name, row in rows.items() if row["kept"]] == ["accepted"]
    assert (rows["other"]["error"], rows["died"]["error"]) == ("ZeroDivisionError", "SIGABRT")
    assert (tmp_path / "results/picture").read_bytes() == b"picture"


@linux
@pytest.mark.long
@pytest.mark.parametrize("store", ["by_hand_careful", "safeupload", "django_field"])
def test_the_record_says_what_becomes_of_rows(tmp_path: Path, store: str) -> None:
    """Some drills anew, with a lost answer and a kill among them: the same rows as in the record."""
    names = ["deleted", "answer lost", "killed before the commit", "killed after the commit"]

    rows = [json.loads(line) for line in python("libraries.drills", store, str(tmp_path), *names).splitlines()]

    assert rows == [row for row in RECORD["stores"] if row["library"] == store and row["drill"] in names]
