"""What an application checks before a picture is stored."""

import contextlib
import pickle
import threading
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from builders.pictures import encoded, jpeg, photograph

import safeupload
from safeupload import AsyncUploads, CheckFailed, NormalizedImage, Uploads
from safeupload.storage import MemoryStorage

UPLOAD = jpeg(640, 480)


def nothing(_: Collection[str]) -> list[str]:
    """Say that no row names anything."""
    return []


async def nothing_async(_: Collection[str]) -> list[str]:
    """Say that no row names anything."""
    return []


def passes(upload: bytes, picture: NormalizedImage) -> None:
    """Let everything pass."""


async def passes_async(upload: bytes, picture: NormalizedImage) -> None:
    """Let everything pass, in its own time."""
    await anyio.lowlevel.checkpoint()


def refuses(upload: bytes, picture: NormalizedImage) -> None:
    """Let nothing pass."""
    raise CheckFailed("No cats, please.")


async def refuses_async(upload: bytes, picture: NormalizedImage) -> None:
    """Let nothing pass, in its own time."""
    await anyio.lowlevel.checkpoint()
    refuses(upload, picture)


def is_down(upload: bytes, picture: NormalizedImage) -> None:
    """Fail to reach a scanner."""
    raise ConnectionRefusedError("nobody listens")


def says_no(upload: bytes, picture: NormalizedImage) -> bool:
    """Return what nobody would look at."""
    return False


def hidden(check: Callable[..., Any]) -> Callable[..., Any]:
    """Return a plain function that returns what the check does."""

    def call(upload: bytes, picture: NormalizedImage) -> object:
        return check(upload, picture)

    return call


def stored(checks: Any, upload: Any = UPLOAD, *, form: str) -> NormalizedImage:  # noqa: ANN401 - also wrong ones
    """Store an upload by one of the classes; a storage that has been touched must hold its picture."""
    storage = MemoryStorage()

    def plainly() -> NormalizedImage:
        with Uploads(storage, references=nothing, checks=checks).replace(upload) as new:
            assert list(storage.keys())
            return new.image

    async def otherwise() -> NormalizedImage:
        async with AsyncUploads(storage, references=nothing_async, checks=checks).replace(upload) as new:
            assert list(storage.keys())
            return new.image

    try:
        return plainly() if form == "sync" else anyio.run(otherwise, backend=form)
    finally:
        assert not list(storage.keys())


def normalized(checks: Any, upload: Any = UPLOAD, *, form: str) -> NormalizedImage:  # noqa: ANN401
    """Normalize an upload by one of the functions."""
    if form == "sync":
        return safeupload.normalize(upload, checks=checks)
    return anyio.run(partial(safeupload.normalize_async, upload, checks=checks), backend=form)


both = pytest.mark.parametrize("form", ["sync", "asyncio", "trio"])
everywhere = pytest.mark.parametrize("take", [normalized, stored])


@both
@everywhere
def test_a_check_gets_the_bytes_of_the_upload_and_the_picture(take: Callable[..., NormalizedImage], form: str) -> None:
    """Each check is called once, in the order given, with what was uploaded and what was made of it."""
    calls: list[tuple[str, bytes, NormalizedImage]] = []

    def first(upload: bytes, picture: NormalizedImage) -> None:
        calls.append(("first", upload, picture))

    def second(upload: bytes, picture: NormalizedImage) -> None:
        calls.append(("second", upload, picture))

    picture = take([first, second], iter([UPLOAD[:1000], UPLOAD[1000:]]), form=form)

    assert [name for name, *_ in calls] == ["first", "second"]
    assert all(upload == UPLOAD and type(upload) is bytes and seen == picture for _, upload, seen in calls)
    assert picture == safeupload.normalize(UPLOAD)


@both
@everywhere
def test_what_a_check_refuses_is_not_stored(take: Callable[..., NormalizedImage], form: str) -> None:
    """The refusal of a check is the answer, and the checks behind it are not asked."""
    asked: list[str] = []

    def behind(upload: bytes, picture: NormalizedImage) -> None:
        asked.append("behind")

    with pytest.raises(CheckFailed, match="No cats") as caught:
        take([passes, refuses, behind], form=form)

    assert caught.value.problem()["detail"] == "No cats, please."
    assert not asked


@both
@everywhere
def test_a_check_that_could_not_tell_lets_nothing_pass(take: Callable[..., NormalizedImage], form: str) -> None:
    """A check that fails is a 503 with its own error behind it, and never a picture."""
    with pytest.raises(safeupload.CheckUnavailable) as caught:
        take([is_down], form=form)

    assert isinstance(caught.value.__cause__, ConnectionRefusedError)
    assert caught.value.status == 503


@both
@everywhere
def test_a_check_that_returns_its_verdict_is_a_mistake(take: Callable[..., NormalizedImage], form: str) -> None:
    """Nobody looks at a `return False`, so it fails at once, for a good picture too."""
    with pytest.raises(safeupload.InvalidCheck, match="returned False"):
        take([says_no], form=form)


@both
@everywhere
@pytest.mark.parametrize("checks", [passes, 5, [passes, "scan"]], ids=["function", "number", "text"])
def test_what_cannot_be_checks_is_a_mistake(take: Callable[..., NormalizedImage], checks: object, form: str) -> None:
    """A list of functions is wanted; a function alone, or a list of other things, is refused."""
    with pytest.raises(safeupload.InvalidArgument, match="checks"):
        take(checks, form=form)


@both
@everywhere
def test_what_is_refused_anyway_is_not_checked(take: Callable[..., NormalizedImage], form: str) -> None:
    """A scanner sees only what is a picture."""
    asked: list[bytes] = []

    def asks(upload: bytes, picture: NormalizedImage) -> None:
        asked.append(upload)

    with pytest.raises(safeupload.NotAnImage):
        take([asks], b"<script>", form=form)

    assert not asked


@everywhere
def test_coroutine_functions_are_for_the_async_forms(take: Callable[..., NormalizedImage]) -> None:
    """The plain forms refuse one beforehand, and one that hides in a lambda when it is called."""
    with pytest.raises(safeupload.AsyncCallable):
        take([passes_async], form="sync")
    with pytest.raises(safeupload.AsyncCallable):
        take([hidden(passes_async)], form="sync")


@everywhere
@pytest.mark.parametrize("as_it_is", [True, False], ids=["open", "hidden"])
@pytest.mark.parametrize("form", ["asyncio", "trio"])
def test_coroutine_functions_are_awaited(take: Callable[..., NormalizedImage], *, form: str, as_it_is: bool) -> None:
    """A coroutine function refuses and lets pass like a plain one, also behind a function that returns its promise."""
    yes, no = (each if as_it_is else hidden(each) for each in (passes_async, refuses_async))

    assert take([yes], form=form) == safeupload.normalize(UPLOAD)
    with pytest.raises(CheckFailed):
        take([no], form=form)


def test_plain_checks_leave_the_event_loop_alone() -> None:
    """In the async forms a plain check runs in a thread, a coroutine function on the loop."""
    threads: dict[str, threading.Thread] = {}

    def plain(upload: bytes, picture: NormalizedImage) -> None:
        threads["plain"] = threading.current_thread()

    async def coroutine(upload: bytes, picture: NormalizedImage) -> None:
        threads["coroutine"] = threading.current_thread()

    normalized([plain, coroutine], form="asyncio")

    assert threads["plain"] is not threading.current_thread()
    assert threads["coroutine"] is threading.current_thread()


def test_checks_that_wait_do_not_keep_others_from_decoding() -> None:
    """As many scanners as there are places for decoding may hang: the next upload is decoded all the same."""

    async def main() -> None:
        limiter = anyio.CapacityLimiter(1)
        hanging = anyio.Event()

        async def hangs(upload: bytes, picture: NormalizedImage) -> None:
            hanging.set()
            await anyio.sleep_forever()

        async with anyio.create_task_group() as group:
            group.start_soon(partial(safeupload.normalize_async, UPLOAD, limiter=limiter, checks=[hangs]))
            await hanging.wait()
            with anyio.fail_after(20):
                await safeupload.normalize_async(UPLOAD, limiter=limiter)
            group.cancel_scope.cancel()

    anyio.run(main)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_cancelled_check_leaves_nothing(backend: str) -> None:
    """Whoever gives up while a scanner hangs leaves no file behind."""
    storage = MemoryStorage()

    async def hangs(upload: bytes, picture: NormalizedImage) -> None:
        await anyio.sleep_forever()

    async def main() -> bool:
        uploads = AsyncUploads(storage, references=nothing_async, checks=[hangs])
        with anyio.move_on_after(0.3) as scope:
            async with uploads.replace(UPLOAD):
                pass
        return scope.cancelled_caught

    assert anyio.run(main, backend=backend)
    assert not list(storage.keys())


@both
def test_a_picture_that_was_not_checked_cannot_be_stored(form: str) -> None:
    """A picture that was made elsewhere is stored if it has passed the same checks, and is a mistake otherwise."""
    with pytest.raises(safeupload.NotChecked):
        stored([passes], safeupload.normalize(UPLOAD), form=form)
    with pytest.raises(safeupload.NotChecked):
        stored([passes, is_down], safeupload.normalize(UPLOAD, checks=[passes]), form=form)

    picture = safeupload.normalize(UPLOAD, checks=[passes])
    assert stored([passes], picture, form=form) is picture
    assert stored([], picture, form=form) is picture
    assert stored([passes], pickle.loads(pickle.dumps(picture)), form=form) == picture


def test_a_transaction_checks_every_file() -> None:
    """`save` checks, too, in both forms."""
    storage = MemoryStorage()
    with contextlib.suppress(CheckFailed), Uploads(storage, references=nothing, checks=[refuses]).transaction() as tx:
        tx.save(UPLOAD)
        pytest.fail("it was not checked")

    async def main() -> None:
        async with AsyncUploads(storage, references=nothing_async, checks=[refuses_async]).transaction() as tx:
            await tx.save(UPLOAD)

    with pytest.raises(CheckFailed):
        anyio.run(main)
    assert not list(storage.keys())


def test_checks_see_what_workers_have_decoded() -> None:
    """The check gets the same, wherever the picture was made."""
    seen: list[tuple[bytes, NormalizedImage]] = []

    def look(upload: bytes, picture: NormalizedImage) -> None:
        seen.append((upload, picture))

    upload = encoded(photograph(64, 64), "PNG")
    with safeupload.WorkerProcesses(1) as workers:
        picture = safeupload.normalize(upload, decoder=workers, checks=[look])

    assert seen == [(upload, picture)]
    assert picture == safeupload.normalize(upload)


def test_an_interrupt_in_a_check_is_no_verdict() -> None:
    """Ctrl-C goes through as it is."""

    def interrupted(upload: bytes, picture: NormalizedImage) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        safeupload.normalize(UPLOAD, checks=[interrupted])
