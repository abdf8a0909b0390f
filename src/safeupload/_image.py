"""The pure half: any bytes become a clean picture or one clean error."""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from safeupload._checks import AsyncCheck, Check, checked, known
from safeupload._decode import decoded, prepared
from safeupload._drive import drive, drive_async
from safeupload._frozen import FrozenMapping
from safeupload._plan import displayed
from safeupload._render import render
from safeupload._source import AsyncSource, Found, Source, find, may_be_async, read, read_async
from safeupload._threads import default_limiter, to_completion
from safeupload.policy import AVATAR, Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import anyio

    from safeupload._formats import Rebuilt
    from safeupload._workers import WorkerProcesses

__all__ = [
    "ImageInfo",
    "NormalizedImage",
    "RenderedImage",
    "normalize",
    "normalize_async",
    "validate",
    "validate_async",
]

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class ImageInfo:
    """
    What an upload turned out to be.

    `width` and `height` are in pixels as displayed, upright; `orientation` is the EXIF value (1 to 8) that the stored
    picture had. `animated` tells of more than one frame, of which the first was decoded. `has_alpha` tells that some
    pixels may be transparent, `has_icc` that a colour profile was embedded.
    """

    format: str
    width: int
    height: int
    orientation: int
    animated: bool
    has_alpha: bool
    has_icc: bool


@dataclass(frozen=True, kw_only=True)
class RenderedImage:
    """
    A picture that is safe to store and to serve: upright, in sRGB, without metadata, `width` x `height` pixels.

    `data` is the file, `sha256` its digest in hexadecimal (an ETag, a test for equality).
    """

    data: bytes = field(repr=False)
    width: int
    height: int
    media_type: str = "image/jpeg"
    extension: str = "jpg"
    sha256: str


_NO_RENDITIONS: Final[Mapping[str, RenderedImage]] = FrozenMapping()


@dataclass(frozen=True, kw_only=True)
class NormalizedImage(RenderedImage):
    """
    The picture that an upload was made into, a JPEG; `normalize` makes them.

    `info` is what the upload was, `renditions` what the policy asked for besides, by the same names; `checks` are those
    of the application that it has passed.
    """

    info: ImageInfo
    renditions: Mapping[str, RenderedImage] = _NO_RENDITIONS
    checks: tuple[AsyncCheck, ...] = field(default=(), repr=False, compare=False)


def validate(source: Source, policy: Policy = AVATAR, *, decoder: WorkerProcesses | None = None) -> ImageInfo:
    """
    Check an upload in full, decoding every pixel, and return what it is; make no picture.

    Accepts exactly what `normalize` accepts, but for its checks. See there for sources, the decoder, and errors.
    """
    with _place(decoder, policy):
        return _examined(decoder, source, policy)


def _examined(decoder: WorkerProcesses | None, source: Source, policy: Policy) -> ImageInfo:
    """Return what an upload is, decoded in full."""
    if decoder is None:
        with decoded(read(source, policy.max_bytes), policy) as (_, rebuilt, _):
            return _info(rebuilt)
    data = read(source, policy.max_bytes)
    rebuilt, _ = prepared(data, policy)
    decoder.decode(data, policy)
    return _info(rebuilt)


def normalize(
    source: Source,
    policy: Policy = AVATAR,
    *,
    decoder: WorkerProcesses | None = None,
    checks: Iterable[Check] = (),
) -> NormalizedImage:
    """
    Return the upload as a clean picture: ``policy.size``, upright, sRGB, JPEG, and nothing of the file but its pixels.

    The policy's renditions are made from the same decode, and come along.

    Args:
        source: bytes-like; an upload object of FastAPI, Starlette, Litestar, Flask or Django; a binary file; a path
            (`os.PathLike`); or an iterable of bytes. At most ``policy.max_bytes + 1`` bytes are read, from the
            beginning if the source can seek.
        policy: limits and the result's form.
        decoder: where to decode, if not here.
        checks: functions that are called, one after the other, with the bytes of the upload and the picture; each
            returns None, or raises `CheckFailed` or another `Rejected`.

    Raises:
        Rejected: `TooLarge`, `Empty`, `NotAnImage`, `FormatNotAllowed`, `TooManyPixels`, `TooComplex` or `Corrupt`;
            with a decoder also `DecoderCrashed`, `DecoderTimeout` or `DecoderMemory`; and what the checks raise.
        Unavailable: `DecoderUnavailable`, if too many wait for the decoder or it cannot be started, or
            `CheckUnavailable`, if a check raised anything but an error of this library.
        Misuse: the call is wrong, whatever the bytes.

    """
    functions = known(checks, may_be_async=False)
    kept = _Kept(bool(functions))
    with _place(decoder, policy):
        picture = _made(kept, decoder, source, policy)
    return drive(checked(kept.data, picture, functions)) if functions else picture


@dataclass
class _Kept:
    """The bytes of an upload, if anybody asks for them when the picture has been made."""

    wanted: bool
    data: bytes = b""

    def read(self, source: Source, policy: Policy) -> bytes:
        """Return the bytes; where they were read from a file, nobody else holds them unless they are wanted."""
        data = read(source, policy.max_bytes)
        if self.wanted:
            self.data = data
        return data


def _made(kept: _Kept, decoder: WorkerProcesses | None, source: Source, policy: Policy) -> NormalizedImage:
    """Return the picture that is made of an upload, unchecked."""
    if decoder is None:
        with decoded(kept.read(source, policy), policy) as (image, rebuilt, steps):
            picture, *others = render(image, rebuilt, steps, policy)
    else:
        data = kept.read(source, policy)
        rebuilt, steps = prepared(data, policy)
        picture, *others = decoder.render(data, policy, rebuilt, steps)
    renditions = {
        name: RenderedImage(
            **each._asdict(), media_type=rendition.media_type, extension=rendition.extension, sha256=_digest(each.data)
        )
        for each, (name, rendition) in zip(others, policy.renditions.items(), strict=True)
    }
    return NormalizedImage(
        **picture._asdict(),
        sha256=_digest(picture.data),
        info=_info(rebuilt),
        renditions=FrozenMapping(renditions),
    )


async def validate_async(
    source: AsyncSource,
    policy: Policy = AVATAR,
    *,
    limiter: anyio.CapacityLimiter | None = None,
    decoder: WorkerProcesses | None = None,
) -> ImageInfo:
    """Do what `validate` does in a thread. See `normalize_async`."""
    return await _in_thread(_examined, decoder, source, policy, limiter)


async def normalize_async(
    source: AsyncSource,
    policy: Policy = AVATAR,
    *,
    limiter: anyio.CapacityLimiter | None = None,
    decoder: WorkerProcesses | None = None,
    checks: Iterable[AsyncCheck] = (),
) -> NormalizedImage:
    """
    Do what `normalize` does in one hop to a thread, on asyncio or trio.

    Takes, besides, an object whose ``read`` is a coroutine function, and an async iterable of bytes.

    At most `limiter` uploads are decoded at a time (default: as many as there are processors, for each event loop); the
    others wait with their bodies unread, except that an async iterable, behind which is most likely a client that is
    still sending, is read before it waits. A cancelled call returns once its thread is done.

    Checks may be coroutine functions, which are awaited here; the others are called in a thread. They do not count for
    the limiter.
    """
    functions = known(checks, may_be_async=True)
    kept = _Kept(bool(functions))
    picture = await _in_thread(partial(_made, kept), decoder, source, policy, limiter)
    return await drive_async(checked(kept.data, picture, functions)) if functions else picture


async def _in_thread(
    work: Callable[[WorkerProcesses | None, Any, Policy], T],
    decoder: WorkerProcesses | None,
    source: AsyncSource,
    policy: Policy,
    limiter: anyio.CapacityLimiter | None,
) -> T:
    """Read on the event loop what can only be read there; do everything else in a thread."""
    known: object = source
    if may_be_async(source):
        known = find(source)
        if known.is_async and known.chunks is not None:  # a slow client must not keep the place of others
            known = await read_async(known, policy.max_bytes)
    with _place(decoder, policy):
        async with limiter or default_limiter():
            if isinstance(known, Found) and known.is_async:
                known = await read_async(known, policy.max_bytes)
            return await to_completion(partial(work, decoder, known, policy))


def _place(decoder: WorkerProcesses | None, policy: Policy) -> AbstractContextManager[object]:
    """Return a block with a place in the decoder's queue, which is for those who wait for the limiter, too."""
    if decoder is None:
        return nullcontext()
    decoder.check(policy)
    return decoder.place()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _info(rebuilt: Rebuilt) -> ImageInfo:
    """Return what the caller may know of the upload."""
    width, height = displayed(rebuilt.canvas, rebuilt.orientation)
    return ImageInfo(
        format=rebuilt.format,
        width=width,
        height=height,
        orientation=rebuilt.orientation,
        animated=rebuilt.animated,
        has_alpha=rebuilt.has_alpha,
        has_icc=rebuilt.icc is not None,
    )
