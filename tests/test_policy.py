"""A policy that cannot work fails when it is built, and what it was built from cannot change it."""

import dataclasses
import io
import pickle
from typing import Any

import pytest
from builders.pictures import jpeg

from safeupload import AVATAR, InvalidPolicy, Misuse, Policy, normalize, policy

LIMITS = [name for name in Policy.__dataclass_fields__ if name.startswith("max_")]


def test_the_default_is_a_profile_picture() -> None:
    """The defaults are those that the documentation states."""
    assert Policy() == AVATAR
    assert AVATAR.max_bytes == 5 * 1024 * 1024
    assert AVATAR.max_pixels == 50_000_000
    assert AVATAR.formats == {"JPEG", "PNG", "WEBP", "GIF"}
    assert (AVATAR.size, AVATAR.quality, AVATAR.background) == ((300, 300), 85, (255, 255, 255))


def test_a_policy_is_frozen_hashable_and_keyword_only() -> None:
    """A policy can be shared between threads and be a key; nobody guesses the order of its fields."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        AVATAR.max_bytes = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        Policy(1)  # type: ignore[call-arg]
    assert hash(Policy()) == hash(AVATAR)
    assert pickle.loads(pickle.dumps(AVATAR)) == AVATAR


def test_variants_are_made_by_replace() -> None:
    """A variant differs in what was named and is checked like any policy."""
    variant = dataclasses.replace(AVATAR, size=(64, 48))

    assert variant.size == (64, 48)
    assert variant.max_bytes == AVATAR.max_bytes
    with pytest.raises(InvalidPolicy):
        dataclasses.replace(AVATAR, size=(0, 48))


def test_formats_are_copied() -> None:
    """Changing the set that a policy was built from does not open the policy."""
    names = {"PNG"}
    built = Policy(formats=names)
    names.add("GIF")

    assert built.formats == {"PNG"}


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("value", [0, -1, 1.5, "5", None, True, (1 << 30) + 1])
def test_limits_are_positive_whole_numbers(name: str, value: object) -> None:
    """No limit can be switched off by a zero, a None or a string."""
    changes: dict[str, Any] = {name: value}
    with pytest.raises(InvalidPolicy, match=name):
        Policy(**changes)


@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_of_one_is_a_limit(name: str) -> None:
    """The smallest limit is accepted."""
    changes: dict[str, Any] = {name: 1}

    assert getattr(Policy(**changes), name) == 1


@pytest.mark.parametrize("name", LIMITS)
def test_the_largest_limit(name: str) -> None:
    """A limit may be as large as a process's memory can be hoped to be, and works."""
    changes: dict[str, Any] = {name: 1 << 30}

    assert normalize(jpeg(), Policy(**changes)).info.width == 64
    assert normalize(io.BytesIO(jpeg()), Policy(**changes)).info.width == 64


@pytest.mark.parametrize(
    "changes",
    [
        {"size": (300,)},
        {"size": [300, 300]},
        {"size": (300, 0)},
        {"size": (4097, 300)},
        {"size": (300.0, 300)},
        {"size": 300},
        {"quality": 0},
        {"quality": 96},
        {"quality": 85.0},
        {"background": (255, 255)},
        {"background": (255, 255, 256)},
        {"background": (-1, 0, 0)},
        {"background": "white"},
        {"formats": "JPEG"},
        {"formats": ()},
        {"formats": {"jpeg"}},
        {"formats": {"TIFF"}},
        {"formats": ["JPEG", 3]},
        {"formats": [["JPEG"]]},
        {"formats": None},
    ],
    ids=repr,
)
def test_what_cannot_work_is_refused(changes: dict[str, Any]) -> None:
    """A bad policy raises when it is built, as a misuse and as a ValueError."""
    with pytest.raises(InvalidPolicy) as caught:
        Policy(**changes)

    assert next(iter(changes)) in str(caught.value)
    assert isinstance(caught.value, (Misuse, ValueError))


@pytest.mark.parametrize(
    "changes",
    [
        {"size": (1, 4096)},
        {"quality": 1},
        {"quality": 95},
        {"background": (0, 255, 0)},
        {"formats": ["PNG"]},
        {"formats": ["AVIF", "HEIF"]},
    ],
    ids=repr,
)
def test_the_ends_of_every_range_are_accepted(changes: dict[str, Any]) -> None:
    """The bounds themselves belong to the range."""
    built = Policy(**changes)

    for name, value in changes.items():
        assert getattr(built, name) == (frozenset(value) if name == "formats" else value)


@pytest.mark.parametrize(("name", "hint"), [("HEIF", 'extra "heif"'), ("WEBP", "Pillow"), ("AVIF", "Pillow")])
def test_a_missing_decoder_is_told_when_the_policy_is_built(
    name: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks for a format that cannot be decoded here learns it at once, and what to install."""
    monkeypatch.setattr(policy, "find_spec", lambda module: None)

    with pytest.raises(InvalidPolicy, match=hint):
        Policy(formats={name})
