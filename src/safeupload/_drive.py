"""
Running a flow: the order of steps is a generator, written once; what makes the calls is one of two drivers.

A flow yields a `Call` and gets back what it returned, or has thrown into it what it raised.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

import anyio
import anyio.lowlevel

from safeupload._threads import check_limiter, storage_limiter, to_completion, to_the_end
from safeupload.errors import AsyncCallable

T = TypeVar("T")


class Call(NamedTuple):
    """
    One step of a flow.

    What blocks, as every step of a storage does, the async driver makes in a thread, of which the `limiter` says how
    many there are; what has none (the application's commit, its `references`) is called where the caller is. A shielded
    step is made although the caller has been cancelled.
    """

    function: Callable[[], Any]
    limiter: Callable[[], anyio.CapacityLimiter] | None
    shielded: bool


Flow: TypeAlias = Generator[Call, Any, T]


def storing(function: Callable[..., Any], *args: object, shielded: bool = True) -> Call:
    """Return a step of the storage; most must not be left out, whatever happens to the caller."""
    return Call(partial(function, *args), storage_limiter, shielded)


def checking(function: Callable[..., Any], *args: object) -> Call:
    """Return a step of the application that may take its time: those who wait for it must not keep up a storage."""
    return Call(partial(function, *args), check_limiter, shielded=False)


def asking(function: Callable[..., Any], *args: object, shielded: bool = True) -> Call:
    """Return a step of the application."""
    return Call(partial(function, *args), None, shielded)


#: Where a cancellation that has come is delivered.
CHECKPOINT: Final = Call(lambda: None, None, shielded=False)


def drive(flow: Flow[T]) -> T:
    """Run a flow here and now."""
    advance: Callable[[], Call] = partial(next, flow)
    try:
        while True:
            try:
                call = advance()
            except StopIteration as end:
                result: T = end.value
                return result
            try:
                advance = partial(flow.send, call.function() if call.limiter else _plain(call.function()))
            except BaseException as error:  # noqa: BLE001 - the flow decides
                advance = partial(flow.throw, error)
    finally:
        del advance  # it may hold an exception whose traceback holds this frame


async def drive_async(flow: Flow[T]) -> T:
    """
    Run a flow on the event loop, the steps that block in threads.

    No step is left half done: a cancellation is delivered after it. One that meets a shielded step is kept, and
    delivered to the flow at its next step that is not, or to the caller when the flow has ended.
    """
    advance: Callable[[], Call] = partial(next, flow)
    cancellations: list[BaseException] = []
    try:
        while True:
            try:
                call = advance()
            except StopIteration as end:
                result: T = end.value
                break
            try:
                if not call.shielded:
                    _deliver(cancellations)
                    await anyio.lowlevel.checkpoint_if_cancelled()
                if call.limiter is None:
                    with anyio.CancelScope(shield=call.shielded):
                        value = call.function()
                        advance = partial(flow.send, await value if inspect.isawaitable(value) else value)
                elif call.shielded:
                    value = await to_the_end(call.function, call.limiter(), cancellations)
                    advance = partial(flow.send, value)
                else:
                    value = await to_completion(call.function, call.limiter())
                    advance = partial(flow.send, value)
            except BaseException as error:  # noqa: BLE001 - the flow decides
                advance = partial(flow.throw, error)
    except BaseException as error:
        _deliver(cancellations, error)
        raise
    finally:
        del advance
    _deliver(cancellations)
    return result


def _deliver(cancellations: list[BaseException], cause: BaseException | None = None) -> None:
    """Raise a cancellation that was kept, if there is one."""
    if cancellations:
        raise cancellations.pop() from cause


def _plain(value: object) -> object:
    """Return what a plain function returned; refuse a promise of it, which nobody here can wait for."""
    if not inspect.isawaitable(value):
        return value
    if inspect.iscoroutine(value):
        value.close()  # or Python warns that nobody awaited it
    raise AsyncCallable("a coroutine function was called where a plain one is expected; use AsyncUploads")


def is_async_callable(function: object) -> bool:
    """Tell whether calling the object makes a coroutine; a lambda that returns one does not show it."""
    while isinstance(function, partial):
        function = function.func
    call = getattr(type(function), "__call__", None)  # noqa: B004 - of an object with an async __call__
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)
