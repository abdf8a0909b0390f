"""Leases: which clock, whose lease, how far a clock is off, and what is listed how often."""

import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from buckets import LEASE, Bucket

from safeupload import ClockSkew, InvalidArgument
from safeupload._keys import LONGEST, beside, new_key
from safeupload.storage import BucketStorage, Entry, File, _clocks


@pytest.mark.parametrize(
    ("clocks", "read"),
    [({"CLOCK_BOOTTIME": 7, "CLOCK_MONOTONIC": 1}, 7.0), ({"CLOCK_MONOTONIC": 1}, 1.0), ({}, -1.0)],
    ids=["boot", "monotonic", "none"],
)
def test_the_clock_that_goes_on_while_a_machine_sleeps(
    monkeypatch: pytest.MonkeyPatch, clocks: dict[str, int], read: float
) -> None:
    """It is read where there is one: the lease of a machine that was asleep has gone by."""
    given = SimpleNamespace(**clocks, clock_gettime=float, monotonic=lambda: -1.0)
    monkeypatch.setattr(_clocks, "time", given)

    assert _clocks.elapsed() == read


def test_time_goes_by() -> None:
    """It is counted in seconds."""
    before = _clocks.elapsed()
    time.sleep(0.02)

    assert 0.01 < _clocks.elapsed() - before < 10


def test_marks_of_old_files_tell_their_lease_too(storage: BucketStorage) -> None:
    """A cleaner with a shorter lease waits for it as well."""
    assert storage.new_mark().name.lease == LEASE
    assert storage.old_mark(new_key(), 0).name.lease == LEASE


@pytest.mark.parametrize(("ahead", "told"), [(100, 90), (-100, -100)])
def test_how_far_a_clock_is_off(bucket: Bucket, storage: BucketStorage, ahead: float, told: float) -> None:
    """What the requests take speaks for the clock: only what is beyond them counts."""
    bucket.ahead = ahead

    def act(request: str) -> None:
        if request == "date .clock":
            bucket.now += 10

    bucket.act = act
    with pytest.raises(ClockSkew) as caught:
        storage.clock()
    assert caught.value.seconds == told


def test_a_bucket_that_does_not_list_by_name(
    bucket: Bucket, storage: BucketStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rendition whose file comes later, or came before, is not taken for one that stands alone."""
    keys = sorted(new_key() for _ in range(3))
    for key in keys:
        bucket.put(key, b"picture")
        bucket.put(beside(key, "-thumb.webp"), b"thumb")
    lonely = new_key()
    bucket.put(beside(lonely, "-thumb.webp"), b"thumb")
    renditions = [beside(key, "-thumb.webp") for key in (*keys, lonely)]

    for order in (
        [*renditions, *keys],
        [*keys, *renditions],
        [*keys, *reversed(renditions)],
        [*reversed(renditions), *keys],
    ):

        def entries(folder: str, order: list[str] = order) -> Iterator[Entry]:
            return iter([] if folder else [Entry(name, 5.0) for name in order])

        monkeypatch.setattr(bucket, "entries", entries)
        assert sorted(file.key for file in storage.files()) == sorted([*keys, lonely])
        assert [file for file in storage.files() if file.key == lonely] == [File(lonely, 5.0)]


def test_a_sweep_lists_the_suffixes_once(bucket: Bucket, storage: BucketStorage) -> None:
    """Files that are removed one after the other need no listing each; half a minute later there is a new one."""
    keys = [new_key() for _ in range(4)]
    for key in keys:
        bucket.put(key, b"picture")
        bucket.put(beside(key, "-thumb.webp"), b"thumb")
    bucket.put(".renditions/-thumb.webp", b"")
    bucket.requests.clear()

    for key in keys[:3]:
        storage.remove(key)
    assert bucket.requests.count("list .renditions/") == 1
    bucket.now += 31
    storage.remove(keys[3])
    assert bucket.requests.count("list .renditions/") == 2
    assert [name for name in bucket.objects if not name.startswith(".")] == []


def test_p8_only_suffixes_are_suffixes(bucket: Bucket, storage: BucketStorage) -> None:
    """What else stands on the list, by whoever, names nothing that is removed."""
    key = new_key()
    for name in (key, beside(key, "-thumb.webp"), beside(key, ".txt"), beside(key, "")):
        bucket.put(name, b"")
    for suffix in ("-thumb.webp", ".txt", "", "/x"):
        bucket.put(f".renditions/{suffix}", b"")

    storage.remove(key)

    assert {name for name in bucket.objects if not name.startswith(".")} == {beside(key, ".txt"), beside(key, "")}


@pytest.mark.parametrize("name", ["lease", "skew"])
@pytest.mark.parametrize("value", [0, 0.5, LONGEST + 1, "5", -1])
def test_what_is_no_lease_is_told_by_its_name(bucket: Bucket, name: str, value: object) -> None:
    """Whoever gives two durations reads which one is wrong."""
    with pytest.raises(InvalidArgument, match=f"^{name}:"):
        BucketStorage(bucket, **{name: value})  # type: ignore[arg-type]


def test_the_longest_lease(bucket: Bucket) -> None:
    """It is as long as a mark's name has room for."""
    assert BucketStorage(bucket, lease=LONGEST).new_mark().name.lease == LONGEST


def test_a_settling_lists_the_suffixes_once(bucket: Bucket, storage: BucketStorage) -> None:
    """However many files it removes; and where it only drops marks, not at all."""
    marks = [storage.new_mark() for _ in range(4)]
    for mark in marks:
        mark.save(b"picture", {"-thumb.webp": b"thumb", "-large.jpg": b"large"})
    assert [bucket.requests.count(f"put .renditions/{suffix}") for suffix in ("-thumb.webp", "-large.jpg")] == [1, 1]
    bucket.requests.clear()

    storage.settle([], marks[:1])
    assert bucket.requests.count("list .renditions/") == 0
    assert storage.settle(marks[1:], []) == []
    assert bucket.requests.count("list .renditions/") == 1
    assert {name[:32] for name in bucket.objects if not name.startswith(".")} == {marks[0].name.key[:32]}
    assert {data for name, (data, _) in bucket.objects.items() if name.startswith(".renditions/")} == {b""}
