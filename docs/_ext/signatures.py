"""
What autodoc reads, made ready for the reference.

Signatures name aliases and the default policy, and those of exceptions what one is made of. A public name between
backticks becomes a link wherever it stands.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, Final, Protocol

import safeupload
import safeupload.storage

_NAMES: Final = {
    name: f"{module.__name__}.{name}" for module in (safeupload.storage, safeupload) for name in module.__all__
}
_NAME: Final = re.compile(r"(?<![`\w])`(\w+)`(?!`)")
_ALIAS: Final = re.compile(r"TypeAliasForwardRef\('(\w+)'\)")


def readable(described: object, signature: str | None, returned: str | None) -> tuple[str | None, str | None]:
    """Return a signature, and what is returned, in the words of the source."""
    if inspect.isclass(described) and issubclass(described, safeupload.SafeUploadError):
        own = vars(described).get("__init__")
        return (f"({', '.join(list(inspect.signature(own).parameters)[1:])})" if own else ""), None
    return _plain(signature), _plain(returned)


def _plain(part: str | None) -> str | None:
    if part is None:
        return None
    part = _ALIAS.sub(r"\1", part).replace(repr(safeupload.AVATAR), "AVATAR")
    return part.replace("<factory>", "...")  # Sphinx takes apart only what is Python


def linked(line: str) -> str:
    """Return a line of a docstring whose public names are links."""
    return _NAME.sub(lambda found: f"`~{_NAMES[found[1]]}`" if found[1] in _NAMES else found[0], line)


class _Sphinx(Protocol):
    """What is needed of the application of Sphinx, which the checks of types do not know."""

    def connect(self, event: str, callback: Callable[..., object]) -> int: ...


def _docstring(*called: Any) -> None:  # noqa: ANN401 - autodoc's, six of them
    """Be called by autodoc: the lines of the docstring come last, and are changed where they are."""
    called[-1][:] = map(linked, called[-1])


def _process(*called: Any) -> tuple[str | None, str | None]:  # noqa: ANN401 - autodoc's, seven of them
    """Be called by autodoc: what is described, options, the signature, and what is returned come last."""
    described, _, signature, returned = called[-4:]
    return readable(described, signature, returned)


def setup(app: _Sphinx) -> dict[str, Any]:
    """Be an extension of Sphinx."""
    app.connect("autodoc-process-signature", _process)
    app.connect("autodoc-process-docstring", _docstring)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
