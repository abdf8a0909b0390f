"""
The life of a transaction, as a table.

Three laws, which every line of the table obeys:

1. Whoever cannot know whether the database committed removes nothing.
2. No file is removed before `references` has said that no row names it; but a file whose key was never handed out has
   never had a row.
3. A transaction is in doubt before the commit is called, not after: what interrupts it finds the truth written down.

This module knows neither files nor databases. What it decides, `_transaction` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, Literal, NamedTuple, TypeAlias

from safeupload.errors import IllegalTransition

State: TypeAlias = Literal["staged", "committed", "aborted", "in_doubt"]


class Happened(StrEnum):
    """What can happen to a transaction."""

    SAVED = "save() or replacing() or release()"
    COMMIT_CALLED = "commit()"
    ABORT_CALLED = "abort()"
    LEFT_UNSEEN = "block left, no key handed out, nothing released"
    LEFT = "block left, a key handed out or a file released"
    CONFIRMED = "database names the new keys and not the old ones"
    REFUTED = "commit refused or abort() called, and the database does not name the new keys"
    UNKNOWN = "anything else"


class Does(StrEnum):
    """What becomes of the files."""

    NOTHING = ""
    ASK = "ask the database"
    RELEASE = "remove the old files, drop the marks"
    DISCARD = "remove the new files, drop the marks"
    KEEP = "keep all files and marks"
    LET_GO = "keep all files and marks, for others to settle"


class Step(NamedTuple):
    """One line of the table."""

    state: State
    does: Does


TABLE: Final[Mapping[tuple[State, Happened], Step]] = {
    ("staged", Happened.SAVED): Step("staged", Does.NOTHING),
    ("staged", Happened.COMMIT_CALLED): Step("in_doubt", Does.ASK),
    ("staged", Happened.ABORT_CALLED): Step("in_doubt", Does.ASK),
    ("staged", Happened.LEFT_UNSEEN): Step("aborted", Does.DISCARD),
    ("staged", Happened.LEFT): Step("in_doubt", Does.LET_GO),
    ("in_doubt", Happened.CONFIRMED): Step("committed", Does.RELEASE),
    ("in_doubt", Happened.REFUTED): Step("aborted", Does.DISCARD),
    ("in_doubt", Happened.UNKNOWN): Step("in_doubt", Does.KEEP),
    ("in_doubt", Happened.LEFT): Step("in_doubt", Does.LET_GO),
    ("in_doubt", Happened.LEFT_UNSEEN): Step("in_doubt", Does.LET_GO),
    ("committed", Happened.LEFT): Step("committed", Does.NOTHING),
    ("committed", Happened.LEFT_UNSEEN): Step("committed", Does.NOTHING),
    ("aborted", Happened.LEFT): Step("aborted", Does.NOTHING),
    ("aborted", Happened.LEFT_UNSEEN): Step("aborted", Does.NOTHING),
    ("aborted", Happened.ABORT_CALLED): Step("aborted", Does.NOTHING),
}


def following(state: State, happened: Happened, call: str = "") -> Step:
    """Return the line of the table; raise `IllegalTransition` for a `call` that it does not have."""
    try:
        return TABLE[state, happened]
    except KeyError:
        raise IllegalTransition(state, call or str(happened)) from None
