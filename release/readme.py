"""The README as a page of an index, where there is no repository around it for its relative links to lead to."""

import re
from pathlib import Path
from typing import Any, Final

from hatchling.metadata.plugin.interface import MetadataHookInterface

_RELATIVE: Final = re.compile(r"\[([^\]]+)\]\((?!https?://)[^)\s]+\)")


def alone(text: str) -> str:
    """Return a page of Markdown in which a relative link is nothing but its text."""
    return _RELATIVE.sub(r"\1", text)


class Readme(MetadataHookInterface):
    """Makes the description of the distribution, for the editable install as for wheel and sdist."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add it to the metadata."""
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": alone(text)}
