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
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, cast

from typing_extensions import Buffer

from safeupload.errors import Empty, TooLarge, UnsupportedSource

if TYPE_CHECKING:
    from collections.abc import Awaitable

__all__ = ["AsyncReader", "AsyncSource", "HasFile", "HasStream", "Reader", "Source", "is_async", "read", "read_async"]


class Reader(Protocol):
    """An object with a plain ``read(n)``."""

    def read(self, n: int, /) -> Buffer:
        """Return up to n bytes, none at the end."""


class AsyncReader(Protocol):
    """An object whose ``read(n)`` is a coroutine function."""

    def read(self, n: int, /) -> Awaitable[Buffer]:
        """Return up to n bytes, none at the end."""


class HasFile(Protocol):
    """An upload object that keeps its bytes in ``file``, as those of Starlette, Litestar and Django do."""

    @property
    def file(self) -> Any:  # noqa: ANN401 - the frameworks' own annotations go from BinaryIO to Optional[IO[Any]]
        """The file that holds the bytes."""


class HasStream(Protocol):
    """An upload object that keeps its bytes in ``stream``, as Werkzeug's does."""

    @property
    def stream(self) -> Any:  # noqa: ANN401
        """The file that holds the bytes."""


#: Chunks without a byte that an iterable may yield (Starlette's ends with one) before it is taken for endless.
_MAX_EMPTY: Final = 1000

Source: TypeAlias = Buffer | os.PathLike[str] | HasFile | HasStream | Reader | Iterable[Buffer]
AsyncSource: TypeAlias = Source | AsyncReader | AsyncIterable[Buffer]


def is_async(source: object) -> bool:
    """Tell whether the source must be read on the event loop."""
    reader = _reader(source)
    if reader is None:
        return isinstance(source, AsyncIterable)
    return inspect.iscoroutinefunction(reader.read)


def read(source: object, max_bytes: int) -> bytes:
    """
    Return the source's bytes.

    Raises `TooLarge` if there are more than `max_bytes`, `Empty` if there are none, and `UnsupportedSource`.
    """
    collected = _Collected(max_bytes)
    if (view := _view(source)) is not None:
        collected.add(source if isinstance(source, bytes) else view)
    elif isinstance(source, os.PathLike):
        with open(source, "rb", buffering=0) as file:  # noqa: PTH123 - a PathLike need not be a pathlib.Path
            _read_all(file, collected)
    elif is_async(source):
        raise UnsupportedSource(f"a {type(source).__name__} can only be read in the async forms")
    elif (reader := _reader(source)) is not None:
        _read_all(reader, collected)
    elif isinstance(source, Iterable) and not isinstance(source, str):
        for chunk in source:
            collected.add(chunk)
    else:
        raise UnsupportedSource(f"cannot read bytes from a {type(source).__name__}")
    return collected.result()


async def read_async(source: object, max_bytes: int) -> bytes:
    """Return the bytes of a source for which `is_async` is true, as `read` does for the others."""
    collected = _Collected(max_bytes)
    if (reader := _reader(source)) is not None:
        if hasattr(reader, "seekable") and await _settled(reader.seekable()):
            await _settled(reader.seek(0))
        while collected.add(await _settled(reader.read(collected.wanted))):
            pass
    else:
        chunks = aiter(cast("AsyncIterable[object]", source))
        try:
            async for chunk in chunks:
                collected.add(chunk)
        finally:  # a generator that is left before its end must not wait for the garbage collector
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()
    return collected.result()


async def _settled(value: Any) -> Any:  # noqa: ANN401
    """Await what can be awaited: of an async file's methods, some libraries leave `seekable` plain."""
    return await value if inspect.isawaitable(value) else value


def _read_all(reader: Any, collected: _Collected) -> None:  # noqa: ANN401 - whatever has read(n)
    """Read a plain reader from its beginning, if it can go there, to its end or to the limit."""
    if hasattr(reader, "seekable") and reader.seekable():
        reader.seek(0)
    while collected.add(reader.read(collected.wanted)):
        pass


def _reader(source: object) -> Any | None:  # noqa: ANN401
    """Return what the source is to be read by, None if nothing about it has ``read``."""
    for holder in (getattr(source, "file", None), getattr(source, "stream", None), source):
        if callable(getattr(holder, "read", None)):
            return holder
    return None


def _view(source: object) -> memoryview | None:
    """Return a view of a bytes-like object, None of anything else."""
    try:
        return memoryview(source)  # type: ignore[arg-type]  # to ask is the point
    except TypeError:
        return None


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
        view = _view(chunk)
        if view is None:
            if inspect.iscoroutine(chunk):
                chunk.close()  # or Python warns that nobody awaited it
            raise UnsupportedSource(f"the source gave a {type(chunk).__name__} where bytes were expected")
        if not view.nbytes:
            self._empty += 1
            if self._empty > _MAX_EMPTY:
                raise UnsupportedSource(f"the source gave {_MAX_EMPTY} empty chunks")
            return False
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
