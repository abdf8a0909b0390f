"""The pages of the documentation, and the blocks of code on them."""

import re
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "benchmarks/*.md", "requirements/*.md", "tests/*.md")
    for page in ROOT.glob(pattern)
)

_FENCE = re.compile(r"(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<info>.*)")
_DIRECTIVE = re.compile(r"\{([\w:-]+)\}\s*(\w*)")
_TESTED_BY = re.compile(r"<!-- run by (\S+\.py) -->")
#: Directives that hold more of the page, and those whose content is code.
_CONTAINERS = {"tab-set", "tab-item", "admonition", "note", "warning", "tip", "dropdown", "grid", "card"}
_CODE = {"code-block", "code", "sourcecode"}


class Block(NamedTuple):
    """A block of code: where it is, what it is in, and which file of tests runs it, if not that of all pages."""

    page: Path
    line: int
    language: str
    source: str
    run_by: str = ""

    def __str__(self) -> str:
        """Say where it is."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def compiled(self) -> CodeType:
        """Return the block as code whose tracebacks name the line of the page."""
        return compile("\n" * self.line + self.source, str(self.page), "exec")


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page in their order, those in tabs and the like as well."""
    return list(_blocks(page, page.read_text(encoding="utf-8").splitlines(), 0))


def _blocks(page: Path, lines: list[str], before: int) -> Iterator[Block]:
    """Yield the blocks of some lines of a page, before which there are others."""
    number = 0
    while number < len(lines):
        opened = _FENCE.fullmatch(lines[number])
        if opened is None:
            number += 1
            continue
        first = number + 1
        fence = opened["fence"]
        closing = re.compile(rf" *{fence[0]}{{{len(fence)},}} *")
        last = next((each for each in range(first, len(lines)) if closing.fullmatch(lines[each])), None)
        assert last is not None, f"{page}:{before + number + 1}: this block does not end"
        inside = [line.removeprefix(opened["indent"]) for line in lines[first:last]]
        directive = _DIRECTIVE.match(opened["info"].strip())
        language = opened["info"].strip().partition(" ")[0]
        if directive and directive[1] in _CONTAINERS:
            yield from _blocks(page, inside, before + first)
        elif directive is None or directive[1] in _CODE:
            said = _TESTED_BY.search("\n".join(lines[max(0, number - 2) : number]))
            source = "\n".join([*inside, ""])
            language = directive[2] if directive else language
            yield Block(page, before + first, language, source, said[1] if said else "")
        else:
            yield Block(page, before + first, f"{{{directive[1]}}}", "\n".join([*inside, ""]))
        number = last + 1
