"""All samples by their names: the small ones, and those that the command line shows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Final

from safeupload import _samples
from safeupload._samples import broken
from safeupload._samples.kinds import KINDS, picture
from safeupload._samples.sample import Sample


def _turned(kind: str, orientation: int) -> Sample:
    """Return a picture that is stored turned, under a name of its own."""
    name, _, extension = kind.partition(".")
    sample = picture(kind, orientation=orientation)
    return dataclasses.replace(sample, name=f"{name}-turned-{orientation}.{extension}")


def _refused(name: str, make: Callable[[], bytes], about: str, code: str) -> Sample:
    return Sample(name=name, make=make, about=about, code=code)


def _small() -> Iterable[Sample]:
    """Return a picture of each kind; and turned in every way, or once for the formats that read it as others do."""
    for kind in KINDS:
        yield picture(kind)
    yield from (_turned("baseline.jpg", orientation) for orientation in range(2, 9))
    yield from (_turned(kind, 6) for kind in ("rgb.png", "lossy.webp", "still.avif") if kind in KINDS)


def _small_hostile() -> Iterable[Sample]:
    honest = picture("baseline.jpg").info
    yield _refused("empty.jpg", bytes, "nothing at all", "empty")
    yield _refused("words.jpg", broken.words, "a text", "not_an_image")
    yield _refused("page.jpg", broken.page, "a page with a script", "not_an_image")
    yield _refused("archive.jpg", broken.archive, "a ZIP archive", "not_an_image")
    yield _refused("document.jpg", broken.document, "a PDF", "not_an_image")
    yield _refused("program.jpg", broken.program, "a Windows program", "not_an_image")
    yield _refused("bitmap.bmp", broken.bitmap, "a BMP", "format_not_allowed")
    for kind in ("baseline.jpg", "progressive.jpg", "rgb.png", "still.gif", "lossless.webp"):
        if kind in KINDS:
            yield _refused(
                f"cut-{kind}", partial(broken.cut, kind), f"three quarters of a {KINDS[kind].about}", "corrupt"
            )
    yield _refused("checksum.png", broken.wrong_checksum, "a PNG whose pixels were changed", "corrupt")
    yield _refused("segments.jpg", broken.many_segments, "30,000 empty comments", "too_complex")
    yield _refused("screen.gif", broken.large_screen, "43 bytes that claim 65,535 x 65,535 pixels", "too_many_pixels")
    yield _refused("profile-bomb.png", broken.profile_bomb, "a colour profile that inflates to 64 MiB", "too_complex")
    yield Sample(
        name="program-inside.jpg",
        make=broken.with_program,
        about="photograph with a PHP program for a comment",
        info=honest,
        canaries={broken.PROGRAM: "the program"},
    )
    yield Sample(
        name="archive-behind.jpg",
        make=broken.with_archive,
        about="photograph that is a ZIP archive too",
        info=honest,
        canaries={broken.ARCHIVED: "the archive"},
    )


def _by_name(samples: Iterable[Sample]) -> Mapping[str, Sample]:
    return MappingProxyType({sample.name: sample for sample in samples})


#: Honest pictures. Each must become a picture, under a policy that takes its format, and be what its `info` says.
BENIGN: Final[Mapping[str, Sample]] = _by_name([*_small(), *_samples.BENIGN])

#: Files that are made to harm. Each must be refused with its `code`, or, if that is None, become a picture without it.
HOSTILE: Final[Mapping[str, Sample]] = _by_name([*_small_hostile(), *_samples.HOSTILE])
