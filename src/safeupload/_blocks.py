"""
What stands behind `with` and `async with`: one file, or any number of them.

Written once for each of the two, with no decision in it: see `_transaction`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Generic, Self, TypeVar

from safeupload._drive import drive, drive_async, is_async_callable
from safeupload._image import NormalizedImage
from safeupload._intake import Intake
from safeupload._machine import State
from safeupload._source import AsyncSource, Source
from safeupload._transaction import Core
from safeupload.errors import AsyncCallable, InvalidArgument

__all__ = ["AsyncReplacement", "AsyncTransaction", "Replacement", "Transaction"]

T = TypeVar("T")


class _Block:
    """What all four blocks have."""

    def __init__(self, core: Core, intake: Intake) -> None:
        self._core = core
        self._intake = intake

    @property
    def state(self) -> State:
        """
        What is known of the transaction.

        "staged" until `commit` or `abort`; then "committed" or "aborted", or "in_doubt" where nobody can know.
        """
        return self._core.state


class _OneFile(_Block, Generic[T]):
    """What both replacements have."""

    def __init__(self, core: Core, source: T, intake: Intake) -> None:
        super().__init__(core, intake)
        self._source = source
        self._image: NormalizedImage | None = None

    @property
    def image(self) -> NormalizedImage:
        """The picture that was stored."""
        if self._image is None:
            raise InvalidArgument("the picture is there once the block has been entered")
        return self._image

    def replacing(self, old: object) -> str:
        """
        Return the key of the new file, and note what the row held: that file goes after the commit.

        Read the old value under a lock (``SELECT ... FOR UPDATE``), or two uploads at once leave a file behind. None,
        "" and Django's `FieldFile` are fine; what is not one of our keys (a default picture) is kept.
        """
        return self._core.replacing(old)


class _Many(_Block):
    """What both transactions have."""

    def release(self, old: object) -> None:
        """Note what a row held that is deleted or cleared: that file goes after the commit. See `replacing`."""
        self._core.release(old)


class Replacement(_OneFile["Source | NormalizedImage"]):
    """
    The block of `Uploads.replace`.

    ::

        with uploads.replace(upload) as new:
            user = session.get(User, user_id, with_for_update=True, populate_existing=True)
            user.image_file = new.replacing(user.image_file)
            new.commit(session.commit)

    Left before `replacing`, by an early return or an exception, the new file goes at once.
    """

    def __enter__(self) -> Self:
        self._image = self._intake.take(self._source)
        drive(self._core.begin())
        drive(self._core.save(self._image, hand_out=False))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        drive(self._core.leave(error))

    def commit(self, commit: Callable[[], T]) -> T:
        """
        Call the database's commit, find out what became of it, remove the file that is not needed any more.

        Returns what `commit` returned and raises what it raised. The old file is removed only if the commit has
        happened, the new one only if it was refused, and none if that cannot be known.

        Raises:
            NotCommitted: the call returned, but the database does not name the new key, or names the old one still.
            IllegalTransition: a second call.
            StorageError: the old file could not be put on record, so the commit was not called.

        """
        return _commit(self._core, commit)

    def abort(self) -> None:
        """
        Remove the new file: nothing was or will be committed.

        Raises:
            NotAborted: the database names the new key all the same.

        """
        drive(self._core.abort())


class Transaction(_Many):
    """
    The block of `Uploads.transaction`: any number of files and rows, committed together.

    ::

        with uploads.transaction() as tx:
            user = session.get(User, user_id, with_for_update=True, populate_existing=True)
            tx.release(user.image_file)
            session.delete(user)
            tx.commit(session.commit)
    """

    def __enter__(self) -> Self:
        drive(self._core.begin())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        drive(self._core.leave(error))

    def save(self, source: Source | NormalizedImage) -> str:
        """Normalize an upload, store it, and return its key for a row. Raises `Rejected` and `StorageError`."""
        return drive(self._core.save(self._intake.take(source), hand_out=True))

    def commit(self, commit: Callable[[], T]) -> T:
        """Do what `Replacement.commit` does, for all files together."""
        return _commit(self._core, commit)

    def abort(self) -> None:
        """Do what `Replacement.abort` does, for all new files."""
        drive(self._core.abort())


class AsyncReplacement(_OneFile["AsyncSource | NormalizedImage"]):
    """The block of `AsyncUploads.replace`: `Replacement`, with `await new.commit(session.commit)`."""

    async def __aenter__(self) -> Self:
        self._image = await self._intake.take_async(self._source)
        await drive_async(self._core.begin())
        await drive_async(self._core.save(self._image, hand_out=False))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await drive_async(self._core.leave(error))

    async def commit(self, commit: Callable[[], Awaitable[T]]) -> T:
        """Do what `Replacement.commit` does; once called, the commit is not cancelled by a scope around it."""
        result: T = await drive_async(self._core.commit(commit))
        return result

    async def abort(self) -> None:
        """Do what `Replacement.abort` does."""
        await drive_async(self._core.abort())


class AsyncTransaction(_Many):
    """The block of `AsyncUploads.transaction`: `Transaction`, with `await tx.save(...)` and `await tx.commit(...)`."""

    async def __aenter__(self) -> Self:
        await drive_async(self._core.begin())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await drive_async(self._core.leave(error))

    async def save(self, source: AsyncSource | NormalizedImage) -> str:
        """Do what `Transaction.save` does."""
        return await drive_async(self._core.save(await self._intake.take_async(source), hand_out=True))

    async def commit(self, commit: Callable[[], Awaitable[T]]) -> T:
        """Do what `Replacement.commit` does, for all files together."""
        result: T = await drive_async(self._core.commit(commit))
        return result

    async def abort(self) -> None:
        """Do what `Replacement.abort` does, for all new files."""
        await drive_async(self._core.abort())


def _commit(core: Core, commit: Callable[[], T]) -> T:
    if is_async_callable(commit):
        raise AsyncCallable("commit was given a coroutine function; use AsyncUploads, or a plain function")
    result: T = drive(core.commit(commit))
    return result
