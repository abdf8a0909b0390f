"""Work in a thread is never left behind, whoever cancels whatever."""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import anyio
import anyio.to_thread
import pytest

from safeupload._threads import _Job, default_limiter, processors, storage_limiter, to_completion, to_the_end

BACKENDS = ["asyncio", "trio"]


class Work:
    """A function that takes a while, and notes when it is in the middle of it."""

    def __init__(self, seconds: float = 0.05) -> None:
        self.seconds = seconds
        self.begun = threading.Event()
        self.running = False
        self.ended = 0

    def __call__(self) -> str:
        """Work."""
        self.running = True
        self.begun.set()
        time.sleep(self.seconds)
        self.running = False
        self.ended += 1
        return "done"


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_result_is_returned(backend: str) -> None:
    """What the function returns comes back."""
    assert anyio.run(to_completion, Work(), backend=backend) == "done"


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_error_is_raised(backend: str) -> None:
    """What the function raises comes back as it is, not in a group."""

    def fail() -> None:
        raise KeyError("boom")

    with pytest.raises(KeyError, match="boom"):
        anyio.run(to_completion, fail, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_p9_a_cancelled_scope_waits_for_the_thread(backend: str) -> None:
    """A time-out of anyio's is delivered when the thread is done."""
    work = Work()

    async def main() -> None:
        with anyio.move_on_after(0.01) as scope:
            await to_completion(work)
        assert scope.cancelled_caught or work.ended
        assert work.begun.is_set()
        assert not work.running

    anyio.run(main, backend=backend)
    assert work.ended == 1


@pytest.mark.parametrize("times", [1, 5])
def test_p9_a_task_cancelled_by_asyncio_waits_for_the_thread(times: int) -> None:
    """The cancel of asyncio itself, however often it is repeated, is delivered once, when the thread is done."""
    work = Work(0.1)

    async def main() -> None:
        task = asyncio.create_task(to_completion(work))
        await anyio.to_thread.run_sync(work.begun.wait)
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0.005)
        assert work.running
        assert not task.done()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not work.running
        assert work.ended == 1
        assert task.cancelled()

    asyncio.run(main())


async def within(seconds: float, awaitable: Coroutine[Any, Any, str]) -> str:
    """Do what `wait_for` does with the newer `timeout`."""
    async with asyncio.timeout(seconds):
        return await awaitable


@pytest.mark.parametrize("limited", [lambda seconds, work: asyncio.wait_for(work, seconds), within])
def test_p9_asyncio_timeouts_wait_for_the_thread(limited: Callable[..., Coroutine[Any, Any, str]]) -> None:
    """`wait_for` and `timeout` raise TimeoutError with no thread left behind."""
    work = Work(0.1)

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await limited(0.02, to_completion(work))
        assert not work.running
        await asyncio.sleep(0)  # the cancellation is used up

    asyncio.run(main())
    assert work.ended == 1


def test_p9_the_shutdown_of_the_loop_waits_for_the_thread() -> None:
    """A task that `asyncio.run` cancels on its way out leaves no thread behind."""
    work = Work(0.1)

    async def main() -> None:
        task = asyncio.create_task(to_completion(work))
        await anyio.to_thread.run_sync(work.begun.wait)
        assert not task.done()

    asyncio.run(main())
    assert not work.running
    assert work.ended == 1


def test_a_call_that_never_began_never_begins() -> None:
    """A call cancelled before its thread took it up returns at once and never runs."""
    work = Work()

    async def main() -> None:
        task = asyncio.create_task(to_completion(work))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not work.running
        ended = work.ended
        await asyncio.sleep(0.1)
        assert work.ended == ended

    for _ in range(20):
        asyncio.run(main())


@pytest.mark.parametrize("backend", BACKENDS)
def test_other_threads_of_the_application_do_not_hold_us_up(backend: str) -> None:
    """Work starts though the application has filled anyio's own limiter of 40 threads."""
    work = Work(0)

    async def main() -> None:
        anyio.to_thread.current_default_thread_limiter().total_tokens = 1
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, Work(0.2))
            await anyio.sleep(0.01)
            with anyio.fail_after(5):
                assert await to_completion(work) == "done"

    anyio.run(main, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_default_limiter_is_one_for_a_loop(backend: str) -> None:
    """Every call on a loop shares one limiter of as many places as there are processors; other loops have their own."""
    seen = []

    async def main() -> None:
        limiter = default_limiter()
        seen.append(limiter)
        assert default_limiter() is limiter
        assert 1 <= limiter.total_tokens < 1000

    anyio.run(main, backend=backend)
    anyio.run(main, backend=backend)
    assert seen[0] is not seen[1]


def test_a_job_called_off_never_runs() -> None:
    """A thread that takes a job up after its caller has left does not run it."""
    work = Work(0)
    job = _Job(work)

    assert job.call_off()
    with pytest.raises(RuntimeError, match="cancelled"):
        job()
    assert work.ended == 0


def test_a_job_that_runs_is_not_called_off() -> None:
    """Calling off tells whether the work is over: not while it runs, and then again."""
    work = Work(0.05)
    job = _Job(work)
    thread = threading.Thread(target=job)
    thread.start()
    work.begun.wait()

    assert not job.call_off()
    thread.join()
    assert job.call_off()
    assert work.ended == 1


def test_as_many_at_a_time_as_there_areprocessors(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processors that this process may use count; where the system does not tell, all of them; at least one."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {process, 1, 2}, raising=False)
    assert processors() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert processors() == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert processors() == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_steps_of_a_storage_have_a_limiter_of_their_own(backend: str) -> None:
    """One for a loop, beside that for decoding; no more steps run at a time than it has places."""
    running: list[int] = []
    most: list[int] = []

    def step() -> None:
        running.append(1)
        most.append(len(running))
        time.sleep(0.005)
        running.pop()

    async def main() -> None:
        limiter = storage_limiter()
        assert storage_limiter() is limiter
        assert limiter is not default_limiter()
        limiter.total_tokens = 3
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(to_the_end, step, limiter, [])

    anyio.run(main, backend=backend)
    assert len(most) == 20
    assert max(most) == 3


@pytest.mark.parametrize("times", [1, 2, 3])
def test_what_must_be_done_is_done(times: int) -> None:
    """A call that waits for a place when it is cancelled, again and again, is made all the same; the caller is told."""
    done: list[str] = []
    cancellations: list[BaseException] = []

    async def main() -> None:
        limiter = anyio.CapacityLimiter(1)
        await limiter.acquire()
        task = asyncio.create_task(to_the_end(lambda: done.append("done"), limiter, cancellations))
        for _ in range(times):
            await asyncio.sleep(0.005)
            task.cancel()
        await asyncio.sleep(0.005)
        assert not task.done()
        limiter.release()
        await task

    asyncio.run(main())
    assert done == ["done"]
    assert len(cancellations) == 1


@pytest.mark.parametrize("taken", [False, True], ids=["free", "taken"])
def test_what_must_be_done_is_done_while_it_is_cancelled_at_every_turn(*, taken: bool) -> None:
    """A scope of anyio's does that to a task that awaits another one; it neither hangs nor keeps each cancellation."""
    done: list[str] = []
    cancellations: list[BaseException] = []
    limiter = anyio.CapacityLimiter(1)

    async def inner(begun: asyncio.Event) -> None:
        begun.set()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        await to_the_end(lambda: done.append("done"), limiter, cancellations)

    async def outer(begun: asyncio.Event) -> None:
        await asyncio.create_task(inner(begun))

    async def main() -> None:
        begun = asyncio.Event()
        if taken:
            limiter.acquire_on_behalf_of_nowait("another")
            asyncio.get_running_loop().call_later(0.1, limiter.release_on_behalf_of, "another")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(outer, begun)
            await begun.wait()
            tasks.cancel_scope.cancel()

    asyncio.run(main())
    assert done == ["done"]
    assert len(cancellations) == 1
    assert limiter.borrowed_tokens == 0


def test_what_must_be_done_may_raise() -> None:
    """Its exception is the caller's, cancelled or not; nothing is done twice."""
    calls: list[int] = []

    def fail() -> None:
        calls.append(1)
        time.sleep(0.01)
        raise ZeroDivisionError

    async def main() -> None:
        cancellations: list[BaseException] = []
        task = asyncio.create_task(to_the_end(fail, anyio.CapacityLimiter(1), cancellations))
        await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(ZeroDivisionError):
            await task
        assert len(cancellations) == 1

    asyncio.run(main())
    assert calls == [1]
