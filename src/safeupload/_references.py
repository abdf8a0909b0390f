"""Asking the database: which of these keys do committed rows name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias, cast

from safeupload._drive import Flow, asking
from safeupload.errors import InvalidReferences

References: TypeAlias = Callable[[list[str]], Iterable[str | None]]
AsyncReferences: TypeAlias = Callable[[list[str]], Awaitable[Iterable[str | None]]]


def ask(
    references: References | AsyncReferences, keys: Iterable[str], *, shielded: bool = True
) -> Flow[frozenset[str]]:
    """
    Return those of the keys that rows name.

    Raises what `references` raises, and `InvalidReferences` for an answer that cannot be one: taken for "none of them",
    a mistake there would remove files.
    """
    asked = list(dict.fromkeys(keys))
    if not asked:
        return frozenset()
    answer = yield asking(references, list(asked), shielded=shielded)
    if isinstance(answer, str | bytes) or not isinstance(answer, Iterable):
        raise InvalidReferences(f"references must return an iterable of keys, not a {type(answer).__name__}")
    named: set[str] = set()
    for name in cast("Iterable[object]", answer):
        if isinstance(name, str):
            named.add(name)
        elif name is not None:  # a column without a picture
            raise InvalidReferences(
                f"references must return keys, which are strings; it returned a {type(name).__name__}"
                " (with SQLAlchemy use scalars(), with Django values_list(..., flat=True))"
            )
    return frozenset(named.intersection(asked))
