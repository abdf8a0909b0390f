"""Every kind of source is read to its end or to the limit, and never further."""

import array
import contextlib
import io
import mmap
import os
import pathlib
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from unittest.mock import MagicMock

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeupload import Empty, Misuse, TooLarge, UnsupportedSource
from safeupload._source import find, may_be_async, read
from safeupload._source import read_async as read_found

DATA = bytes(range(256)) * 4


class Trickle(io.RawIOBase):
    """A reader that gives a few bytes at a time and notes what it was asked for."""

    def __init__(self, data: bytes, step: int = 7) -> None:
        self.left, self.step, self.asked = data, step, 0

    def read(self, n: int = -1) -> bytes:
        """Give at most `step` bytes."""
        self.asked = max(self.asked, n)
        piece, self.left = self.left[: min(n, self.step)], self.left[min(n, self.step) :]
        return piece


class Holder:
    """An upload object that holds its bytes in an attribute."""

    def __init__(self, **attributes: object) -> None:
        vars(self).update(attributes)


class AsyncHolder:
    """What FastAPI hands out: an async `read`, and a plain file beside it."""

    def __init__(self, data: bytes) -> None:
        self.file = io.BytesIO(data)

    async def read(self, n: int) -> bytes:
        """Fail: the plain file is to be preferred."""
        raise AssertionError(n)


class AsyncFile:
    """A file whose methods are coroutines."""

    def __init__(self, data: bytes, *, seekable: bool = True) -> None:
        self._file, self._seekable = io.BytesIO(data), seekable

    async def read(self, n: int) -> bytes:
        """Read."""
        return self._file.read(n)

    async def seekable(self) -> bool:
        """Tell whether `seek` works."""
        return self._seekable

    async def seek(self, position: int) -> int:
        """Go there."""
        assert self._seekable
        return self._file.seek(position)


class AsyncReaderOnly:
    """An object with nothing but an async `read`."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    async def read(self, n: int) -> bytes:
        """Read."""
        return self._file.read(n)


class AsyncChunks:
    """An async iterator that is no generator."""

    def __init__(self, data: bytes) -> None:
        self._left = [data[at : at + 100] for at in range(0, len(data), 100)]

    def __aiter__(self) -> "AsyncChunks":
        """Return itself."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next chunk."""
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop(0)


async def chunks_of(*chunks: bytes) -> AsyncIterator[bytes]:
    """Yield the chunks."""
    for chunk in chunks:
        yield chunk


async def read_async(source: object, max_bytes: int) -> bytes:
    """Read what is found to be async."""
    found = find(source)
    assert found.is_async
    return await read_found(found, max_bytes)


OPEN: list[Any] = []


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    """Close the temporary files that a test has opened."""
    yield
    while OPEN:
        OPEN.pop().close()


def spooled(data: bytes, max_size: int) -> tempfile.SpooledTemporaryFile[bytes]:
    """Return a spooled temporary file at its beginning."""
    file = tempfile.SpooledTemporaryFile(max_size)  # noqa: SIM115 - handed out
    OPEN.append(file)
    file.write(data)
    file.seek(0)
    return file


SOURCES: dict[str, Callable[[bytes], object]] = {
    "bytes": lambda data: data,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "slice of a memoryview": lambda data: memoryview(b"x".join(bytes([byte]) for byte in data))[::2],
    "array": lambda data: array.array("B", data),
    "BytesIO": io.BytesIO,
    "BufferedReader": lambda data: io.BufferedReader(io.BytesIO(data)),
    "raw reader in small steps": Trickle,
    "spooled in memory": lambda data: spooled(data, 1 << 20),
    "spooled on disk": lambda data: spooled(data, 1),
    "object with file": lambda data: Holder(file=io.BytesIO(data)),
    "object with stream": lambda data: Holder(stream=io.BytesIO(data)),
    "object with file and async read": AsyncHolder,
    "object without a file but with stream": lambda data: Holder(file=None, stream=io.BytesIO(data)),
    "list of bytes": lambda data: [data[:5], b"", data[5:]],
    "generator": lambda data: (data[at : at + 10] for at in range(0, len(data), 10)),
    "iterable of memoryviews": lambda data: [memoryview(data)[:9], bytearray(data[9:])],
}
ASYNC_SOURCES: dict[str, Callable[[bytes], object]] = {
    "async file": AsyncFile,
    "async reader": AsyncReaderOnly,
    "async file that cannot seek": lambda data: AsyncFile(data, seekable=False),
    "async iterator": AsyncChunks,
    "async generator": lambda data: chunks_of(data[:5], data[5:], b""),
}


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
def test_every_source_gives_its_bytes(make: Callable[[bytes], object]) -> None:
    """What went in comes out, whatever it came in."""
    assert read(make(DATA), len(DATA)) == DATA


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
def test_one_byte_too_many_is_too_large(make: Callable[[bytes], object]) -> None:
    """The limit is exact."""
    with pytest.raises(TooLarge) as caught:
        read(make(DATA), len(DATA) - 1)

    assert caught.value.limit == len(DATA) - 1


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
def test_nothing_is_empty(make: Callable[[bytes], object]) -> None:
    """A source without a byte is refused as empty."""
    with pytest.raises(Empty):
        read(make(b""), 10)


@pytest.mark.parametrize("make", ASYNC_SOURCES.values(), ids=ASYNC_SOURCES)
def test_async_sources_obey_the_same_rules(make: Callable[[bytes], object]) -> None:
    """An async source gives its bytes, at most the limit, and is refused when empty."""

    async def main() -> None:
        assert may_be_async(make(DATA))
        assert await read_async(make(DATA), len(DATA)) == DATA
        with pytest.raises(TooLarge):
            await read_async(make(DATA), len(DATA) - 1)
        with pytest.raises(Empty):
            await read_async(make(b""), 10)

    anyio.run(main)


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
def test_plain_sources_are_not_read_on_the_loop(make: Callable[[bytes], object]) -> None:
    """Whatever can be read in a thread is."""
    assert not find(make(DATA)).is_async


def test_a_path_is_read(tmp_path: pathlib.Path) -> None:
    """A path object names a file of the application's."""
    path = tmp_path / "picture"
    path.write_bytes(DATA)

    assert read(path, len(DATA)) == DATA
    with pytest.raises(TooLarge):
        read(path, len(DATA) - 1)


def test_an_endless_file_ends_at_the_limit() -> None:
    """A device that never ends is read no further than the limit and one."""
    with pytest.raises(TooLarge):
        read(pathlib.Path("/dev/zero"), 1000)


def test_a_string_is_refused() -> None:
    """A string is most likely a name that a client sent."""
    with pytest.raises(UnsupportedSource, match="str"):
        read("/etc/passwd", 1000)


@pytest.mark.parametrize(
    "source", [None, 5, "", object(), {"a": 1}, ["text"], [1, 2], io.StringIO("text"), Holder(read=3)]
)
def test_what_has_no_bytes_is_a_misuse(source: object) -> None:
    """A wrong argument is the developer's mistake, said as such and as a TypeError."""
    with pytest.raises(UnsupportedSource) as caught:
        read(source, 1000)

    assert isinstance(caught.value, Misuse)
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize("make", ASYNC_SOURCES.values(), ids=ASYNC_SOURCES)
def test_an_async_source_in_a_sync_form_is_a_misuse(make: Callable[[bytes], object]) -> None:
    """The message says which form to use."""
    with pytest.raises(UnsupportedSource, match="async forms"):
        read(make(DATA), 1000)


def test_a_reader_is_never_asked_for_more_than_the_limit_and_one() -> None:
    """A reader that obeys can make us hold one byte too many at the most."""
    reader = Trickle(bytes(10_000), step=100_000)

    with pytest.raises(TooLarge):
        read(reader, 999)
    assert reader.asked == 1000
    assert len(reader.left) == 9000


def test_an_iterable_is_left_at_the_limit() -> None:
    """Nothing is asked for once there is too much."""
    asked = []

    def endless() -> Iterator[bytes]:
        while True:
            asked.append(1)
            yield bytes(100)

    with pytest.raises(TooLarge):
        read(endless(), 950)
    assert len(asked) == 10


def test_an_endless_source_of_nothing_ends() -> None:
    """Empty chunks for ever are a misuse, not an endless loop; a few are fine."""

    def nothing() -> Iterator[bytes]:
        while True:
            yield b""

    with pytest.raises(UnsupportedSource, match="empty"):
        read(nothing(), 10)
    assert read([b""] * 1000 + [b"x"], 10) == b"x"
    with pytest.raises(UnsupportedSource):
        read([b""] * 1001 + [b"x"], 10)


def test_a_file_is_read_from_its_beginning() -> None:
    """Looking at an upload before, or normalizing it twice, does no harm."""
    file = io.BytesIO(DATA)
    file.read(100)

    assert read(file, len(DATA)) == DATA
    assert read(file, len(DATA)) == DATA
    assert read(Holder(file=file), len(DATA)) == DATA


def test_an_async_file_is_read_from_its_beginning() -> None:
    """Async files are read from their beginning too."""

    async def main() -> None:
        file = AsyncFile(DATA)
        await file.read(100)
        assert await read_async(file, len(DATA)) == DATA

    anyio.run(main)


def test_a_disguised_coroutine_is_a_misuse() -> None:
    """A plain function that returns a coroutine is found out, without a warning that nobody awaited it."""

    class Disguised:
        def read(self, n: int) -> object:
            return AsyncFile(DATA).read(n)

    with pytest.raises(UnsupportedSource, match="coroutine"):
        read(Disguised(), 1000)


def test_a_pipe_is_read_from_where_it_is() -> None:
    """What cannot seek is not asked to."""
    reading, writing = os.pipe()
    os.write(writing, DATA)
    os.close(writing)
    with io.FileIO(reading) as pipe:
        assert read(pipe, len(DATA)) == DATA


def test_fileno_is_never_asked_for() -> None:
    """A file in memory must not be rolled over to disk, as SpooledTemporaryFile.fileno does."""
    file = spooled(DATA, 1 << 20)
    read(file, len(DATA))

    assert file._rolled is False  # type: ignore[attr-defined]


def test_what_the_source_raises_is_passed_on() -> None:
    """A client that disconnects is not a broken picture."""

    class Gone(Exception):
        pass

    def interrupted() -> Iterator[bytes]:
        yield b"half"
        raise Gone

    with pytest.raises(Gone):
        read(interrupted(), 1000)
    with pytest.raises(FileNotFoundError):
        read(pathlib.Path("no such file"), 1000)


def test_bytes_are_not_copied() -> None:
    """A body that is already there is used as it is."""
    assert read(DATA, len(DATA)) is DATA
    assert read([DATA], len(DATA)) is DATA


def test_a_mapped_file_is_bytes() -> None:
    """Mmap offers a buffer, which goes before its `read`."""
    with tempfile.TemporaryFile() as file:
        file.write(DATA)
        file.flush()
        with mmap.mmap(file.fileno(), 0) as mapped:
            mapped.seek(10)
            assert read(mapped, len(DATA)) == DATA


def test_a_mapped_file_can_be_closed_after_a_refusal() -> None:
    """No view of a buffer outlives the call, though the refusal's traceback does."""
    with tempfile.TemporaryFile() as file:
        file.write(DATA)
        file.flush()
        with mmap.mmap(file.fileno(), 0) as mapped, pytest.raises(TooLarge):
            read(mapped, 10)
    chunk = bytearray(DATA)
    with pytest.raises(TooLarge):
        read([chunk], 10)
    chunk.extend(b"more")


def test_a_mock_is_no_descriptor() -> None:
    """An object that can be an index as well as a path is a path; opening the index would close a file of others."""
    before = os.fstat(1)
    with contextlib.suppress(Exception):
        read(MagicMock(), 10)

    assert os.fstat(1) == before


def test_the_order_is_the_same_in_both_forms() -> None:
    """What is bytes or a path is read as such, whatever else it can do; plain chunks go before async ones."""

    class AsyncPath(os.PathLike[str]):
        def __fspath__(self) -> str:
            return "no such file"

        async def read(self, n: int) -> bytes:
            return b"x"

    class Both:
        def __iter__(self) -> Iterator[bytes]:
            return iter([DATA])

        def __aiter__(self) -> AsyncIterator[bytes]:
            return chunks_of(b"other")

    assert find(AsyncPath()).path == "no such file"
    assert read(Both(), len(DATA)) == DATA
    assert not find(Both()).is_async


def test_an_object_is_asked_for_its_file_once() -> None:
    """A property that opens a file opens one, not three."""
    asked = []

    class Stored:
        @property
        def file(self) -> io.BytesIO:
            asked.append(1)
            return io.BytesIO(DATA)

    assert not may_be_async(Stored())
    assert asked == []
    assert read(Stored(), len(DATA)) == DATA
    assert asked == [1]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_p9_a_source_that_never_waits_lets_others_run(backend: str) -> None:
    """An async source whose chunks are all there does not hold the loop until it ends."""

    async def ready() -> AsyncIterator[bytes]:
        for _ in range(100_000):
            yield b"x"

    async def main() -> int:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await anyio.lowlevel.checkpoint()
                ticks += 1

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tick)
            await read_async(ready(), 100_000)
            tasks.cancel_scope.cancel()
        return ticks

    assert anyio.run(main, backend=backend) > 5


def test_an_async_generator_is_closed_when_it_is_left() -> None:
    """A generator of the body's chunks can clean up at once, not at some garbage collection."""
    closed = []

    async def body() -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(100)
        finally:
            closed.append(True)

    async def main() -> None:
        with pytest.raises(TooLarge):
            await read_async(body(), 950)
        assert closed == [True]

    anyio.run(main)


@pytest.mark.property
@given(st.lists(st.binary(max_size=40), max_size=30), st.integers(1, 600))
def test_p2_what_is_read_is_all_or_refused(chunks: list[bytes], limit: int) -> None:
    """However a body is cut into chunks, it is read whole, or refused because of its length alone."""
    body = b"".join(chunks)
    try:
        got: bytes | type = read(chunks, limit)
    except (TooLarge, Empty) as error:
        got = type(error)

    assert got == (Empty if not body else TooLarge if len(body) > limit else body)
