"""A process that ends at any step of a replacement leaves what docs/explanation/two-stores.md says."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("crash_points.py")
PAGE = Path(__file__).resolve().parent.parent.parent / "docs/explanation/two-stores.md"
SETTLED = {True: "the next replacement, or `recover`", False: "nobody has to"}

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs fork")


def table(heading: str) -> list[list[str]]:
    """Return the cells of a table of the page, without its first two lines and its first column."""
    lines = re.findall(
        r"^\|.*\|$", PAGE.read_text().partition(f"\n{heading}\n\n")[2].partition("\n\n")[0], re.MULTILINE
    )
    return [[cell.strip() for cell in line.strip("|").split("|")][1:] for line in lines[2:]]


def test_p5_p7_the_tables_of_the_page_are_true(tmp_path: Path) -> None:
    """Files, records and rows after each step, and the files after `recover`, which leaves no record."""
    command = [sys.executable, str(SCRIPT), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)

    for heading, scenario in {"A replacement:": "replace", "The deletion of an account:": "delete"}.items():
        left = [
            [", ".join(sorted(keys, reverse=True)) or "nothing" for keys in each.values()]
            + [SETTLED[bool(each["on record"])]]
            for each in found[scenario].values()
        ]
        assert table(heading) == left


def test_no_step_loses_what_the_row_names() -> None:
    """In the tables themselves: the row's file is there, and in the end nothing else is."""
    lines = [*table("A replacement:"), *table("The deletion of an account:")]

    assert len(lines) == 13
    for files, _, row, end, _ in lines:
        assert row in {*files.split(", "), "nothing"}
        assert end == row
