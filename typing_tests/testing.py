"""The kit of tests, as tests of an application use it."""

from collections.abc import Callable
from typing import assert_type

from safeupload import AsyncUploads, Uploads
from safeupload.storage import MemoryStorage, Storage
from safeupload.testing import (
    Database,
    EndpointReport,
    FaultyStorage,
    Sample,
    check_endpoint,
    check_endpoint_async,
    endpoint_cases,
    losing_reply,
    picture,
)


class Response:
    """What clients return."""

    status_code: int


def send(filename: str, data: bytes, content_type: str) -> Response:
    """Upload a file."""
    raise NotImplementedError


async def send_async(filename: str, data: bytes, content_type: str) -> Response:
    """Upload a file."""
    raise NotImplementedError


def checking() -> None:
    """Check an endpoint."""
    assert_type(check_endpoint(send), EndpointReport)
    check_endpoint(send, endpoint_cases(accepted={302}, refused={200}))
    check_endpoint(send, fetch=lambda answer: bytes(answer.status_code))
    check_endpoint(send, fetch=lambda answer: answer.status_code)  # type: ignore[arg-type, return-value]  # pyright: ignore[reportArgumentType]
    check_endpoint(send, ["baseline.jpg"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]


async def checking_async() -> None:
    """Check it with coroutines."""
    assert_type(await check_endpoint_async(send_async), EndpointReport)
    await check_endpoint_async(send)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def storing() -> None:
    """Store in what fails when it is told to."""
    storage: Storage = FaultyStorage(MemoryStorage())
    faulty = FaultyStorage(storage)
    faulty.fail("save", after=True)
    faulty.fail("sav")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    database = Database({"ada": None})
    database.next_commit("reply_lost")
    database.next_commit("reply lost")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Uploads(faulty, references=database.references)
    AsyncUploads(faulty, references=database.references_async)
    assert_type(picture(), Sample)
    with database.session() as session:
        assert_type(losing_reply(session.commit), Callable[[], None])
        losing_reply(session.commit)("now")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def committing() -> None:
    """Lose the reply to a coroutine."""
    async with Database().session() as session:
        await losing_reply(session.commit_async)()
