"""Running work in a thread, to its end."""

from __future__ import annotations

import math
import os
import threading
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_POLL: Final = 0.002  # seconds; only while a cancelled caller waits for its thread


def default_limiter() -> anyio.CapacityLimiter:
    """
    Return the limiter for decoding on this event loop: as many at a time as there are processors.

    Not anyio's own limiter of 40: decoding is bound by processors and memory, and must not starve, or be starved by,
    the application's other threads.
    """
    return _of_this_loop(_DECODING, processors())


def storage_limiter() -> anyio.CapacityLimiter:
    """Return the limiter for steps of a storage on this event loop."""
    return _of_this_loop(_STORAGE, _WAITING_THREADS)


def check_limiter() -> anyio.CapacityLimiter:
    """Return the limiter for an application's checks on this event loop."""
    return _of_this_loop(_CHECKS, _WAITING_THREADS)


#: Steps of a storage, or checks, at a time. They wait for a disk or a scanner, not for a processor; more of them only
#: wait for each other.
_WAITING_THREADS: Final = 32
_DECODING: Final[anyio.lowlevel.RunVar[anyio.CapacityLimiter]] = anyio.lowlevel.RunVar("safeupload.limiter")
_CHECKS: Final[anyio.lowlevel.RunVar[anyio.CapacityLimiter]] = anyio.lowlevel.RunVar("safeupload.check_limiter")
_STORAGE: Final[anyio.lowlevel.RunVar[anyio.CapacityLimiter]] = anyio.lowlevel.RunVar("safeupload.storage_limiter")


def _of_this_loop(variable: anyio.lowlevel.RunVar[anyio.CapacityLimiter], places: int) -> anyio.CapacityLimiter:
    """Return the event loop's own limiter, made when it is first asked for."""
    try:
        return variable.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(places)
        variable.set(limiter)
        return limiter


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Job(Generic[T]):
    """A function that runs at most once, and not at all after it has been called off."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._lock = threading.Lock()
        self._begun = self._called_off = False
        self._ended = threading.Event()

    def __call__(self) -> T:
        """Run the function, in the worker thread."""
        with self._lock:
            if self._called_off:
                raise RuntimeError("the caller was cancelled")  # into a future that nobody waits for
            self._begun = True
        try:
            return self._function()
        finally:
            self._ended.set()

    def call_off(self) -> bool:
        """Keep the function from beginning; return whether nothing is running now."""
        with self._lock:
            self._called_off = True
            return not self._begun or self._ended.is_set()


async def to_completion(function: Callable[[], T], limiter: anyio.CapacityLimiter | None = None) -> T:
    """
    Run the function in a thread and return what it returns, never before it has ended.

    Without a `limiter` it starts at once: the caller has been let in by one already.

    anyio's own cancellation waits for the thread, but asyncio's `Task.cancel` (so `wait_for`, `timeout` and the loop's
    shutdown) ends the await and abandons the thread. Here the cancellation is delivered once the thread is done or is
    sure never to begin.
    """
    job = _Job(function)
    try:
        return await anyio.to_thread.run_sync(job, limiter=limiter or anyio.CapacityLimiter(math.inf))
    except anyio.get_cancelled_exc_class():
        while not job.call_off():
            await _a_moment()
        raise


async def to_the_end(
    function: Callable[[], T], limiter: anyio.CapacityLimiter, cancellations: list[BaseException]
) -> T:
    """
    Run the function in a thread even if the caller is, or will be, cancelled; return what it returns.

    A scope's cancellation waits outside. asyncio's own goes through every shield, so it is caught, and left in
    `cancellations` for the caller to raise when it is time.

    It may come again at every turn of the event loop: a scope of anyio's does that to whoever awaits a task, which is
    told too. Then nothing that has to be awaited would ever begin, so what was called off before its thread began is
    begun without awaiting anything.
    """
    done: Future[T] = Future()

    def work() -> None:
        try:
            done.set_result(function())
        except BaseException as error:  # noqa: BLE001 - for the caller, below
            done.set_exception(error)

    try:
        with anyio.CancelScope(shield=True):
            await to_completion(work, limiter)
    except anyio.get_cancelled_exc_class() as error:
        cancellations.append(error)
        if not done.done():
            await _begun_at_once(work, done, limiter)
    return done.result()


async def _begun_at_once(work: Callable[[], None], done: Future[T], limiter: anyio.CapacityLimiter) -> None:
    """Do the work in a thread of its own as soon as the limiter has a place, whatever comes of awaiting."""
    while True:
        try:
            limiter.acquire_on_behalf_of_nowait(done)
            break
        except anyio.WouldBlock:
            await _a_moment()
    try:
        threading.Thread(target=copy_context().run, args=(work,)).start()
        while not done.done():
            await _a_moment()
    finally:
        limiter.release_on_behalf_of(done)


async def _a_moment() -> None:
    """Let others go on; a cancellation has been told already."""
    with suppress(anyio.get_cancelled_exc_class()), anyio.CancelScope(shield=True):
        await anyio.sleep(_POLL)
