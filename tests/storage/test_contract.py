"""Every storage of ours, and one on a client of the user's own, does what `StorageContract` asks."""

import itertools
import math
import os
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import boto3_storage
import obstore.store
import pytest
import s3

from safeupload import StorageError
from safeupload.storage import (
    BucketStorage,
    Failure,
    LocalStorage,
    Mark,
    MarkName,
    MemoryStorage,
    ObjectStorage,
    Storage,
    local,
)
from safeupload.storage._lease import Lease
from safeupload.testing import StorageContract


@pytest.fixture(scope="module")
def address() -> Generator[str]:
    """Run a server that speaks S3."""
    with s3.server() as address:
        yield address


class TestMemoryStorage(StorageContract):
    """The dictionary."""

    @pytest.fixture
    def storage(self) -> Storage:
        """Give an empty one."""
        return MemoryStorage()


class TestLocalStorage(StorageContract):
    """A folder with locks."""

    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        """Give an empty one."""
        return LocalStorage(tmp_path)

    def another(self, storage: Storage) -> Storage:
        """Open the folder once more."""
        assert isinstance(storage, LocalStorage)
        return LocalStorage(storage._root)


@pytest.mark.long
class TestLocalStorageWithoutLinks(StorageContract):
    """A folder without hard links, as on FAT."""

    patience = 3

    @pytest.fixture
    def storage(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
        """Hide the call, and make a lease that a test can wait for."""
        monkeypatch.setattr(os, "link", _not_permitted)
        monkeypatch.setattr(local, "LEASE", 1)
        monkeypatch.setattr(local, "SKEW", 1)
        return LocalStorage(tmp_path)

    def another(self, storage: Storage) -> Storage:
        """Open the folder once more."""
        assert isinstance(storage, LocalStorage)
        return LocalStorage(storage._root)


def _not_permitted(*_: Any, **__: Any) -> None:  # noqa: ANN401
    raise PermissionError(1, "Operation not permitted")


@pytest.mark.long
class TestObjectStorageInMemory(StorageContract):
    """The object store that obstore has for tests."""

    patience = 2.1

    @pytest.fixture
    def storage(self) -> Storage:
        """Give an empty one."""
        return ObjectStorage(obstore.store.MemoryStore(), lease=1, skew=1)


class TestObjectStorage(StorageContract):
    """S3, whose dates are whole seconds, of which the skew loses one."""

    patience = 4.1

    @pytest.fixture
    def storage(self, address: str) -> Storage:
        """Give a folder of the bucket that nobody has used."""
        return ObjectStorage(s3.store(address), prefix=s3.fresh(), lease=1, skew=2)

    def another(self, storage: Storage) -> Storage:
        """Make another client."""
        assert isinstance(storage, ObjectStorage)
        objects = storage._objects
        return ObjectStorage(objects._store, prefix=objects._prefix.rstrip("/"), lease=1, skew=2)


@pytest.mark.long
class TestClientOfYourOwn(StorageContract):
    """The example: a bucket on a client of boto3."""

    patience = 4.1

    @pytest.fixture
    def storage(self, address: str) -> Storage:
        """Give a folder of the bucket that nobody has used."""
        bucket = boto3_storage.Boto3Bucket(s3.client(address), s3.BUCKET, s3.fresh() + "/")
        return BucketStorage(bucket, lease=1, skew=2)


# --- does it find anything ---


class Wrong(BucketStorage):
    """A storage to be wrong in some way."""

    def __init__(self) -> None:
        super().__init__(boto3_free_bucket(), lease=1, skew=1)


def boto3_free_bucket() -> Any:  # noqa: ANN401
    """Return a bucket in memory."""
    return ObjectStorage(obstore.store.MemoryStore())._objects


def no_second_page(storage: BucketStorage) -> Iterator[MarkName]:
    """Return the first page of a listing."""
    return itertools.islice(BucketStorage.marks(storage), 1000)


def hasty(storage: BucketStorage, name: MarkName, dated: float) -> Mark | None:
    """Take a mark when its lease has ended, without waiting for the skew."""
    storage._skew = 0
    return BucketStorage.seize(storage, name, dated)


def forgetful(storage: BucketStorage, key: str) -> None:
    """Remove a file and forget what stands beside it."""
    storage._bucket.delete(key)


def careless(storage: BucketStorage, remove: Iterable[Mark], drop: Iterable[Mark]) -> list[Failure]:
    """Drop marks and leave files."""
    return BucketStorage.settle(storage, [], [*remove, *drop])


def open_to_all(storage: BucketStorage, name: str) -> bytes:
    """Read whatever is asked for."""
    return storage._bucket.get(name) or b""


def for_ever(mark: Lease) -> None:
    """Hold a mark as long as one likes."""
    mark._until = math.inf, math.inf


def nothing(_: Lease) -> None:
    """Do nothing."""


WRONG: dict[str, tuple[type, str, Any, str]] = {
    "a listing ends after a page": (Wrong, "marks", no_second_page, "no_mark_is_missed"),
    "a cleaner does not wait for the skew": (Wrong, "seize", hasty, "what_nobody_works_on_any_more_is_settled"),
    "renditions stay": (Wrong, "remove", forgetful, "a_file_without_a_mark_is_removed"),
    "files stay": (Wrong, "settle", careless, "renditions_come_and_go_with_their_file"),
    "any name is read": (Wrong, "read", open_to_all, "names_of_others_are_refused"),
    "an old mark is not dated anew": (
        Lease,
        "touch",
        lambda self: None,
        "a_retained_file_goes_when_its_time_has_come",
    ),
    "a lease never ends": (Lease, "check", nothing, "what_nobody_works_on_any_more_is_settled"),
    "a lease that has ended is renewed": (Lease, "touch", for_ever, "what_nobody_works_on_any_more_is_settled"),
    "a mark is only made in memory": (Lease, "record", nothing, "a_saved_file_is_there_and_on_record"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_storage_is_found(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Each of these mistakes fails a test of the contract."""
    owner, attribute, value, test = WRONG[name]
    contract = StorageContract()
    contract.patience = 2.1  # type: ignore[misc]
    with monkeypatch.context() as patch, pytest.raises((AssertionError, StorageError)):
        patch.setattr(owner, attribute, value)
        getattr(contract, f"test_{test}")(Wrong())
