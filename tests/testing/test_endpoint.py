"""The checker of endpoints finds what is wrong with one, and nothing wrong with one that is right."""

import asyncio
import dataclasses
import io
from collections.abc import Callable
from email.parser import BytesParser
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image, UnidentifiedImageError

from safeupload import AVATAR, InvalidArgument, Policy, Rejected, TooLarge, normalize, normalize_async
from safeupload.policy import _CODECS
from safeupload.testing import (
    BENIGN,
    HOSTILE,
    EndpointReport,
    EndpointResult,
    check_endpoint,
    check_endpoint_async,
    endpoint_cases,
)
from safeupload.testing._cases import status_of

CASES = endpoint_cases()
POLICIES = {
    "AVATAR": AVATAR,
    "everything": dataclasses.replace(AVATAR, formats=_CODECS),
    "little": dataclasses.replace(AVATAR, formats={"PNG"}, max_bytes=100_000, max_pixels=2000),
}


def right(filename: str, data: bytes, content_type: str, policy: Policy = AVATAR) -> int:
    """Answer as an endpoint has to."""
    try:
        normalize(data, policy)
    except Rejected as error:
        return error.status
    return 201


def wrongs(send: Callable[[str, bytes, str], object]) -> set[str]:
    """Return the names of the cases that were answered wrongly, which must be those of the table."""
    with pytest.raises(AssertionError) as caught:
        check_endpoint(send, CASES)
    first, _, _, *lines = str(caught.value).splitlines()
    names = {case.name for case in CASES if any(line.startswith(f"{case.name}  ") for line in lines)}
    assert first == f"{len(lines)} of {len(CASES)} uploads were not answered as they have to be:"
    assert len(names) == len(lines)
    return names


@pytest.mark.parametrize("name", POLICIES)
def test_an_endpoint_that_is_right_passes(name: str) -> None:
    """Whatever its policy is; the report has a line for each upload."""
    policy = POLICIES[name]
    cases = endpoint_cases(policy)
    report = check_endpoint(partial(right, policy=policy), cases)

    assert [result.case for result in report.results] == cases
    assert report.failures == []
    assert len(str(report).splitlines()) == len(cases) + 1
    assert {case.refusal is None for case in cases} == {True, False}


def test_the_default_policy_is_the_default() -> None:
    """A call with nothing but the function will do."""
    assert [result.case.name for result in check_endpoint(right).results] == [case.name for case in CASES]


def test_an_async_endpoint_is_checked_by_the_same_cases() -> None:
    """And with the same result."""

    async def send(filename: str, data: bytes, content_type: str) -> Any:  # noqa: ANN401
        try:
            await normalize_async(data)
        except Rejected as error:
            return SimpleNamespace(status_code=error.status)
        return SimpleNamespace(status_code=500 if data.startswith(b"GIF") else 200)

    assert len(asyncio.run(check_endpoint_async(send, CASES[:5])).results) == 5
    with pytest.raises(AssertionError, match=r"still\.gif +2xx +500") as caught:
        asyncio.run(check_endpoint_async(send))
    assert "baseline.jpg" not in str(caught.value)


def tutorial(filename: str, data: bytes, content_type: str) -> int:
    """Answer as tutorials do: by the content type, and with whatever Pillow makes of it."""
    if not content_type.startswith("image/"):
        return 415
    try:
        image: Image.Image = Image.open(io.BytesIO(data))
        image.thumbnail((300, 300))
    except UnidentifiedImageError:
        return 415
    image.convert("RGB").save(io.BytesIO(), "JPEG")
    return 201


def test_the_way_of_tutorials_is_found_wanting() -> None:
    """It trusts content types, takes what is cut or not allowed, and lets errors of Pillow through."""
    slow = {"scan-bomb.jpg", "text-bomb.png", "near-bomb.png", "frames.gif", "pages.tif", "huge-header.png"}
    cases = [case for case in CASES if case.name not in slow]
    with pytest.raises(AssertionError) as caught:
        check_endpoint(tutorial, cases)
    table = str(caught.value)
    for name in ("baseline.jpg as picture.php", "bitmap.bmp", "cut-rgb.png", "truncated.jpg", "too-large.jpg"):
        assert f"\n{name} " in table
    assert "raised " in table
    assert isinstance(caught.value.__cause__, Exception)


LIMIT = AVATAR.max_bytes
#: What one mistake is: which uploads it concerns, and the answer that they get.
MISTAKES: dict[str, tuple[Callable[[str, bytes], bool], int]] = {
    "empty.jpg": (lambda name, data: not data, 500),
    "script.svg": (lambda name, data: name.endswith(".svg"), 201),
    "program.jpg": (lambda name, data: data.startswith(b"MZ"), 204),
    "baseline.jpg as ../../../etc/passwd": (lambda name, data: "/" in name, 415),
    "baseline.jpg as picture.php": (lambda name, data: name.endswith(".php"), 422),
    "as-large-as-allowed.jpg": (lambda name, data: len(data) == LIMIT, 413),  # no place for the frame of the form
    "too-large.jpg": (lambda name, data: len(data) == LIMIT + 1, 201),
    "far-too-large.jpg": (lambda name, data: len(data) > LIMIT + 1, 422),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_one_mistake_is_one_line(name: str) -> None:
    """Nothing else is in the table."""
    concerns, answer = MISTAKES[name]

    def send(filename: str, data: bytes, content_type: str) -> int:
        return answer if concerns(filename, data) else right(filename, data, content_type)

    assert wrongs(send) == {name}


def test_what_is_raised_is_a_failure_and_the_rest_goes_on() -> None:
    """Test clients raise what the application raised; the first of these is the cause."""

    def send(filename: str, data: bytes, content_type: str) -> int:
        if filename in {"cmyk.jpg", "gray.jpg"}:
            raise ValueError(f"mode\n{filename}")
        return right(filename, data, content_type)

    with pytest.raises(AssertionError, match=r"(?s)2 of .*raised ValueError: mode gray.jpg .*mode cmyk") as caught:
        check_endpoint(send, CASES)
    assert isinstance(caught.value.__cause__, ValueError)
    with pytest.raises(KeyboardInterrupt):
        check_endpoint(lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()), CASES)


def test_nothing_checked_is_a_failure() -> None:
    """A selection that selects nothing."""
    with pytest.raises(AssertionError, match="nothing was uploaded"):
        check_endpoint(right, [])


def test_other_statuses_are_the_application_s() -> None:
    """A form that redirects, and is shown again when the picture was refused."""
    cases = endpoint_cases(accepted={302}, refused={200})
    assert check_endpoint(lambda *file: 302 if right(*file) == 201 else 200, cases)
    with pytest.raises(AssertionError, match=r"empty.jpg +200 \(empty\) +422"):
        check_endpoint(right, cases)
    with pytest.raises(InvalidArgument, match="503 is an error of the server's"):
        endpoint_cases(refused={400, 503})
    with pytest.raises(InvalidArgument):
        endpoint_cases(accepted={500})


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (201, 201),
        (SimpleNamespace(status_code=415, status="415 UNSUPPORTED MEDIA TYPE"), 415),
        (SimpleNamespace(status=413), 413),
    ],
    ids=["number", "status_code", "status"],
)
def test_responses_of_any_client_have_a_status(answer: object, status: int) -> None:
    """Those of httpx, requests, Flask and Django; those of aiohttp and urllib."""
    assert status_of(answer) == status


def test_an_answer_without_a_status_is_a_mistake_of_the_test_s() -> None:
    """And no failure of the endpoint's."""
    with pytest.raises(InvalidArgument, match="got a NoneType"):
        check_endpoint(lambda *_: None)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_case_checks_its_answer(case: Any) -> None:  # noqa: ANN401
    """The one right answer passes; neither another nor one of the server's errors does."""
    case.check(right(*case.file))
    wrong = 201 if case.refusal else 415
    for status in (wrong, 500, 302):
        with pytest.raises(AssertionError, match=f"was answered {status}"):
            case.check(SimpleNamespace(status_code=status))


def test_names_tell_cases_apart() -> None:
    """As identifiers of tests have to."""
    assert len({str(case) for case in CASES}) == len(CASES)
    assert all(str(case).isascii() for case in CASES)
    assert {*BENIGN, *HOSTILE} < {case.name for case in CASES}


def test_content_types_are_those_of_the_names() -> None:
    """Where nothing is a lie."""
    assert {case.name.rpartition(".")[2]: case.content_type for case in CASES[: len(BENIGN) + len(HOSTILE)]} == {
        "jpg": "image/jpeg",
        "png": "image/png",
        "gif": "image/gif",
        "webp": "image/webp",
        "avif": "image/avif",
        "heic": "image/heic",
        "bmp": "image/bmp",
        "tif": "image/tiff",
        "svg": "image/svg+xml",
    }


def test_sizes_are_on_each_side_of_the_limit() -> None:
    """Of the policy's; where the limit is so high that files would fill the memory they are left out."""
    policy = dataclasses.replace(AVATAR, max_bytes=10_000)
    sizes = {case.name: case for case in endpoint_cases(policy) if "large" in case.name}
    assert [len(case.data) for case in sizes.values()] == [10_000, 10_001, 10_000 + (1 << 20)]
    assert [type(case.refusal) for case in sizes.values()] == [type(None), TooLarge, TooLarge]
    huge = dataclasses.replace(AVATAR, max_bytes=(64 << 20) + 1)
    assert [case.name for case in endpoint_cases(huge) if "large" in case.name] == []


def test_the_table_is_for_people() -> None:
    """Columns are aligned, and long errors cut."""
    results = [EndpointResult(CASES[0], 500, None, 0.1), EndpointResult(CASES[1], None, ValueError("x" * 99), 2)]
    head, first, second = str(EndpointReport(results)).splitlines()
    assert head.index("answered") == first.index("500") == second.index("raised")
    assert head.index("what it is") == first.index(CASES[0].about)
    assert "xxx...  2000  " in second


def test_a_file_goes_through_a_real_form() -> None:
    """`file` is what clients take; the bytes arrive whole, under whatever name."""
    httpx2 = pytest.importorskip("httpx2")
    for case in CASES:
        request = httpx2.Request("POST", "http://test/", files={"file": case.file})
        body = b"Content-Type: " + request.headers["Content-Type"].encode() + b"\r\n\r\n" + request.read()
        form = BytesParser().parsebytes(body)
        assert [part.get_content_type() for part in form.walk()] == ["multipart/form-data", case.content_type]
    assert request.read().count(case.data) == 1
