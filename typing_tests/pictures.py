"""Pictures and policies in an application with types; each line that must be an error says so to both type checkers."""

import io
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import assert_type

import safeupload
from safeupload import AVATAR, Policy, Rendition


def chunks() -> Iterator[bytes]:
    """Give an upload in pieces."""
    yield b""


def sources(path: Path) -> None:
    """Whatever holds bytes is a source."""
    assert_type(safeupload.normalize(b""), safeupload.NormalizedImage)
    assert_type(safeupload.validate(bytearray()), safeupload.ImageInfo)
    safeupload.normalize(memoryview(b""))
    safeupload.normalize(io.BytesIO())
    safeupload.normalize(path)
    safeupload.normalize(chunks())
    safeupload.normalize([b"", b""])
    with path.open("rb") as file:
        safeupload.normalize(file)


def what_comes_out(picture: safeupload.NormalizedImage) -> None:
    """Every field has a type of its own."""
    assert_type(picture.data, bytes)
    assert_type(picture.media_type, str)
    assert_type(picture.info.orientation, int)
    assert_type(picture.renditions, Mapping[str, safeupload.RenderedImage])
    assert_type(picture.renditions["thumb"].width, int)


def policies() -> None:
    """Variants of the default policy are policies."""
    assert_type(AVATAR, Policy)
    assert_type(replace(AVATAR, size=(1024, 256), formats={"JPEG", "AVIF"}), Policy)
    assert_type(replace(AVATAR, renditions={"thumb": Rendition(size=(64, 64), format="WEBP")}), Policy)
    safeupload.normalize(b"", Policy(max_bytes=1 << 20, fit="contain", background=(0, 0, 0)))


def answers() -> Mapping[str, object]:
    """Errors carry what a client may know."""
    try:
        safeupload.normalize(b"")
    except safeupload.FormatNotAllowed as error:
        assert_type(error.allowed, tuple[str, ...])
        return error.problem()
    except safeupload.TooLarge as error:
        assert_type(error.limit, int)
    except safeupload.Rejected as error:
        assert_type((error.code, error.status), tuple[str, int])
    return {}


def made() -> None:
    """An error is of its own class, whichever way it was made."""
    assert_type(safeupload.TooLarge(5), safeupload.TooLarge)
    assert_type(safeupload.Corrupt(), safeupload.Corrupt)


# --- misuse


def wrong_sources(path: Path) -> None:
    """Text is no picture, and no file name or Content-Type goes in."""
    safeupload.normalize("picture.jpg")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    safeupload.normalize(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    safeupload.normalize(b"", content_type="image/png")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    with path.open() as file:
        safeupload.normalize(file)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def wrong_policies(picture: safeupload.NormalizedImage) -> None:
    """A field that there is not is told, and nothing changes once it is built."""
    Policy(max_size=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Policy(fit="stretch")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Policy(5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Rendition(size=(1, 1), format="GIF")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    replace(AVATAR, max_size=5)  # type: ignore[call-arg]  # pyright takes any field here
    replace(AVATAR, size=300)  # type: ignore[arg-type]  # likewise
    AVATAR.quality = 5  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    picture.data = b""  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    picture.renditions["thumb"] = picture  # type: ignore[index]  # pyright: ignore[reportIndexIssue]


def wrong_errors() -> None:
    """Errors say what they carry."""
    safeupload.TooLarge()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    safeupload.TooLarge(5).filename  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
