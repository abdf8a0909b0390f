"""
What an exception of a commit says: that the database refused, that it never got so far, or nothing at all.

"unknown" is the safe answer: then nothing is removed. It is given whenever the reply to a COMMIT may be lost, and one
such error anywhere in the chain (``__cause__``, ``__context__``, SQLAlchemy's ``orig``, a group's members)
outranks all others. No driver is imported: exceptions are known by their SQLSTATE and by the names that PEP 249
prescribes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, Literal, TypeAlias, cast

from safeupload.errors import AsyncCallable

Outcome: TypeAlias = Literal["refused", "plain", "unknown"]

#: Classes of SQLSTATE after which a transaction may have been committed all the same: 08 connection exception,
#: 57 operator intervention, 58 system error, XX internal error (PostgreSQL, appendix A), and 40003, which says so.
_LOST: Final = re.compile(r"08...|57...|58...|XX...|40003", re.ASCII)
_SQLSTATE: Final = re.compile(r"[0-9A-Z]{5}", re.ASCII)

#: PEP 249's names, and those of drivers and mappers that mean the same.
_NAMES: Final[dict[str, Outcome]] = {
    "IntegrityError": "refused",
    "DataError": "refused",
    "ProgrammingError": "refused",
    "NotSupportedError": "refused",
    "StaleDataError": "refused",  # SQLAlchemy: fewer rows than expected
    "OperationalError": "unknown",
    "InterfaceError": "unknown",
    "InternalError": "unknown",
    "InternalClientError": "unknown",  # asyncpg
    "DatabaseError": "unknown",
    "DBAPIError": "unknown",  # SQLAlchemy
    "Error": "unknown",
}
#: What libraries call a time-out or a lost connection that is no OSError: trio.TooSlowError, pymongo's AutoReconnect.
_LOST_NAME: Final = re.compile(r"time_?d?_?out|tooslow|connect|network|cancel", re.IGNORECASE)


def outcome(error: BaseException) -> Outcome:
    """Return what the exception, and all in its chain, says of the commit that raised it."""
    found = {_of_one(each) for each in _chain(error)}
    if "unknown" in found:
        return "unknown"
    return "refused" if "refused" in found else "plain"


def _of_one(error: BaseException) -> Outcome:
    if not isinstance(error, Exception) or isinstance(error, OSError | EOFError | MemoryError | AsyncCallable):
        return "unknown"
    sqlstate = _sqlstate(error)
    if sqlstate is not None:
        return "unknown" if _LOST.fullmatch(sqlstate) else "refused"
    names = [each.__name__ for each in type(error).__mro__]
    if any(_LOST_NAME.search(name) for name in names):
        return "unknown"
    known: list[Outcome] = [*(_NAMES[name] for name in names if name in _NAMES), "plain"]
    return known[0]


def _sqlstate(error: BaseException) -> str | None:
    """
    Return the SQLSTATE of an exception, or of the one that it stands for.

    SQLAlchemy and Django raise an exception of their own, without one, from the driver's.
    """
    for each in (error, getattr(error, "orig", None), error.__cause__ if _is_named(error) else None):
        for attribute in ("sqlstate", "pgcode"):  # psycopg 3 and asyncpg; psycopg2
            value = getattr(each, attribute, None)
            if isinstance(value, str) and _SQLSTATE.fullmatch(value):
                return value
    return None


def _is_named(error: BaseException) -> bool:
    return any(each.__name__ in _NAMES for each in type(error).__mro__)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the exception and all that it came from, each once."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        each = waiting.pop()
        if isinstance(each, BaseException) and id(each) not in seen:
            seen.add(id(each))
            yield each
            waiting += [each.__cause__, each.__context__, getattr(each, "orig", None)]
            if isinstance(each, BaseExceptionGroup):
                waiting += cast("BaseExceptionGroup[BaseException]", each).exceptions
