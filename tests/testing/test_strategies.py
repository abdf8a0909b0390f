"""What the strategies draw is what they say, and shrinks to something small."""

import dataclasses
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from promises import one_of_two

from safeupload import AVATAR, InvalidArgument, Rejected, normalize, validate
from safeupload.policy import _CODECS
from safeupload.testing import HOSTILE, Sample
from safeupload.testing.strategies import hostile_pictures, pictures, uploads

EVERYTHING = dataclasses.replace(AVATAR, formats=_CODECS)
SHRINK = settings(
    max_examples=500, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


@pytest.mark.property
@given(pictures(formats=_CODECS))
def test_pictures_are_what_their_info_says(sample: Sample) -> None:
    """The library says the same of each."""
    assert validate(sample.data, EVERYTHING) == sample.info


@pytest.mark.property
@given(hostile_pictures())
def test_hostile_pictures_get_their_answer(sample: Sample) -> None:
    """The code is right; what is accepted loses what was in it."""
    if sample.code is None:
        result = normalize(sample.data)
        assert result.info == sample.info
        assert not [canary for canary in sample.canaries if canary in result.data]
    else:
        with pytest.raises(Rejected) as caught:
            normalize(sample.data)
        assert caught.value.code == sample.code


@pytest.mark.property
@given(uploads())
def test_uploads_are_pictures_or_refused(data: bytes) -> None:
    """P1: there is no third outcome."""
    one_of_two(data)


def test_uploads_reach_both_outcomes_and_many_refusals() -> None:
    """A strategy of noise alone would find nothing behind the first check."""
    seen: Counter[str] = Counter()

    @settings(max_examples=400, deadline=None, database=None, derandomize=True, phases=[Phase.generate])
    @given(uploads())
    def count(data: bytes) -> None:
        try:
            seen[validate(data).format] += 1
        except Rejected as error:
            seen[error.code] += 1

    count()
    # Which are drawn depends on the modules that are there: Hypothesis draws from their constants, too.
    assert len({*AVATAR.formats} & set(seen)) > 2
    assert {"corrupt", "not_an_image", "empty", "too_many_pixels"} <= set(seen)


def test_pictures_shrink_to_what_is_plain() -> None:
    """To one pixel of a baseline JPEG; and as far as what is asked for goes."""
    plain = find(pictures(), lambda _: True, settings=SHRINK)
    turned = find(pictures(), lambda sample: sample.info is not None and sample.info.orientation == 6, settings=SHRINK)
    assert (str(plain), plain.about) == ("baseline.jpg", "baseline JPEG, 1 x 1 pixels")
    assert turned.about == "baseline JPEG, 1 x 1 pixels, orientation 6"


def test_uploads_shrink_to_what_is_short() -> None:
    """To nothing, or to a picture without changes."""
    assert find(uploads(), lambda _: True, settings=SHRINK) == b""
    found = find(uploads(), lambda data: data[:4] == b"RIFF" and len(data) > 40, settings=SHRINK)
    assert len(found) < 300


def test_formats_without_a_kind_are_told() -> None:
    """When the strategy is made, and not when the test runs."""
    with pytest.raises(InvalidArgument, match="none of"):
        pictures(formats=["TIFF"])
    assert find(pictures(formats={"GIF"}), lambda _: True, settings=SHRINK).name == "still.gif"


def test_hostile_pictures_are_more_than_the_catalogue() -> None:
    """There are claims and cuts of any size."""
    for name in ("claim.png", "claim.webp", "beginning-of-"):
        found = find(hostile_pictures(), lambda sample, name=name: sample.name.startswith(name), settings=SHRINK)  # type: ignore[misc]
        assert found.name not in HOSTILE
