"""The blocks of docs/how-to/frameworks.md, each of which says in its first line in which file it belongs."""

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs/how-to/frameworks.md"
_BLOCK = re.compile(r"^```py\n# (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def files(heading: str) -> dict[str, str]:
    """Return the files of a section, of each all blocks in their order."""
    section = PAGE.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    found: dict[str, str] = {}
    for name, source in _BLOCK.findall(section):
        found[name] = found.get(name, "") + source
    return found
