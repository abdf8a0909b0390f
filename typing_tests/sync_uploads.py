"""`Uploads` in an application with types; each line that must be an error says so to both type checkers."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal, assert_type

import safeupload
from safeupload.storage import LocalStorage, MemoryStorage


@dataclass
class User:
    """A row."""

    image_file: str | None = None


class Session:
    """What a mapper's session has."""

    def commit(self) -> None:
        """Commit."""


class AsyncSession:
    """What its async sibling has."""

    async def commit(self) -> None:
        """Commit."""


@dataclass
class Repository:
    """Where rows come from."""

    user: User = field(default_factory=User)
    session: Session = field(default_factory=Session)


def used(keys: list[str]) -> Iterable[str | None]:
    """Return the keys that rows name; a column without a picture gives None."""
    return [key for key in keys if key] or [None]


async def used_async(keys: list[str]) -> list[str]:
    """Do so by an async driver."""
    return keys


def small(data: bytes, picture: safeupload.NormalizedImage) -> None:
    """Check something."""
    if len(data) > picture.width * 1000:
        raise safeupload.CheckFailed("The picture is too detailed.")


async def scanned(data: bytes, picture: safeupload.NormalizedImage) -> None:
    """Check something that takes a server."""


uploads = safeupload.Uploads(
    LocalStorage("pictures"),
    references=used,
    retain=timedelta(hours=1),
    decoder=safeupload.WorkerProcesses(),
    checks=[small],
    on_event=print,
)


def replace(data: bytes, repository: Repository) -> str | None:
    """Put a picture in the place of another one."""
    with uploads.replace(data) as new:
        assert_type(new, safeupload.Replacement)
        assert_type(new.image, safeupload.NormalizedImage)
        assert_type(new.state, Literal["staged", "committed", "aborted", "in_doubt"])
        repository.user.image_file = assert_type(new.replacing(repository.user.image_file), str)
        new.commit(repository.session.commit)
    return repository.user.image_file


def delete(data: bytes, repository: Repository) -> bool:
    """Use the general form, with a commit that tells something."""
    with uploads.transaction() as tx:
        assert_type(tx, safeupload.Transaction)
        assert_type(tx.save(data), str)
        tx.release(repository.user.image_file)
        return assert_type(tx.commit(lambda: True), bool)


def upkeep() -> int:
    """Settle and sweep."""
    assert_type(uploads.recover(), safeupload.RecoveryReport)
    assert_type(uploads.sweep(min_age=timedelta(days=7), dry_run=True), safeupload.SweepReport)
    assert_type(uploads.policy, safeupload.Policy)
    return uploads.sweep(limit=10).examined


# --- misuse


async def wrong_block(data: bytes) -> None:
    """The blocks of this class are plain ones."""
    async with uploads.replace(data):  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass
    async with uploads.transaction():  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass
    await uploads.recover()  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]


def wrong_commit(data: bytes, session: AsyncSession, repository: Repository) -> None:
    """A coroutine function, or the result of a commit, is no commit."""
    with uploads.replace(data) as new:
        new.commit(session.commit)  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]
        new.commit(repository.session.commit())  # type: ignore[func-returns-value, arg-type]  # pyright: ignore[reportArgumentType]
    with uploads.transaction() as tx:
        tx.commit(session.commit)  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]


def wrong_source(key: str) -> None:
    """A key, or a name of a file, is no upload."""
    with uploads.replace(key):  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        pass
    with uploads.replace(data=b""):  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        pass
    with uploads.transaction() as tx:
        tx.save(key)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        tx.replacing(None)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


def no_way_to_the_key(data: bytes) -> None:
    """The key is handed out by `replacing` alone."""
    with uploads.replace(data) as new:
        new.key  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
        new.image.key  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
        new.state = "committed"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


safeupload.Uploads(MemoryStorage())  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
safeupload.Uploads("pictures", references=used)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
safeupload.Uploads(MemoryStorage(), references=used_async)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
safeupload.Uploads(MemoryStorage(), references=used, checks=[scanned])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
safeupload.Uploads(MemoryStorage(), references=used, retain="1 h")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
