"""The blocks of pages about frameworks, each of which says in its first line in which file it belongs."""

from pages import DOCS, blocks


def files(page: str) -> dict[str, str]:
    """Return the files that a page shows, of each all blocks in their order."""
    found: dict[str, str] = {}
    for block in blocks(DOCS / page):
        if block.language == "python":
            head, _, source = block.source.partition("\n")
            found[head.removeprefix("# ")] = found.get(head.removeprefix("# "), "") + source
    return found
