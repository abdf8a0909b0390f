"""
Reading an upload: never more than the policy's `max_bytes` and one, from whatever holds it.

What a source is, in this order (the first that fits):

1. bytes, bytearray, memoryview and the like;
2. a path (`os.PathLike`; not a string, which is most likely a file name that a client sent);
3. an object whose ``file`` or ``stream`` has ``read``: the upload objects of FastAPI, Starlette, Litestar, Flask
   (Werkzeug) and Django;
4. an object with ``read``; its ``read`` may be a coroutine function in the async forms;
5. an iterable of bytes or, in the async forms, an async iterable.

A file that can seek is read from its beginning, so that a look at it beforehand does no harm. ``fileno`` is never asked
for, and no name or Content-Type is looked at. What the source itself raises is passed on as it is.
"""

from __future__ import annotations

import inspect
import io
import os
import time
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeAlias, cast

import anyio.lowlevel
from typing_extensions import Buffer

from safeupload.errors import Empty, TooLarge, UnsupportedSource

if TYPE_CHECKING:
    from collections.abc import Awaitable

__all__ = [
    "AsyncReader",
    "AsyncSource",
    "Found",
    "HasFile",
    "HasStream",
    "Reader",
    "Source",
    "find",
    "may_be_async",
    "read",
    "read_async",
]


class Reader(Protocol):
    """An object with a plain ``read(n)``."""

    def read(self, n: int, /) -> Buffer:
        """Return up to n bytes, none at the end."""
        ...


class AsyncReader(Protocol):
    """An object whose ``read(n)`` is a coroutine function."""

    def read(self, n: int, /) -> Awaitable[Buffer]:
        """Return up to n bytes, none at the end."""
        ...


class HasFile(Protocol):
    """An upload object that keeps its bytes in ``file``, as those of Starlette, Litestar and Django do."""

    @property
    def file(self) -> Any:  # noqa: ANN401 - the frameworks' own annotations go from BinaryIO to Optional[IO[Any]]
        """The file that holds the bytes."""
        ...


class HasStream(Protocol):
    """An upload object that keeps its bytes in ``stream``, as Werkzeug's does."""

    @property
    def stream(self) -> Any:  # noqa: ANN401
        """The file that holds the bytes."""
        ...


#: Chunks without a byte that an iterable may yield in a row (Starlette's ends with one) before it is taken for endless.
_MAX_EMPTY: Final = 1000
#: Seconds that an async source which never waits may hold the event loop.
_TURN: Final = 0.002

# The last one is for Django: `request.FILES["file"]` is, by its stubs, an upload or the list that stands for none, of
# which nothing can be read: `Empty`.
Source: TypeAlias = Buffer | os.PathLike[str] | HasFile | HasStream | Reader | Iterable[Buffer] | list[object]
AsyncSource: TypeAlias = Source | AsyncReader | AsyncIterable[Buffer]


class Found(NamedTuple):
    """What a source is read by: exactly one of these."""

    whole: Any = None  # bytes-like
    path: Any = None
    reader: Any = None
    chunks: Any = None
    is_async: bool = False  # of a reader or chunks


def find(source: object) -> Found:
    """Return what the source is, by the order above; raise `UnsupportedSource` if it is nothing of it."""
    if _is_buffer(source):
        return Found(whole=source)
    if isinstance(source, os.PathLike):
        return Found(path=os.fspath(cast("os.PathLike[str]", source)))
    for holder in (getattr(source, "file", None), getattr(source, "stream", None), source):
        if callable(getattr(holder, "read", None)):
            return Found(reader=holder, is_async=_has_async_read(holder))
    if isinstance(source, Iterable) and not isinstance(source, str):
        return Found(chunks=source)
    if isinstance(source, AsyncIterable):
        return Found(chunks=source, is_async=True)
    raise UnsupportedSource(f"cannot read bytes from a {type(source).__name__}")


def may_be_async(source: object) -> bool:
    """
    Tell whether the source has anything async about it, so that it must be looked at on the event loop.

    Others are looked at in the thread: the `file` of an object may be a property that opens one.
    """
    return _has_async_read(source) or isinstance(source, AsyncIterable)


def read(source: object, max_bytes: int) -> bytes:
    """
    Return the source's bytes; it may have been found already.

    Raises `TooLarge` if there are more than `max_bytes`, `Empty` if there are none, and `UnsupportedSource`.
    """
    found = source if isinstance(source, Found) else find(source)
    collected = _Collected(max_bytes)
    if found.is_async:
        raise UnsupportedSource(f"a {type(source).__name__} can only be read in the async forms")
    if found.whole is not None:
        collected.add(found.whole)
    elif found.path is not None:
        with open(found.path, "rb", buffering=0) as file:  # noqa: PTH123 - whatever os.fspath returned
            _read_all(file, collected)
    elif found.reader is not None:
        _read_all(found.reader, collected)
    else:
        for chunk in found.chunks:
            collected.add(chunk)
    return collected.result()


async def read_async(found: Found, max_bytes: int) -> bytes:
    """Return the bytes of an async source, as `read` does of the others."""
    collected = _Collected(max_bytes)
    pause = _Pause()
    if found.reader is not None:
        reader = found.reader
        if hasattr(reader, "seekable") and await _settled(reader.seekable()):
            await _settled(reader.seek(0))
        while collected.add(await _settled(reader.read(collected.wanted))):
            await pause.if_due()
    else:
        chunks = aiter(found.chunks)
        try:
            async for chunk in chunks:
                collected.add(chunk)
                await pause.if_due()
        finally:  # a generator that is left before its end must not wait for the garbage collector
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()
    return collected.result()


def _read_all(reader: Any, collected: _Collected) -> None:  # noqa: ANN401 - whatever has read(n)
    """Read a plain reader from its beginning, if it can go there, to its end or to the limit."""
    if hasattr(reader, "seekable") and reader.seekable():
        reader.seek(0)
    while collected.add(reader.read(collected.wanted)):
        pass


async def _settled(value: Any) -> Any:  # noqa: ANN401
    """Await what can be awaited: of an async file's methods, some libraries leave `seekable` plain."""
    return await value if inspect.isawaitable(value) else value


def _has_async_read(source: object) -> bool:
    """Tell whether the object's own ``read`` is a coroutine function."""
    return inspect.iscoroutinefunction(getattr(source, "read", None))


def _is_buffer(source: object) -> bool:
    """Tell whether the object is bytes-like."""
    try:
        memoryview(cast("Buffer", source)).release()  # to ask is the point
    except TypeError:
        return False
    return True


class _Pause:
    """Lets the event loop go on, beside a source that never has to wait."""

    def __init__(self) -> None:
        self._due = time.monotonic() + _TURN

    async def if_due(self) -> None:
        """Give up the loop for a moment, if we have held it for long enough."""
        if time.monotonic() >= self._due:
            await anyio.lowlevel.checkpoint()
            self._due = time.monotonic() + _TURN


class _Collected:
    """The chunks of one upload, counted as they come."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._total = 0
        self._empty = 0
        self._whole: bytes | None = None  # the first chunk, as long as it is the only one
        self._buffer = io.BytesIO()

    @property
    def wanted(self) -> int:
        """How much to ask for: one byte more than is allowed tells that there is too much."""
        return self._limit + 1 - self._total

    def add(self, chunk: object) -> bool:
        """Take in a chunk; return whether there was anything in it."""
        if not _is_buffer(chunk):
            if inspect.iscoroutine(chunk):
                chunk.close()  # or Python warns that nobody awaited it
            raise UnsupportedSource(f"the source gave a {type(chunk).__name__} where bytes were expected")
        with memoryview(cast("Buffer", chunk)) as view:  # and given back at once: an mmap wants to be closed
            return self._add(view, chunk)

    def _add(self, view: memoryview, chunk: object) -> bool:
        if not view.nbytes:
            self._empty += 1
            if self._empty > _MAX_EMPTY:
                raise UnsupportedSource(f"the source gave {_MAX_EMPTY} empty chunks in a row")
            return False
        self._empty = 0
        self._total += view.nbytes
        if self._total > self._limit:
            raise TooLarge(self._limit)
        piece = chunk if isinstance(chunk, bytes) else view.tobytes()
        if self._total == len(piece):
            self._whole = piece
        else:
            self._buffer.write(self._whole or b"")
            self._buffer.write(piece)
            self._whole = None
        return True

    def result(self) -> bytes:
        """Return everything, without a copy where it came in one piece."""
        if not self._total:
            raise Empty
        return self._buffer.getvalue() if self._whole is None else self._whole
