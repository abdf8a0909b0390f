"""`validate`, `normalize` and their async forms, as applications call them."""

import asyncio
import dataclasses
import hashlib
import io
import threading
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
import trio
from builders.pictures import costly, encoded, jpeg, photograph
from django.conf import settings
from django.core.files.uploadedfile import InMemoryUploadedFile, SimpleUploadedFile, TemporaryUploadedFile
from litestar.datastructures import UploadFile as LitestarUploadFile
from PIL import Image, ImageFile, WebPImagePlugin
from starlette.datastructures import UploadFile
from werkzeug.datastructures import FileStorage

import safeupload
from safeupload import _image
from safeupload._decode import decoded
from safeupload._threads import default_limiter

if not settings.configured:
    settings.configure()

BACKENDS = ["asyncio", "trio"]


def temporary(data: bytes) -> TemporaryUploadedFile:
    """Return what Django makes of a large upload."""
    file = TemporaryUploadedFile("x.exe", "text/html", len(data), None)
    file.write(data)
    file.seek(0)
    return file


UPLOADS: dict[str, Callable[[bytes], Any]] = {
    "Starlette and FastAPI": lambda data: UploadFile(io.BytesIO(data), filename="../../x.exe"),
    "Litestar": lambda data: LitestarUploadFile("text/html", "x.exe", data),
    "Werkzeug and Flask": lambda data: FileStorage(io.BytesIO(data), "x.exe", content_type="text/html"),
    "Django in memory": lambda data: SimpleUploadedFile("x.exe", data, "text/html"),
    "Django's own reader": lambda data: InMemoryUploadedFile(io.BytesIO(data), "f", "x.exe", "text/html", 1, None),
    "Django on disk": temporary,
    "Django's chunks": lambda data: SimpleUploadedFile("x.exe", data, "text/html").chunks(64),
}


@pytest.mark.parametrize("make", UPLOADS.values(), ids=UPLOADS)
def test_every_frameworks_upload_object_is_a_source(make: Callable[[bytes], Any]) -> None:
    """What a framework hands the application goes in as it is, in both forms."""
    data = jpeg()

    async def main() -> None:
        source = make(data)
        assert (await safeupload.normalize_async(source)).data == safeupload.normalize(data).data
        if hasattr(source, "close"):
            await source.close() if asyncio.iscoroutinefunction(source.close) else source.close()

    source = make(data)
    assert safeupload.normalize(source) == safeupload.normalize(data)
    anyio.run(main)
    file = getattr(source, "file", source)
    file.close()


def test_the_result_says_what_it_is() -> None:
    """A normalized picture carries its size, type, digest, and what the upload was."""
    picture = safeupload.normalize(jpeg(64, 48))

    assert (picture.width, picture.height) == (300, 300)
    assert (picture.media_type, picture.extension) == ("image/jpeg", "jpg")
    assert picture.sha256 == hashlib.sha256(picture.data).hexdigest()
    assert picture.info == safeupload.ImageInfo(
        format="JPEG", width=64, height=48, orientation=1, animated=False, has_alpha=False, has_icc=False
    )
    assert Image.open(io.BytesIO(picture.data)).size == (300, 300)
    assert "data=" not in repr(picture)


def test_the_size_told_is_the_size_shown() -> None:
    """A photograph on its side is told upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    info = safeupload.validate(encoded(photograph(64, 48), "JPEG", exif=exif.tobytes()))

    assert (info.width, info.height, info.orientation) == (48, 64, 6)


def test_the_result_is_frozen() -> None:
    """Nobody changes the bytes between the check and the disk."""
    picture = safeupload.normalize(jpeg())

    with pytest.raises(dataclasses.FrozenInstanceError):
        picture.data = b"<script>"  # type: ignore[misc]


def test_validate_makes_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check does not pay for a result."""
    monkeypatch.setattr(_image, "render", None)

    assert safeupload.validate(jpeg()).format == "JPEG"
    with pytest.raises(TypeError):
        safeupload.normalize(jpeg())


def test_a_picture_is_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """`normalize` runs the decoder once."""
    loads = []
    load = ImageFile.ImageFile.load

    def counted(image: ImageFile.ImageFile) -> Any:  # noqa: ANN401 - whatever Pillow returns
        if image.tile:
            loads.append(image)
        return load(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load", counted)
    safeupload.normalize(jpeg())

    assert len(loads) == 1


def test_a_process_that_loads_torn_files_is_a_misuse(monkeypatch: pytest.MonkeyPatch) -> None:
    """With LOAD_TRUNCATED_IMAGES no answer would be worth anything, so there is none."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)

    for data in (jpeg(), b"not a picture"):
        with pytest.raises(safeupload.TruncatedImagesEnabled, match="LOAD_TRUNCATED_IMAGES"):
            safeupload.normalize(data)


def test_the_processes_own_pixel_limit_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """An application that lowers MAX_IMAGE_PIXELS for other things gets no warning and no refusal from us."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)

    assert safeupload.normalize(jpeg()).info.width == 64


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("limit", [1, 100_000, 200_000])
def test_p1_no_mode_meets_the_processes_own_pixel_limit(mode: str, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither an error nor a warning comes of it, in any mode, decoded or averaged in strips."""
    data = encoded(Image.new(mode, (1400, 1300)), "PNG")
    expected = safeupload.normalize(data)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)

    assert safeupload.normalize(data) == expected
    assert safeupload.validate(data) == expected.info


@pytest.mark.skipif(not hasattr(WebPImagePlugin, "_get_size"), reason="this Pillow asks only in Image.open")
def test_webp_obeys_the_processes_own_pixel_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow's WebP reader insists on twice MAX_IMAGE_PIXELS; that is a refusal like any other."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)

    with pytest.raises(safeupload.TooManyPixels) as caught:
        safeupload.normalize(encoded(photograph(64, 48), "WEBP"))
    assert (caught.value.pixels, caught.value.limit) == (64 * 48, 200)


def test_no_memory_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that gets no memory refuses the picture instead of leaking MemoryError."""

    def no_memory(image: object) -> None:
        raise MemoryError

    monkeypatch.setattr(ImageFile.ImageFile, "load", no_memory)
    with pytest.raises(safeupload.TooComplex) as caught:
        safeupload.normalize(jpeg())
    assert caught.value.what == "memory"


def test_decoder_and_preflight_must_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two parsers that read one file in two ways are a refusal, not a choice."""
    init = ImageFile.ImageFile.__init__

    def lying(image: ImageFile.ImageFile, *args: Any) -> None:  # noqa: ANN401
        init(image, *args)
        image._size = (image.width + 1, image.height)

    monkeypatch.setattr(ImageFile.ImageFile, "__init__", lying)
    with pytest.raises(safeupload.Corrupt) as caught:
        safeupload.normalize(jpeg())
    assert "preflight" in str(caught.value.__cause__)


# --- the async forms


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_async_forms_do_what_the_sync_forms_do(backend: str) -> None:
    """Same bytes, same result, same errors, on asyncio and trio."""

    async def main() -> None:
        assert await safeupload.normalize_async(jpeg()) == safeupload.normalize(jpeg())
        assert await safeupload.validate_async(jpeg()) == safeupload.validate(jpeg())
        with pytest.raises(safeupload.NotAnImage):
            await safeupload.normalize_async(b"<svg/onload=alert(1)>"[5:])
        with pytest.raises(safeupload.UnsupportedSource):
            await safeupload.validate_async("name.jpg")  # type: ignore[arg-type]

    anyio.run(main, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_async_bodies_are_sources(backend: str, tmp_path: Path) -> None:
    """Async files and async iterables are read on the loop."""
    path = tmp_path / "picture"
    path.write_bytes(jpeg())

    async def body() -> AsyncIterator[bytes]:
        for start in range(0, len(jpeg()), 100):
            await anyio.lowlevel.checkpoint()
            yield jpeg()[start : start + 100]

    async def main() -> None:
        assert (await safeupload.validate_async(body())).width == 64
        async with await anyio.open_file(path, "rb") as file:
            assert (await safeupload.validate_async(file)).width == 64

    anyio.run(main, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_limiter_bounds_what_is_decoded_and_what_is_read(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more uploads than the limiter allows are in memory or in a decoder at a time."""
    at_work, in_memory, most = [], [], []
    work = decoded

    def watched(*args: Any) -> Any:  # noqa: ANN401
        at_work.append(1)
        time.sleep(0.01)
        most.append(len(at_work))
        at_work.pop()
        return work(*args)

    class Body(io.BytesIO):
        async def read(self, n: int | None = -1) -> bytes:  # type: ignore[override]
            in_memory.append(1)
            await anyio.sleep(0.001)
            most.append(len(in_memory))
            in_memory.pop()
            return super().read(n)

    async def one(limiter: anyio.CapacityLimiter) -> None:
        await safeupload.validate_async(Body(jpeg()), limiter=limiter)

    async def main() -> None:
        limiter = anyio.CapacityLimiter(3)
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(one, limiter)

    monkeypatch.setattr(_image, "decoded", watched)
    anyio.run(main, backend=backend)

    assert len(most) == 60  # each upload is read twice, the second time to its end, and decoded
    assert max(most) <= 3
    assert max(most) > 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_client_that_is_still_sending_keeps_nobody_waiting(backend: str) -> None:
    """Async iterables that do not end take no place from uploads that are there."""

    async def trickle() -> AsyncIterator[bytes]:
        yield b"\xff"
        await anyio.sleep_forever()

    async def main() -> None:
        limiter = anyio.CapacityLimiter(1)
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(partial(safeupload.normalize_async, trickle(), limiter=limiter))
            await anyio.wait_all_tasks_blocked()
            with anyio.fail_after(30):
                assert (await safeupload.validate_async(jpeg(), limiter=limiter)).width == 64
            tasks.cancel_scope.cancel()

    anyio.run(main, backend=backend)


def test_the_default_limiter_is_used() -> None:
    """Without a limiter of the caller's, the loop's own one lets uploads in."""
    seen = []

    class Watched(io.BytesIO):
        def read(self, n: int | None = -1) -> bytes:
            seen.append(anyio.from_thread.run_sync(lambda: default_limiter().borrowed_tokens))
            return super().read(n)

    async def main() -> None:
        await safeupload.validate_async(Watched(jpeg()))

    anyio.run(main)
    assert seen[0] == 1


def test_p9_a_cancelled_upload_leaves_no_thread_behind() -> None:
    """Whenever a task is cancelled, no decoder works on after it has returned."""
    running = threading.Event()

    class Watched(io.BytesIO):
        def read(self, n: int | None = -1) -> bytes:
            running.set()
            time.sleep(0.02)
            data = super().read(n)
            running.clear()
            return data

    async def main(delay: float) -> bool:
        task = asyncio.create_task(safeupload.normalize_async(Watched(jpeg())))
        await asyncio.sleep(delay)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            return not running.is_set()
        return not running.is_set()

    assert all(asyncio.run(main(step / 1000)) for step in range(0, 40, 2))


@pytest.mark.parametrize("backend", BACKENDS)
def test_p9_the_loop_goes_on_while_pictures_are_decoded(backend: str) -> None:
    """
    A ticker beside eight large pictures is late by far less than one picture takes.

    The bound is a ratio of two figures of the same run, so that it holds on a slow machine too; the figures themselves
    are for the benchmark.
    """
    late: list[float] = []

    async def tick(stop: anyio.Event) -> None:
        while not stop.is_set():
            before = time.perf_counter()
            await anyio.sleep(0.001)
            late.append(time.perf_counter() - before - 0.001)

    async def main() -> None:
        stop = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tick, stop)
            async with anyio.create_task_group() as uploads:
                for _ in range(8):
                    uploads.start_soon(safeupload.normalize_async, costly())
            stop.set()

    start = time.perf_counter()
    safeupload.normalize(costly())
    one = time.perf_counter() - start
    anyio.run(main, backend=backend)

    late.sort()
    assert len(late) > 20
    assert late[len(late) * 9 // 10] < one / 2


def test_trio_is_told_of_its_own_cancellation() -> None:
    """On trio a cancelled upload ends with trio's own exception, once the thread is done."""

    async def main() -> None:
        with trio.move_on_after(0.001) as scope:
            await safeupload.normalize_async(costly())
        assert scope.cancelled_caught or scope.cancel_called

    trio.run(main)
