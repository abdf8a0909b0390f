"""`AsyncUploads` in an application with types; each line that must be an error says so to both type checkers."""

from collections.abc import AsyncIterator
from typing import Literal, assert_type

import anyio
from sync_uploads import AsyncSession, Session, User, scanned, small, used, used_async

import safeupload
from safeupload.storage import MemoryStorage

uploads = safeupload.AsyncUploads(MemoryStorage(), references=used_async, checks=[small, scanned])


async def replace(body: AsyncIterator[bytes], user: User, session: AsyncSession) -> str | None:
    """Put a picture in the place of another one."""
    async with uploads.replace(body) as new:
        assert_type(new, safeupload.AsyncReplacement)
        assert_type(new.image, safeupload.NormalizedImage)
        assert_type(new.state, Literal["staged", "committed", "aborted", "in_doubt"])
        user.image_file = assert_type(new.replacing(user.image_file), str)
        await new.commit(session.commit)
    return user.image_file


async def answer() -> int:
    """Commit, and tell something."""
    return 1


async def several(data: bytes, user: User) -> int:
    """Use the general form."""
    async with uploads.transaction() as tx:
        assert_type(tx, safeupload.AsyncTransaction)
        assert_type(await tx.save(data), str)
        tx.release(user.image_file)
        return assert_type(await tx.commit(answer), int)


async def upkeep() -> None:
    """Settle and sweep."""
    assert_type(await uploads.recover(min_age=60), safeupload.RecoveryReport)
    assert_type(await uploads.sweep(), safeupload.SweepReport)


async def pictures(body: AsyncIterator[bytes]) -> None:
    """Make pictures without storing them."""
    limiter = anyio.CapacityLimiter(2)
    picture = await safeupload.normalize_async(body, limiter=limiter, checks=[scanned])
    assert_type(picture, safeupload.NormalizedImage)
    assert_type(await safeupload.validate_async(picture.data), safeupload.ImageInfo)


# --- misuse


def wrong_block(data: bytes) -> None:
    """The blocks of this class are async ones."""
    with uploads.replace(data):  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass
    with uploads.transaction():  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass


async def forgotten_await(data: bytes, session: AsyncSession) -> None:
    """What does nothing is told."""
    async with uploads.replace(data) as new:
        new.commit(session.commit)  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]
        new.abort()  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]
    async with uploads.transaction() as tx:
        tx.save(data)  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]
        tx.commit(session.commit)  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]
        key: str = tx.save(data)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
        del key
    uploads.recover()  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]
    uploads.sweep()  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]
    safeupload.validate_async(data)  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]
    safeupload.normalize_async(data).data  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


async def wrong_commit(data: bytes, session: Session) -> None:
    """A plain function is no async commit, nor is a commit that has begun."""
    async with uploads.replace(data) as new:
        await new.commit(session.commit)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        await new.commit(answer())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def wrong_source(body: AsyncIterator[bytes], key: str) -> None:
    """A key is no upload, and what only the async forms can read is not for the others."""
    async with uploads.replace(key):  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        pass
    safeupload.normalize(body)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def no_way_to_the_key(data: bytes) -> None:
    """The key is handed out by `replacing` alone."""
    async with uploads.replace(data) as new:
        new.key  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


safeupload.AsyncUploads(MemoryStorage(), references=used)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
