"""
What autodoc reads, made ready for the reference.

Signatures name aliases and the default policy, and those of exceptions what one is made of. A public name between
backticks becomes a link wherever it stands. What nobody wrote so is a warning of Sphinx, and so ends the build.
"""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable
from typing import Any, Final, Protocol

import safeupload
import safeupload.storage

# Sphinx counts what comes to the loggers under its own.
_LOG: Final = logging.getLogger("sphinx.safeupload.signatures")
_NAMES: Final = {
    name: f"{module.__name__}.{name}" for module in (safeupload.storage, safeupload) for name in module.__all__
}
_NAME: Final = re.compile(r"(?<![`\w])`(\w+)`(?!`)")
_ALIAS: Final = re.compile(r"TypeAliasForwardRef\('(\w+)'\)")
#: What Python has to say of a string and of a field of a tuple, and a type that was torn out of a sentence.
_NONSENSE: Final = re.compile(r"\s*(str\(object=|Alias for field number|:type: )")


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


def whole(what: str, lines: list[str]) -> list[str]:
    """
    Return a docstring whose first sentence napoleon leaves whole.

    In that of an attribute it takes what is before a colon for a type, but for a colon at the end of the line.
    """
    if what not in {"attribute", "data", "property"} or not lines:
        return lines
    before, colon, after = lines[0].partition(": ")
    return [f"{before}:", after, *lines[1:]] if colon else lines


def nonsense(lines: list[str]) -> list[str]:
    """Return those lines of a docstring, as it will be shown, that nobody wrote so."""
    return list(filter(_NONSENSE.match, lines))


class _Sphinx(Protocol):
    """What is needed of the application of Sphinx, which the checks of types do not know."""

    def connect(self, event: str, callback: Callable[..., object], priority: int = 500) -> int: ...


def _before(*called: Any) -> None:  # noqa: ANN401 - autodoc's, six of them
    """Be called by autodoc, before napoleon is."""
    called[-1][:] = whole(called[1], called[-1])


def _after(*called: Any) -> None:  # noqa: ANN401 - autodoc's, six of them
    """Be called by autodoc, after everybody else."""
    for line in nonsense(called[-1]):
        _LOG.warning("%s is documented by %r", called[2], line)


def _skip(*called: Any) -> bool | None:  # noqa: ANN401 - autodoc's, six of them
    """Be called by autodoc: leave out the fields of named tuples, which their docstrings tell of."""
    return True if type(called[3]).__name__ == "_tuplegetter" else None


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
    app.connect("autodoc-process-docstring", _before, priority=400)
    app.connect("autodoc-process-docstring", _docstring)
    app.connect("autodoc-process-docstring", _after, priority=900)
    app.connect("autodoc-skip-member", _skip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
