"""What users of the kit would stumble over: faults that are lost, alarms that are false, checks that let all pass."""

import asyncio
import gc
import pickle
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

import safeupload
from safeupload import AVATAR, InvalidArgument, StorageError, Uploads
from safeupload.policy import _CODECS
from safeupload.storage import MemoryStorage
from safeupload.testing import (
    BENIGN,
    HOSTILE,
    Database,
    EndpointCase,
    FaultyStorage,
    endpoint_cases,
    losing_reply,
    picture,
)


def named(cases: list[EndpointCase], name: str) -> EndpointCase:
    """Return the case of that name."""
    return next(case for case in cases if case.name == name)


def test_a_form_may_be_refused_at_the_edge() -> None:
    """What is too large is answered by the form, or with 413 before there is one; nothing else is."""
    cases = endpoint_cases(accepted={302}, refused={200})

    assert [named(cases, "far-too-large.jpg").is_right(status) for status in (200, 413, 302, 500)] == [
        *(True, True),
        *(False, False),
    ]
    assert not named(cases, "cut-rgb.png").is_right(413)


def test_one_status_cannot_mean_both() -> None:
    """An endpoint that answers 200 to whatever comes would pass."""
    with pytest.raises(InvalidArgument, match="200"):
        endpoint_cases(refused={200})


@pytest.mark.parametrize("name", _CODECS)
def test_the_limit_is_tried_with_a_format_of_the_policy(name: str) -> None:
    """Whichever it is, a picture that is as large as allowed is taken, and one byte more is not."""
    cases = endpoint_cases(replace(AVATAR, formats={name}, max_bytes=100_000))
    largest, larger, *_ = [case for case in cases if "large" in case.name]

    assert largest.refusal is None
    assert len(largest.data) == 100_000
    assert isinstance(larger.refusal, safeupload.TooLarge)


def test_a_policy_that_takes_nothing_is_told() -> None:
    """An endpoint that refuses whatever comes would pass."""
    with pytest.raises(InvalidArgument, match="none of the honest pictures"):
        endpoint_cases(replace(AVATAR, max_pixels=100))


def test_a_second_fault_is_for_the_next_call() -> None:
    """Neither is lost: the first call fails before it takes effect, the second one afterwards, the third one not."""
    storage = FaultyStorage(MemoryStorage())
    storage.fail("save")
    storage.fail("save", after=True)
    stored = []
    for _ in range(2):
        with pytest.raises(StorageError):
            storage.new_mark().save(b"picture")
        stored.append(len(list(storage.keys())))
    assert storage.planned == []
    storage.new_mark().save(b"picture")

    assert [*stored, len(list(storage.keys()))] == [0, 1, 2]


def test_a_second_delay_is_for_the_next_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with faults; a delay and a fault can be of one call, whichever was said first."""
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    storage = FaultyStorage(MemoryStorage())
    storage.fail("clock")
    storage.slow("clock", seconds=3)
    storage.slow("clock", seconds=4)
    with pytest.raises(StorageError):
        storage.clock()
    assert max(slept) == 3
    storage.clock()

    assert max(slept) == 4
    assert storage.planned == []


@pytest.mark.parametrize("sample", [*BENIGN.values(), *HOSTILE.values()], ids=str)
def test_samples_cross_processes(sample: safeupload.testing.Sample) -> None:
    """A sample goes into a set, and to another process, where it makes the same bytes."""
    assert len({sample, sample}) == 1
    twin = pickle.loads(pickle.dumps(sample))
    assert (twin.name, twin.info, twin.code) == (sample.name, sample.info, sample.code)
    if len(sample.data) < 100_000:
        assert twin.data == sample.data


def test_cases_go_into_sets_and_elsewhere() -> None:
    """And to other processes, whatever statuses they have."""
    cases = endpoint_cases(accepted={302})
    assert len({*cases}) == len(cases)
    case = named(cases, "cut-rgb.png")
    twin = pickle.loads(pickle.dumps(case))
    assert (twin.data, twin.expected) == (case.data, case.expected)


def _depth(error: BaseException) -> int:
    """Return how many frames the traceback has."""

    def frames() -> Iterator[object]:
        trace = error.__traceback__
        while trace is not None:
            yield trace
            trace = trace.tb_next

    return len(list(frames()))


@pytest.mark.parametrize("error", [None, TimeoutError("lost")], ids=repr)
def test_a_lost_reply_is_told_anew_each_time(error: Exception | None) -> None:
    """The tracebacks of earlier calls are not in it; what is not given is a new error each time."""
    commit = losing_reply(lambda: None, error)
    depths: set[int] = set()
    errors: list[BaseException] = []
    for _ in range(3):
        with pytest.raises(OSError, match="lost") as caught:
            commit()
        depths.add(_depth(caught.value))
        errors.append(caught.value)

    assert len(depths) == 1
    assert len({id(each) for each in errors}) == (3 if error is None else 1)


def test_a_fault_that_comes_again_is_told_anew() -> None:
    """The tracebacks of earlier calls are not in it."""
    storage = FaultyStorage(MemoryStorage())
    storage.fail("clock", times=3)
    depths: set[int] = set()
    for _ in range(3):
        with pytest.raises(StorageError) as caught:
            storage.clock()
        depths.add(_depth(caught.value))

    assert len(depths) == 1


async def _commit() -> None:
    """Commit."""


def _hidden() -> Awaitable[None]:
    """Return a promise, which a plain function does not show to do."""
    return _commit()


@pytest.mark.parametrize("commit", [_commit, _hidden])
def test_a_coroutine_in_the_wrong_class_leaves_no_warning(commit: Callable[[], Any]) -> None:
    """The mistake is told by an error, and not by a coroutine that nobody awaited."""
    database = Database({"ada": None})
    uploads = Uploads(MemoryStorage(), references=database.references)
    with pytest.raises(safeupload.AsyncCallable), uploads.replace(picture().data) as new:
        new.replacing(None)
        new.commit(losing_reply(commit))
    gc.collect()


def test_a_coroutine_that_a_plain_function_makes_loses_its_reply() -> None:
    """It is awaited, and then the error comes."""
    done: list[int] = []

    async def commit() -> None:
        await asyncio.sleep(0)
        done.append(1)

    def hidden() -> Awaitable[None]:
        return commit()

    async def lose() -> None:
        await losing_reply(hidden)()

    with pytest.raises(safeupload.testing.ConnectionLost):
        asyncio.run(lose())
    assert done == [1]
