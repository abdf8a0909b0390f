"""Checking an endpoint with all cases at once, and a table of what came of it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from safeupload.testing._cases import EndpointCase, endpoint_cases, status_of

__all__ = ["EndpointReport", "EndpointResult", "check_endpoint", "check_endpoint_async"]

T = TypeVar("T")


class EndpointResult(NamedTuple):
    """
    What came of one upload: the `status` of the answer, or the `error` that was raised; and how long the answer took.

    `fault` says what is wrong with what is served of it, if that was fetched.
    """

    case: EndpointCase
    status: int | None
    error: Exception | None
    seconds: float
    fault: str | None = None

    @property
    def is_right(self) -> bool:
        """Whether the answer was the right one, and what is served as well."""
        right = self.status is not None and self.case.is_right(self.status)
        return right and self.error is None and self.fault is None

    @property
    def answer(self) -> str:
        """The status and the fault, or what was raised, in words."""
        if self.error is not None:
            return f"raised {type(self.error).__name__}: {self.error}"
        return str(self.status) if self.fault is None else f"{self.status}, and serves {self.fault}"


@dataclass(frozen=True)
class EndpointReport:
    """What came of all uploads; `str` makes a table of it."""

    results: Sequence[EndpointResult]

    @property
    def failures(self) -> list[EndpointResult]:
        """Those that were not answered as they have to be."""
        return [result for result in self.results if not result.is_right]

    def check(self) -> None:
        """Raise an `AssertionError` with a table of the failures, if there are any."""
        if not self.results:
            raise AssertionError("nothing was uploaded")
        failures = self.failures
        if failures:
            text = f"{len(failures)} of {len(self.results)} uploads were not answered as they have to be:"
            cause = next((result.error for result in failures if result.error is not None), None)
            raise AssertionError(f"{text}\n\n{_table(failures)}") from cause

    def __str__(self) -> str:
        return _table(self.results)


def check_endpoint(
    send: Callable[[str, bytes, str], T],
    cases: Iterable[EndpointCase] | None = None,
    *,
    fetch: Callable[[T], bytes | None] | None = None,
) -> EndpointReport:
    """
    Upload honest and hostile files to an endpoint of yours, and see whether each is answered as it has to be.

    ::

        def send(filename, data, content_type):
            return client.post("/picture", files={"file": (filename, data, content_type)})

        check_endpoint(send)

    Args:
        send: called with a file name, the bytes and a content type; uploads them, by whatever client, and returns the
            response, or its status. What it raises is a failure of that upload; the others go on.
        cases: what to upload: `endpoint_cases`, for another policy than `AVATAR` or other statuses. Any selection of
            them will do.
        fetch: called with the answer to each upload that was taken; returns the bytes of the picture that is served,
            None if there is none. They have to be a JPEG of the size that the policy makes of the upload, without the
            payload of a hostile one, and not the upload itself: what a view stores that validates and then saves what
            came.

    Returns:
        A report, with the time that each took.

    Raises:
        AssertionError: some were not answered as they have to be; the text is a table of them.

    """
    results: list[EndpointResult] = []
    for case in _all(cases):
        answers: list[T] = []
        with _noted(case, answers, results):
            answers.append(send(*case.file))
        if fetch is not None and _is_taken(results[-1]):
            with _looked_at(results) as served:
                served(fetch(answers[0]))
    return _checked(results)


async def check_endpoint_async(
    send: Callable[[str, bytes, str], Awaitable[T]],
    cases: Iterable[EndpointCase] | None = None,
    *,
    fetch: Callable[[T], Awaitable[bytes | None]] | None = None,
) -> EndpointReport:
    """Do what `check_endpoint` does with coroutine functions, one upload after the other."""
    results: list[EndpointResult] = []
    for case in _all(cases):
        answers: list[T] = []
        with _noted(case, answers, results):
            answers.append(await send(*case.file))
        if fetch is not None and _is_taken(results[-1]):
            with _looked_at(results) as served:
                served(await fetch(answers[0]))
    return _checked(results)


def _all(cases: Iterable[EndpointCase] | None) -> Iterable[EndpointCase]:
    return endpoint_cases() if cases is None else cases


@contextmanager
def _noted(case: EndpointCase, answers: Sequence[object], results: list[EndpointResult]) -> Generator[None]:
    """Note what becomes of an upload in the block, which adds the answer."""
    _ = case.data  # which takes its time
    started = time.perf_counter()
    try:
        yield
    except Exception as error:  # noqa: BLE001 - a failure, told in the table
        results.append(EndpointResult(case, None, error, time.perf_counter() - started))
    else:
        results.append(EndpointResult(case, status_of(answers[0]), None, time.perf_counter() - started))


def _is_taken(result: EndpointResult) -> bool:
    return result.is_right and result.case.refusal is None


@contextmanager
def _looked_at(results: list[EndpointResult]) -> Generator[Callable[[bytes | None], None]]:
    """Note what is wrong with what is served of the last upload, which the block tells."""
    served: list[bytes | None] = []
    try:
        yield served.append
    except Exception as error:  # noqa: BLE001 - a failure, told in the table
        results[-1] = results[-1]._replace(error=error)
    else:
        results[-1] = results[-1]._replace(fault=results[-1].case.fault(served[0]))


def _checked(results: list[EndpointResult]) -> EndpointReport:
    report = EndpointReport(results)
    report.check()
    return report


def _table(results: Sequence[EndpointResult]) -> str:
    """Return a table for people."""
    rows = [("upload", "expected", "answered", "ms", "what it is")]
    for result in results:
        answer = result.answer.replace("\n", " ")
        shown = answer if len(answer) <= 60 else answer[:57] + "..."  # noqa: PLR2004 - columns
        rows.append((result.case.name, result.case.expected, shown, f"{result.seconds * 1000:.0f}", result.case.about))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines: list[str] = []
    for name, expected, answer, taken, about in rows:
        cells = (
            name.ljust(widths[0]),
            expected.ljust(widths[1]),
            answer.ljust(widths[2]),
            taken.rjust(widths[3]),
            about,
        )
        lines.append("  ".join(cells))
    return "\n".join(lines)
