import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from safeupload import AVATAR, Policy
from safeupload._formats import Rebuilt
from safeupload._plan import Plan, displayed, plans

SIDES = st.one_of(st.integers(1, 40), st.integers(1, 9_000), st.integers(1, 65_535))
TARGETS = st.one_of(st.integers(1, 4_096), st.sampled_from([1, 64, 300]))


def rebuilt(width: int, height: int, *, scalable: bool = True, orientation: int = 1) -> Rebuilt:
    """Return a picture of which only the arithmetic matters."""
    return Rebuilt(
        format="JPEG",
        canvas=(width, height),
        frame=(0, 0, width, height),
        pieces=[],
        pixel_bytes=1,
        scalable=scalable,
        orientation=orientation,
    )


@st.composite
def cases(draw: st.DrawFn) -> tuple[Rebuilt, Policy, Plan]:
    """Draw a picture, a policy and the plan for both."""
    picture = rebuilt(
        draw(SIDES), draw(SIDES), scalable=draw(st.booleans()), orientation=draw(st.integers(min_value=1, max_value=8))
    )
    policy = Policy(size=(draw(TARGETS), draw(TARGETS)))
    return picture, policy, plans(picture, policy)[0]


def decoded_size(picture: Rebuilt, steps: Plan) -> tuple[int, int]:
    """Return the size of the raster that the decoder gives."""
    return -(-picture.canvas[0] // steps.scale), -(-picture.canvas[1] // steps.scale)


# Sides whose quotient is rounded up, so that the box would begin before the picture and end behind it.
ROUNDED = rebuilt(3549, 7073, scalable=False), Policy(size=(3458, 171))


@pytest.mark.property
@example((*ROUNDED, plans(*ROUNDED)[0]))
@given(cases())
def test_box_is_inside_the_picture(case: tuple[Rebuilt, Policy, Plan]) -> None:
    """The box is not empty and never leaves the picture as it is decoded, not even by a rounding error."""
    picture, _, steps = case
    left, top, right, bottom = steps.box

    assert 0 <= left < right <= picture.canvas[0] / steps.scale
    assert 0 <= top < bottom <= picture.canvas[1] / steps.scale


@pytest.mark.property
@given(cases())
def test_box_touches_two_edges(case: tuple[Rebuilt, Policy, Plan]) -> None:
    """The box is as large as it can be, and in the middle."""
    picture, _, steps = case
    left, top, right, bottom = steps.box
    width, height = (side / steps.scale for side in picture.canvas)

    assert math.isclose(right - left, width) or math.isclose(bottom - top, height)
    assert math.isclose(left + right, width)
    assert math.isclose(top + bottom, height)


@pytest.mark.property
@given(cases())
def test_box_has_the_aspect_of_the_target(case: tuple[Rebuilt, Policy, Plan]) -> None:
    """The box is as many times wider than high as the target."""
    _, _, steps = case
    left, top, right, bottom = steps.box

    assert math.isclose((right - left) * steps.target[1], (bottom - top) * steps.target[0], rel_tol=1e-9)


@pytest.mark.property
@given(cases())
def test_area_holds_all_that_resampling_touches(case: tuple[Rebuilt, Policy, Plan]) -> None:
    """The area is inside the raster and has three target pixels around the box, as far as there is a raster."""
    picture, _, steps = case
    left, top, right, bottom = steps.area
    width, height = decoded_size(picture, steps)
    margin = 3 * max(1, (steps.box[2] - steps.box[0]) / steps.target[0])

    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    assert left <= max(0, steps.box[0] - margin + 1e-6)
    assert top <= max(0, steps.box[1] - margin + 1e-6)
    assert right >= min(width, steps.box[2] + margin - 1e-6)
    assert bottom >= min(height, steps.box[3] + margin - 1e-6)


@pytest.mark.property
@given(cases())
def test_area_is_not_larger_than_needed(case: tuple[Rebuilt, Policy, Plan]) -> None:
    """The area has hardly more than three target pixels around the box, so that a panorama costs no more."""
    _, _, steps = case
    margin = 3 * max(1, (steps.box[2] - steps.box[0]) / steps.target[0])

    for low, high, first, last in zip(steps.area[:2], steps.area[2:], steps.box[:2], steps.box[2:], strict=True):
        assert low >= first - margin - 1 - 1e-6 or low == 0
        assert high <= last + margin + 1 + 1e-6


@pytest.mark.property
@given(cases())
def test_shortcuts_leave_twice_the_target(case: tuple[Rebuilt, Policy, Plan]) -> None:
    """After every shortcut the box is at least twice as large as the target, or no shortcut was taken."""
    _, _, steps = case
    left, top, right, bottom = steps.box

    assert steps.scale in {1, 2, 4, 8}
    assert steps.factor >= 1
    if steps.scale > 1 or steps.factor > 1:
        assert (right - left) / steps.factor >= 2 * steps.target[0] - 1e-6
        assert (bottom - top) / steps.factor >= 2 * steps.target[1] - 1e-6


@pytest.mark.property
@given(cases())
def test_shortcuts_leave_little_to_do(case: tuple[Rebuilt, Policy, Plan]) -> None:
    """What can be decoded or averaged to less is, until it is less than four times as large as the target."""
    picture, _, steps = case
    ratio = (steps.box[2] - steps.box[0]) / steps.target[0]

    assert ratio / steps.factor < 4 or steps.factor == 64
    if picture.scalable:
        assert ratio < 4 or steps.scale == 8
    else:
        assert steps.scale == 1


@pytest.mark.property
@given(cases())
def test_sideways_pictures(case: tuple[Rebuilt, Policy, Plan]) -> None:
    """The target is exchanged for the orientations that exchange width and height, and only for them."""
    picture, policy, steps = case
    width, height = policy.size

    assert steps.target == ((height, width) if picture.orientation in {5, 6, 7, 8} else (width, height))
    assert displayed(displayed(policy.size, picture.orientation), picture.orientation) == policy.size


@pytest.mark.parametrize(
    ("width", "height", "scale", "factor"),
    [
        (100, 100, 1, 1),
        (600, 600, 1, 1),
        (1199, 1199, 1, 1),
        (1200, 1200, 2, 1),
        (2400, 2400, 4, 1),
        (4799, 9000, 4, 1),
        (4800, 4800, 8, 1),
        (9600, 9600, 8, 2),
        (60_000, 600, 1, 1),
    ],
)
def test_steps_of_a_photograph(width: int, height: int, scale: int, factor: int) -> None:
    """A JPEG is decoded at the smallest scale that leaves 600 x 600 pixels, and no smaller."""
    steps = plans(rebuilt(width, height), AVATAR)[0]

    assert (steps.scale, steps.factor) == (scale, factor)


@pytest.mark.parametrize(("side", "factor"), [(600, 1), (1199, 1), (1200, 2), (4800, 8), (5399, 8), (5400, 9)])
def test_steps_of_another_picture(side: int, factor: int) -> None:
    """A picture that cannot be decoded at a scale is averaged to at least 600 x 600 pixels."""
    steps = plans(rebuilt(side, side, scalable=False), AVATAR)[0]

    assert (steps.scale, steps.factor) == (1, factor)
