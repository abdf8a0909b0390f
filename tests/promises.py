"""The promises as checks that any test can make, and the refusals that tests of the formats expect."""

import io
import os
import tempfile
import warnings
from collections.abc import Generator
from contextlib import contextmanager

import pytest
from builders import jpeg
from hypothesis import event
from PIL import Image, ImageFile

from safeupload import AVATAR, Corrupt, NormalizedImage, Policy, Rejected, TooComplex, normalize, validate
from safeupload._formats import Malformed, rebuild


def one_of_two(data: bytes, policy: Policy = AVATAR) -> NormalizedImage | None:
    """
    Check P1 and P3 for these bytes, and that `validate` says the same; return the picture, None if refused.

    Whatever is raised but a refusal, warned, written to stderr (by a C library too) or changed in Pillow is a failure.
    """
    settings = [Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES]
    result = refusal = None
    with warnings.catch_warnings(record=True) as warned, silence():
        warnings.simplefilter("always")
        try:
            result = normalize(data, policy)
        except Rejected as error:
            refusal = error
        if result is not None:
            assert validate(data, policy) == result.info
        else:
            with pytest.raises(Rejected) as again:
                validate(data, policy)
            assert again.value.problem() == (refusal and refusal.problem())

    assert not warned
    assert settings == [Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES]
    event("refused" if result is None else "accepted")
    if result is not None:
        check_clean(result.data, policy)
    return result


@contextmanager
def silence() -> Generator[None]:
    """Check that nothing is written to the file descriptor of stderr."""
    with tempfile.TemporaryFile() as caught:
        kept = os.dup(2)
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        caught.seek(0)
        assert caught.read() == b""


def check_clean(data: bytes, policy: Policy = AVATAR) -> None:
    """Check that this is an RGB JPEG of the right size, whole, and with no segment but JFIF and what pixels need."""
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", policy.size)
    parts = jpeg.split(data)
    assert jpeg.join(parts) == data
    assert [part.body for part in parts if part.marker >= jpeg.APP0] == [jpeg.JFIF]


def check_malformed(data: bytes, why: str = "", policy: Policy = AVATAR) -> None:
    """Check that the preflight refuses the file as corrupt for this reason, which only the log is told."""
    with pytest.raises(Corrupt) as caught:
        rebuild(data, policy)

    assert isinstance(caught.value.__cause__, Malformed)
    assert why in str(caught.value.__cause__)
    assert str(caught.value) == "The picture is damaged or incomplete."


def check_too_complex(data: bytes, what: str, limit: int, policy: Policy) -> None:
    """Check that the preflight refuses the file because there is too much of this."""
    with pytest.raises(TooComplex) as caught:
        rebuild(data, policy)

    assert (caught.value.what, caught.value.limit) == (what, limit)
