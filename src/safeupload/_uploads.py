"""The two classes that an application makes one object of."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Final

from safeupload._arguments import Duration, count, seconds
from safeupload._blocks import AsyncReplacement, AsyncTransaction, Replacement, Transaction
from safeupload._checks import AsyncCheck, Check
from safeupload._drive import Flow, drive, drive_async, is_async_callable
from safeupload._events import Event, Observer
from safeupload._image import NormalizedImage
from safeupload._intake import Intake
from safeupload._keys import LONGEST, beside, is_key, new_suffix
from safeupload._recovery import MIN_AGE, Pause, RecoveryReport, recover
from safeupload._references import AsyncReferences, References
from safeupload._source import AsyncSource, Source
from safeupload._sweep import SweepReport, sweep
from safeupload._transaction import Core
from safeupload._workers import WorkerProcesses
from safeupload.errors import AsyncCallable, InvalidArgument, InvalidKey, InvalidReferences
from safeupload.policy import AVATAR, Policy
from safeupload.storage._base import Storage

__all__ = ["AsyncUploads", "Uploads"]

DAY: Final = timedelta(days=1)
#: Files that one sweep removes at the most: more than an application leaves behind in a week, and fewer than all of
#: them, should the database that was asked be the wrong one.
LIMIT: Final = 1000


class _Settings:
    """What both classes are made of."""

    def __init__(
        self,
        storage: Storage,
        references: References | AsyncReferences,
        *,
        retain: Duration | None,
        min_age: Duration,
        intake: Intake,
        on_event: Callable[[Event], object] | None,
    ) -> None:
        if not callable(references):
            raise InvalidReferences(f"references must be a function, not a {type(references).__name__}")
        self._storage = storage
        self._intake = intake
        self._references = references
        self._retain = 0 if retain is None else math.ceil(seconds("retain", retain))
        if self._retain > LONGEST:
            raise InvalidArgument(f"retain: expected at most {LONGEST} s, got {retain!r}")
        self._min_age = seconds("min_age", min_age)
        self._observe = Observer(on_event)
        self._pause = Pause()

    @property
    def storage(self) -> Storage:
        """Where the files are."""
        return self._storage

    @property
    def policy(self) -> Policy:
        """What uploads may be, and what becomes of them."""
        return self._intake.policy

    def rendition(self, key: str, name: str) -> str:
        """
        Return the name of a rendition's file, for its address and for `storage`: ``"<32 digits>-thumb.webp"``.

        Raises `InvalidKey` if the key is none, `InvalidArgument` if the policy has no rendition of that name.
        """
        try:
            rendition = self.policy.renditions[name]
        except KeyError:
            names = ", ".join(self.policy.renditions) or "none"
            raise InvalidArgument(f"name: {name!r} is no rendition of the policy, which has {names}") from None
        if not is_key(key):
            raise InvalidKey
        return beside(key, new_suffix(name, rendition.extension))

    def _core(self) -> Core:
        return Core(
            self._storage, self._references, self._retain, self._observe, min_age=self._min_age, pause=self._pause
        )

    def _recovering(self, min_age: Duration | None) -> Flow[RecoveryReport]:
        """Return the flow of `recover`, for whoever drives it."""
        age = self._min_age if min_age is None else seconds("min_age", min_age)
        return recover(self._storage, self._references, self._observe, age)

    def _sweeping(
        self,
        min_age: Duration,
        limit: int,
        *,
        dry_run: bool,
        force: bool,
        progress: Callable[[int], object] | None = None,
    ) -> Flow[SweepReport]:
        """Return the flow of `sweep`, for whoever drives it."""
        return sweep(
            self._storage,
            self._references,
            self._observe,
            seconds("min_age", min_age),
            count("limit", limit),
            dry_run=dry_run,
            force=force,
            progress=progress,
        )


class Uploads(_Settings):
    """
    Pictures of users, replaced together with the rows that name them.

    Args:
        storage: where the files are.
        policy: what uploads may be, and what becomes of them.
        references: given a list of keys, return those that committed rows name; look at every column that holds keys,
            in the primary database, on a connection of its own. Nothing is removed before it has been asked.
        retain: how long an old file stays after the commit, for caches, replicas and asynchronous commits.
        min_age: from which age on the replacements that follow, and `recover`, settle what a crash has left: longer
            than your database may go on committing for a client that is gone.
        decoder: where uploads are decoded: here, or in `WorkerProcesses`.
        checks: called with each upload and its picture before anything is stored, to refuse it: see `normalize`.
        on_event: called with each `Event`; what it raises is logged.

    """

    def __init__(
        self,
        storage: Storage,
        policy: Policy = AVATAR,
        *,
        references: References,
        retain: Duration | None = None,
        min_age: Duration = MIN_AGE,
        decoder: WorkerProcesses | None = None,
        checks: Iterable[Check] = (),
        on_event: Callable[[Event], object] | None = None,
    ) -> None:
        intake = Intake(policy, decoder, checks, may_be_async=False)
        super().__init__(storage, references, retain=retain, min_age=min_age, intake=intake, on_event=on_event)
        if is_async_callable(references):
            raise AsyncCallable("references is a coroutine function; use AsyncUploads, or a plain function")

    def replace(self, source: Source | NormalizedImage) -> Replacement:
        """
        Store a picture and put it in the place of another one: a block in which a row gets the new key.

        On entering, the upload is normalized and stored under a fresh key. See `Replacement` for the block.

        Raises:
            Rejected: the upload is no picture that the policy takes.
            StorageError: it could not be stored.

        """
        return Replacement(self._core(), source, self._intake)

    def transaction(self) -> Transaction:
        """Return a block for any number of files and rows; see `Transaction`."""
        return Transaction(self._core(), self._intake)

    def recover(self, *, min_age: Duration | None = None) -> RecoveryReport:
        """
        Settle what crashes and failed commits have left on record, if it is at least `min_age` old.

        Takes time in proportion to what is on record. The age is that of the object unless given; 0 is for tests.
        Raises what `references` raises, and `StorageError`.
        """
        return drive(self._recovering(min_age))

    def sweep(
        self, *, min_age: Duration = DAY, limit: int = LIMIT, dry_run: bool = False, force: bool = False
    ) -> SweepReport:
        """
        Look at every file, and remove those at least `min_age` old that no row names, at most `limit` of them.

        Needed only for what is not on record (a power loss, a row deleted by hand). With `dry_run` nothing is removed.

        Raises:
            SweepRefused: `references` names not one of the files, or more than half of them would go, which looks like
                the wrong database. `force` removes them all the same.
            StorageError: the storage cannot be listed.

        """
        return drive(self._sweeping(min_age, limit, dry_run=dry_run, force=force))


class AsyncUploads(_Settings):
    """
    `Uploads` for asyncio and trio: the same names, with `async with` and `await`.

    `references` is a coroutine function, and checks may be some. Decoding and every step of the storage run in threads,
    which a cancellation never leaves behind.
    """

    def __init__(
        self,
        storage: Storage,
        policy: Policy = AVATAR,
        *,
        references: AsyncReferences,
        retain: Duration | None = None,
        min_age: Duration = MIN_AGE,
        decoder: WorkerProcesses | None = None,
        checks: Iterable[AsyncCheck] = (),
        on_event: Callable[[Event], object] | None = None,
    ) -> None:
        intake = Intake(policy, decoder, checks, may_be_async=True)
        super().__init__(storage, references, retain=retain, min_age=min_age, intake=intake, on_event=on_event)
        if not is_async_callable(references):
            raise InvalidReferences("references must be a coroutine function (async def); for a plain one use Uploads")

    def replace(self, source: AsyncSource | NormalizedImage) -> AsyncReplacement:
        """Do what `Uploads.replace` does, with `async with`."""
        return AsyncReplacement(self._core(), source, self._intake)

    def transaction(self) -> AsyncTransaction:
        """Do what `Uploads.transaction` does, with `async with`."""
        return AsyncTransaction(self._core(), self._intake)

    async def recover(self, *, min_age: Duration | None = None) -> RecoveryReport:
        """Do what `Uploads.recover` does."""
        return await drive_async(self._recovering(min_age))

    async def sweep(
        self, *, min_age: Duration = DAY, limit: int = LIMIT, dry_run: bool = False, force: bool = False
    ) -> SweepReport:
        """Do what `Uploads.sweep` does."""
        return await drive_async(self._sweeping(min_age, limit, dry_run=dry_run, force=force))
