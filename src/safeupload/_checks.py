"""What an application has to say about a picture before it is stored: a virus scanner, a classifier, a rule."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from safeupload._drive import Flow, asking, checking, is_async_callable
from safeupload.errors import AsyncCallable, CheckUnavailable, InvalidArgument, InvalidCheck, SafeUploadError

if TYPE_CHECKING:
    from safeupload._image import NormalizedImage

__all__ = ["AsyncCheck", "Check", "checked", "known"]

#: Called with the bytes of the upload and the picture that was made of it. It returns None, or raises `CheckFailed` or
#: another `Rejected`.
Check: TypeAlias = "Callable[[bytes, NormalizedImage], None]"
#: The same, where a coroutine function will do as well.
AsyncCheck: TypeAlias = "Callable[[bytes, NormalizedImage], Awaitable[None] | None]"

C = TypeVar("C", bound="AsyncCheck")


def known(checks: Iterable[C], *, may_be_async: bool) -> tuple[C, ...]:
    """Return the checks; raise `InvalidArgument` or `AsyncCallable` for what cannot be one."""
    if callable(checks) or not isinstance(checks, Iterable):
        raise InvalidArgument(f"checks: expected a list of functions, got {checks!r}")
    functions = tuple(checks)
    for check in functions:
        if not callable(check):
            raise InvalidArgument(f"checks: expected functions, got {check!r}")
        if is_async_callable(check) and not may_be_async:
            raise AsyncCallable(f"checks: {check!r} is a coroutine function; use the async forms, or a plain function")
    return functions


def checked(data: bytes, picture: NormalizedImage, checks: tuple[AsyncCheck, ...]) -> Flow[NormalizedImage]:
    """
    Return the picture if every check lets it pass; it carries that it did.

    A check that raises anything else than an error of ours could not tell, and a picture of which nobody can tell
    passes as little as one that is refused.
    """
    for check in checks:
        try:
            if is_async_callable(check):
                result = yield asking(check, data, picture, shielded=False)
            else:
                (result,) = yield checking(_boxed, check, data, picture)
            if inspect.isawaitable(result):  # a function that returns a promise of its answer
                result = yield asking(_same, result, shielded=False)
        except SafeUploadError:
            raise
        except Exception as error:
            raise CheckUnavailable(f"a check could not tell: {error!r}") from error
        if result is not None:
            raise InvalidCheck(f"{check!r} returned {result!r}; a check returns None, or raises CheckFailed")
    return replace(picture, checks=checks)


def _boxed(check: AsyncCheck, data: bytes, picture: NormalizedImage) -> tuple[object]:
    """Return what the check does, in a tuple: trio lets no thread return a promise."""
    return (check(data, picture),)


def _same(value: object) -> object:
    return value
