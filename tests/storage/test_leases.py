"""Leases: each limit from both sides, the clocks, the requests that are made, and the errors of a bucket."""

import math
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from buckets import LEASE, SKEW, Bucket
from fakes import THUMB, picture

from safeupload import ClockSkew, InvalidArgument, LeaseExpired, StorageError, Uploads
from safeupload._keys import beside, new_key
from safeupload.errors import InvalidKey
from safeupload.storage import BucketStorage, File, MemoryStorage
from safeupload.storage import _clocks as clocks


class Rows:
    """A table of one row."""

    def __init__(self, storage: Any, **options: Any) -> None:  # noqa: ANN401
        self.key: str | None = None
        self.uploads = Uploads(storage, references=self.used, **options)

    def used(self, keys: list[str]) -> list[str]:
        """Answer `references`."""
        return [key for key in keys if key == self.key]

    def replace(self, before: Callable[[], None] = lambda: None) -> None:
        """Replace the picture."""
        with self.uploads.replace(picture("new")) as new:
            key = new.replacing(self.key)
            before()
            new.commit(lambda: setattr(self, "key", key))


# --- a lease, and who waits for it ---


@pytest.mark.parametrize(("seconds", "ours"), [(0, True), (LEASE - 0.1, True), (LEASE, False), (LEASE + 1, False)])
def test_a_lease_ends(bucket: Bucket, storage: BucketStorage, seconds: float, *, ours: bool) -> None:
    """It is good until that very moment, and then never again, whatever is done with it."""
    mark = storage.new_mark()
    mark.save(b"picture")
    bucket.now += seconds
    if ours:
        mark.check()
        return
    for _ in range(2):
        with pytest.raises(LeaseExpired):
            mark.check()
        mark.touch()
    assert bucket.requests.count(f"put .pending/{mark.name.name}") == 1


def test_no_lease_is_there_before_there_is_a_mark(storage: BucketStorage) -> None:
    """Nobody may commit what was never stored."""
    with pytest.raises(LeaseExpired):
        storage.new_mark().check()


@pytest.mark.parametrize(("seconds", "renewed"), [(0, False), (149, False), (150, True), (299, True), (300, False)])
def test_a_lease_is_renewed_in_its_second_half(
    bucket: Bucket, storage: BucketStorage, seconds: float, *, renewed: bool
) -> None:
    """Most blocks are over long before, and cost no request for it; one that has ended stays so."""
    mark = storage.new_mark()
    mark.save(b"picture")
    bucket.now += seconds
    mark.touch()
    assert bucket.requests.count(f"put .pending/{mark.name.name}") == 1 + renewed
    bucket.now += LEASE - 1

    if renewed:
        mark.check()
    elif seconds:
        with pytest.raises(LeaseExpired):
            mark.check()


def test_a_lease_counts_from_before_it_was_asked_for(bucket: Bucket, storage: BucketStorage) -> None:
    """A reply that takes its time has cost its time; one that comes too late renews nothing."""
    mark = storage.new_mark()

    def slowly(request: str) -> None:
        bucket.now += 100 if request.startswith("put .pending") else 0

    bucket.act = slowly
    mark.save(b"picture")
    bucket.now += 199
    mark.check()
    mark.touch()  # 1 second is left, and the request takes 100
    with pytest.raises(LeaseExpired):
        mark.check()


def test_a_file_that_is_stored_too_slowly_is_not_ours(bucket: Bucket, storage: BucketStorage) -> None:
    """A cleaner may have come before it was there; the block does not begin, and nothing stays."""

    def slowly(request: str) -> None:
        bucket.now += LEASE if request.endswith(".jpg") and request[4] != "." else 0

    bucket.act = slowly
    with pytest.raises(LeaseExpired):
        Rows(storage).replace()
    assert set(bucket.objects) <= {".clock", f".renditions/{THUMB}"}


def test_nothing_is_committed_after_the_lease(bucket: Bucket, storage: BucketStorage) -> None:
    """All is kept and on record, and the commit was never called."""
    rows = Rows(storage)
    with pytest.raises(LeaseExpired, match="nothing was committed"):
        rows.replace(lambda: setattr(bucket, "now", bucket.now + LEASE))

    assert rows.key is None
    assert len(list(storage.keys())) == len(list(storage.marks())) == 1
    bucket.now += LEASE + SKEW
    assert len(rows.uploads.recover(min_age=0).removed) == 1
    assert [*storage.files(), *storage.marks()] == []


def test_old_files_have_no_lease(bucket: Bucket, storage: BucketStorage) -> None:
    """A file that is only released can be removed by whoever finds that no row names it, so no time presses."""
    rows = Rows(storage)
    rows.replace()
    with rows.uploads.transaction() as tx:
        tx.release(rows.key)
        bucket.now += 10 * LEASE
        tx.commit(lambda: setattr(rows, "key", None))

    assert [*storage.files(), *storage.marks()] == []


@pytest.mark.parametrize(
    ("min_age", "seconds", "taken"),
    [
        (0, LEASE + SKEW, True),
        (0, LEASE + SKEW - 1, False),
        (60, LEASE + SKEW + 60, True),
        (60, LEASE + SKEW + 59, False),
    ],
)
def test_cleaners_wait_for_lease_skew_and_age(
    bucket: Bucket, storage: BucketStorage, min_age: float, seconds: float, *, taken: bool
) -> None:
    """One after the other: the age is the time of a commit that was begun when the lease ended."""
    storage.new_mark().save(b"picture", {THUMB: b"small"})
    bucket.now += seconds

    report = Uploads(storage, references=lambda keys: []).recover(min_age=min_age)
    assert len(report.removed) == taken
    assert report.waiting == 1 - taken


@pytest.mark.parametrize(("seconds", "taken"), [(3600 + LEASE + SKEW, True), (3600 + LEASE + SKEW - 1, False)])
def test_a_retained_file_waits_for_its_time_as_well(
    bucket: Bucket, storage: BucketStorage, seconds: float, *, taken: bool
) -> None:
    """From the commit on."""
    rows = Rows(storage, retain=3600)
    rows.replace()
    rows.replace(lambda: setattr(bucket, "now", bucket.now + 100))
    bucket.now += seconds

    assert len(rows.uploads.recover(min_age=0).removed) == taken


def test_who_takes_a_mark_looks_at_it_once_more(bucket: Bucket, storage: BucketStorage) -> None:
    """It may have been renewed since it was listed; one that was young then is not asked for at all."""
    marks = [storage.new_mark() for _ in range(2)]
    for mark in marks:
        mark.save(b"picture")
    bucket.now += LEASE - 1
    young = storage.new_mark()
    young.save(b"picture")
    bucket.now += SKEW + 1
    listed = {name.key: name for name in storage.marks()}
    bucket.objects[f".pending/{marks[0].name.name}"] = (b"", bucket.now)
    del bucket.requests[:]

    taken = [storage.seize(listed[mark.name.key], bucket.now) for mark in (*marks, young)]
    assert [mark is not None for mark in taken] == [False, True, False]
    looked = [request for request in bucket.requests if request.startswith("date .pending")]
    assert looked == [f"date .pending/{mark.name.name}" for mark in marks]


@pytest.mark.parametrize(("owner", "cleaner"), [(3600, 300), (300, 3600)])
def test_leases_of_different_length_live_side_by_side(bucket: Bucket, owner: int, cleaner: int) -> None:
    """A mark tells for how long it is held, so a cleaner with a shorter lease waits for the longer one."""
    mark = BucketStorage(bucket, lease=owner, skew=SKEW).new_mark()
    mark.save(b"picture")
    others = BucketStorage(bucket, lease=cleaner, skew=SKEW)
    (listed,) = others.marks()
    assert (listed, listed.lease) == (mark.name, owner)

    bucket.now += 3600 + SKEW - 1
    assert others.seize(listed, math.inf) is None
    bucket.now += 1
    assert others.seize(listed, math.inf) is not None


@pytest.mark.parametrize("stopped", ["elapsed", "time"])
def test_either_clock_ends_a_lease(
    bucket: Bucket, storage: BucketStorage, monkeypatch: pytest.MonkeyPatch, stopped: str
) -> None:
    """A machine that sleeps, or is stopped by what it runs on, may find that one of its clocks has not gone on."""
    mark = storage.new_mark()
    mark.save(b"picture")
    then = bucket.now
    if stopped == "elapsed":
        monkeypatch.setattr(clocks, "elapsed", lambda: then)
    else:
        monkeypatch.setattr(clocks.time, "time", lambda: then)  # type: ignore[attr-defined]
    bucket.now += LEASE - 1
    mark.check()
    bucket.now += 1

    with pytest.raises(LeaseExpired):
        mark.check()


# --- what is retained ---


@pytest.mark.parametrize("kind", ["leases", "locks"])
def test_a_mark_that_was_left_does_not_end_a_retention(bucket: Bucket, kind: str) -> None:
    """A crash after the commit leaves the mark of the new file; when that has been replaced, it still has its time."""
    storage: Any = BucketStorage(bucket, lease=LEASE, skew=SKEW) if kind == "leases" else MemoryStorage()
    rows = Rows(storage, retain=100_000)
    left = storage.new_mark()
    left.save(b"picture")
    left.close()
    rows.key = left.name.key
    rows.replace()
    bucket.now += 10 * LEASE

    report = rows.uploads.recover(min_age=0)
    assert (report.removed, report.kept, report.failed) == ((), 1, ())
    assert storage.read(left.name.key) == b"picture"
    assert {name.retain for name in storage.marks()} == {100_000}


@pytest.mark.long
def test_replacements_keep_up_with_what_was_retained(
    bucket: Bucket, storage: BucketStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many marks there are that have still to wait, those whose time has come are found."""
    now = [1000.0]
    monkeypatch.setattr("safeupload._recovery.time.monotonic", lambda: now[0])
    rows = Rows(storage, retain=3600)
    most = 0
    for _ in range(2500):
        rows.replace()
        bucket.now += 6
        now[0] += 6
        most = max(most, len(bucket.objects))
    waiting = (3600 + LEASE + SKEW + 60) // 6
    assert waiting > 256
    assert most <= 3 * 1.5 * waiting  # a file, its rendition, and its mark


@pytest.mark.parametrize(("retain", "allowed"), [(9_999_999_999, True), (10_000_000_000, False)])
def test_no_retention_is_longer_than_a_mark_can_say(
    bucket: Bucket, storage: BucketStorage, retain: int, *, allowed: bool
) -> None:
    """Or it would be none: a mark that nobody can read."""
    if not allowed:
        with pytest.raises(InvalidArgument, match="retain"):
            Rows(storage, retain=retain)
        return
    rows = Rows(storage, retain=retain)
    rows.replace()
    rows.replace()
    assert [name.retain for name in storage.marks()] == [retain]


# --- clocks ---


@pytest.mark.parametrize(("ahead", "refused"), [(0, False), (60, False), (-60, False), (60.5, True), (-61, True)])
def test_a_clock_that_is_wrong_settles_nothing(
    bucket: Bucket, storage: BucketStorage, ahead: float, *, refused: bool
) -> None:
    """The bucket's and the machine's are compared whenever a cleaner asks for the time; the error says by how much."""
    storage.new_mark().save(b"picture")
    bucket.now += 10 * LEASE
    bucket.ahead = ahead
    uploads = Uploads(storage, references=lambda keys: [])

    if not refused:
        assert len(uploads.recover().removed) == 1
        return
    for clean in (uploads.recover, uploads.sweep):
        with pytest.raises(ClockSkew, match="ahead of" if ahead > 0 else "behind") as caught:
            clean()
        assert (caught.value.seconds, caught.value.limit) == (ahead, SKEW)
    assert uploads.recover(min_age=0).failed
    assert len(list(storage.keys())) == 1


def test_a_clock_that_is_wrong_stops_no_upload(bucket: Bucket, storage: BucketStorage) -> None:
    """A lease is measured by the holder alone; only that nothing is tidied up is told."""
    rows = Rows(storage)
    storage.new_mark().save(b"left by a crash")
    bucket.ahead = 3600
    rows.replace()

    assert rows.key in set(storage.keys())
    assert len(list(storage.marks())) == 1


def test_the_skew_is_told_from_a_slow_reply(bucket: Bucket, storage: BucketStorage) -> None:
    """The date lies between the moments before and after it was asked for, however far these are apart."""

    def slowly(request: str) -> None:
        bucket.now += 500 if request == "date .clock" else 0

    bucket.act = slowly
    assert storage.clock() == 1e9


def test_a_clock_that_nobody_finds_is_an_error(bucket: Bucket, storage: BucketStorage) -> None:
    """As with a lifecycle rule that removes everything at once."""
    bucket.act = lambda request: bucket.objects.clear()
    with pytest.raises(StorageError, match="what was just written is not there"):
        storage.clock()


def test_the_time_is_asked_for_now_and_then(bucket: Bucket, storage: BucketStorage) -> None:
    """Many marks are settled with one reading, which gets more careful with time."""
    marks = [storage.new_mark() for _ in range(20)]
    for mark in marks:
        mark.save(b"picture")
    bucket.now += LEASE + SKEW
    del bucket.requests[:]
    assert Uploads(storage, references=lambda keys: []).recover(min_age=0).removed

    assert bucket.requests.count("put .clock") == 1


@pytest.mark.parametrize("seconds", [0, 0.5, -1, "300", None, True])
def test_leases_that_cannot_work(bucket: Bucket, seconds: Any) -> None:  # noqa: ANN401
    """Dates are whole seconds, so nothing shorter can be told."""
    for options in ({"lease": seconds}, {"skew": seconds}):
        with pytest.raises(InvalidArgument):
            BucketStorage(bucket, **options)
    BucketStorage(bucket, lease=timedelta(seconds=1), skew=1)


def test_the_clock_that_nobody_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on, on systems that have less to choose from as well."""
    first = clocks.elapsed()
    assert 0 <= clocks.elapsed() - first < 60
    for name in ("CLOCK_BOOTTIME", "CLOCK_MONOTONIC"):
        monkeypatch.delattr(clocks.time, name, raising=False)  # type: ignore[attr-defined]
        first = clocks.elapsed()
        assert 0 <= clocks.elapsed() - first < 60


# --- requests ---


def kinds(bucket: Bucket, key: str | None, old: str | None = None) -> list[str]:
    """Return the requests, with names that do not change from run to run."""
    found = []
    for request in bucket.requests:
        word, _, name = request.partition(" ")
        folder = name[: name.index("/") + 1] if "/" in name else ""
        rest = name.removeprefix(folder)
        rest = rest.replace(str(key)[:32], "NEW").replace(str(old)[:32], "OLD")
        found.append(f"{word} {folder}{'~OLD' if rest.startswith('~') else rest.removesuffix(f'!{LEASE}')}")
    return found


def test_the_requests_of_a_replacement(bucket: Bucket, storage: BucketStorage) -> None:
    """Each of them is needed: this is what the documentation counts."""
    rows = Rows(storage)
    rows.replace()
    assert kinds(bucket, rows.key) == [
        "list .pending/",  # once a minute
        "put .pending/NEW.jpg",
        "put .renditions/-thumb.webp",  # once in the life of a process
        "put NEW.jpg",
        "put NEW-thumb.webp",
        "delete .pending/NEW.jpg",
    ]
    old = rows.key
    del bucket.requests[:]
    rows.replace()
    assert kinds(bucket, rows.key, old) == [
        "put .pending/NEW.jpg",
        "put NEW.jpg",
        "put NEW-thumb.webp",
        "put .pending/~OLD",
        "list .renditions/",  # only if something is removed
        "delete OLD-thumb.webp",
        "delete OLD.jpg",
        "delete .pending/~OLD",
        "delete .pending/NEW.jpg",
    ]


def test_stale_marks_are_looked_for_once_a_minute(
    bucket: Bucket, storage: BucketStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By each object of an application; at once again while there is more to do."""
    now = [1000.0]
    monkeypatch.setattr("safeupload._recovery.time.monotonic", lambda: now[0])
    rows = Rows(storage)
    for seconds in (0, 59, 1, 59, 60):
        now[0] += seconds
        rows.replace()
    assert bucket.requests.count("list .pending/") == 3

    for _ in range(6):
        storage.new_mark().save(b"left by a crash")
    bucket.now += 10 * LEASE
    now[0] += 60
    left = []
    for _ in range(3):
        rows.replace()
        left.append(len(list(storage.marks())))
    assert left == [2, 0, 0]


# --- renditions, and what is listed ---


def test_renditions_of_others_policies_go_as_well(bucket: Bucket, storage: BucketStorage) -> None:
    """Each process knows what any has ever had, from the bucket."""
    mark = storage.new_mark()
    mark.save(b"picture", {"-large.png": b"", "-thumb.webp": b"small"})
    storage.settle([], [mark])
    BucketStorage(bucket).remove(mark.name.key)

    assert {name for name in bucket.objects if not name.startswith(".")} == set()


@pytest.mark.parametrize("backwards", [False, True])
def test_renditions_without_a_file_are_found(
    bucket: Bucket, storage: BucketStorage, monkeypatch: pytest.MonkeyPatch, *, backwards: bool
) -> None:
    """As a late write leaves them, in whatever order a bucket lists; a sweep removes them, known suffix or not."""
    whole = storage.new_mark()
    whole.save(b"picture", {THUMB: b"small", "-large.png": b"large"})
    storage.settle([], [whole])
    alone = [new_key() for _ in range(3)]
    for key in alone:
        bucket.objects[beside(key, THUMB)] = (b"small", bucket.now)
    bucket.objects[beside(alone[0], "-unheard_of.avif")] = (b"", bucket.now)
    bucket.objects["somebody's.txt"] = (b"mine", bucket.now)
    listed = bucket.entries
    if backwards:
        monkeypatch.setattr(bucket, "entries", lambda folder: reversed(list(listed(folder))))

    assert set(storage.files()) == {File(key, bucket.now) for key in (whole.name.key, *alone)}
    report = Uploads(BucketStorage(bucket), references=lambda keys: [whole.name.key]).sweep(min_age=0, force=True)
    assert sorted(report.removed) == sorted(alone)
    key = whole.name.key
    left = {name for name in bucket.objects if not name.startswith(".")}
    assert left == {key, beside(key, THUMB), beside(key, "-large.png"), "somebody's.txt"}


def test_names_of_others_are_no_files_and_no_marks(bucket: Bucket, storage: BucketStorage) -> None:
    """Whatever else there is in the bucket is not listed, not read, and not removed."""
    key = new_key()
    others = [f"other/{key}", f".pending/other/{key}", ".pending/x", f".trash/{key}", f"{key}.bak", ".renditions/-X.c"]
    for name in others:
        bucket.objects[name] = (b"mine", 0)
    Uploads(storage, references=lambda keys: []).sweep(min_age=0, force=True)
    bucket.now += 10 * LEASE
    Uploads(storage, references=lambda keys: []).recover(min_age=0)

    assert [*storage.keys(), *storage.files(), *storage.marks()] == []
    assert set(bucket.objects) - {".clock"} == set(others)
    with pytest.raises(InvalidKey):
        storage.read(f"other/{key}")


# --- errors ---


class Unlucky(Exception):
    """An error of a client that we have never heard of."""


WORKS: dict[str, Callable[[BucketStorage], object]] = {
    "read": lambda storage: storage.read(new_key()),
    "keys": lambda storage: list(storage.keys()),
    "files": lambda storage: list(storage.files()),
    "marks": lambda storage: list(storage.marks()),
    "clock": lambda storage: storage.clock(),
    "exists": lambda storage: storage.exists(new_key()),
    "remove": lambda storage: storage.remove(new_key()),
    "save": lambda storage: storage.new_mark().save(b"picture"),
    "record": lambda storage: storage.old_mark(new_key(), 0).record(),
    "touch": lambda storage: storage.old_mark(new_key(), 0).touch(),
    "seize": lambda storage: storage.seize(storage.new_mark().name, 0),
}


@pytest.mark.parametrize("work", WORKS)
def test_errors_of_a_client_are_ours(bucket: Bucket, storage: BucketStorage, work: str) -> None:
    """With the original as their cause, whatever it is."""

    def fail(request: str) -> None:
        raise Unlucky("no route")

    bucket.act = fail
    with pytest.raises(StorageError, match="no route") as caught:
        WORKS[work](storage)
    assert isinstance(caught.value.__cause__, Unlucky)


def test_what_cannot_be_removed_keeps_its_mark(bucket: Bucket, storage: BucketStorage) -> None:
    """And only that; who asks again gets it done."""
    marks = [storage.new_mark() for _ in range(3)]
    for mark in marks:
        mark.save(b"picture", {THUMB: b"small"})

    def fail(request: str) -> None:
        if request == f"delete {marks[1].name.key}":
            raise Unlucky

    bucket.act = fail
    failures = storage.settle(marks, [])
    assert [(failure.key, type(failure.error.__cause__)) for failure in failures] == [(marks[1].name.key, Unlucky)]
    assert [name.key for name in storage.marks()] == list(storage.keys()) == [marks[1].name.key]
    bucket.act = lambda request: None
    assert storage.settle(marks, []) == []
    assert [*storage.files(), *storage.marks()] == []


def test_each_request_of_a_replacement_may_fail(bucket: Bucket, storage: BucketStorage) -> None:
    """Before or after it took effect: the row names a whole file, and what is left is settled."""
    rows = Rows(storage)
    rows.replace()
    outcomes: Counter[str] = Counter()
    for at in range(100):
        for after in (False, True):
            count = len(bucket.requests)
            before = rows.key

            def fail(request: str, last: int = count + at) -> None:
                if len(bucket.requests) - 1 == last:
                    raise Unlucky

            with pytest.MonkeyPatch.context() as patch:
                if after:
                    _fail_afterwards(patch, bucket, count + at)
                else:
                    bucket.act = fail
                try:
                    rows.replace()
                except StorageError:
                    outcomes["refused"] += 1
                    assert rows.key == before
                else:
                    outcomes["replaced"] += 1
                    assert rows.key != before
            bucket.act = lambda request: None
            assert storage.read(str(rows.key)) == storage.read(beside(str(rows.key), THUMB)) == picture("new").data
            bucket.now += 10 * LEASE
            rows.uploads.recover(min_age=0)
            assert [*storage.keys(), *storage.marks()] == [rows.key]
            assert [file.key for file in storage.files()] == [rows.key]
    assert outcomes["refused"] >= 8
    assert outcomes["replaced"] >= 100


def _fail_afterwards(patch: pytest.MonkeyPatch, bucket: Bucket, last: int) -> None:
    """Let a request fail that was made all the same."""
    for name in ("put", "delete"):
        method = getattr(bucket, name)

        def failing(*arguments: Any, method: Callable[..., object] = method) -> None:  # noqa: ANN401
            method(*arguments)
            if len(bucket.requests) - 1 == last:
                raise Unlucky

        patch.setattr(bucket, name, failing)
