"""What happens to files and transactions, told to the log and to the application's hook."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from safeupload._machine import State

__all__ = ["Event", "EventName", "Observer"]

EventName: TypeAlias = Literal[
    "saved", "committed", "aborted", "in_doubt", "released", "recovered", "swept", "foreign_value", "failed"
]

_LOG: Final = logging.getLogger("safeupload")
_TEXTS: Final[dict[EventName, str]] = {
    "saved": "a new file is stored",
    "committed": "the commit happened",
    "aborted": "the commit did not happen; the new files are removed",
    "in_doubt": "nobody knows whether the commit happened; all files are kept, and recover() settles it",
    "released": "an old file is removed",
    "recovered": "open marks are settled",
    "swept": "files that no row names are removed",
    "foreign_value": "the row held something that is not a key; it is kept",
    "failed": "a step failed; what it left is on record for the next recover()",
}
_WARNINGS: Final = frozenset({"in_doubt", "foreign_value", "failed"})


@dataclass(frozen=True, kw_only=True)
class Event:
    """
    Something that happened, for metrics.

    `name` is one of "saved", "committed", "aborted", "in_doubt", "released", "recovered" and "swept", or of
    "foreign_value" (a row held something that is no key) and "failed" (a step failed and will be done later). `keys`
    are the files concerned, `state` is the transaction's, if there is one, and `seconds` how long it took.
    """

    name: EventName
    keys: tuple[str, ...] = ()
    state: State | None = None
    seconds: float = 0.0


class Observer:
    """Tells events to the log "safeupload" and to the application's hook."""

    def __init__(self, hook: Callable[[Event], object] | None) -> None:
        self._hook = hook

    def __call__(
        self,
        name: EventName,
        keys: Iterable[str] = (),
        *,
        state: State | None = None,
        seconds: float = 0.0,
        error: Exception | None = None,
    ) -> None:
        """
        Tell an event.

        The log's records carry `event`, `key` (several are separated by spaces), `state` and `seconds`. An `error` is
        one of the storage or of `references`, which no client has a word in.
        """
        keys = tuple(keys)
        level = logging.WARNING if name in _WARNINGS else logging.INFO
        if _LOG.isEnabledFor(level):
            key = " ".join(keys)
            _LOG.log(
                level,
                "%s: %s%s",
                name,
                _TEXTS[name],
                f" [{key}]" if key else "",
                exc_info=error,
                extra={"event": name, "key": key, "state": state, "seconds": seconds},
            )
        if self._hook is not None:
            event = Event(name=name, keys=keys, state=state, seconds=seconds)
            try:
                self._hook(event)
            except Exception:  # noqa: BLE001 - a broken metric must not break a transaction
                _LOG.exception("on_event raised")
