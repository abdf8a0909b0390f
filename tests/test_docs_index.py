"""What the first page says that safeupload saves from is what is found out."""

import re

import pytest
from pages import DOCS, blocks

import safeupload
from safeupload._samples import SAMPLES

PAGE = (DOCS / "index.md").read_text()
ROWS = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \| `([\w.-]+)` \|$", PAGE, re.MULTILINE)
#: What `compare` printed when it was recorded for the page about the command line.
RECORDED = next(
    block.source for block in blocks(DOCS / "reference/command-line.md") if "safeupload compare\n" in block.source
)


def test_there_are_rows() -> None:
    """The pattern finds the rows that name a file."""
    assert len(ROWS) >= 9


@pytest.mark.parametrize("row", ROWS, ids=[row[-1] for row in ROWS])
def test_a_row_is_what_compare_shows(row: tuple[str, str, str, str]) -> None:
    """What the plain way did is what was recorded; what safeupload does to the file is done here."""
    _, plain, ours, name = row
    sample = {each.name: each for each in SAMPLES}[name]
    recorded = next(line for line in RECORDED.splitlines() if line.startswith(name))

    assert plain.replace("`", "") in recorded
    if sample.code is None:
        assert ours == "a clean picture"
        safeupload.normalize(sample.make())
    else:
        assert ours == f"refused: `{sample.code}`"
        with pytest.raises(safeupload.Rejected) as caught:
            safeupload.normalize(sample.make())
        assert caught.value.code == sample.code


def test_the_numbers_of_the_rows_are_those_of_the_files() -> None:
    """Bytes and pixels that the page mentions are those of the file."""
    made = {each.name: each for each in SAMPLES}

    assert len(made["header-only.webp"].make()) == 34
    assert len(made["huge-header.png"].make()) == 66
    for name, number in (("scan-bomb.jpg", "200,000"), ("pages.tif", "50,000"), ("huge-header.png", "65,535 x 65,535")):
        assert number in made[name].about
        assert number in next(row[0] for row in ROWS if row[-1] == name)
