"""A connection to SQLite whose COMMIT can be made to fail, to lose its answer, or to be the last thing that happens."""

from __future__ import annotations

import os
import signal
import sqlite3
from typing import ClassVar

REFUSED, NOT_SENT, LOST, KILLED_BEFORE, KILLED_AFTER = "refused", "not sent", "lost", "killed before", "killed after"


class FaultyConnection(sqlite3.Connection):
    """`plan` says what happens at the next commit of any connection of this process."""

    plan: ClassVar[str] = ""

    def commit(self) -> None:
        """Commit, more or less."""
        plan = FaultyConnection.plan if self.in_transaction else ""
        if plan:
            FaultyConnection.plan = ""
        if plan == REFUSED:
            raise sqlite3.IntegrityError("the commit is refused")
        if plan in {NOT_SENT, LOST}:
            if plan == LOST:
                super().commit()
            raise sqlite3.OperationalError("the connection is lost")
        if plan == KILLED_BEFORE:
            os.kill(os.getpid(), signal.SIGKILL)
        super().commit()
        if plan == KILLED_AFTER:
            os.kill(os.getpid(), signal.SIGKILL)
